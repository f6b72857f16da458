"""What a note says of an entity, as a clinician would read it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.spans import Span
from clin_edge.runtime.context import assertions
from clin_edge.runtime.context_rules import CATEGORIES, RULES, load_rules

GOLDEN = Path(__file__).parents[1] / "golden" / "context.jsonl"
ROWS = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


def unmarked(marked: str) -> tuple[str, list[Span], list[str]]:
    """The text, places and values of ``No [fever|negated]``."""
    text, spans, wanted, at = "", [], [], 0
    for found in re.finditer(r"\[([^\[\]|]+)\|(\w+)\]", marked):
        text += marked[at : found.start()]
        spans.append(Span(len(text), len(text) + len(found[1])))
        text += found[1]
        wanted.append(found[2])
        at = found.end()
    return text + marked[at:], spans, wanted


def check(marked: str) -> None:
    text, spans, wanted = unmarked(marked)
    assert spans
    assert assertions(text, spans) == wanted


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_golden_snippets(row: dict[str, str | bool]) -> None:
    text, spans, wanted = unmarked(str(row["marked"]))
    right = assertions(text, spans) == wanted
    assert right is not row.get("missed", False), "a known miss that is right now: say so in it"


def test_the_golden_snippets_hold_every_value_often_and_few_known_misses() -> None:
    counts = Counter(value for row in ROWS for value in unmarked(row["marked"])[2])
    assert set(counts) == set(CATEGORIES)
    assert min(counts.values()) >= 30
    assert len(ROWS) >= 320
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert sum("missed" in row for row in ROWS) <= len(ROWS) // 50


@pytest.mark.parametrize(
    "marked",
    [
        "no [fever|negated], [chills|negated] or [cough|negated]",
        "no [chest pain|negated] but [fever|present]",
        "Chest film negative for [pneumonia|negated].",
        "Chest film is negative for [pneumonia|negated].",
        "[Pneumonia|negated] is negative.",
        "He was ruled out for [MI|negated].",
        "Ruled out for [MI|negated].",
        "no change in [cough|present]",
        "no increase in [edema|present]",
        "[PE|possible] not ruled out",
        "[PE|possible] was not ruled out",
        "[PE|negated] was ruled out",
        "- no [fever|negated]\n- [cough|present]",
        "- no [fever|negated]\r\n- [cough|present]",
        "no [fever|negated]\n[Cough|present] for a week",
        "denies any pain in the chest or the left arm, any\n[fever|negated] or [cough|negated]",
        "FH: mother with [DM|family]",
        "FH:\nmother with [DM|family]\n\nSH: [smoker|present]",
        "h/o [MI|historical]",
        "HISTORY OF PRESENT ILLNESS: [MI|present]",
        "history of present illness of [MI|present]",
        "not only [fever|present]",
        "negative attitude, [fever|present]",
        "no [fever|negated] aside from [chills|present]",
    ],
)
def test_known_traps(marked: str) -> None:
    check(marked)


@pytest.mark.parametrize(
    ("text", "entity"),
    [
        ("reports no chest pain", "no chest pain"),
        ("rule out MI", "rule out MI"),
        ("a pain-free walk", "pain-free"),
        ("if fever", "if fever"),
    ],
)
def test_a_phrase_inside_an_entity_says_nothing_of_it(text: str, entity: str) -> None:
    start = text.index(entity)
    assert assertions(text, [Span(start, start + len(entity))]) == ["present"]


def test_a_phrase_inside_an_entity_still_counts_for_the_next() -> None:
    text = "no chest pain or cough"
    assert assertions(text, [Span(0, 13), Span(17, 22)]) == ["present", "negated"]


@pytest.mark.parametrize(
    "marked",
    [
        "FH: denies [diabetes|negated]",  # nobody has it
        "Family history of possible [lupus|family]",  # whose, before how surely
        "Mother had a history of [stroke|family]",  # whose, before when
        "No history of [stroke|negated]",
        "Possible old [infarct|possible]",
        "Call if there is no [improvement|hypothetical]",  # not happened, so not denied either
        "Return if [fever|hypothetical] is possible",
    ],
)
def test_one_value_where_several_apply(marked: str) -> None:
    check(marked)


@pytest.mark.parametrize(
    "marked",
    [
        "No [rash|negated]. Dr. Lee saw the [wound|present].",
        "No reaction to Dr. Lee's [ointment|negated]",
        "Given 2.5 mg q.d. without [nausea|negated]",
        "no edema of the ext. or [rash|negated]",
        "No. 5 [catheter|present]",
        "Denies pain.No [rash|negated].[Cough|present]",
        "FAMILY HISTORY: [gout|family]\nALLERGIES: [latex|present]",
        "FAMILY HISTORY: [gout|family]\nODD THINGS: [latex|present]",
        "Family history: [gout|family]. Social history: [smoker|present].",
        "FAMILY HISTORY\n\n1. [Gout|family]\n\n2. [Lupus|family]\n\nTall man with [cough|present]",
        "Patient denies:\n- [fever|negated]\n- [chills|negated]\nLooks well, [cough|present]",
        "**Family History:** [gout|family]",
        "PMH: [asthma|present]",
        "HX: tall man with [fever|present]",
    ],
)
def test_where_sentences_and_sections_end(marked: str) -> None:
    check(marked)


def test_no_spans_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clin_edge.runtime.context.load_rules", None)
    assert assertions("no fever", []) == []


def test_a_span_beyond_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="a span ends after the text"):
        assertions("no", [Span(0, 3)])


def test_a_table_of_one_s_own_goes_before_ours(tmp_path: Path) -> None:
    table = tmp_path / "ours.tsv"
    table.write_text(
        "# ours\n\nzonder\tnegated\tforward\t2\nno\t-\tpseudo\nstepmother\tkin\tclass\nANAMNESE\t"
        "historical\theading\nuitsl\tseldom-last\tword\n",
        encoding="utf-8",
    )
    text = "zonder koorts. no rash. Stepmother had gout."
    spans = [Span(text.index(w), text.index(w) + 4) for w in ("koor", "rash", "gout")]
    assert assertions(text, spans, rules=table) == ["negated", "present", "family"]
    assert assertions(text, spans) == ["present", "negated", "present"]
    assert assertions("Anamnese: gout", [Span(10, 14)], rules=table) == ["historical"]
    assert assertions("no uitsl. rash", [Span(10, 14)]) == ["present"]
    assert "uitsl" in load_rules(table).words["seldom-last"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("no negated forward", ":2: want phrase, category, direction and maybe scope, with tabs"),
        ("\tnegated\tforward", ":2: want phrase"),
        ("no\tnegated\tsideways", ":2: direction must be one of backward, both, class"),
        ("no\tabsent\tforward", ":2: category must be one of present, negated"),
        ("no\tnegated\tpseudo", ":2: category must be one of -"),
        ("but\tall\tterminate", ":2: category must be one of present, .*, any"),
        ("no\tnegated\tforward\tfar", ":2: scope must be a number, 'clause' or nothing"),
        ("no\tnegated\tforward\t-1", ":2: scope must be a number"),
        ("@aunt with\tfamily\tforward", ":2: no class @aunt; add rows for it"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path: Path, row: str, message: str) -> None:
    table = tmp_path / "ours.tsv"
    table.write_text(f"# ours\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_rules(table)


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table of context rules"):
        load_rules(tmp_path / "none.tsv")
    (tmp_path / "bytes.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no table of context rules"):
        load_rules(tmp_path / "bytes.tsv")


def test_our_table_has_no_row_twice() -> None:
    rows = [line for line in RULES.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert [row for row, n in Counter(rows).items() if n > 1] == []
