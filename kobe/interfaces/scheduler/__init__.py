"""The runner: APScheduler wakes it at the slots of the timetable; what is due is decided in `app.jobs.tick`."""
