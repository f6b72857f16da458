"""What a user would pick instead of clin-edge, as subjects for ``clin-edge bench``.

``python -m clin_edge.export.peers NAME`` speaks the protocol of ``runtime.bench.subjects``. Each
peer is used as its own documentation shows, reads whole notes, and is given no handicap: where
there is a choice, the quicker one. Weights are random, since speed does not depend on them; the
head says O everywhere, so that nobody pays for entities that are not there.
"""
