"""``python -m clin_edge.export.peers NAME``: one peer, until the asker is gone."""

from __future__ import annotations

import sys

from clin_edge.export.peers.reading import start_peer
from clin_edge.runtime.bench.subjects import serve

if __name__ == "__main__":
    serve(lambda order: start_peer(sys.argv[1], order))
