"""The start of a worker process, before anything of what its supervisor needs is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "clin_edge.runtime.worker")


def spawn() -> subprocess.Popen[bytes]:
    """Start a worker; it imports what it needs, and waits for an order."""
    return subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1)


@contextmanager
def spawned() -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker to be used within, and see to it that it is gone after."""
    process = spawn()
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker, if it lives; it has nothing to lose."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            if stream is not None:
                stream.close()
