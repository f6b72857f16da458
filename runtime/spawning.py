"""The start of a worker process, before anything of what its supervisor needs is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "clin_edge.runtime.worker")


def spawn() -> subprocess.Popen[bytes]:
    """Start a worker; it imports what it needs, and waits for an order.

    In a process group of its own Ctrl-C does not meet it, not even before it can ignore it: the
    supervisor is interrupted, and stops it.
    """
    pipe = subprocess.PIPE
    if sys.platform == "win32":
        group = subprocess.CREATE_NEW_PROCESS_GROUP
        return subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, creationflags=group)
    return subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, process_group=0)


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
