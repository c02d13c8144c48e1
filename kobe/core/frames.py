"""polars as kobe uses it: imported by the first frame that is made or read, not by the first module that knows one.

A command that makes none, as a scan, starts a sixth of a second sooner. In annotations the names stand in quotes.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["pl"]


class _Later:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, found)
        return found


if TYPE_CHECKING:
    import polars as pl
else:
    pl = _Later("polars")
