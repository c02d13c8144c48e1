"""What is watched: facts, alerts, health, metrics, spans and the page; all judge the same `watch_facts.py`."""
