"""Learn how words are used from unlabelled text: makes distill/teachers/terminology/word_use.npz.

python benchmarks/word_use.py ../shared/data/unlabelled distill/teachers/terminology/word_use.npz

No label and no terminology is read. Of each of the words that come at least 200 times it keeps the
count, the share of its places after which a phrase ends, and 24 numbers that say which words stand
two places before and after it: the first dimensions of its positive pointwise mutual information
with the 1,500 commonest words (O. Levy, Y. Goldberg and I. Dagan, Improving distributional
similarity with lessons learned from word embeddings, TACL 3, 2015), by a randomised singular value
decomposition. No word of a few notes is among these, so no patient can be told from them.
"""

from __future__ import annotations

import sys
from array import array
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.notes import read_notes
from clin_edge.distill.teachers.terminology.everyday import SIGN, word_key
from clin_edge.distill.teachers.terminology.noise import STOP_WORDS

MIN_COUNT, N_CONTEXTS, N_DIMS = 200, 1500, 24
OFFSETS = (-2, -1, 1, 2)


def read(folder: Path) -> tuple[list[str], NDArray[np.int32]]:
    """Give the words and signs of all texts, and the sequence of their numbers."""
    numbers: dict[str, int] = {}
    sequence = array("i")
    key = lru_cache(1 << 18)(word_key)
    for note in read_notes([str(path) for path in sorted(folder.glob("*.jsonl.gz"))]):
        for token in (*SIGN.findall(note.text), "\n", "\n"):
            sequence.append(numbers.setdefault(key(token), len(numbers)))
    return list(numbers), np.frombuffer(sequence, dtype=np.int32)


def numbered(chosen: NDArray[np.int64], n_words: int) -> NDArray[np.int64]:
    """Give each word's place among the chosen, -1 for the others."""
    places = np.full(n_words, -1)
    places[chosen] = np.arange(len(chosen))
    return places


def vectors(
    sequence: NDArray[np.int32], words: NDArray[np.int64], contexts: NDArray[np.int64], n: int
) -> NDArray[np.float32]:
    """Give one unit vector a word (W, 24)."""
    row, column = numbered(words, n)[sequence], numbered(contexts, n)[sequence]
    counts = np.zeros((len(words), len(OFFSETS) * len(contexts)), np.float32)
    for block, offset in enumerate(OFFSETS):
        a, b = (row[-offset:], column[:offset]) if offset < 0 else (row[:-offset], column[offset:])
        both = (a >= 0) & (b >= 0)
        pairs, times = np.unique(a[both] * len(contexts) + b[both], return_counts=True)
        counts[pairs // len(contexts), block * len(contexts) + pairs % len(contexts)] = times
    by_context = counts.sum(0, keepdims=True) ** 0.75
    expected = counts.sum(1, keepdims=True) * by_context / by_context.sum()
    ratio = counts / np.maximum(expected, 1e-12)
    ppmi = np.log(np.maximum(ratio, 1.0))
    rng = np.random.default_rng(0)
    basis = ppmi @ rng.standard_normal((ppmi.shape[1], N_DIMS + 40)).astype(np.float32)
    for _ in range(6):
        basis = ppmi @ (ppmi.T @ np.linalg.qr(basis)[0])
    q = np.linalg.qr(basis)[0]
    u, s, _ = np.linalg.svd(q.T @ ppmi, full_matrices=False)
    found = (q @ u)[:, :N_DIMS] * np.sqrt(s[:N_DIMS])
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


def main(folder: Path, out: Path) -> None:
    names, sequence = read(folder)
    counts = np.bincount(sequence, minlength=len(names))
    ends_phrase = np.array([not n[0].isalnum() and n != "-" for n in names])
    ends_phrase |= np.array([name.casefold() in STOP_WORDS for name in names])
    ends = np.bincount(sequence[:-1][ends_phrase[sequence[1:]]], minlength=len(names)) / counts
    order = np.argsort(-counts, kind="stable")
    letters = np.array([name[0].isalpha() for name in names])
    words = order[letters[order] & (counts[order] >= MIN_COUNT)]
    found = vectors(sequence, words, order[:N_CONTEXTS], len(names))
    np.savez_compressed(
        out,
        words=np.frombuffer("\n".join(names[i] for i in words).encode(), np.uint8),
        counts=counts[words].astype(np.int32),
        ends=np.round(255 * ends[words]).astype(np.uint8),
        vectors=np.round(127 * found).astype(np.int8),
    )
    print(f"{len(sequence)} tokens, {len(words)} words, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
