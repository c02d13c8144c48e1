"""Does anything see the future? The whole pipeline, computed from a world and from that world cut at a session.

`world` what a day is decided from; `stages` the pipeline as a bundle of functions; `probes.PROBES` what is compared;
`mutants.MUTANTS` planted leaks that must be caught; `warm_up` how much history an indicator needs; `report` the verb.
To add a probe or a mutant: one function and one line in its table; the tests walk both tables by themselves.
"""
