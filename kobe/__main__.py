"""Run kobe with `python -m kobe`."""

from kobe.interfaces.cli.main import main

if __name__ == "__main__":
    main()
