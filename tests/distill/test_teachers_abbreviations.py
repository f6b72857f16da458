"""Abbreviations that a note defines, found and followed through the note."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.distill.teachers.terminology.abbreviations import definitions, long_form
from clin_edge.distill.teachers.terminology.match import Dictionary, MatchSettings, Term


def defined(text: str) -> list[tuple[str, str]]:
    return [
        (d.short, text[d.long_at.start : d.long_at.end])
        for d in definitions(text)
        if text[d.short_at.start : d.short_at.end] == d.short
    ]


@pytest.mark.parametrize(
    ("text", "long", "short"),
    [
        ("Has chronic kidney disease (CKD).", "chronic kidney disease", "CKD"),
        ("Has CKD (chronic kidney disease).", "chronic kidney disease", "CKD"),
        ("chronic kidney disease (CKD; stage 3)", "chronic kidney disease", "CKD"),
        ("on sirolimus (SRL) since", "sirolimus", "SRL"),
        ("5-fluorouracil (5-FU)", "5-fluorouracil", "5-FU"),
        ("of torsade de pointes (TdP)", "torsade de pointes", "TdP"),
        ("obstructive pulmonary disease\n(OPD)", "obstructive pulmonary disease", "OPD"),
    ],
)
def test_a_definition_and_its_places(text: str, long: str, short: str) -> None:
    assert defined(text) == [(short, long)]


@pytest.mark.parametrize(
    "text",
    [
        "heart disease (CKD)",
        "No chronic kidney. Disease (CKD)",  # a sentence ends within
        "rat (rat)",
        "the kidney (see below)",
        "CKD (CKD)",
        "chronic kidney disease (12)",
        "(CKD)",
        "()",
    ],
)
def test_what_defines_nothing(text: str) -> None:
    assert defined(text) == []


WORDS = st.lists(
    st.text("abcdexyz", min_size=4, max_size=8),
    min_size=2,
    max_size=4,
    unique_by=lambda word: word[0],
)


@given(st.lists(st.sampled_from(["qqq", "was 7", "a-b"]), max_size=3), WORDS)
def test_planted_initials_are_found(before: list[str], words: list[str]) -> None:
    short, long = "".join(word[0] for word in words).upper(), " ".join(words)
    text = " ".join([*before, long]) + f" ({short})"
    (only,) = defined(text)
    assert only[0] == short
    # The shortest reading may begin later, never earlier.
    assert long.endswith(only[1])
    assert only[1][0].upper() == short[0]


@given(st.text("aAbB -", max_size=12), st.text("aAbB -", max_size=30))
def test_a_long_form_is_an_end_that_fits(short: str, long: str) -> None:
    def fits(end: str) -> bool:
        """Try every way to place the letters, by search."""
        letters = [c for c in short.lower() if c.isalnum()]
        if not letters or not end or end[0].lower() != letters[0]:
            return False
        at = 0
        for letter in letters[1:]:
            at = end.lower().find(letter, at + 1)
            if at < 0:
                return False
        return True

    found = long_form(short, long) if short[:1].isalnum() else None
    if found is not None:
        assert long.endswith(found)
        assert fits(found)
        assert len(found) > len(short)


def test_time_grows_with_the_text_and_no_faster() -> None:
    for piece in ("(A", "a (B) ", "a" * 150 + " (AB) ", "AB (", "(" * 3 + ")"):
        start = time.process_time()
        list(definitions(piece * (400_000 // len(piece))))
        assert time.process_time() - start < 10


# --- followed through the note -----------------------------------------------------------------

TERMS = [
    Term("chronic kidney disease", "k", "DISEASE"),
    Term("mineral density", "m", "DISEASE"),
    Term("BMD", "b", "DISEASE"),
    Term("sirolimus", "s", "MEDICATION"),
]


def found(text: str, settings: MatchSettings | None = None) -> list[tuple[str, str]]:
    matches = Dictionary(TERMS, settings).find(text)
    return [(text[m.span.start : m.span.end], m.code) for m in matches]


def test_the_short_form_bears_the_code_of_the_long_form_everywhere() -> None:
    text = "CKD. Chronic kidney disease (CKD). No CKDs; ckd, CKDx, xCKD, CKD-related"
    assert found(text) == [
        ("CKD", "k"),
        ("Chronic kidney disease", "k"),
        ("CKD", "k"),
        ("CKDs", "k"),
        ("CKD", "k"),
    ]
    off = MatchSettings(abbreviations=False)
    assert found(text, off) == [("Chronic kidney disease", "k")]


def test_a_long_form_that_is_no_term_unmakes_the_short_form() -> None:
    assert found("BMD") == [("BMD", "b")]
    assert found("bone mineral density (BMD): BMD") == [("mineral density", "m")]
    assert found("on anti sirolimus (AS), AS") == [("sirolimus", "s")]


def test_nothing_is_kept_from_one_note_to_the_next() -> None:
    shared = Dictionary(TERMS)
    assert len(list(shared.find("sirolimus (SRL), SRL"))) == 3
    assert list(shared.find("SRL")) == []
