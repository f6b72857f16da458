"""``clin-edge adapt`` as a user meets it."""

from __future__ import annotations

import inspect
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clin_edge.core.labels import LabelScheme
from clin_edge.distill import adapt as adapting
from clin_edge.distill.adapt import AdaptSettings
from clin_edge.distill.adapt_cli import adapt
from clin_edge.distill.student import new_student
from tiny import DRUGS, TYPES, Done, cli, n_threads, tiny_encoder


@pytest.fixture
def run(monkeypatch, capsys) -> Iterator[Callable[..., Done]]:
    with n_threads(1):
        yield partial(cli, monkeypatch, capsys, "adapt")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("adapt-cli") / "tiny")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.jsonl"
    lines = [json.dumps({"id": f"n{i}", "text": f"takes {drug}"}) for i, drug in enumerate(DRUGS)]
    path.write_text("\n".join(lines) + "\n")
    return path


def one_line(done: Done, code: int) -> str:
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.count("\n") == 1
    return done.err.removeprefix("clin-edge: ").rstrip("\n")


def test_notes_make_an_encoder_that_a_student_can_begin_with(run, encoder, notes, tmp_path) -> None:
    out = tmp_path / "out"
    done = run(
        *(encoder, notes, "-o", out, "--epochs", 1, "--learning-rate", "0.001", "--mask", "0.3"),
        *("--pieces", "--max-tokens", 32, "--batch-tokens", 64, "--seed", 7),
    )
    assert (done.code, done.out) == (0, "")
    assert "6 notes, " in done.err
    assert "held out, before: loss " in done.err
    assert "held out, after epoch 1: loss " in done.err
    assert not any(word in done.err for word in ("takes", *DRUGS))
    facts = json.loads((out / "adapted.json").read_text())
    given = AdaptSettings(
        epochs=1,
        learning_rate=0.001,
        mask=0.3,
        whole_words=False,
        max_tokens=32,
        batch_tokens=64,
        seed=7,
    )
    assert AdaptSettings(**facts["settings"]) == given
    new_student(str(out), LabelScheme(TYPES), max_tokens=48, overlap=8, seed=0)
    again = run(encoder, notes, "-o", out, "--max-tokens", 32)
    assert one_line(again, 3) == f"{out}: exists already; choose another name or delete it"


def test_several_places_and_columns_are_read(run, encoder, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"no,words\r\n{name},takes aspirin\r\n")
    done = run(
        *(encoder, tmp_path / "a.csv", tmp_path / "b.csv", "--id-column", "no"),
        *("--text-column", "words", "-o", tmp_path / "out", "--epochs", 1, "--max-tokens", 32),
    )
    assert done.code == 0, done.err
    facts = json.loads((tmp_path / "out" / "adapted.json").read_text())
    assert (facts["notes"], facts["held_out_notes"]) == (1, 1)


def test_a_stopped_command_goes_on_when_it_is_given_again(
    run, encoder, notes, tmp_path: Path, monkeypatch
) -> None:
    args = (encoder, notes, "-o", tmp_path / "out", "--epochs", 2, "--max-tokens", 32)
    learn, calls = adapting.take_step, itertools.count(1)

    def step(*how: Any, **more: Any) -> float:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return learn(*how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(adapting, "take_step", step)
        done = run(*args)
    assert (done.code, done.err.splitlines()[-1]) == (130, "clin-edge: stopped")
    assert not (tmp_path / "out").exists()
    done = run(*args)
    assert done.code == 0, done.err
    assert done.err.startswith("resumed after epoch 1, step 0\n")


def test_defaults_are_those_of_the_library() -> None:
    library = {
        name: parameter.default
        for name, parameter in inspect.signature(AdaptSettings).parameters.items()
    }
    shared = {p.name: p.default for p in adapt.params if p.name in library}
    assert len(shared) == 9
    assert shared == {name: library[name] for name in shared}


@pytest.mark.parametrize(
    "args",
    [
        *(["--epochs", "0"], ["--seed", "-1"], ["--learning-rate", "0"], ["--mask", "0"]),
        *(["--mask", "1"], ["--max-tokens", "2"], ["--batch-tokens", "0"]),
    ],
    ids=" ".join,
)
def test_numbers_that_make_no_sense_are_wrong_usage(args, run, encoder, notes, tmp_path) -> None:
    assert run(encoder, notes, "-o", tmp_path / "out", *args).code == 2


def test_what_cannot_be_read_is_told_in_one_line(run, encoder, notes, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out")
    assert run(encoder, *out).code == 2
    absent = tmp_path / "absent.jsonl"
    message = one_line(run(encoder, absent, *out, "--max-tokens", 32), 3)
    assert message == f"{absent}: no such file or folder"
    message = one_line(run(encoder, notes, *out), 3)
    assert message.startswith(f"{encoder}: reads 48 tokens at most")
    message = one_line(run(encoder, notes, *out, "--text-column", "x", "--max-tokens", 32), 3)
    assert str(notes) in message
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jsonl"]


@pytest.mark.parametrize("package", ["torch", "transformers", "safetensors"])
def test_a_missing_install_is_named_with_its_cure(
    package: str, run, encoder: Path, notes: Path, tmp_path: Path, monkeypatch
) -> None:
    for name in (
        "adapt",
        "checkpoint",
        "dataset",
        "encoders",
        "masking",
        "optimization",
        "student",
    ):
        monkeypatch.delitem(sys.modules, f"clin_edge.distill.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    message = one_line(run(encoder, notes, "-o", tmp_path / "out"), 5)
    assert message == f"{package} is not installed; run: pip install 'clin-edge[train]'"
