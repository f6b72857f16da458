"""The training loop: it learns, it goes on after a crash, it keeps the best epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clin_edge.core.errors import ClinEdgeError, GateError, InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.score import score
from clin_edge.core.spans import Entity, Span
from clin_edge.distill import train as training
from clin_edge.distill.config import HeadSettings
from clin_edge.distill.dataset import join_sources
from clin_edge.distill.student import Student, load_student
from clin_edge.distill.train import Status, train
from dying import Killed, dying_at, weights
from tiny import (
    DRUGS,
    ILLNESSES,
    TYPES,
    either,
    invented_set,
    n_threads,
    tiny_encoder,
    tiny_recipe,
)

ITEMS = invented_set(60)
DEV = {"dev": invented_set(20, seed=9, prefix="d")}
FEW = ITEMS[:8]
SHORT = {"epochs": 2, "batch_tokens": 100, "learning_rate": 3e-2, "warmup": 0.0}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On one thread, so that a subprocess is sure to sum in the same order."""
    with n_threads(1):
        yield


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_encoder(tmp_path_factory.mktemp("train") / "tiny"))


def entities_of(student: Student, notes: list[Note]) -> dict[str, list[Entity]]:
    return {reading.note.id: reading.entities for reading in student.predictor.read(notes)}


def f1_of(student: Student, gold: list[Labelled]) -> dict[str, float]:
    found = entities_of(student, [item.note for item in gold])
    result = score(gold, found, n_resamples=1)
    return {"micro": result.micro.counts.f1} | {
        label: row.counts.f1 for label, row in result.by_label.items()
    }


# --- it learns -----------------------------------------------------------------------------------


def test_it_learns_invented_notes(encoder: str, tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "deep" / "student"
    student = train(tiny_recipe(), ITEMS, DEV, encoder, out, say=said.append)
    assert f1_of(student, DEV["dev"])["micro"] > 0.9
    assert sorted(path.name for path in out.parent.iterdir()) == ["student"]
    opened = load_student(out)
    assert entities_of(opened, [i.note for i in ITEMS]) == entities_of(
        student, [i.note for i in ITEMS]
    )
    facts = opened.facts
    assert facts["encoder"] == "tiny"
    assert facts["notes"] == 60
    assert facts["recipe"]["train"]["seed"] == 1
    assert set(facts["made_with"]) == {"clin-edge", "torch", "transformers"}
    f1s = [epoch["strict_micro_f1"]["dev"] for epoch in facts["dev"]]
    assert facts["best_epoch"] == f1s.index(max(f1s)) + 1
    assert f1_of(opened, DEV["dev"])["micro"] == pytest.approx(max(f1s))
    assert said[0].startswith("60 notes, 60 windows, ")
    assert [line.split(":")[0] for line in said[1:-1]] == [f"epoch {n}" for n in range(1, 11)]
    assert said[-1].startswith(f"kept epoch {facts['best_epoch']}, ")
    assert not any(word in line for line in said for word in (*DRUGS, *ILLNESSES))


def test_sets_that_mark_one_label_each_teach_both(encoder: str, tmp_path: Path) -> None:
    """What a source does not mark it does not deny: neither label puts the other down."""
    drugs = invented_set(40, seed=1, marked=["MEDICATION"], prefix="a")
    ills = invented_set(40, seed=2, marked=["DISEASE"], prefix="b")
    items = join_sources([drugs, ills])
    student = train(tiny_recipe(), items, {}, encoder, tmp_path / "out")
    f1s = f1_of(student, DEV["dev"])
    assert min(f1s.values()) > 0.9, f1s


def test_sets_that_deny_what_they_do_not_mark_would_not(encoder: str, tmp_path: Path) -> None:
    """The test above could fail: the same notes, their silence taken for an answer."""
    items = []
    for seed, label in ((1, "MEDICATION"), (2, "DISEASE")):
        for item in invented_set(40, seed=seed, marked=[label], prefix=label):
            items.append(Labelled(item.note, item.entities, frozenset(TYPES)))
    student = train(tiny_recipe(), items, {}, encoder, tmp_path / "out")
    assert min(f1_of(student, DEV["dev"]).values()) < 0.8


def test_one_of_two_labels_is_learnt_as_either(encoder: str, tmp_path: Path) -> None:
    student = train(tiny_recipe(), either(ITEMS), {}, encoder, tmp_path / "out")
    assert f1_of(student, either(DEV["dev"]))["micro"] > 0.9


# --- which epoch is kept -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f1s", "best"),
    [
        ([[0.1], [0.9], [0.5]], 2),
        ([[0.5], [0.5], [0.5]], 1),
        ([[0.0], [0.0], [0.0]], 1),
        ([[0.1], [0.2], [0.3]], 3),
        ([[0.9, 0.1], [0.6, 0.6], [0.1, 0.9]], 2),
    ],
    ids=["the middle", "first of equals", "even if all fail", "the last", "the mean of two sets"],
)
def test_the_epoch_with_the_best_dev_score_is_kept(f1s, best, encoder, tmp_path, monkeypatch):
    fakes = iter([f1 for epoch in f1s for f1 in epoch])
    seen: list[list[bytes]] = []

    def fake(student: Student, _: object) -> tuple[float, int]:
        state = student.model.state_dict()
        seen.append([state[name].numpy().tobytes() for name in sorted(state)])
        return next(fakes), 1

    monkeypatch.setattr(training, "_strict_micro_f1", fake)
    dev = {f"set {i}": FEW for i in range(len(f1s[0]))}
    out = tmp_path / "out"
    student = train(tiny_recipe(epochs=3, batch_tokens=200), FEW, dev, encoder, out)
    assert weights(out) == seen[(best - 1) * len(dev)]
    assert len({tuple(state) for state in seen}) == 3
    assert student.facts["best_epoch"] == best
    assert [list(e["strict_micro_f1"].values()) for e in student.facts["dev"]] == f1s[:best]


def test_without_a_dev_set_the_last_epoch_is_kept(encoder: str, tmp_path: Path) -> None:
    said: list[str] = []
    recipe = tiny_recipe(**{**SHORT, "epochs": 3})
    student = train(recipe, FEW, {}, encoder, tmp_path / "out", say=said.append)
    assert student.facts["best_epoch"] == 3
    assert ["dev F1: no dev set" in line for line in said[1:-1]] == [True] * 3


def test_the_best_epoch_of_before_a_crash_is_remembered(encoder, tmp_path, monkeypatch) -> None:
    f1s = iter([0.9, 0.2, 0.3])
    monkeypatch.setattr(training, "_strict_micro_f1", lambda *_: (next(f1s), 1))
    recipe = tiny_recipe(epochs=3, batch_tokens=200)
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "save_checkpoint", dying_at(2, training.save_checkpoint, after=True)
        )
        with pytest.raises(Killed):
            train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out")
    student = train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out")
    assert student.facts["best_epoch"] == 1


@pytest.mark.parametrize(
    ("f1s", "patience", "n_epochs"),
    [([0.5, 0.4, 0.3, 0.9], 2, 3), ([0.5, 0.4, 0.6, 0.5, 0.5], 2, 5), ([0.1] * 5, 1, 2)],
)
def test_it_stops_when_no_better_score_comes(
    f1s, patience, n_epochs, encoder, tmp_path, monkeypatch
) -> None:
    scores = iter(f1s)
    monkeypatch.setattr(training, "_strict_micro_f1", lambda *_: (next(scores), 1))
    recipe = tiny_recipe(epochs=len(f1s), batch_tokens=200, patience=patience)
    said: list[str] = []
    student = train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out", say=said.append)
    assert sum(line.startswith("epoch ") for line in said) == n_epochs
    assert f"stopped: no better dev score for {patience} epochs" in said or n_epochs == len(f1s)
    best = f1s[: student.facts["best_epoch"]]
    assert max(best) == best[-1] == max(f1s[:n_epochs])


# --- collapse ------------------------------------------------------------------------------------

EMPTY = [Labelled(item.note, (), item.marked) for item in ITEMS[:12]]


@pytest.mark.parametrize("dev", [{}, {"dev": FEW}], ids=["without dev", "with dev"])
@pytest.mark.parametrize("head", ["linear", "crf"])
def test_a_student_that_finds_nothing_is_refused_loudly(
    head: str, dev: dict[str, list[Labelled]], encoder: str, tmp_path: Path
) -> None:
    """Taught on notes that hold almost nothing it says O to all, as a whole row of a paper did."""
    said: list[str] = []
    recipe = tiny_recipe(epochs=2, head=HeadSettings(head))
    with pytest.raises(GateError, match=r"finds nothing at all.*Lower learning_rate") as caught:
        train(recipe, [*EMPTY, FEW[0]], dev, encoder, tmp_path / "out", say=said.append)
    assert caught.value.exit_code == 7
    assert list(tmp_path.iterdir()) == []
    assert sum("nothing is found yet" in line for line in said) == 2


def test_notes_that_hold_nothing_are_no_collapse(encoder: str, tmp_path: Path) -> None:
    train(tiny_recipe(epochs=2), EMPTY, {}, encoder, tmp_path / "out")
    assert (tmp_path / "out").exists()


# --- what is learnt from -------------------------------------------------------------------------


def test_samdb_leaves_out_sentences_without_an_entity(encoder: str, tmp_path: Path) -> None:
    said: list[str] = []
    recipe = tiny_recipe(epochs=6, keep_empty=0.08)
    train(recipe, ITEMS, {"dev": FEW}, encoder, tmp_path / "out", say=said.append)
    assert said[0].endswith(" without")
    assert "with 8.00% of these kept" in said[0]


def test_a_share_of_the_notes_is_learnt_from(encoder: str, tmp_path: Path) -> None:
    said: list[str] = []
    student = train(
        tiny_recipe(epochs=6, share=0.25), ITEMS, {}, encoder, tmp_path / "out", say=said.append
    )
    assert said[0].startswith("15 notes, ")
    assert student.facts["notes"] == 15


def test_where_training_stands_is_told_after_every_step(encoder: str, tmp_path: Path) -> None:
    seen: list[Status] = []
    recipe = tiny_recipe(epochs=2, batch_tokens=100, learning_rate=3e-2, warmup=0.0)
    train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out", watch=seen.append)
    assert [s.step for s in seen] == list(range(1, seen[-1].n_steps + 1))
    assert {s.epoch for s in seen} == {1, 2}
    assert [s.dev_f1 is None for s in seen] == [s.epoch == 1 for s in seen]
    assert seen[-1].seconds_left == 0
    assert all(s.loss > 0 for s in seen)


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["folder", "file"])
def test_an_out_that_exists_is_refused_and_left_alone(what: str, encoder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if what == "folder":
        out.mkdir()
    else:
        out.write_text("mine")
    with pytest.raises(InputError, match=r"out: exists already"):
        train(tiny_recipe(), FEW, {}, encoder, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert what == "folder" or out.read_text() == "mine"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"items": FEW[:-1]}, id="other notes"),
        pytest.param(
            {"items": invented_set(60, marked=["DISEASE"])[:8]}, id="other labels on them"
        ),
        pytest.param({"recipe": tiny_recipe(**SHORT, seed=5)}, id="another seed"),
        pytest.param({"recipe": tiny_recipe(**{**SHORT, "learning_rate": 1.0})}, id="another rate"),
        pytest.param({"recipe": tiny_recipe(**SHORT, max_tokens=16)}, id="windows"),
    ],
)
def test_an_unfinished_run_on_other_data_or_settings_is_refused(
    other: dict[str, Any], encoder: str, tmp_path: Path, monkeypatch
) -> None:
    usual = {"recipe": tiny_recipe(**SHORT), "items": FEW, "dev": {}, "encoder": encoder}
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "save_checkpoint", dying_at(1, training.save_checkpoint, after=True)
        )
        with pytest.raises(Killed):
            train(**usual, out=out)
    with pytest.raises(InputError, match="unfinished run on other data or settings") as caught:
        train(**{**usual, **other}, out=out)
    assert str(caught.value).startswith(f"{tmp_path / 'out.training'}: ")
    assert not out.exists()
    train(**usual, out=out)
    assert out.exists()


@pytest.mark.parametrize("items", [[], [Labelled(Note("n", " \n"), (), frozenset(TYPES))]])
def test_notes_without_text_are_refused(items: list[Labelled], encoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hold no text"):
        train(tiny_recipe(), items, {}, encoder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(encoder: str, tmp_path: Path) -> None:
    recipe = tiny_recipe(learning_rate=1e30, warmup=0.0, batch_tokens=60)
    with pytest.raises(ClinEdgeError, match=r"diverged.*lower learning_rate") as caught:
        train(recipe, FEW, {}, encoder, tmp_path / "out")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_entities_that_cover_no_token_are_no_obstacle(encoder: str, tmp_path: Path) -> None:
    odd = Labelled(Note("n", "fever \u200d"), (Entity(Span(6, 7), "DISEASE"),), frozenset(TYPES))
    train(tiny_recipe(**SHORT), [odd, *FEW], {"dev": FEW}, encoder, tmp_path / "out")
