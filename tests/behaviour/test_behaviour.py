"""The suite itself, and what the default bundle makes of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from re import finditer
from typing import Any

import pytest

from behaviour.checks import FLOORS, MATCHES, judge, run
from behaviour.suite import KINDS, LABELS, Snippet, letters, read_news, read_snippets
from clin_edge.core.errors import InputError
from clin_edge.core.spans import Entity, Span, alternatives
from clin_edge.runtime.pipeline import DEFAULT_BUNDLE, Pipeline

THREE = ("MEDICATION", "DISEASE", "SYMPTOM")
# By which matches a snippet passed.
PASSED, FAILED = set(MATCHES), set[str]()
LENIENTLY, BUT_FOR_THE_KIND = {"lenient"}, {"either"}
MINIMUM: dict[str, Any] = {
    "id": "a-01",
    "kind": "minimum",
    "capability": "some",
    "text": "aspirin 81 mg, then aspirin again",
    "spans": [["STRENGTH", "81 mg"], ["MEDICATION", "aspirin", 2]],
    "absent": [["then"]],
}
INVARIANCE: dict[str, Any] = {
    "id": "b-01",
    "kind": "invariance",
    "capability": "typos",
    "text": "Has gout, on aspirin.",
    "spans": [["DISEASE", "gout"]],
    "variant": "HAS GOUT,\non asprin",
    "respelled": {"asprin": "aspirin"},
}
DIRECTION: dict[str, Any] = {
    "id": "c-01",
    "kind": "direction",
    "capability": "more",
    "text": "Has gout.",
    "variant": "Has gout, takes aspirin.",
    "added": ["MEDICATION", "aspirin"],
}


def snippets_of(folder: Path, *rows: dict[str, Any]) -> list[Snippet]:
    (folder / "some.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return read_snippets(folder)


def judged(
    folder: Path, row: dict[str, Any], *quoted: str, types: tuple[str, ...] = THREE
) -> set[str] | None:
    """Judge entities written ``LABEL quote; LABEL quote``, one string for each text."""
    (snippet,) = snippets_of(folder, row)
    found = []
    for text, said in zip(snippet.texts, quoted, strict=True):
        pairs = [entity.split(" ", 1) for entity in said.split("; ") if entity]
        found.append([Entity(Span(at := text.rindex(q), at + len(q)), label) for label, q in pairs])
    verdict = judge(snippet, found, types)
    return None if verdict is None else {match for match, passed in verdict.items() if passed}


@pytest.fixture(scope="module")
def suite() -> list[Snippet]:
    return read_snippets()


def test_the_suite_is_large_has_every_kind_and_label_and_no_text_twice(
    suite: list[Snippet],
) -> None:
    assert len(suite) >= 330
    assert {snippet.kind for snippet in suite} == set(KINDS)
    expected = [s for x in suite for s in (*x.spans, *((x.change,) if x.change else ()))]
    assert {one for span in expected for one in alternatives(span.label)} == LABELS
    # A pair that differs in case alone is one test; texts of two snippets must differ in more.
    texts = Counter(text for x in suite for text in {letters(text) for text in x.texts})
    assert [text for text, n in texts.items() if n > 1] == []


def test_no_expected_span_overlaps_another_or_has_a_blank_at_its_ends(suite: list[Snippet]) -> None:
    for snippet in suite:
        spans = sorted([*(e.span for e in snippet.spans), *snippet.absent])
        assert all(a.end <= b.start for a, b in pairwise(spans)), snippet.id
        quotes = [snippet.text[span.start : span.end] for span in spans]
        assert all(quote == quote.strip() for quote in quotes), snippet.id


def test_the_news_is_long_enough_and_in_pieces() -> None:
    news = read_news()
    assert len(news) > 5
    assert sum(len(piece.split()) for piece in news) >= 1500


def test_a_quote_is_found_where_it_is_said_to_be(tmp_path: Path) -> None:
    (snippet,) = snippets_of(tmp_path, MINIMUM)
    assert [(e.label, e.span) for e in snippet.spans] == [
        ("STRENGTH", Span(8, 13)),
        ("MEDICATION", Span(20, 27)),
    ]
    assert snippet.absent == (Span(15, 19),)
    row = MINIMUM | {"text": "0x5 is not 0.5", "spans": [["STRENGTH", "0.5"]], "absent": []}
    assert snippets_of(tmp_path, row)[0].spans[0].span == Span(11, 14)


@pytest.mark.parametrize(
    ("row", "change", "said"),
    [
        (MINIMUM, {"spans": [["MEDICATION", "ibuprofen"]]}, "does not occur"),
        (MINIMUM, {"spans": [["MEDICATION", " "]]}, "does not occur"),
        (MINIMUM, {"spans": [["MEDICATION", "aspirin"]]}, "occurs 2 times"),
        (MINIMUM, {"spans": [["MEDICATION", "aspirin", 3]]}, "occurs only 2 times"),
        (MINIMUM, {"spans": [["DRUG", "81"]]}, "no such label"),
        (MINIMUM, {"spans": [["MEDICATION"]]}, "missing"),
        (MINIMUM, {"spans": [], "absent": []}, "expects nothing"),
        (MINIMUM, {"kind": "maximum"}, "kind must be one of"),
        (MINIMUM, {"capability": 3}, "'capability' must be a text"),
        (MINIMUM, {"variant": "aspirin"}, "variant: not a key"),
        (INVARIANCE, {"variant": "Has gout, on asprin and more."}, "are not the text's"),
        (INVARIANCE, {"respelled": {"aspirn": "aspirin"}}, "no word of the variant"),
        (INVARIANCE, {"spans": []}, "needs a span"),
        (INVARIANCE, {"variant": INVARIANCE["text"], "respelled": {}}, "not the text itself"),
        (DIRECTION, {"removed": ["DISEASE", "gout"]}, "either something is added"),
        (DIRECTION, {"added": ["MEDICATION", "ibuprofen"]}, "does not occur"),
    ],
)
def test_what_is_no_test_is_refused_by_place_and_id(
    tmp_path: Path, row: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        snippets_of(tmp_path, row | change)
    assert str(refused.value).startswith(f"some.jsonl:1: (id '{row['id']}')")


def test_an_id_that_comes_twice_or_a_line_that_is_no_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"some\.jsonl:2: the id 'a-01' came before"):
        snippets_of(tmp_path, MINIMUM, MINIMUM)
    (tmp_path / "some.jsonl").write_text("[]\n")
    with pytest.raises(InputError, match=r"some\.jsonl:1: expected an object"):
        read_snippets(tmp_path)


def test_a_direction_needs_its_change(tmp_path: Path) -> None:
    row = {key: value for key, value in DIRECTION.items() if key != "added"}
    with pytest.raises(InputError, match="needs what is added"):
        snippets_of(tmp_path, row)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ("MEDICATION aspirin", PASSED),
        ("MEDICATION aspirin; DISEASE again", PASSED),  # what is in no list is free
        ("MEDICATION aspirin again", LENIENTLY),
        ("DISEASE aspirin", FAILED),
        ("SYMPTOM aspirin", FAILED),
        ("MEDICATION then aspirin", FAILED),
        ("", FAILED),
    ],
)
def test_minimum(tmp_path: Path, found: str, verdict: set[str]) -> None:
    assert judged(tmp_path, MINIMUM, found) == verdict


def test_a_snippet_without_any_label_of_the_bundle_is_not_judged(tmp_path: Path) -> None:
    assert judged(tmp_path, MINIMUM | {"absent": []}, "", types=("DISEASE",)) is None
    assert judged(tmp_path, MINIMUM, "", types=("DISEASE",)) == PASSED  # nothing in the way
    assert judged(tmp_path, INVARIANCE, "", "", types=("MEDICATION",)) is None
    assert judged(tmp_path, DIRECTION, "", "", types=("DISEASE",)) is None


def test_a_symptom_called_a_disease_is_wrong_but_for_the_kind(tmp_path: Path) -> None:
    row = MINIMUM | {"text": "no pain today", "spans": [["SYMPTOM", "pain"]], "absent": []}
    assert judged(tmp_path, row, "SYMPTOM pain") == PASSED
    assert judged(tmp_path, row, "DISEASE pain") == BUT_FOR_THE_KIND
    assert judged(tmp_path, row, "DISEASE no pain") == FAILED
    assert judged(tmp_path, row, "MEDICATION pain") == FAILED


def test_a_bundle_that_knows_roles_may_name_them_and_must_where_they_are_expected(
    tmp_path: Path,
) -> None:
    either = MINIMUM | {"text": "aspirin for pain", "absent": []}
    for expected, said, verdict in (
        ("DISEASE|SYMPTOM", "SYMPTOM pain", PASSED),
        ("DISEASE|SYMPTOM", "REASON pain", PASSED),
        ("REASON", "REASON pain", PASSED),
        ("REASON", "SYMPTOM pain", FAILED),
        ("MEDICATION", "REASON pain", FAILED),
    ):
        row = either | {"spans": [[expected, "pain"]]}
        assert judged(tmp_path, row, said, types=(*THREE, "REASON")) == verdict


@pytest.mark.parametrize(
    ("base", "other", "verdict"),
    [
        ("DISEASE gout; MEDICATION aspirin", "DISEASE GOUT; MEDICATION asprin", PASSED),
        ("DISEASE gout", "DISEASE GOUT", PASSED),
        ("DISEASE Has gout", "DISEASE HAS GOUT", PASSED),
        ("DISEASE Has gout", "DISEASE GOUT", LENIENTLY),
        ("DISEASE gout; MEDICATION aspirin", "DISEASE GOUT", FAILED),
        ("DISEASE gout; MEDICATION aspirin", "DISEASE GOUT; MEDICATION on", FAILED),
        ("DISEASE gout", "SYMPTOM GOUT", BUT_FOR_THE_KIND),
        ("SYMPTOM gout", "SYMPTOM GOUT", PASSED),  # alike, if not right
        ("DISEASE gout", "MEDICATION GOUT", FAILED),
        ("MEDICATION aspirin", "MEDICATION asprin", FAILED),
        ("", "", FAILED),
    ],
)
def test_invariance(tmp_path: Path, base: str, other: str, verdict: set[str]) -> None:
    assert judged(tmp_path, INVARIANCE, base, other) == verdict


@pytest.mark.parametrize(
    ("base", "other", "verdict"),
    [
        ("DISEASE gout", "DISEASE gout; MEDICATION aspirin", PASSED),
        ("", "MEDICATION aspirin", PASSED),
        ("DISEASE gout", "DISEASE gout; MEDICATION takes aspirin", LENIENTLY),
        ("DISEASE Has gout", "DISEASE gout; MEDICATION aspirin", LENIENTLY),
        ("DISEASE gout", "SYMPTOM gout; MEDICATION aspirin", {"lenient", "either"}),
        ("DISEASE gout", "MEDICATION aspirin", FAILED),
        ("", "DISEASE gout; MEDICATION aspirin", FAILED),
        ("DISEASE gout", "DISEASE gout; DISEASE aspirin", FAILED),
        ("DISEASE gout", "DISEASE gout", FAILED),
    ],
)
def test_direction(tmp_path: Path, base: str, other: str, verdict: set[str]) -> None:
    assert judged(tmp_path, DIRECTION, base, other) == verdict
    taken = {"text": DIRECTION["variant"], "variant": DIRECTION["text"]}
    row = {key: value for key, value in DIRECTION.items() if key != "added"} | taken
    row["removed"] = DIRECTION["added"]
    assert judged(tmp_path, row, other, base) == verdict


def test_letters_are_put_right_word_by_word() -> None:
    assert letters("Asprin, Asprins", {"Asprin": "aspirin"}) == "aspirinasprins"
    assert letters("10 for 40", {"10": "40", "40": "10"}) == "40for10"


class Marking:
    """Stands in for a pipeline: marks every place of some words."""

    def __init__(self, **labels: str) -> None:
        self.labels = labels

    def annotate(self, texts: Iterable[str]) -> Iterator[tuple[None, list[Entity]]]:
        for text in texts:
            places = [
                (m, label) for word, label in self.labels.items() for m in finditer(word, text)
            ]
            yield None, sorted(Entity(Span(*m.span()), label) for m, label in places)


def test_a_run_counts_what_passed_what_was_marked_and_false_alarms(tmp_path: Path) -> None:
    snippets = snippets_of(tmp_path, MINIMUM, INVARIANCE, DIRECTION)
    pipeline: Any = Marking(aspirin="MEDICATION", then="SYMPTOM", gout="DISEASE", mg="FORM")
    news = ["then came mg, then", "Nothing more. " * 48]
    assert run(pipeline, snippets, news, THREE) == {
        "labels": ["DISEASE", "MEDICATION", "SYMPTOM"],
        "kinds": {
            "minimum": {"n": 1, "strict": 0, "lenient": 0, "either": 0},
            "invariance": {"n": 1, "strict": 0, "lenient": 0, "either": 0},
            "direction": {"n": 1, "strict": 1, "lenient": 1, "either": 1},
        },
        "capabilities": {
            "some": {"n": 1, "strict": 0, "lenient": 0, "either": 0},
            "typos": {"n": 1, "strict": 0, "lenient": 0, "either": 0},
            "more": {"n": 1, "strict": 1, "lenient": 1, "either": 1},
        },
        "spans": {"MEDICATION": {"n": 1, "strict": 1, "lenient": 1, "either": 1}},
        "absent": {"n": 1, "marked": 1},
        "news": {"words": 100, "alarms": [["SYMPTOM", "then", 2]], "per_1000_words": 20},
        "failed": ["a-01", "b-01"],
    }


def test_the_default_bundle_passes_no_less_than_it_did(suite: list[Snippet]) -> None:
    floors = json.loads(FLOORS.read_text("utf-8"))
    pipeline = Pipeline.from_bundle(DEFAULT_BUNDLE, threads=1)
    assert set(floors["labels"]) <= set(pipeline.bundle.manifest.scheme.types)
    results = run(pipeline, suite, read_news(), floors["labels"])
    assert set(results["kinds"]) == set(floors["kinds"]) == set(KINDS)
    for kind, floor in floors["kinds"].items():
        for match, rate in floor.items():
            assert results["kinds"][kind][match] >= rate, (kind, match, results["failed"])
    assert results["news"]["per_1000_words"] <= floors["alarms_per_1000_words"]
