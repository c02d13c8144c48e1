"""Live minute bars: owns the streams, their journals and the clock guard. Imports core and infra.

A feed fills `port.BarFeed`: per symbol ascending, each bar once, gaps filled before anything later is delivered.
To add one: a file here that turns a provider's messages into `MinuteBar`s for a `Courier`, and a line below.
"""

from kobe.data.feeds.alpaca import alpaca_feed

FEEDS = {"alpaca": alpaca_feed}  # provider -> how its feed is built
