"""Words of a text with their exact places, in a form in which spellings of one word meet."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

# Combining marks lie below the first bound or among the variation selectors; looking there only
# takes 10 ms, looking at all of Unicode takes a tenth of a second.
_MARKS = [
    i
    for i in (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0))
    if unicodedata.category(chr(i)).startswith("M")
]
_RUNS = [[i for _, i in run] for _, run in groupby(enumerate(_MARKS), lambda p: p[1] - p[0])]
_MARK = "[" + "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in _RUNS) + "]"
# Soft hyphen, joiners and the like: invisible, and inside a word part of it.
_UNSEEN = "\u00ad\u200c\u200d\u2060\ufeff"
_WORD = rf"[^\W_]++(?:[{_UNSEEN}]*+(?:[^\W_]|{_MARK})++)*+"
_QUOTES, _HYPHENS = "'’‘＇", "-‐‑‒–−"
_TOKEN = re.compile(rf"({_WORD})(?:[{_QUOTES}][sS](?![^\W_]|{_MARK}))?")
_ACRONYM_PLURAL = re.compile(r"[A-Z0-9]{2,}s")

_BREAK = r"(?:\r\n|[\n\r\x85\u2028])"
_BLANK = r"(?:[^\S\n\r\v\f\x1c-\x1e\x85\u2028\u2029]|\u200b)"
_BLANKS = rf"{_BLANK}*+(?:{_BREAK}{_BLANK}*+)?+"
_SOFT_GAP = re.compile(rf"[{_HYPHENS}]?{_BLANKS}|{_BLANK}++[{_HYPHENS}]")
_BREAKS = re.compile(rf"{_BREAK}|[\v\f\x1c-\x1e\u2029]")
_FOLDED = str.maketrans({**dict.fromkeys(_QUOTES, "'"), **dict.fromkeys(_HYPHENS, "-")})


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of one text: token ``i`` is ``text[starts[i]:ends[i]]``, compared by ``forms[i]``.

    A token is a run of letters and digits of any script with their combining marks and what is
    invisible between them, and a possessive ``'s`` at its end.
    """

    forms: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def tokenize(text: str) -> Tokens:
    """Cut a text into tokens; takes time in proportion to its length.

    >>> tokenize("Crohn's disease, naïve")
    Tokens(forms=('crohn', 'disease', 'naive'), starts=(0, 8, 17), ends=(7, 15, 22))
    """
    found = list(_TOKEN.finditer(text))
    return Tokens(
        tuple([form(match[1]) for match in found]),
        tuple([match.start() for match in found]),
        tuple([match.end() for match in found]),
    )


def words(text: str) -> tuple[str, ...]:
    """Give the tokens' own letters: possessive and invisible signs dropped, NFKC."""
    return tuple(_letters(match[1]) for match in _TOKEN.finditer(text))


def _letters(word: str) -> str:
    if word.isascii():
        return word
    return unicodedata.normalize("NFKC", "".join(c for c in word if c not in _UNSEEN))


@lru_cache(maxsize=1 << 17)
def form(word: str) -> str:
    """Give the form in which spellings of a word meet: NFKC, case, accents and plural folded.

    Plural, a light rule after Harman's S-stemmer (JASIS 42, 1991), for words of letters, four or
    more: ``-ies`` becomes ``-y``; ``-sses``, ``-shes`` and ``-xes`` lose ``-es``; ``-sis`` becomes
    ``-se``, where ``-ses`` leads as well (metastasis, metastases); any other ``-s`` is dropped but
    for ``-ss``, ``-us`` and ``-is``. Terms and text go through it alike, so a form need not be a
    word. Unlike Harman's it knows ``-sis``, and an acronym's plural (``MIs``) of any length.

    >>> [form(w) for w in ("Allergies", "abscesses", "metastases", "metastasis", "MIs", "lupus")]
    ['allergy', 'abscess', 'metastase', 'metastase', 'mi', 'lupus']
    """
    if word.isascii():
        folded = word.casefold()
    else:
        apart = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", word).casefold())
        bare = "".join(c for c in apart if not unicodedata.combining(c) and c not in _UNSEEN)
        folded = unicodedata.normalize("NFC", bare)
    if _ACRONYM_PLURAL.fullmatch(word):
        folded = folded[:-1]
    elif len(folded) > 3 and folded[-1] == "s" and folded.isalpha():
        folded = _singular(folded)
    return _american(folded) if len(folded) > 4 else folded


def _american(word: str) -> str:
    word = word.replace("ae", "e").replace("oe", "e").replace("sulph", "sulf")
    return word[:-3] + "or" if word.endswith("our") else word


def _singular(word: str) -> str:
    if word.endswith(("ss", "us")):
        return word
    if word.endswith("sis"):
        return word[:-2] + "e"
    if word.endswith("is"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "xes")):
        return word[:-2]
    return word[:-1]


def gap(text: str, start: int, end: int) -> str | None:
    """Say what separates two neighbouring tokens.

    Returns:
        ``""`` for what any term's words may stand apart by: blanks, one line break, a hyphen that
        touches a word. ``None`` for what no term crosses: two line breaks, a new page. Otherwise
        the signs between, quotes and hyphens folded, without blanks.
    """
    if end - start == 1 and text[start] == " ":
        return ""
    if _SOFT_GAP.fullmatch(text, start, end):
        return ""
    between = text[start:end]
    breaks = _BREAKS.findall(between)
    if len(breaks) > 1 or any(b in "\v\f\x1c\x1d\x1e\u2029" for b in breaks):
        return None
    return "".join(between.translate(_FOLDED).replace("\u200b", "").split())


_LOCANT_WORDS = "alpha beta gamma delta omega cis trans tert iso dl ortho meta para"
_LOCANTS = frozenset(_LOCANT_WORDS.split())
_TOUCHING = frozenset(_HYPHENS)


def is_locant(text: str, tokens: Tokens, i: int) -> bool:
    """Tell whether token ``i`` says where on the molecule: ``L-``, ``5-`` or ``alpha-``.

    It touches the next token by one hyphen.
    """
    if text[tokens.ends[i] : tokens.starts[i + 1]] not in _TOUCHING:
        return False
    word = tokens.forms[i]
    return len(word) == 1 or (word.isdigit() and len(word) < 3) or word in _LOCANTS


def without_possessive(text: str, start: int, end: int) -> int:
    """Give the end of ``text[start:end]`` without a possessive ``'s``."""
    return end - 2 if end - start > 2 and text[end - 2] in _QUOTES else end


def joined(text: str, tokens: Tokens) -> tuple[str, ...]:
    """Give the words that two tokens would make if no hyphen stood between them."""
    return tuple(word for _, word in _halves(text, tokens, _TOUCHING))


def join_hyphens(
    text: str, tokens: Tokens, closed: frozenset[str], *, blanks: bool = False
) -> Tokens:
    """Make one token of two that a hyphen joins to a word of ``closed``: thrombo-embolism.

    ``blanks``: where a blank stands between them as well.
    """
    apart = _TOUCHING | {" "} if blanks else _TOUCHING
    pairs = {i: word for i, word in _halves(text, tokens, apart) if word in closed}
    if not pairs:
        return tokens
    forms, starts, ends = [], [], []
    i = 0
    while i < len(tokens.forms):
        two = i in pairs
        forms.append(pairs.get(i, tokens.forms[i]))
        starts.append(tokens.starts[i])
        ends.append(tokens.ends[i + two])
        i += 1 + two
    return Tokens(tuple(forms), tuple(starts), tuple(ends))


def _halves(text: str, tokens: Tokens, apart: frozenset[str]) -> list[tuple[int, str]]:
    forms, starts, ends = tokens.forms, tokens.starts, tokens.ends
    return [
        (i, _american(forms[i] + forms[i + 1]))
        for i in range(len(forms) - 1)
        if starts[i + 1] - ends[i] == 1
        and text[ends[i]] in apart
        and len(forms[i]) > 2
        and len(forms[i + 1]) > 2
        and forms[i].isalpha()
        and forms[i + 1].isalpha()
    ]
