"""Outputs that take their final name only when whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clin_edge.core.errors import InputError


def partial_name(out: Path) -> Path:
    """Give the name an unfinished output stands under; raises ``InputError`` if there is none."""
    if not out.name:
        raise InputError(f"{out}: has no name of its own; name a file or folder to make")
    return out.with_name(out.name + ".partial")


@contextmanager
def cannot_write(place: Path | str) -> Iterator[None]:
    """Turn what the system refuses (full disk, no permission) into an ``InputError``."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{place}: cannot be written ({error.strerror})") from None
