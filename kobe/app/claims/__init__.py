"""Is what the documents say still true? Every figure in them that a command printed is derived anew and compared.

`book` reads docs/claims.toml and knows what a figure in a sentence is; `sources.SOURCES` says how the values come
about; `defects`, `prices` measure what no other command does; `verify` is the verb. To add a claim: one line in
docs/claims.toml. To add a source: one function and one line in `SOURCES`.
"""
