"""Which names of a terminology are everyday words, told by how the words are used in open text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from clin_edge.distill.teachers.terminology.tokens import form

SIGN = re.compile(r"[^\W\d_]+(?:['’]s\b)?|\d[\d.,]*|\n\s*\n|[^\w\s]")
"""What text is cut into for counting: words, numbers, empty lines and signs."""

Forms = tuple[str, ...]
_GENERAL = 300


def word_key(token: str) -> str:
    """Give what a word is counted under: its form, an acronym's own capitals, ``0`` for numbers.

    >>> [word_key(w) for w in ("Tumours", "MIC", "12.5")]
    ['tumor', 'MIC', '0']
    """
    if token[0].isalpha():
        token = token[:-2] if token.endswith(("'s", "’s")) else token
        return token if 2 <= len(token) <= 6 and token.isupper() else form(token)
    return "0" if token[0].isdigit() else token[0]


@dataclass(frozen=True, slots=True)
class EverydaySettings:
    """When a name is taken for everyday words and left out.

    The defaults were chosen by strict F1 on bc5cdr's training documents.

    Attributes:
        least: The least score of a word's use. Names score about 1, other words about -1.
        least_last: The least score of the last word of a name of two words,
        common: both of which open text has at least so often.
        ends: The least share of a word's places that end a phrase: lower is an adjective.
        modifier_ends: The same for a word that begins the terminology's longer names and seldom
            ends them.
        general: A word that ends a larger share of the longer names, and 300 of them, says nothing
            by itself.
        sure_count: A name of one word is surely meant if open text has it no more often,
        sure_chars: and it has at least so many letters. From these the use of names is learned.
        names: With fewer such names it is learned from all names that the table of common words
            has; with fewer of these too nothing is learned.
    """

    least: float = 0.0
    least_last: float = -0.35
    common: int = 3000
    ends: float = 0.12
    modifier_ends: float = 0.25
    general: float = 0.03
    sure_count: int = 800
    sure_chars: int = 7
    names: int = 20

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        if not all(0 <= share <= 1 for share in (self.ends, self.modifier_ends, self.general)):
            raise ValueError("ends, modifier_ends and general are shares between 0 and 1")
        if self.names < 1:
            raise ValueError("names is at least 1")


@dataclass(frozen=True, slots=True)
class WordUse:
    """How common words are used: ``benchmarks/word_use.py`` says what the numbers are."""

    places: dict[str, int]
    counts: NDArray[np.int32]
    ends: NDArray[np.float32]
    vectors: NDArray[np.float32]


@cache
def word_use() -> WordUse:
    """Read the table that comes with the package."""
    place = files("clin_edge.distill.teachers.terminology").joinpath("word_use.npz")
    with place.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
        words = table["words"].tobytes().decode().split("\n")
        ends, vectors = table["ends"] / np.float32(255), table["vectors"] / np.float32(127)
        counts = table["counts"]
    return WordUse({word: i for i, word in enumerate(words)}, counts, ends, vectors)


def everyday(
    names: Iterable[tuple[str, Forms]], settings: EverydaySettings, use: WordUse | None = None
) -> frozenset[str]:
    """Give the names that notes seldom mean as this label.

    Names come as a key and their forms: the key of one word is its form, or an acronym itself.
    Of several words it is their forms with blanks between; only names of two are looked at.

    A ridge regression learns, from names that are rare and long and so surely meant, against all
    common words that are no names, what the use of a name of this terminology looks like; a name
    whose own use does not look so is given. So are adjectives, which end no phrase, and words such
    as ``disease`` that end a large share of the longer names. A word too rare for the table is
    never given. Nothing but the names is looked at, so the answer depends on no note.
    """
    use = use or word_use()
    names = list(names)
    keys = {key for key, forms in names if len(forms) == 1}
    longer = {forms for _, forms in names if len(forms) > 1}
    first, last = Counter(f[0] for f in longer), Counter(f[-1] for f in longer)
    most = max(settings.general * len(longer), _GENERAL)
    found = {key for key in keys if last[key.casefold()] > most}
    scores = _scores(keys, settings, use)
    for key in keys & use.places.keys():
        at, folded = use.places[key], key.casefold()
        modifier = first[folded] >= 5 and first[folded] >= 3 * last[folded]
        ends = settings.modifier_ends if modifier else settings.ends
        if scores[at] < settings.least or use.ends[at] < ends:
            found.add(key)
    found |= {
        key
        for key, forms in names
        if len(forms) == 2
        and len(forms[1]) > 3  # the C of vitamin C says nothing
        and all(form in use.places for form in forms)
        and all(use.counts[use.places[form]] >= settings.common for form in forms)
        and scores[use.places[forms[1]]] < settings.least_last
    }
    return frozenset(found)


def _scores(keys: Collection[str], settings: EverydaySettings, use: WordUse) -> NDArray[np.float64]:
    """Give every word's score (W,): about 1 if it is used as the sure names are, -1 if not."""
    n = len(use.ends)
    known = np.zeros(n, bool)
    known[[use.places[key] for key in keys if key in use.places]] = True
    long = np.array([len(word) >= settings.sure_chars for word in use.places])
    sure = known & long & (use.counts <= settings.sure_count)
    if sure.sum() < settings.names:
        sure = known
    if sure.sum() < settings.names:
        return np.full(n, np.inf)
    # Both kinds weigh alike, however many there are of either; a name not sure is neither.
    weights = np.where(sure, n / (2 * sure.sum()), n / (2 * (~known).sum())) * (sure | ~known)
    x = np.hstack([use.vectors, np.ones((n, 1), np.float32)]).astype(np.float64)
    ridge = np.diag([0.01 * n] * use.vectors.shape[1] + [0.0])
    by_weight = (x * weights[:, None]).T
    return np.asarray(x @ np.linalg.solve(by_weight @ x + ridge, by_weight @ np.where(sure, 1, -1)))
