"""How a run shares threads out among workers."""

from __future__ import annotations

from clin_edge.runtime.threads import usable_threads

MOST_WORKERS = 8  # that nobody asked for; each takes memory of its own


def share_out(workers: int | None, threads: int | None) -> tuple[int, int]:
    """Give the number of workers, and that of the threads of each.

    Two threads have a batch each at once, more would leave each other little to do; and what is not
    the network's has one thread in each process. Workers share nothing, but each has a model of its
    own in memory. So there is one for every two threads.

    Args:
        workers: As asked for, 0 being none but this process; None for as many as suit.
        threads: As asked for: of each worker, or, if ``workers`` is None, of all together; None
            for all that may be used.
    """
    if workers is None:
        threads = threads or usable_threads()
        workers = min(MOST_WORKERS, max(1, threads // 2))
        return workers, threads // workers
    return workers, threads or max(1, usable_threads() // max(1, workers))
