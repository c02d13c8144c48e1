"""`kobe schedule`: entries for other schedulers; to add one, a file and a line of `EXPORTERS` in `export.py`."""
