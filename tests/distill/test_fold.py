"""The folded form of a text, and the exact way back to its characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from itertools import groupby, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clin_edge.distill.grounding.fold import fold
from strategies import texts

UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
ODD = st.sampled_from(
    [
        *("e\u0301", "é", "a\u0323\u0307", "\u0301", "\u0345", "ᾳ", "각", "각", "ｶﾞ", "ガ"),
        *(
            "ﬁ",
            "ŉ",
            "ß",
            "ẞ",
            "İ",
            "ς",
            "Σ",
            "µ",
            "½",
            "²",
            "…",
            "¨",
            "\ufdfa",
            "𝔄",
            "🙂",
            "👩🏽\u200d⚕️",
        ),
        *(UNSEEN, "e\u0301\u00ad\u0323", " \u0301", "\r\n", "\xa0", "\u3000", "\u2028", "\x85"),
        *("“", "’", "–", "—", "-", "'", '"', "`", "a", "B", "7", " "),
    ]
)
ANY = st.one_of(texts(), st.lists(st.one_of(ODD, st.characters(codec="utf-8"))).map("".join))


def plain(text: str) -> str:
    """Fold a whole text at once, without a way back: what ``fold`` should say."""
    for unseen in UNSEEN:
        text = text.replace(unseen, "")
    text = unify(unicodedata.normalize("NFD", text))
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join(unify(text).split())


def unify(text: str) -> str:
    quotes = ("'", "’‘‛ʼ´`′＇"), ('"', "“”„‟«»″＂")
    for sign, forms in (*quotes, ("-", "‐‑‒–—―−﹣－"), ("/", "⁄∕")):
        for form in forms:
            text = text.replace(form, sign)
    return text


@given(ANY)
@example("x\u00ad\u0301")
@example("a\u0301\u00ad\u0323")
@example("a ¨\u0323b")
@example("ｶ\u0301ﾞ")
def test_it_folds_as_if_the_whole_text_were_folded_at_once(text: str) -> None:
    assert fold(text).text == plain(text)


@given(ANY)
def test_every_character_knows_those_it_comes_from(text: str) -> None:
    folded = fold(text)
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    places = list(zip(folded.starts, folded.ends, strict=True))
    for (start, end), group in groupby(range(len(places)), key=places.__getitem__):
        said = "".join(folded.text[i] for i in group)
        assert 0 <= start < end <= len(text)
        # A blank, or a sign that decomposes to one, is stripped where it stands alone.
        assert said.strip() == fold(text[start:end]).text


@given(ANY)
def test_its_places_go_forward_and_what_is_between_them_is_invisible(text: str) -> None:
    folded = fold(text)
    places = list(dict.fromkeys(zip(folded.starts, folded.ends, strict=True)))
    for (start, end), (next_start, next_end) in pairwise(places):
        assert start <= next_start
        assert end <= next_end
        assert fold(text[end:next_start]).text == ""


@given(ANY)
def test_folding_twice_changes_nothing_more(text: str) -> None:
    once = fold(text)
    twice = fold(once.text)
    assert twice.text == once.text


@given(ANY, st.sampled_from(["NFC", "NFD"]))
def test_canonical_forms_fold_alike(text: str, form: str) -> None:
    assert fold(unicodedata.normalize(form, text)).text == fold(text).text


@given(ANY, st.sampled_from(["NFKC", "NFKD"]))
def test_compatibility_forms_fold_alike(text: str, form: str) -> None:
    # These few lose their meaning as signs when they are decomposed.
    text = "".join(c for c in text if c not in "´\u1ffd″")
    assert fold(unicodedata.normalize(form, text)).text == fold(text).text


@given(ANY, st.sampled_from([str.upper, str.lower, str.casefold]))
def test_case_folds_alike(text: str, change: Callable[[str], str]) -> None:
    text = text.replace("ı", "")  # its capital is I, which is i's
    assert fold(change(text)).text == fold(text).text


@given(ANY, ANY)
def test_texts_fold_apart_where_a_word_parts_them(first: str, second: str) -> None:
    a, b, whole = fold(first), fold(second), fold(f"{first} x {second}")
    assert whole.text == f"{a.text} x {b.text}".strip()
    shift = len(first) + 3
    if b.text:
        n = len(b.text)
        assert whole.starts[-n:] == tuple(start + shift for start in b.starts)
        assert whole.ends[-n:] == tuple(end + shift for end in b.ends)


@pytest.mark.parametrize(
    ("text", "folded", "starts", "ends"),
    [
        ("", "", (), ()),
        (" \r\n\t\xa0", "", (), ()),
        ("\u00ad\ufeff", "", (), ()),
        ("Aß", "ass", (0, 1, 1), (1, 2, 2)),
        ("ﬁb", "fib", (0, 0, 1), (1, 1, 2)),
        ("ŉ", "'n", (0, 0), (1, 1)),
        ("İ", "i\u0307", (0, 0), (1, 1)),
        ("ΟΔΟΣ", "οδοσ", (0, 1, 2, 3), (1, 2, 3, 4)),
        ("οδός", "οδο\u0301σ", (0, 1, 2, 2, 3), (1, 2, 3, 3, 4)),
        ("e\u0301x", "e\u0301x", (0, 0, 2), (2, 2, 3)),
        ("éx", "e\u0301x", (0, 0, 1), (1, 1, 2)),
        ("\u0301x", "\u0301x", (0, 1), (1, 2)),
        ("a \r\n b", "a b", (0, 1, 5), (1, 5, 6)),
        ("\n a\xa0", "a", (2,), (3,)),
        ("met\u00adform", "metform", (0, 1, 2, 4, 5, 6, 7), (1, 2, 3, 5, 6, 7, 8)),
        ("🙂𝔄", "🙂a", (0, 1), (1, 2)),
        ("5\u202fmg", "5 mg", (0, 1, 2, 3), (1, 2, 3, 4)),
        ("“A”–’", '"a"-\'', (0, 1, 2, 3, 4), (1, 2, 3, 4, 5)),
    ],
)
def test_examples(text: str, folded: str, starts: tuple[int, ...], ends: tuple[int, ...]) -> None:
    found = fold(text)
    assert (found.text, found.starts, found.ends) == (folded, starts, ends)


def test_it_shows_no_text() -> None:
    assert "metformin" not in repr(fold("metformin"))


@pytest.mark.parametrize(
    "text", ["\u00ad", "e\u0301", "\u0301", "a\u00ad", "a", " ", "\u00ad\u0301"]
)
def test_long_runs_take_linear_time(text: str) -> None:
    # A quadratic pass over these would take minutes, not a fraction of a second.
    assert len(fold(text * 50_000).text) <= 100_000
