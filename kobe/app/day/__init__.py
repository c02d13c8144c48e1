"""How the day of `jobs.py` is carried out: what is due (`tick`), one run (`perform`, `supervise`), what follows."""
