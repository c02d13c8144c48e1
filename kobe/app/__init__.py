"""One function per use case: what the commands, the scheduler and the tests all call. Composes every room below.

Each `run_*` takes the `Context` and returns a `Document`. To add a job: a use case and one line in `jobs.JOBS`.
"""
