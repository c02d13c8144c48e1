"""The doors: command line and scheduler. Thin; imports core and app only."""
