"""Tokens have exact places; spellings of one word meet in one form."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.distill.teachers.terminology.tokens import form, gap, tokenize, words

ALPHABET = st.sampled_from("abSs'’-/., \n\r\u00a0éß５²µ\u0301\u200d\u00adक्षी😀_9")


@pytest.mark.parametrize(
    "spellings",
    [
        ("allergy", "Allergies", "ALLERGIES", "allergy's"),
        ("metastasis", "metastases"),
        ("abscess", "abscesses"),
        ("rash", "rashes"),
        ("headache", "headaches", "Headache’s"),
        ("reflex", "reflexes"),
        ("oedème", "oede\u0300me", "OEDEMES"),
        ("MI", "MIs", "mi", "MI's"),
        ("metformin", "met\u00adformin", "ｍｅｔｆｏｒｍｉｎ"),
    ],
)
def test_spellings_of_one_word_meet(spellings: tuple[str, ...]) -> None:
    assert len({tokenize(spelling).forms for spelling in spellings}) == 1


@pytest.mark.parametrize("word", ["lupus", "abscess", "arthritis", "gas", "b12s"])
def test_what_is_no_plural_keeps_its_s(word: str) -> None:
    assert form(word) == word


@given(st.text(ALPHABET))
def test_tokens_lie_in_order_and_begin_and_end_a_word(text: str) -> None:
    tokens = tokenize(text)
    end_before = 0
    for start, end in zip(tokens.starts, tokens.ends, strict=True):
        assert end_before <= start < end
        end_before = end
        assert text[start].isalnum()
        assert start == 0 or not text[start - 1].isalnum()
        assert end == len(text) or not text[end].isalnum()
        # A mark belongs to the letter before it.
        assert end == len(text) or not unicodedata.category(text[end]).startswith("M")
    letters = [i for i, c in enumerate(text) if c.isalnum()]
    covered = [i for s, e in zip(tokens.starts, tokens.ends, strict=True) for i in range(s, e)]
    assert set(letters) <= set(covered)


@given(st.text(ALPHABET))
def test_a_form_does_not_depend_on_case_or_composition(text: str) -> None:
    lower = text.lower()
    assert tokenize(lower).forms == tokenize(unicodedata.normalize("NFD", lower)).forms


def test_a_possessive_belongs_to_its_word_and_not_to_its_letters() -> None:
    tokens = tokenize("Crohn's and Graves' disease")
    assert tokens.starts[:3] == (0, 8, 12)
    assert tokens.ends[:3] == (7, 11, 18)
    assert words("Crohn's MIs") == ("Crohn", "MIs")


@pytest.mark.parametrize(
    "between",
    [" ", "   ", "\t", "\n", "\r\n", " \n  ", "\u00a0", "\u200b", "-", "‑", "–", "-\n", "- ", " -"],
)
def test_what_any_two_words_of_a_term_may_stand_apart_by(between: str) -> None:
    assert gap(f"a{between}b", 1, 1 + len(between)) == ""


@pytest.mark.parametrize("between", ["\n\n", "\r\n\r\n", "\n \n", "\n\n\n", "\f", ". \n\n"])
def test_what_no_term_crosses(between: str) -> None:
    assert gap(f"a{between}b", 1, 1 + len(between)) is None


@pytest.mark.parametrize(
    ("between", "signs"),
    [(". ", "."), (" / ", "/"), ("’", "'"), (", ", ","), (" - ", "-"), ("\n- ", "-"), (" (", "(")],
)
def test_what_only_a_term_with_the_same_signs_crosses(between: str, signs: str) -> None:
    assert gap(f"a{between}b", 1, 1 + len(between)) == signs


def test_every_combining_mark_is_known() -> None:
    # The module looks for marks in two stretches of Unicode only.
    marks = [c for c in map(chr, range(0x110000)) if unicodedata.category(c).startswith("M")]
    assert [mark for mark in marks if len(tokenize(f"a{mark}b").forms) != 1] == []
