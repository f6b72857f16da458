"""``clin-edge merge`` and ``clin-edge why``: files, lines, exit codes, and no text of a note."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from clin_edge.cli import clin_edge
from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.merging import cli as merge_cli
from clin_edge.distill.merging.rules import RULES
from tiny import Done, cli, write_labelled

TEXT = "gout asthma on aspirin"
GOUT, ASTHMA, ASPIRIN = (0, 4, "DISEASE"), (5, 11, "DISEASE"), (15, 22, "MEDICATION")
IDS = [f"n{i}" for i in range(8)]


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Done]:
    monkeypatch.setitem(clin_edge.commands, "merge", merge_cli.merge)
    monkeypatch.setitem(clin_edge.commands, "why", merge_cli.why)
    return partial(cli, monkeypatch, capsys)


def item(note: str, *places: tuple[int, int, str], marked: str, name: str = "") -> Labelled:
    source = f"{name}:v1" if name else ""
    entities = tuple(Entity(Span(s, e), label, source=source) for s, e, label in places)
    return Labelled(Note(note, TEXT), entities, frozenset(marked.split()))


@pytest.fixture
def silver(tmp_path: Path) -> list[Path]:
    """Three teachers of eight notes; the third lacks the last."""
    said = {
        "a": ((GOUT, ASPIRIN), "DISEASE MEDICATION", IDS),
        "b": ((GOUT, ASTHMA), "DISEASE", IDS),
        "c": ((ASPIRIN, (0, 11, "MEDICATION")), "MEDICATION", IDS[:-1]),
    }
    return [
        write_labelled(
            tmp_path / "silver" / f"{name}.jsonl",
            [item(note, *places, marked=marked, name=name) for note in ids],
        )
        for name, (places, marked, ids) in said.items()
    ]


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    every = [item(note, GOUT, ASTHMA, ASPIRIN, marked="DISEASE MEDICATION") for note in IDS]
    return write_labelled(tmp_path / "gold.jsonl", every)


def refused(done: Done, code: int) -> str:
    """The one line that says why."""
    assert (done.code, done.out) == (code, "")
    return done.err.rstrip("\n").split("\n")[-1]


def places(path: Path, note: int = 0) -> list[tuple[int, int, str]]:
    return [(e.span.start, e.span.end, e.label) for e in read_labelled(path)[note].entities]


# --- merge ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("union", [GOUT, ASTHMA, ASPIRIN]),
        ("intersection", [GOUT, ASPIRIN]),
        ("majority", [GOUT, ASPIRIN]),
    ],
)
def test_files_are_merged_by_a_rule(run, silver, tmp_path: Path, rule, expected) -> None:
    out = tmp_path / "new" / "silver.jsonl"
    done = run("merge", *silver, "-o", out, "--rule", rule)
    assert (done.code, done.out) == (0, "")
    assert done.err == f"{out}: {8 * len(expected)} entities in 8 notes, {rule} of a + b + c\n"
    assert places(out) == places(out, -1) == expected
    first = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
    assert (first["id"], first["marked"]) == ("n0", ["DISEASE", "MEDICATION"])
    assert first["entities"][0] == {"start": 0, "end": 4, "label": "DISEASE", "source": "a:v1+b:v1"}


def test_a_share_is_written_as_the_score(run, silver, tmp_path: Path) -> None:
    assert run("merge", *silver, "-o", tmp_path / "s.jsonl", "--rule", "union").code == 0
    (item, *_) = read_labelled(tmp_path / "s.jsonl")
    assert [(e.score, e.source) for e in item.entities] == [
        (1.0, "a:v1+b:v1"),
        (0.5, "b:v1"),
        (1.0, "a:v1+c:v1"),
    ]


def test_the_rule_is_dawid_skene_unless_said(run, silver, tmp_path: Path) -> None:
    by_default, asked = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    assert "dawid-skene of a + b + c" in run("merge", *silver, "-o", by_default).err
    run("merge", *silver, "-o", asked, "--rule", "dawid-skene")
    assert by_default.read_bytes() == asked.read_bytes()
    assert RULES == merge_cli.RULES


def test_only_the_labels_asked_for(run, silver, tmp_path: Path) -> None:
    out = tmp_path / "s.jsonl"
    done = run("merge", *silver, "-o", out, "--labels", "MEDICATION", "--rule", "union")
    assert done.err.startswith("clin-edge: b: left out")
    assert done.err.endswith("union of a + c\n")
    assert places(out) == [(0, 11, "MEDICATION"), ASPIRIN]
    assert read_labelled(out)[0].marked == {"MEDICATION"}


def test_gold_scores_every_set_and_best_writes_the_best(run, silver, gold, tmp_path: Path) -> None:
    out, report = tmp_path / "s.jsonl", tmp_path / "r.json"
    done = run("merge", *silver, "-o", out, "--gold", gold, "--best", "--report", report)
    assert (done.code, done.out) == (0, "")
    lines = done.err.splitlines()
    assert lines[0].endswith("1 of 8 notes are not in every teacher's file and are not scored")
    assert lines[1].startswith("strict, all labels (who marks few misses the rest): on ")
    assert lines[3] == "1.000  1.000–1.000  1.000  1.000  1.000  union         a + b"
    assert sum(" alone " in line for line in lines) == 3
    assert lines[-2] == (
        "best of 19: union, a + b. Its F1 of 1.000 is too good, being the best of many; "
        "on other notes it is 1.000 (1.000–1.000)"
    )
    assert lines[-1] == f"{out}: 24 entities in 8 notes, union of a + b"
    assert places(out) == [GOUT, ASTHMA, ASPIRIN]
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert facts["choice"] == {
        "teachers": ["a", "b"],
        "rule": "union",
        "f1_first": 1.0,
        "f1_second": 1.0,
    }
    assert len(facts["trials"]) == 3 + 4 * 4
    assert facts["trials"][0]["second"]["lenient"]["micro"]["f1"] == 1.0
    assert facts["trials"][0]["first"]["strict"]["labels"].keys() == {"DISEASE", "MEDICATION"}
    assert facts["written"]["teachers"] == ["a", "b"]
    assert facts["written"]["entities"] == {"DISEASE": 16, "MEDICATION": 8}
    assert facts["teachers"]["c"]["notes"] == 7
    assert facts["agreement"]["DISEASE"]["fleiss"]["teachers"] == ["a", "b"]
    assert facts["dawid_skene"]["MEDICATION"]["teachers"].keys() == {"a", "c"}
    assert "gout" not in report.read_text(encoding="utf-8") + done.err


def test_without_best_the_rule_over_all_is_written_and_the_best_still_named(
    run, silver, gold, tmp_path: Path
) -> None:
    done = run("merge", *silver, "-o", tmp_path / "s.jsonl", "--gold", gold, "--rule", "majority")
    assert done.code == 0
    assert done.err.splitlines()[-2].startswith("best of 19: union, a + b.")
    assert done.err.endswith("majority of a + b + c\n")


def test_the_best_may_be_scored_again_on_a_second_file(run, silver, tmp_path: Path) -> None:
    labels = {"marked": "DISEASE Drug"}
    drug = (15, 22, "Drug")
    first = [item(i, GOUT, ASTHMA, drug, **labels) for i in IDS[:4]]
    second = [item(i, GOUT, drug, **labels) for i in IDS[4:7]]
    files = (
        *("--gold", write_labelled(tmp_path / "1.jsonl", first)),
        *("--second", write_labelled(tmp_path / "2.jsonl", second), "--map", "Drug=MEDICATION"),
    )
    done = run("merge", *silver, "-o", tmp_path / "s.jsonl", *files)
    lines = done.err.splitlines()
    assert lines[0].startswith("strict, all labels (who marks few misses the rest): on 4 gold ")
    assert lines[0].endswith("and again on 3 others")
    assert lines[2] == "1.000  1.000–1.000  1.000  1.000  0.800  union         a + b"
    assert "1.000 is too good" in lines[-2]
    assert "it is 0.800 (0.800–0.800)" in lines[-2]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--best",), "--best, --second and --map need --gold"),
        (("--map", "A=B"), "--best, --second and --map need --gold"),
        (("--gold", "GOLD", "--best", "--rule", "union"), "--best chooses the rule itself"),
        (("--rule", "vote"), "'vote' is not one of"),
    ],
)
def test_wrong_usage_is_exit_2(run, silver, gold, tmp_path: Path, args, message) -> None:
    args = [gold if arg == "GOLD" else arg for arg in args]
    done = run("merge", *silver, "-o", tmp_path / "s.jsonl", *args)
    assert (done.code, message in done.err) == (2, True)
    assert not (tmp_path / "s.jsonl").exists()


def test_no_files_are_wrong_usage(run, tmp_path: Path) -> None:
    assert run("merge", "-o", tmp_path / "s.jsonl").code == 2


def test_inputs_are_never_written_over(run, silver, gold, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (*silver, gold)}
    out = tmp_path / "s.jsonl"
    for args in (
        ("-o", silver[1]),
        ("-o", gold, "--gold", gold),
        ("-o", out, "--gold", gold, "--report", gold),
        ("-o", out, "--report", out),
    ):
        assert "choose another file" in refused(run("merge", *silver, *args), 3)
    assert {path: path.read_bytes() for path in before} == before
    assert not out.exists()


def test_a_file_that_cannot_be_read_is_exit_3(run, silver, tmp_path: Path) -> None:
    silver[1].write_text('{"id": "n0", "text": "secret"')
    done = run("merge", *silver, "-o", tmp_path / "s.jsonl")
    assert "b.jsonl:1: not JSON" in refused(done, 3)
    assert "secret" not in done.err
    done = run("merge", tmp_path / "none.jsonl", "-o", tmp_path / "s.jsonl")
    assert "none.jsonl: cannot be read" in refused(done, 3)
    assert not (tmp_path / "s.jsonl").exists()


# --- why -----------------------------------------------------------------------------------------


def test_why_shows_who_taught_a_form_and_who_disagreed(run, silver) -> None:
    done = run("why", "ASTHMA", silver[0].parent)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "ASTHMA: 8 places in 8 of 8 notes",
        "",
        "labelled by  label    code   places",
        "b            DISEASE  v1          8",
        "",
        "disagreed  label    said instead   places",
        "a          DISEASE  unlabelled          8",
    ]


def test_why_speaks_json(run, silver) -> None:
    done = run("why", "asthma", silver[0].parent, "--json")
    assert json.loads(done.out)["labelled"] == [
        {"teacher": "b", "label": "DISEASE", "code": "v1", "places": 8}
    ]
    assert "gout" not in done.out


def test_a_term_that_stands_nowhere_is_said_in_one_line(run, silver) -> None:
    done = run("why", "ague", silver[0].parent)
    assert (done.code, done.out, done.err) == (0, "ague: stands in none of 8 notes\n", "")


def test_a_folder_without_labelled_notes_is_exit_3(run, tmp_path: Path) -> None:
    assert "holds no labelled notes" in refused(run("why", "gout", tmp_path), 3)
