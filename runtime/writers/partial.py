"""Outputs that take their final name only when whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.logs import log


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


def settle(out: Path, *, whole: bool, count: int) -> None:
    """Give a finished output its name; of a broken one, say where what was made lies."""
    partial = partial_name(out)
    if whole:
        with cannot_write(out):
            partial.replace(out)
    elif count:
        made = (
            "one record made before the failure is"
            if count == 1
            else (f"{count:,} records made before the failure are")
        )
        log.warning("the %s in %s", made, partial)
