"""Where sentences start: after full stops that end one, and where the layout says so."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.distill.sentences import sentence_starts
from strategies import texts

SENTENCES = (
    *("Chest pain since May. ", "No fever! ", "2.5 mg q.d. ", "PLAN:\n", "1. Aspirin.\n", "\n\n"),
    *("HISTORY: Dr. Smith saw him.\r\n\r\n", "- item\n", "no end here ", "x" * 50, "\n", " "),
)
NOTES = st.one_of(texts(60), st.lists(st.sampled_from(SENTENCES), max_size=60).map("".join))


@given(NOTES)
def test_starts_are_places_where_something_is_said(text: str) -> None:
    starts, sections = sentence_starts(text)
    assert set(sections) <= set(starts)
    assert starts == sorted(set(starts))
    assert starts[0] == sections[0] == 0
    for start in starts[1:]:
        assert text[start - 1].isspace()
        assert not text[start].isspace()


@pytest.mark.parametrize(
    "text",
    [
        # A bar stands where a sentence starts, two where a section does.
        "Chest pain.| No fever.| BP 120/80.| He is well.",
        "Seen by Dr. Smith and Mrs. Jones vs. St. Mary's.| Well.",
        "Takes aspirin 81 mg p.o. q.d. Lasix 40 mg b.i.d. and more.| Stable.",
        "Gave 2.5 mg.| INR 1.72.| Then 3.5 to 10.25 mg.",
        "Admitted at 10:30 a.m. Monday.| E. coli grew.",
        'He said "it hurts."| He left.',
        "Pain?| No!| Fever?| None...| Left.",
        "PLAN: 1. Aspirin.| 2. Plavix 75 mg.| 3. Follow up.",
        "IMPRESSION:\n1. Angina.\n||2. Gout.\n||10) Rest.",
        "PMH:\n\nDiabetes.\n\n||MEDICATIONS: Lasix.\n||ALLERGIES: None.",
        "I. Colon: normal.\n||II. Rectum: normal.",
        "Alert\n|Oriented\n|Afebrile",
        "- cough\n||- fever\n||* rash",
        # A margin ended the line, not the writer.
        "The patient is a pleasant man of sixty years who has long been\nSmoking and drinks.",
        "Smoking: No.| Alcohol: none.| Fig. 2 and No. 5.",
        "The pain started on\nsunday.",
        "The patient was brought in by the ambulance crew on the early morning of\n"
        "Monday at 10:30 and was seen.",
        "One line.\r\n|Next line.\r\n\r\n||New part.",
    ],
)
def test_clinical_layout(text: str) -> None:
    parts = text.split("|")
    plain, starts, sections = "", {0}, {0}
    for before, part in pairwise(parts):
        plain += before
        start = len(plain) + len(part) - len(part.lstrip(" "))
        (starts if part else sections).add(start)
    plain += parts[-1]
    starts |= sections
    assert sentence_starts(plain) == (sorted(starts), sorted(sections))
