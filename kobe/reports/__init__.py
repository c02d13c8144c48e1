"""What a person reads. Builders are pure and return a `Document`; `render/` turns one into a terminal, a file or JSON.

To add a report: a builder in its own file that returns a `Document`, and the use case in `app` that calls it.
"""
