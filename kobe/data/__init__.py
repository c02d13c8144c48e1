"""Bars: where they come from, whether they can be trusted, where they are kept. Imports core and infra.

Bars enter through `ingest`, pass `quality`, rest in `store` and leave as a `Panel`. To add a quality rule: one
line in `quality.RULES`. To add a source of bars: a file in `providers/`.
"""
