"""Files that hold patients' words: readable by their owner alone, and durable before they count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from clin_edge.runtime.writers.partial import cannot_write


@contextmanager
def private_file(out: Path) -> Iterator[BinaryIO]:
    """Open a new file with mode 0600; at the block's end its bytes are on the disk.

    Raises:
        InputError: If ``out`` exists already, or the disk does not take it.
    """
    with cannot_write(out), open(out, "xb", opener=_owner_only) as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
