"""Ids that must not come twice, remembered in little memory."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


class SeenIds:
    """The ids met so far, at eight bytes each, to find one that comes twice.

    It keeps 64-bit BLAKE2b digests: among three million different ids the chance of a false
    alarm is below one in four million.
    """

    _RECENT = 65_536

    def __init__(self) -> None:
        """Start with none."""
        self._recent: set[int] = set()
        self._sorted = np.empty(0, dtype=np.uint64)

    def add(self, note_id: str) -> bool:
        """Remember ``note_id``; tell whether it is new."""
        key = int.from_bytes(blake2b(note_id.encode(), digest_size=8).digest(), "little")
        if key in self._recent:
            return False
        at = int(np.searchsorted(self._sorted, np.uint64(key)))
        if at < len(self._sorted) and int(self._sorted[at]) == key:
            return False
        self._recent.add(key)
        if len(self._recent) >= self._RECENT:
            fresh = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            self._sorted = np.sort(np.concatenate([self._sorted, fresh]))
            self._recent.clear()
        return True
