"""Dictionary terms are found at their exact places, the longest first, and no others."""

import random
import sys
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import MissingInstallError, TeacherError
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.teachers.terminology.match import (
    Dictionary,
    Match,
    MatchSettings,
    Term,
    dictionary_teacher,
)


def dictionary(*names: str, settings: MatchSettings | None = None) -> Dictionary:
    return Dictionary([Term(name, f"c{i}", "L") for i, name in enumerate(names)], settings)


def found(text: str, *names: str) -> list[str]:
    return [text[m.span.start : m.span.end] for m in dictionary(*names).find(text)]


# --- planted terms are found where they were planted -------------------------------------------

PLANTED = (
    ("zolpidem",),
    ("atrial", "fibrillation"),
    ("fièvre", "aiguë"),
    ("acute", "kidney", "failure"),
    ("ケトン", "体"),
)
# No letter of it can make a word of a planted term.
FILLER = st.text(st.sampled_from("xyqj XYQJ059 \n\r\t.,;:()/-'’é\u0301\u200d😀👩‍⚕️_"), max_size=25)
GAPS = st.sampled_from([" ", "  ", "\t", "\n", "\r\n", " \n ", "-", "‑", "\u00a0", "-\n"])
BEFORE = st.sampled_from([" ", "\n", "(", ". ", "😀", "/", "-", "\t", '"'])
AFTER = st.sampled_from([" ", "\n", ")", ". ", "😀", "/", ", ", "\r\n", "-", '"'])
ENDINGS = st.sampled_from(["", "", "s"])


@st.composite
def spelled(draw: st.DrawFn) -> tuple[int, str]:
    """A term's number, and one of the ways to write it."""
    number = draw(st.integers(0, len(PLANTED) - 1))
    *first, last = PLANTED[number]
    if last.isascii():
        last += draw(ENDINGS)
    text = "".join(word + draw(GAPS) for word in first) + last
    text = draw(st.sampled_from([text, text.lower(), text.upper(), text.title()]))
    return number, unicodedata.normalize("NFD", text) if draw(st.booleans()) else text


@given(st.lists(st.tuples(FILLER, BEFORE, spelled(), AFTER)), FILLER)
def test_planted_terms_are_found_at_their_exact_places(
    pieces: list[tuple[str, str, tuple[int, str], str]], tail: str
) -> None:
    text, planted = "", []
    for filler, before, (number, spelling), after in pieces:
        text += filler + before
        planted.append((len(text), len(text) + len(spelling), f"c{number}"))
        text += spelling + after
    text += tail
    matches = list(dictionary(*map(" ".join, PLANTED)).find(text))
    assert [(m.span.start, m.span.end, m.code) for m in matches] == planted


# --- which matches are kept --------------------------------------------------------------------

WORDS = st.sampled_from(["aax", "bbx", "ccx"])


def kept_by_oracle(tokens: list[str], ends: list[bool], terms: set[tuple[str, ...]]) -> list[Span]:
    """Try every stretch of tokens, longest first; ``ends[i]``: a sentence ends after token i."""
    stretches = [
        (i, j)
        for i in range(len(tokens))
        for j in range(i + 1, len(tokens) + 1)
        if tuple(tokens[i:j]) in terms and not any(ends[i : j - 1])
    ]
    kept: list[tuple[int, int]] = []
    for i, j in sorted(stretches, key=lambda s: (s[0] - s[1], s[0])):
        if all(j <= a or b <= i for a, b in kept):
            kept.append((i, j))
    # Every token and every gap is as long as any other.
    return [Span(5 * i, 5 * j - 2) for i, j in sorted(kept)]


@given(
    st.sets(st.lists(WORDS, min_size=1, max_size=4).map(tuple), max_size=8),
    st.lists(st.tuples(WORDS, st.booleans()), max_size=14),
)
def test_the_longest_then_leftmost_is_kept(
    terms: set[tuple[str, ...]], sentence: list[tuple[str, bool]]
) -> None:
    tokens, ends = [word for word, _ in sentence], [end for _, end in sentence]
    text = "".join(word + (". " if end else "  ") for word, end in sentence)
    matches = dictionary(*sorted(map(" ".join, terms))).find(text)
    assert [m.span for m in matches] == kept_by_oracle(tokens, ends, terms)


@pytest.mark.parametrize(
    "text",
    [
        "in his chest. Pain began",
        "chest; pain",
        "chest? pain",
        "chest\n\npain",
        "chest\r\n\r\npain",
        "chest\n- pain",
        "chest - pain",
        "chest/pain",
        "chest, pain",
        "(chest) pain",
        "chest\fpain",
        "chestpain",
        "chest painful",
        "xchest pain",
        "chest_pain",
    ],
)
def test_no_match_crosses_the_end_of_a_sentence_or_cuts_a_word(text: str) -> None:
    assert found(text, "chest pain") == []


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("E. coli sepsis", "an E. coli sepsis.", "E. coli sepsis"),
        ("E. coli sepsis", "an E coli sepsis.", "E coli sepsis"),
        ("amoxicillin / clavulanate", "on amoxicillin/clavulanate", "amoxicillin/clavulanate"),
        ("amoxicillin / clavulanate", "on amoxicillin-clavulanate", "amoxicillin-clavulanate"),
        ("Graves' disease", "has Graves’ disease", "Graves’ disease"),
        ("Graves' disease", "has Graves disease", "Graves disease"),
        ("Crohn disease", "has Crohn's disease", "Crohn's disease"),
        ("diabetes, type 2", "diabetes type 2", "diabetes type 2"),
        ("anaemia (chronic)", "with anaemia (chronic).", "anaemia (chronic"),
    ],
)
def test_the_terms_own_signs_may_stand_or_be_left_out(name: str, text: str, place: str) -> None:
    assert found(text, name) == [place]


# --- noise -------------------------------------------------------------------------------------


def test_an_acronym_needs_its_capitals() -> None:
    names = ("MS", "AIDS", "diabetes")
    assert found("MS, MSs, MS's, AIDS", *names) == ["MS", "MSs", "MS", "AIDS"]
    assert found("ms, Ms., mS, aids, AIDs, AID", *names) == []


def test_a_possessive_is_left_outside_unless_the_name_has_one() -> None:
    assert found("cocaine's; Zoln’s", "cocaine", "Zoln's") == ["cocaine", "Zoln’s"]


def test_capitals_throughout_say_nothing() -> None:
    assert found("zinc and a pm", "ZINC", "PM", "IRON SUCROSE") == ["zinc"]
    assert found("zinc and a pm", "ZINC", "PM", "iron sucrose") == []


def test_acronyms_may_be_longer_if_so_set() -> None:
    names = [Term(name, "c", "L") for name in ("HELLP", "diabetes", "asthma")]
    longer = Dictionary(names, MatchSettings(acronym_chars=5))
    assert len(list(Dictionary(names).find("hellp"))) == 1
    assert len(list(longer.find("hellp"))) == 0


@pytest.mark.parametrize("name", ["", "--", "12 345", "of the", "This", "All", "Pb", "ab"])
def test_what_is_no_term(name: str) -> None:
    assert len(dictionary(name, "diabetes", "asthma")) == 2


def test_the_users_stop_list_drops_a_name_in_any_form_and_only_whole() -> None:
    stop = MatchSettings(stop=frozenset({"disease"}))
    kept = dictionary("Disease", "heart disease", settings=stop)
    assert [m.code for m in kept.find("Diseases; heart disease")] == ["c1"]
    assert found("diseases", "disease") == ["diseases"]


def test_terms_too_long_for_a_note_are_left_out() -> None:
    assert len(dictionary(" ".join(["kidney"] * 17), " ".join(["kidney"] * 16))) == 1


@pytest.mark.parametrize(("shortest", "longest", "acronym"), [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_settings_refuse_what_cannot_be(shortest: int, longest: int, acronym: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        MatchSettings(min_chars=shortest, max_tokens=longest, acronym_chars=acronym)


# --- senses, teachers --------------------------------------------------------------------------


def test_senses_that_differ_give_both_labels_and_the_first_code() -> None:
    terms = [
        Term("Vertigo", "2", "SYMPTOM"),
        Term("vertigo", "1", "DISEASE"),
        Term("VERTIGOS", "3", "SYMPTOM"),
    ]
    assert list(Dictionary(terms).find("a vertigo")) == [Match(Span(2, 9), "DISEASE|SYMPTOM", "2")]


def test_case_tells_senses_apart() -> None:
    terms = [Term("ACNE", "1", "X"), Term("acne", "2", "Y"), Term("asthma", "3", "Y")]
    matches = list(Dictionary(terms).find("acne ACNE"))
    assert [(m.label, m.code) for m in matches] == [("Y", "2"), ("X|Y", "1")]


def test_a_teacher_gives_entities_with_its_name_and_the_code() -> None:
    terms = [Term("lithium", "42", "MEDICATION")]
    teacher = dictionary_teacher("mine", {"MEDICATION"}, terms, place=Path("x"))
    item = teacher.read(Note("n", "On Lithium."))
    assert item.entities == (Entity(Span(3, 10), "MEDICATION", 1.0, "mine:42"),)
    assert item.marked == {"MEDICATION"}
    assert teacher.read(Note("n", "")).entities == ()


def test_a_teacher_without_terms_is_refused() -> None:
    with pytest.raises(TeacherError, match=r"^here: holds no usable term for mine"):
        dictionary_teacher("mine", {"L"}, [Term("12", "1", "L")], place=Path("here"))


def test_a_missing_automaton_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ahocorasick_rs", None)
    with pytest.raises(MissingInstallError, match=r"pip install 'clin-edge\[teachers\]'"):
        dictionary("gout")


def test_threads_share_a_dictionary() -> None:
    shared = dictionary("atrial fibrillation", "zolpidem", "fibrillation")
    texts = [f"{'x ' * i} atrial fibrillation, zolpidem" for i in range(200)]
    alone = [list(shared.find(text)) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: list(shared.find(text)), texts)) == alone


@pytest.mark.parametrize(
    "piece", ["kidney ", "kidney\n\n", " ", "a\u00ad", "\u00ad", "'s", "a'", "-", "a\u0301", "é"]
)
def test_time_grows_with_the_text_and_no_faster(piece: str) -> None:
    # Terms that begin alike make each place of the text try every length.
    shared = dictionary(*(" ".join(["kidney"] * n + ["stone"]) for n in range(15)), "kidney kidney")

    def seconds(n_chars: int) -> float:
        text = piece * (n_chars // len(piece))
        start = time.process_time()
        list(shared.find(text))
        return time.process_time() - start

    # Quadratic time would take hours.
    assert seconds(400_000) < 20


def test_order_of_terms_of_other_forms_does_not_matter() -> None:
    names = ["heart failure", "acute heart failure", "failure to thrive", "heart"]
    text = "acute heart failure to thrive"
    for seed in range(5):
        random.Random(seed).shuffle(names)
        assert found(text, *names) == ["acute heart failure"]
