"""The command line: one function per command, each a few lines over a use case of `app`."""

from kobe.core import generated

generated.keep()  # before the first module with a dataclass
