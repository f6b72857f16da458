"""The plain files below a folder: listed, and each read, without following a link.

What is read is what was listed: a file exchanged in between is told by its inode, one altered by
its hash, which is the caller's affair.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from clin_edge.core.errors import BundleError

MAX_ENTRIES = 256
# Where a system has them: follow no link, and never wait for a pipe that took a file's place.
_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)


def list_files(folder: Path, *, allow_hard_links: bool) -> dict[str, os.stat_result]:
    """Give what the system says of every file below ``folder``, by its name with ``/``.

    Raises:
        BundleError: If there is a link, or anything but files and folders, or more than
            ``MAX_ENTRIES`` of both; no more than these are looked at.
        OSError: If a folder cannot be read.
    """
    found: dict[str, os.stat_result] = {}
    folders = [folder]
    n_entries = 0
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                n_entries += 1
                if n_entries > MAX_ENTRIES:
                    raise BundleError(
                        f"{shown(folder)}: more than {MAX_ENTRIES} files and folders; no bundle "
                        "has so many"
                    )
                place = Path(entry.path)
                facts = place.lstat()
                if stat.S_ISDIR(facts.st_mode):
                    folders.append(place)
                    continue
                _check_plain(place, facts, allow_hard_links=allow_hard_links)
                found[place.relative_to(folder).as_posix()] = facts
    return found


def read_file(place: Path, *, listed: os.stat_result, allow_hard_links: bool) -> bytes:
    """Read the very file that ``list_files`` found, as long as it was then.

    Raises:
        BundleError: If another took its place, or it was linked or changed its length.
        OSError: If it cannot be read.
    """
    descriptor = os.open(place, _FLAGS)
    try:
        facts = os.fstat(descriptor)
        _check_plain(place, facts, allow_hard_links=allow_hard_links)
        if not os.path.samestat(facts, listed) or facts.st_size != listed.st_size:
            raise BundleError(f"{shown(place)}: exchanged while it was being read; try again")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(facts.st_size)
    finally:
        os.close(descriptor)


def shown(place: Path) -> str:
    """Write a path within one line: a name found on disk may hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(place))


def _check_plain(place: Path, facts: os.stat_result, *, allow_hard_links: bool) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise BundleError(f"{shown(place)}: a symbolic link; a bundle holds plain files only")
    if not stat.S_ISREG(facts.st_mode):
        raise BundleError(f"{shown(place)}: not a plain file")
    if facts.st_nlink > 1 and not allow_hard_links:
        raise BundleError(
            f"{shown(place)}: a hard link; another name could change it. Copy the bundle instead"
        )
