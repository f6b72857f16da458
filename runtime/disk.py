"""The few things asked of a file system while an output grows, on any system.

Tests put a disk in its place that fails, forgets what was not synced, or stops in the middle.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from clin_edge.core.errors import InputError

_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows would turn line ends
_TRIES = 40  # of 50 ms: a virus scanner holds a new file for a moment


class Disk:
    """Files opened by number, written whole, synced when told."""

    def open(self, path: Path) -> int:
        """Open a file for reading and writing, made for its owner alone if it is new."""
        return os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o600)

    def close(self, fd: int) -> None:
        """Let a file go."""
        os.close(fd)

    def write(self, fd: int, data: bytes) -> None:
        """Write all of ``data`` at the file's end; a short write goes on where it stopped."""
        os.lseek(fd, 0, os.SEEK_END)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]

    def cut(self, fd: int, size_bytes: int) -> None:
        """Drop what is beyond ``size_bytes``."""
        os.ftruncate(fd, size_bytes)

    def sync(self, fd: int) -> None:
        """Return once what was written would outlive a power cut."""
        os.fsync(fd)

    def sync_folder(self, folder: Path) -> None:
        """Return once names given in a folder would outlive a power cut, where a system can say."""
        if os.name == "posix":
            fd = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def sync_all(self, path: Path) -> None:
        """Return once a file, or all files of a folder, would outlive a power cut."""
        if path.is_dir() and os.name == "posix":
            os.sync()  # one call for a million files
            return
        for one in (path, *path.rglob("*")):
            if one.is_file():
                with one.open("rb+") as stream:
                    os.fsync(stream.fileno())

    def replace(self, old: Path, new: Path) -> None:
        """Give ``old`` the name ``new`` at once; a file of that name, or an empty folder, goes."""
        if new.is_dir() and old.is_dir():
            new.rmdir()
        for left in reversed(range(_TRIES)):
            try:
                old.replace(new)
                return
            except PermissionError:
                if os.name == "posix" or not left:
                    raise
                time.sleep(0.05)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all in it, if it is there."""
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def lock(fd: int, place: Path) -> None:
    """Hold a file until it is closed or the process ends, however it ends.

    Raises:
        InputError: If another process holds it.
    """
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(fd, 1 << 40, os.SEEK_SET)  # a byte beyond all content: that stays readable
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"{place}: another run is writing it; wait for it, or stop it") from None


def open_to_all_allowed(path: Path) -> None:
    """Give a finished file or folder the permissions any new one would have had."""
    if os.name == "posix":
        os.umask(mask := os.umask(0o077))
        for one in (path, *path.rglob("*")):
            one.chmod((0o777 if one.is_dir() else 0o666) & ~mask)
