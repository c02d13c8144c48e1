"""The command line: one function per command, each a few lines over a use case of `app`."""
