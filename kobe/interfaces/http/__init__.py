"""The small HTTP service: FastAPI carries what `app.service` answers; it only ever reads."""
