"""Outputs that take their final name only when whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.logs import log


def partial_name(out: Path) -> Path:
    """Give the name an unfinished output stands under."""
    return out.with_name(out.name + ".partial")


@contextmanager
def cannot_write(place: Path) -> Iterator[None]:
    """Turn what the system refuses (full disk, no permission) into an ``InputError``."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise InputError(f"{place}: cannot be written ({error.strerror})") from None


def settle(out: Path, failure: type[BaseException] | None, count: int) -> None:
    """Give a finished output its name; of a broken one, say where what was made lies."""
    partial = partial_name(out)
    if failure is None:
        with cannot_write(out):
            partial.replace(out)
    elif count:
        log.warning("the %d records made before the failure are in %s", count, partial)
