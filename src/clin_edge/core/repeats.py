"""Windows that were read before: notes repeat themselves, and are read once."""

from __future__ import annotations

from collections import OrderedDict

from clin_edge.core.batching import Logits

REUSE_BYTES = 8_000_000  # some 200,000 tokens of windows of 100, under seven tags
_OVERHEAD_BYTES = 400  # of an entry, beside its key and its numbers


class Repeats:
    """Remembers what windows were answered, the latest ones, in so many bytes.

    The key is all the network is given and asked, ids and kept tokens, not a hash of it. A window's
    answer depends on the window alone, to the last bit (see ``batching``), so what is remembered is
    what would be computed.
    """

    def __init__(self, at_most_bytes: int = REUSE_BYTES) -> None:
        """Start empty; with 0 bytes nothing is remembered."""
        self._at_most = at_most_bytes
        self._used = 0
        self._answers: OrderedDict[bytes, Logits] = OrderedDict()

    def get(self, key: bytes) -> Logits | None:
        """Give what was remembered of a window, if it still is."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: bytes, answer: Logits) -> None:
        """Remember an answer; who was asked for longest ago is forgotten."""
        if key in self._answers:
            return
        self._answers[key] = answer
        self._used += _size(key, answer)
        while self._used > self._at_most:
            self._used -= _size(*self._answers.popitem(last=False))


def _size(key: bytes, answer: Logits) -> int:
    return len(key) + answer.nbytes + _OVERHEAD_BYTES
