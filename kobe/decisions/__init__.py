"""From signals to one decision: scan, rank, trade of the day. Imports up to learning and execution."""
