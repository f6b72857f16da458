"""How a run shares threads out among workers."""

from __future__ import annotations

from clin_edge.core.manifest import MODEL_FILES, Manifest
from clin_edge.runtime.threads import usable_threads

MOST_WORKERS = 8  # that nobody asked for; each takes memory of its own
SMALL_MODEL_BYTES = 16_000_000


def share_out(manifest: Manifest, workers: int | None, threads: int | None) -> tuple[int, int]:
    """Give the number of workers, and that of the threads of each.

    Several threads on one network leave each other little to do, and what is not the network's has
    one thread for itself; workers share nothing. Each has a model of its own in memory, so there
    is one for two threads, or for one if the model is small.

    Args:
        manifest: The bundle's.
        workers: As asked for, 0 being none but this process; None for as many as suit.
        threads: As asked for: of each worker, or, if ``workers`` is None, of all together; None
            for all that may be used.
    """
    if workers is None:
        threads = threads or usable_threads()
        workers = min(MOST_WORKERS, max(1, threads // (1 if _is_small(manifest) else 2)))
        return workers, threads // workers
    return workers, threads or max(1, usable_threads() // max(1, workers))


def _is_small(manifest: Manifest) -> bool:
    names = {name for of_engine in MODEL_FILES.values() for name in of_engine}
    sizes = [file.size_bytes for name, file in manifest.files.items() if name in names]
    return max(sizes, default=0) <= SMALL_MODEL_BYTES
