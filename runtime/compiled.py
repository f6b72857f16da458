"""What an engine compiled of a model, kept for the next start, as Python keeps what it compiled.

A file is taken only if it is whole, belongs to this user alone, and was made of the same bundle by
the same engine, with the same settings, on a processor like this one. Without a place to keep it,
or room, nothing is kept and nothing is said: the model is compiled anew at each start.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from clin_edge.runtime.processor import processor

MOST_BYTES = 128 * 2**20  # of all files together; the ones not used for longest go first
_SUFFIX = ".compiled"


def cache_folder() -> Path | None:
    """Give the folder for what may be lost: ``CLIN_EDGE_CACHE``, None if that is empty.

    Without it, this user's folder for such things on this system, or None if there is no home.
    """
    chosen = os.environ.get("CLIN_EDGE_CACHE")
    if chosen is not None:
        return Path(chosen) if chosen else None
    try:
        if sys.platform == "win32":
            base = Path(os.environ["LOCALAPPDATA"])
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except (KeyError, RuntimeError):
        return None
    return base / "clin-edge" if base.is_absolute() else None


class Compiled:
    """The place of one compiled model in ``folder``."""

    def __init__(self, folder: Path, engine: str, model: str, settings: Mapping[str, str]) -> None:
        """Name what it depends on: the engine's version, the model's hash, how it is compiled."""
        here = processor()
        terms = {
            "engine": engine,
            "model": model,
            "settings": dict(settings),
            "processor": [here.name, here.architecture, dict(here.instructions)],
        }
        self._key = hashlib.sha256(json.dumps(terms, sort_keys=True).encode()).digest()
        self._path = folder / (self._key.hex()[:32] + _SUFFIX)

    def load(self) -> bytes | None:
        """Give what was kept, or None if there is nothing that can be trusted."""
        with suppress(OSError), self._path.open("rb") as file:
            if not _ours_alone(os.fstat(file.fileno())):
                return None
            digest, content = file.read(hashlib.sha256().digest_size), file.read()
            if digest == self._digest(content):
                with suppress(OSError):
                    os.utime(self._path)
                return content
        return None

    def keep(self, content: bytes) -> None:
        """Keep it for the next start, if there is room; a reader sees all of it or nothing."""
        if len(content) > MOST_BYTES:
            return
        folder = self._path.parent
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=folder, suffix=_SUFFIX)  # open to this user only
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(self._digest(content) + content)
                Path(name).replace(self._path)
            except OSError:
                Path(name).unlink()
                raise
            _make_room(folder)

    def drop(self) -> None:
        """Forget what was kept: the engine would not take it."""
        with suppress(OSError):
            self._path.unlink()

    def _digest(self, content: bytes) -> bytes:
        digest = hashlib.sha256(self._key)
        digest.update(content)
        return digest.digest()


def _ours_alone(facts: os.stat_result) -> bool:
    """Say whether nobody else can have written a file; Windows keeps its folder to the user."""
    if sys.platform == "win32":
        return True
    return facts.st_uid == os.geteuid() and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _make_room(folder: Path) -> None:
    """Delete the files not used for longest until the rest is small enough."""
    found = [(path.stat(), path) for path in folder.glob("*" + _SUFFIX)]
    total = 0
    for facts, path in sorted(found, key=lambda item: -item[0].st_mtime):
        total += facts.st_size
        if total > MOST_BYTES:
            path.unlink()
