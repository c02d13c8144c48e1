"""`kobe doctor`: checks and repairs are tables in `checks.py`; to add one, a function in its file and a line there."""
