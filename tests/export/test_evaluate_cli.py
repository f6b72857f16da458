"""``clin-edge evaluate`` with all that it can be asked: --vs, --like, --errors."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from clin_edge.core.bundle import write_bundle
from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.score_difference import difference
from clin_edge.core.score_match import MATCHES
from clin_edge.core.spans import Entity, Span
from clin_edge.export.belkadi import piece_scores
from clin_edge.export.evaluate import find_with, open_predictor
from tiny import Done, cli, write_labelled
from toy import toy_bundle, toy_manifest

SECRET = "Zebulon"
TEXTS = (
    "Zebulon takes Metformin for diabetes.",
    "chest pain, no fever; warfarin daily",
    "history of asthma, pneumonia and stroke",
    "no pain",
)
LABELS = {"Metformin": "MEDICATION", "warfarin": "MEDICATION", "Zebulon": "MEDICATION"}
LABELS |= {"diabetes": "DISEASE", "asthma": "DISEASE", "pneumonia": "SYMPTOM", "fever": "SYMPTOM"}
LABELS |= {"chest pain": "SYMPTOM", "pain": "SYMPTOM"}


def marked(texts: tuple[str, ...] = TEXTS, *, but: str = "") -> list[Labelled]:
    """Gold for the texts: the words of ``LABELS`` where they first stand, without ``but``."""
    items = []
    for i, text in enumerate(texts):
        places = [
            (text.index(words), words, label)
            for words, label in LABELS.items()
            if words in text and words != but and not (words == "pain" and "chest" in text)
        ]
        entities = tuple(Entity(Span(at, at + len(w)), label) for at, w, label in places)
        items.append(Labelled(Note(f"n{i}", text), entities, frozenset(LABELS.values())))
    return items


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("evaluate") / "toy").path


@pytest.fixture
def run(monkeypatch, capsys, tmp_path: Path) -> Callable[..., Done]:
    monkeypatch.setenv("CLIN_EDGE_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    write_labelled(tmp_path / "gold.jsonl", marked())
    return partial(cli, monkeypatch, capsys, "evaluate")


def failure(done: Done, code: int = 3) -> str:
    assert (done.code, done.out) == (code, ""), done.err
    (line,) = done.err.splitlines()
    assert SECRET not in line
    return line.removeprefix("clin-edge: ")


# --- --vs ----------------------------------------------------------------------------------------


def test_two_are_compared_note_by_note(run, toy: Path, tmp_path: Path) -> None:
    other = write_labelled(tmp_path / "other.jsonl", marked(but="Metformin"))
    done = run(toy, "gold.jsonl", "--vs", other, "--json")
    assert (done.code, done.err) == (0, "")
    shown = json.loads(done.out)
    assert list(shown) == [*MATCHES, "versus"]
    assert (shown["versus"]["what"], shown["versus"]["other"]) == (str(toy), str(other))
    assert shown["versus"]["verdict"].startswith("strict micro F1, 4 notes: ")
    gold = read_labelled("gold.jsonl")
    ours = find_with(open_predictor(toy), gold)
    theirs = {item.note.id: item.entities for item in marked(but="Metformin")}
    for match in MATCHES:
        expected = difference(gold, ours, theirs, match=match).as_dict()
        assert shown["versus"][match] == expected
        assert shown[match]["micro"]["f1"] == expected["micro"]["f1"]


def test_the_verdict_is_one_line_of_the_text(run, toy: Path) -> None:
    alone, with_other = run(toy, "gold.jsonl"), run(toy, "gold.jsonl", "--vs", "gold.jsonl")
    assert with_other.out.startswith(alone.out + "\nstrict micro F1, 4 notes: OTHER leads by ")
    same = run(toy, "gold.jsonl", "--vs", toy).out
    assert "WHAT and OTHER are equal; 95 % +0.0000 to +0.0000\n" in same


def test_labels_that_only_the_other_lacks_are_left_out_of_the_difference(
    run, toy: Path, tmp_path: Path
) -> None:
    fewer = LabelScheme(("MEDICATION", "DISEASE", "ROUTE"))
    files = {path.name: path.read_bytes() for path in toy.iterdir() if path.name != "manifest.json"}
    write_bundle(tmp_path / "fewer", toy_manifest("openvino", scheme=fewer), files)
    done = run(toy, "gold.jsonl", "--vs", "fewer", "--json")
    assert done.err == "clin-edge: not scored, fewer has no such label: SYMPTOM\n"
    shown = json.loads(done.out)
    assert set(shown["strict"]["labels"]) == {"MEDICATION", "DISEASE", "SYMPTOM"}
    assert set(shown["versus"]["strict"]["labels"]) == {"MEDICATION", "DISEASE"}
    assert shown["versus"]["strict"]["notes"] == 4


def test_an_other_that_cannot_be_scored_is_told_in_one_line(run, toy: Path, tmp_path: Path) -> None:
    some = write_labelled(tmp_path / "some.jsonl", marked()[1:])
    message = failure(run(toy, "gold.jsonl", "--vs", some))
    assert message == f"{some}: has no record of 1 gold notes, the first is 'n0'"
    assert run(toy, "gold.jsonl", "--vs", "absent").code == 2


# --- --like --------------------------------------------------------------------------------------


def test_a_paper_s_scores_stand_beside_the_span_scores(run, toy: Path) -> None:
    alone, done = run(toy, "gold.jsonl"), run(toy, "gold.jsonl", "--like", "belkadi2023")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(alone.out + "\nlike belkadi2023: ")
    assert max(map(len, done.out.splitlines())) <= 100
    shown = json.loads(run(toy, "gold.jsonl", "--like", "belkadi2023", "--json").out)
    gold, reader = read_labelled("gold.jsonl"), open_predictor(toy)
    expected = piece_scores(gold, find_with(reader, gold), reader.encoder, reader.scheme)
    assert shown["like"] == {"belkadi2023": expected.as_dict()}
    # Zebulon and one of the labels are not found: pieces and entities say so very differently.
    assert shown["like"]["belkadi2023"]["tags"]["accuracy"] != shown["strict"]["micro"]["f1"]


def test_records_have_no_pieces_and_an_unknown_paper_no_scores(run, toy: Path) -> None:
    assert failure(run("gold.jsonl", "gold.jsonl", "--like", "belkadi2023")) == (
        "gold.jsonl: --like belkadi2023 scores a model's word pieces; give a bundle or a student "
        "folder, not records"
    )
    assert run(toy, "gold.jsonl", "--like", "nobody1999").code == 2
    message = failure(
        run(toy, "gold.jsonl", "--like", "belkadi2023", "--map", "DISEASE=DISEASE|SYMPTOM")
    )
    assert message.startswith("--like belkadi2023: a piece has one tag")


# --- --errors ------------------------------------------------------------------------------------


def test_errors_go_to_a_file_for_the_user_alone_and_no_word_elsewhere(run, toy: Path) -> None:
    Path("errors.jsonl").write_text("of yesterday")
    Path("errors.jsonl").chmod(0o644)
    Path("errors.jsonl.partial").write_text("of a run that was killed")
    for options in ([], ["--json"]):
        done = run(toy, "gold.jsonl", "--errors", "errors.jsonl", *options)
        assert (done.code, done.err) == (
            0,
            "errors.jsonl: holds text of the notes; keep it where they are\n",
        )
        for word in (*SECRET.split(), "zebulon", "pneumonia", "Metformin"):
            assert word not in done.out + done.err
    assert stat.S_IMODE(Path("errors.jsonl").stat().st_mode) == 0o600
    lines = [json.loads(line) for line in Path("errors.jsonl").read_text().splitlines()]
    #  The bundle knows no Zebulon, and takes pneumonia, here a symptom, for a disease.
    assert {"kind": "confused", "gold": "SYMPTOM", "found": "DISEASE", "count": 1} in lines
    told = {(row["kind"], row["label"], row["form"]) for row in lines if "form" in row}
    assert told >= {
        ("missed", "MEDICATION", "zebulon"),
        ("missed", "SYMPTOM", "pneumonia"),
        ("invented", "DISEASE", "pneumonia"),
    }
    assert json.loads(done.out)["confused"] == {"SYMPTOM": {"DISEASE": 1}}
    assert sorted(path.name for path in Path().iterdir()) == ["errors.jsonl", "gold.jsonl"]


@pytest.mark.parametrize("place", ["gold.jsonl", "other.jsonl", "folder", "link", "/dev/stdout"])
def test_errors_do_not_go_where_they_should_not(run, toy: Path, place: str) -> None:
    write_labelled(Path("other.jsonl"), marked())
    Path("folder").mkdir()
    Path("link").symlink_to("new.jsonl")
    done = run(toy, "gold.jsonl", "--vs", "other.jsonl", "--errors", place)
    assert failure(done) == (
        f"{place}: read from, or not a plain file; name another file for --errors"
    )
    assert read_labelled("gold.jsonl") == marked()


def test_a_place_that_cannot_be_written_is_told_after_the_scores(run, toy: Path) -> None:
    done = run(toy, "gold.jsonl", "--errors", "no/such/folder.jsonl")
    assert done.code == 3
    assert done.out == run(toy, "gold.jsonl").out
    (line,) = done.err.splitlines()
    assert line.startswith("clin-edge: no/such/folder.jsonl: cannot be written")
