"""The bars of "fast" against the peers, measured side by side: `make bench`, or `python -m scripts.bench.peers W1`.

`__main__` runs the parts and prints the table; `ours` and `with_*` are the sides, each a process in an environment of
its own; `market` makes the bars all of them read.
"""
