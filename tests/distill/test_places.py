"""Where a quote stands: whole words only, and what counts as the same words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.spans import Span
from clin_edge.distill.grounding.fold import fold
from clin_edge.distill.grounding.places import Places, words
from strategies import texts


@given(texts(), st.integers(0, 200), st.integers(1, 30))
def test_a_place_says_the_quote_and_is_found_again(text: str, at: int, length: int) -> None:
    quote = text[at : at + length]
    wanted = fold(quote).text
    places = Places(text).normalised(quote)
    assert places == sorted(set(places))
    for place in places:
        said = text[place.start : place.end]
        assert fold(said).text == wanted
        assert place in Places(text).normalised(said)
    assert Places(text).holds(quote) or not places


@given(texts(), st.text(max_size=12), st.integers(1, 3))
def test_a_limit_gives_the_first_ones(text: str, quote: str, limit: int) -> None:
    view = Places(text + quote)
    assert view.normalised(quote, limit) == view.normalised(quote)[:limit]
    assert view.fuzzy(quote, limit) == view.fuzzy(quote)[:limit]


@given(texts(), st.text(alphabet="metforinaspg 5.,/-(", min_size=1, max_size=12))
def test_what_is_found_cuts_no_word(text: str, quote: str) -> None:
    for around in ("", "x", "7"):
        shown = f"{text} {around}{quote}{around}"
        view = Places(shown)
        for place in (*view.normalised(quote), *view.fuzzy(quote)):
            for at in (place.start, place.end):
                pair = shown[at - 1 : at + 1] if at else ""
                assert len(pair) < 2 or not (pair.isalpha() or pair.isdecimal())


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        ("HA, HALDOL", "ha", [(0, 2)]),
        ("2.5 mg and 5 mg", "5 mg", [(11, 15)]),
        (".5 mg, 0,5 mg", "5 mg", []),
        ("No.5 and p.o.5", "5", [(3, 4), (13, 14)]),
        ("1,000 units", "000 units", []),
        ("1/2 tablets", "2 tablets", []),
        ("1/2 tablets", "1/2 tablets", [(0, 11)]),
        ("½ tablets", "1/2 tablets", [(0, 9)]),
        ("½ tablets", "2 tablets", []),
        ("20/12.5 mg", "12.5 mg", []),
        ("500mg bid", "500", [(0, 3)]),
        ("500mg bid", "mg", [(3, 5)]),
        ("500mg bid", "00mg", []),
        ("T2DM, DM", "DM", [(6, 8)]),
        ("x10days 10days", "days", [(10, 14)]),
        ("12.5mg", "mg", [(4, 6)]),
        ("B12 B1", "B1", [(4, 6)]),
        ("Crohn's disease", "Crohn", [(0, 5)]),
        ("non-diabetic", "diabetic", [(4, 12)]),
        ("ﬁne", "f", []),
        ("½ tablet", "2 tablet", []),
        ("Pain…", "pain.", []),
        ("e\u0301tat e", "e", [(6, 7)]),
        ("a  b\na b", "a b", [(0, 4), (5, 8)]),
        ("aa aa aa", "aa aa", [(0, 5), (3, 8)]),
        ("met\u00adformin\u00ad.", "metformin", [(0, 10)]),
        ("(aspirin)", "(aspirin)", [(0, 9)]),
        ("aspirin", "(aspirin)", []),
        ("x", "", []),
        ("x", "-", []),
        ("", "x", []),
    ],
)
def test_normalised(text: str, quote: str, found: list[tuple[int, int]]) -> None:
    assert Places(text).normalised(quote) == [Span(*place) for place in found]


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        ("chest-pain", "chest pain", [(0, 10)]),
        ("(severe) pain", "(seveer) pain", [(0, 13)]),
        ("severe pain", "(seveer) pain", [(0, 11)]),
        ("metformin 1-2 tabs", "metfromin 1 - 2 tabs", [(0, 18)]),
        ("metformin 1/2 tabs", "metfromin 1 - 2 tabs", []),
        ("metformin 1 2 tabs", "metfromin 1 - 2 tabs", []),
        ("hypertensoin, hypertention", "hypertension", [(0, 12), (14, 26)]),
        ("hypertensive", "hypertension", []),
        ("chest ()/ pain", "chest pain", [(0, 14)]),
        ("chest ()/- pain", "chest pain", []),
        ("chest ( ) pain", "chest pain", []),
        ("aspirins500", "aspirin 500", [(0, 11)]),
        ("feverx", "feverxx", [(0, 6)]),
        ("fever", "feverx", []),
        ("a b c", "a b c d", []),
        ("c", "b c", []),
        ("x", "", []),
        ("", "x", []),
    ],
)
def test_fuzzy(text: str, quote: str, found: list[tuple[int, int]]) -> None:
    assert Places(text).fuzzy(quote) == [Span(*place) for place in found]


def test_agreement_counts_the_words_right_before() -> None:
    text = "No chest pain; (chest) pain of 2.5 days: pain"
    view = Places(text)
    place = Span(41, 45)
    for near, agreed in [
        ("days", 1),
        ("2.5 DAYS:", 2),
        ("for 2.5 days", 2),
        ("chest pain of 2.5 days", 5),
        ("days 2.5", 0),
        ("", 0),
    ]:
        assert view.agreement(place, words(near)) == agreed
    assert view.agreement(Span(0, 2), ["no"]) == 0
    assert view.opens(Span(0, 2))
    assert not view.opens(place)
    assert Places("-- a").opens(Span(3, 4))


def test_words() -> None:
    assert words("Takes “2.5 mg” b.i.d., Naïve\nT-cells_x!") == [
        *("takes", "2.5", "mg", "b", "i", "d", "nai\u0308ve", "t", "cells", "x")
    ]
