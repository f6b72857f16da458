"""A disk that loses power at a chosen moment, and with it some of what was not synced."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from random import Random

from clin_edge.runtime.disk import Disk


class PowerCut(Exception):
    """The moment the lights go out; no OSError, so nothing may answer it."""


class LossyDisk(Disk):
    """The real disk in one folder; it counts what it is asked and stops at step ``last``.

    What outlives a cut: bytes that were synced, and of later ones any prefix; names given before
    their folder was synced, and of later ones any prefix in order.
    """

    def __init__(self, folder: Path, *, last: int) -> None:
        """Begin with what lies there as durable."""
        self._folder = folder
        self._last = last
        self.steps = 0
        self._paths: dict[int, Path] = {}
        self._durable = self._present()
        self._renames: list[tuple[Path, Path | None]] = []

    def open(self, path: Path) -> int:
        self._step()
        fd = super().open(path)
        self._paths[fd] = path
        return fd

    def write(self, fd: int, data: bytes) -> None:
        for part in (data[: len(data) // 2], data[len(data) // 2 :]):
            self._step()
            super().write(fd, part)

    def cut(self, fd: int, size_bytes: int) -> None:
        self._step()
        super().cut(fd, size_bytes)

    def sync(self, fd: int) -> None:
        self._step()
        self._durable[self._paths[fd]] = self._paths[fd].read_bytes()

    def sync_folder(self, _: Path) -> None:
        self._step()
        self._settle(len(self._renames))

    def sync_all(self, path: Path) -> None:
        self._step()
        self._settle(len(self._renames))
        for one in (path, *path.rglob("*")):
            if one.is_file():
                self._durable[one] = one.read_bytes()

    def replace(self, old: Path, new: Path) -> None:
        self._step()
        super().replace(old, new)
        self._renames.append((old, new))

    def remove(self, path: Path) -> None:
        self._step()
        if path.exists():
            super().remove(path)
            self._renames.append((path, None))

    def lose(self, random: Random) -> None:
        """Make of the folder what a restarted machine finds there."""
        present = self._present()
        self._settle(random.randrange(len(self._renames) + 1))
        undone = {new for _, new in self._renames}
        for path, content in present.items():
            if path in undone or undone & {*path.parents}:
                continue
            safe = self._durable.get(path, b"")
            if content.startswith(safe):
                more = random.randrange(len(content) - len(safe) + 1)
                self._durable[path] = content[: len(safe) + more]
            elif random.random() < 0.5:  # it was cut, and that may or may not be there
                self._durable[path] = content
        for path in self._folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path, content in self._durable.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _settle(self, n_renames: int) -> None:
        for old, new in self._renames[:n_renames]:
            for path in [p for p in self._durable if p == old or old in p.parents]:
                content = self._durable.pop(path)
                if new is not None:
                    self._durable[new / path.relative_to(old)] = content
        del self._renames[:n_renames]

    def _present(self) -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in self._folder.rglob("*") if p.is_file()}

    def _step(self) -> None:
        self.steps += 1
        if self.steps > self._last:
            raise PowerCut


class FailingDisk(Disk):
    """A disk that refuses everything from step ``last`` on; of a write it takes the first half."""

    def __init__(self, *, last: int, error: int = errno.ENOSPC) -> None:
        """Count steps; fail with ``error``."""
        self._last = last
        self._error = error
        self.steps = 0

    def open(self, path: Path) -> int:
        self._step()
        return super().open(path)

    def write(self, fd: int, data: bytes) -> None:
        try:
            self._step()
        except OSError:
            super().write(fd, data[: len(data) // 2])
            raise
        super().write(fd, data)

    def cut(self, fd: int, size_bytes: int) -> None:
        self._step()
        super().cut(fd, size_bytes)

    def sync(self, _: int) -> None:
        self._step()  # nothing need really reach the disk here

    def replace(self, old: Path, new: Path) -> None:
        self._step()
        super().replace(old, new)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)

    def _step(self) -> None:
        self.steps += 1
        if self.steps > self._last:
            raise OSError(self._error, os.strerror(self._error))
