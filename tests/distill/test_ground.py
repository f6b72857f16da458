"""Mentions planted at known places: found there if within the bounds, nowhere if beyond them."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from clin_edge.core.spans import Span
from clin_edge.distill.grounding.ground import (
    Grounded,
    Mention,
    ground,
)

CARRIERS = (
    "He was admitted overnight because of",
    "Past medical history is notable for",
    "Her daughter called to ask about",
    "On the ward round we again discussed",
    "At discharge the summary still listed",
)
QUOTES = (
    "chronic obstructive pulmonary disease",
    "beta-blocker withdrawal",
    "Sjögren's syndrome",
    "metoprolol tartrate 25 mg",
    "left ventricular hypertrophy (severe)",
    'so-called "holiday heart" syndrome',
)
SEPARATORS = (". ", ".\n", ";\r\n\r\n", ".  ")


@st.composite
def planted(draw: DrawFn) -> tuple[str, str, str, Span]:
    """A text where a quote stands up to three times; the words before one of them; its place."""
    quote = draw(st.sampled_from(QUOTES))
    carriers = draw(st.permutations(CARRIERS))
    n_times = draw(st.integers(1, 3))
    picked = draw(st.integers(0, n_times - 1))
    others = [q for q in QUOTES if q != quote]
    text, places = draw(st.sampled_from(["", "\n", "HPI: "])), []
    for i, carrier in enumerate(carriers):
        said = quote if i < n_times else draw(st.sampled_from(others))
        if i < n_times:
            at = len(text) + len(carrier) + 1
            places.append(Span(at, at + len(quote)))
        text += f"{carrier} {said}{draw(st.sampled_from(SEPARATORS))}"
    near = " ".join(carriers[picked].split()[-draw(st.integers(3, 5)) :])
    return text, quote, near, places[picked]


def typo(word: str, kind: str, at: int) -> str:
    """Give ``word`` one edit away, after its first letter."""
    match kind:
        case "added":
            return word[:at] + "q" + word[at:]
        case "missing":
            return word[:at] + word[at + 1 :]
        case "replaced":
            return word[:at] + "q" + word[at + 1 :]
        case _:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


@st.composite
def respelt(draw: DrawFn, quote: str) -> str:
    """The quote in another form that folds alike."""
    changes = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))
    for change in changes:
        at = draw(st.integers(1, len(quote) - 1))
        match change:
            case 0:
                quote = quote.upper()
            case 1:
                quote = unicodedata.normalize(draw(st.sampled_from(["NFD", "NFKC"])), quote)
            case 2:
                quote = quote.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}").replace('"', "”")
            case 3:
                quote = quote.replace("-", draw(st.sampled_from("‐‑–—−")))
            case 4:
                quote = quote.replace(
                    " ", draw(st.sampled_from(["\n", "  ", "\r\n ", "\xa0", "\t"]))
                )
            case 5 if not unicodedata.combining(quote[at]):
                quote = quote[:at] + draw(st.sampled_from("\u00ad\u200b\u2060")) + quote[at:]
            case _:
                quote = f" {quote}\n"
    return quote


def spans(found: Grounded) -> list[Span]:
    return [entity.span for entity in found.entities]


@given(planted())
def test_a_copied_quote_is_found_exactly(drawn: tuple[str, str, str, Span]) -> None:
    text, quote, near, place = drawn
    found = ground(text, [Mention(quote, "X", near)], source="t")
    assert spans(found) == [place]
    assert [entity.source for entity in found.entities] == ["t"]
    assert (found.placed, found.dropped) == (Counter(exact=1), Counter())


@given(planted(), st.data())
def test_a_quote_in_another_form_is_found_at_its_place(
    drawn: tuple[str, str, str, Span], data: st.DataObject
) -> None:
    text, quote, near, place = drawn
    found = ground(text, [Mention(data.draw(respelt(quote)), "X", near)])
    assert spans(found) == [place]
    assert not found.placed["fuzzy"]


@given(planted(), st.data())
def test_a_text_in_another_form_gives_its_own_characters(
    drawn: tuple[str, str, str, Span], data: st.DataObject
) -> None:
    text, quote, near, place = drawn
    shown = data.draw(respelt(quote)).strip()
    text = text[: place.start] + shown + text[place.end :]
    found = ground(text, [Mention(quote, "X", near)])
    assert spans(found) == [Span(place.start, place.start + len(shown))]


@given(planted(), st.sampled_from(["added", "missing", "replaced", "swapped"]), st.data())
def test_a_typo_in_a_long_word_is_found_at_its_place(
    drawn: tuple[str, str, str, Span], kind: str, data: st.DataObject
) -> None:
    text, quote, near, place = drawn
    words = quote.split()
    long = [i for i, word in enumerate(words) if word.isalpha() and len(word) >= 7]
    i = data.draw(st.sampled_from(long))
    edges = [k for k in range(1, len(words[i]) - 1) if words[i][k] != words[i][k + 1]]
    words[i] = typo(words[i], kind, data.draw(st.sampled_from(edges)))
    found = ground(text, [Mention(" ".join(words), "X", near)], source="t")
    assert spans(found) == [place]
    assert [entity.source for entity in found.entities] == ["t/fuzzy"]


@pytest.mark.parametrize(
    ("quote", "said"),
    [
        ("beta blocker withdrawal", "beta-blocker withdrawal"),
        ("chest pain (severe)", "chest pain, severe"),
        ("chest pain severe", "chest pain - severe"),
        ("aspirin/clopidogrel", "aspirin (clopidogrel"),
        ("'chest pain'", "chest pain"),
        ("(aspirin)", "aspirin"),
        ("aspirin)", "aspirin"),
        ("metformin 500 mg", "metformin 500mg"),
        ("metformin, 500 mg", "metformin 500 mg"),
        ("hypertention", "hypertension"),
        ("chronc obstructive pulmonary disease", "chronic obstructive pulmonary disease"),
        ("diabetis mellitos type two and others", "diabetes mellitus type two and others"),
        ("Sjogren", "Sjögren"),
        ("5mg", "5 mg"),
        ("chest pain (seveer)", "chest pain (severe)"),
        ("(seveer) chest pain", "(severe) chest pain"),
        ("5 - 10 mg", "5-10 mg"),
    ],
)
def test_soft_signs_and_single_typos_are_within_the_bounds(quote: str, said: str) -> None:
    found = ground(f"He reports {said} today.", [Mention(quote, "X")])
    assert spans(found) == [Span(11, 11 + len(said))]


@pytest.mark.parametrize(
    ("quote", "said"),
    [
        ("metformin 500 mg", "metformin 850 mg"),
        ("2.5 mg", "25 mg"),
        ("25 mg", "2.5 mg"),
        ("5 mg", "2.5 mg"),
        ("5 mg", ".5 mg"),
        ("2 mg", "2.5 mg"),
        ("1 mg", "1,000 mg"),
        ("1-2 tablets", "1/2 tablets"),
        ("1 2 tablets", "1/2 tablets"),
        ("12 tablets", "1 2 tablets"),
        ("chronic obstructive pulmonary disease", "chronic pulmonary disease"),
        ("chronic pulmonary disease", "chronic obstructive pulmonary disease"),
        ("pulmonary chronic disease", "chronic pulmonary disease"),
        ("typical", "atypical"),
        ("atypical", "typical"),
        ("febrile", "afebrile"),
        ("symptomatic", "asymptomatic"),
        ("hyperkalemia", "hypokalemia"),
        ("hypertension", "hypotension"),
        ("hypertnsoin", "hypertension"),
        ("chornic obstrctive disease", "chronic obstructive disease"),
        ("feverr", "fever"),
        ("ileum", "ilium"),
        ("crème", "crèmo"),
        ("BP < 90", "BP > 90"),
        ("HA", "HALDOL"),
        ("ache", "headache"),
        ("aspirin/clopidogrel", "aspirin and/or clopidogrel"),
        ("chronci obstrcutive disease of lungs", "chronic obstructive disease of lungs"),
        ("DM", "T2DM"),
        ("B1", "B12"),
        ("no pain", "no. pain"),
        ("cafe\u0301", "cafe"),
        ("cafe", "cafe\u0301"),
        ("f", "ﬁbrosis"),
        ("2 tablets", "½ tablets"),
    ],
)
def test_what_the_text_says_otherwise_is_placed_nowhere(quote: str, said: str) -> None:
    for text in (said, f"He reports {said} today.", f"{said}\n{said}"):
        found = ground(text, [Mention(quote, "X", "reports")])
        assert not found.entities
        assert found.dropped.keys() <= {"not in the text", "only inside a word"}


@given(planted(), st.integers(0, 5))
def test_a_changed_meaning_is_placed_nowhere(
    drawn: tuple[str, str, str, Span], change: int
) -> None:
    text, quote, near, _ = drawn
    words = quote.split()
    changed = [
        words[1:] + words[:1],
        [words[0], "no", *words[1:]],
        ["q" + words[0], *words[1:]],
        [words[0] + "qq", *words[1:]],
        [*words, "7"],
        ["<", *words],
    ][change]
    found = ground(text, [Mention(" ".join(changed), "X", near)])
    assert not found.entities
    assert found.dropped == {"not in the text": 1}


COUGH = "Cough since May. No cough at night; the cough is dry."
FIRST, SECOND, THIRD = Span(0, 5), Span(20, 25), Span(40, 45)


@pytest.mark.parametrize(
    ("said", "places", "dropped"),
    [
        ([("cough", "No")], [SECOND], {}),
        ([("cough", "at night; the")], [THIRD], {}),
        ([("COUGH", "the")], [THIRD], {}),
        ([("Cough", "")], [FIRST], {}),
        # The words before it count for more than the case.
        ([("Cough", "night the")], [THIRD], {}),
        ([("cough", "")], [], {"ambiguous": 1}),
        ([("cough", "asthma with")], [], {"ambiguous": 1}),
        # As many claims as places leave no choice; one more is the same again.
        ([("cough", "")] * 2, [SECOND, THIRD], {}),
        ([("cough", "")] * 3, [SECOND, THIRD], {"repeated": 1}),
        ([("cough", ""), ("cough", "No")], [SECOND, THIRD], {}),
        ([("cough", "No")] * 2, [SECOND], {"repeated": 1}),
        ([("COUGH", "")], [FIRST], {}),  # no words before it: the start
        ([("COUGH", "")] * 2, [FIRST], {"ambiguous": 1}),
        ([("COUGH", "")] * 3, [FIRST, SECOND, THIRD], {}),
        ([("COUGH", "")] * 4, [FIRST, SECOND, THIRD], {"repeated": 1}),
        ([("COUGH", "of")], [], {"ambiguous": 1}),
    ],
)
def test_claims_and_places(
    said: list[tuple[str, str]], places: list[Span], dropped: dict[str, int]
) -> None:
    found = ground(COUGH, [Mention(quote, "SYMPTOM", near) for quote, near in said])
    assert spans(found) == places
    assert found.dropped == dropped
    assert found.placed.total() == len(places)


def test_one_choice_forces_the_next() -> None:
    text = "Of abcdefgh abcdefgx abcdefgxz"
    quotes = ["abcdefg", "abcdefgxy", "abcdefgxzz"]  # one edit from the first two, the last two...
    found = ground(text, [Mention(quote, "X") for quote in quotes])
    assert spans(found) == [Span(3, 11), Span(12, 20), Span(21, 30)]
    few = ground(text, [Mention(quote, "X") for quote in quotes[:2]])
    assert (few.entities, few.dropped) == ((), {"ambiguous": 2})


def test_of_two_claims_on_a_place_it_is_the_same_that_gets_it() -> None:
    text = "Stop of Metformin, METFORMIN or metFORMIN."
    said = [Mention("METFORMIN", "X", "of"), Mention("metformin", "X", "of")]
    assert ground(text, said, occurrences="all") == ground(text, said[::-1], occurrences="all")


def test_labels_do_not_compete() -> None:
    mentions = [Mention("cough", label) for label in "XXYZZZ"]
    found = ground(COUGH, mentions)
    assert [(e.span, e.label) for e in found.entities] == [
        *((SECOND, "X"), (SECOND, "Z"), (THIRD, "X"), (THIRD, "Z"))
    ]
    assert found.dropped == {"ambiguous": 1, "repeated": 1}


def test_a_typo_where_all_the_words_before_agree_beats_the_right_spelling_elsewhere() -> None:
    text = "No hypertension before. He now has hypertenson."
    misspelt = Span(35, 46)
    for near, place in ("He now has", misspelt), ("has", Span(3, 15)), ("she has", Span(3, 15)):
        found = ground(text, [Mention("hypertension", "DISEASE", near)])
        assert spans(found) == [place]


def test_more_words_before_it_win() -> None:
    text = "Continue metformin. He was told to continue Metformin."
    found = ground(text, [Mention("metformin", "X", "was told to continue")])
    assert spans(found) == [Span(44, 53)]


def test_all_occurrences() -> None:
    found = ground(COUGH, [Mention("cough", "X", "No")], source="t", occurrences="all")
    assert [(e.span, e.source) for e in found.entities] == [
        *((FIRST, "t/normalised"), (SECOND, "t"), (THIRD, "t"))
    ]
    assert found.placed == {"exact": 1}
