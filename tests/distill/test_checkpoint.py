"""Killed at any moment, the last whole checkpoint can be found and gone on from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clin_edge.core.errors import InputError
from clin_edge.distill.checkpoint import (
    Progress,
    fingerprint,
    replace_folder,
    resume,
    save_checkpoint,
    settle_folder,
)
from clin_edge.distill.config import Card, HeadSettings, Recipe, SetSpec, TrainSettings
from clin_edge.distill.dataset import Example
from dying import Killed
from tiny import invented_set

# --- folders that are replaced whole -------------------------------------------------------------


def says(word: str) -> Callable[[Path], None]:
    """Fill a folder with two files that hold ``word``."""

    def write(place: Path) -> None:
        place.mkdir()
        (place / "a").write_text(word)
        (place / "b").write_text(word)

    return write


def found(folder: Path) -> set[str]:
    return {(folder / name).read_text() for name in ("a", "b")}


def test_a_folder_is_made_and_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "it"
    for word in ("one", "two", "three"):
        replace_folder(folder, says(word))
        assert found(folder) == {word}
        assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_files_of_the_old_folder_do_not_linger_in_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "it"
    replace_folder(folder, says("one"))
    (folder / "c").write_text("extra")
    replace_folder(folder, says("two"))
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def die_at(nth: int, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Arrange a death just before or just after the n-th touch of the file system."""
    n_touches = 0

    def dying(act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> None:
            nonlocal n_touches
            n_touches += 1
            if n_touches == nth and not after:
                raise Killed
            act(*args, **kwargs)
            if n_touches == nth:
                raise Killed

        return run

    for place, name in (
        (Path, "replace"),
        (Path, "mkdir"),
        (Path, "write_text"),
        (shutil, "rmtree"),
    ):
        monkeypatch.setattr(place, name, dying(getattr(place, name)))


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_moment_the_old_or_the_new_folder_is_found_whole(
    after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for nth in range(1, 12):
        folder = tmp_path / str(nth) / "it"
        folder.parent.mkdir()
        replace_folder(folder, says("old"))
        with monkeypatch.context() as patch:
            die_at(nth, patch, after=after)
            try:
                replace_folder(folder, says("new"))
                ends.append("done")
            except Killed:
                ends.append("killed")
        settle_folder(folder)
        assert found(folder) in ({"old"}, {"new"})
        assert ends[-1] == "killed" or found(folder) == {"new"}
        replace_folder(folder, says("newer"))
        assert found(folder) == {"newer"}
        assert [path.name for path in folder.parent.iterdir()] == ["it"]
    # Two leftovers are cleared, a folder and two files are made, two renames, one clearing.
    assert ends == ["killed"] * 8 + ["done"] * 3


def test_a_death_between_the_two_renames_is_settled(tmp_path: Path) -> None:
    folder = tmp_path / "it"
    replace_folder(folder, says("old"))
    says("new")(tmp_path / "it.new")
    folder.replace(tmp_path / "it.old")
    settle_folder(folder)
    assert found(folder) == {"old"}


def test_settling_what_is_settled_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "it"
    settle_folder(folder)
    assert list(tmp_path.iterdir()) == []
    replace_folder(folder, says("new"))
    says("old")(tmp_path / "it.old")  # killed before the old one was cleared away
    settle_folder(folder)
    assert found(folder) == {"new"}


def test_a_writer_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "it"
    replace_folder(folder, says("old"))

    def fails(place: Path) -> None:
        place.mkdir()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_folder(folder, fails)
    assert found(folder) == {"old"}


# --- checkpoints ---------------------------------------------------------------------------------


def a_model(seed: int = 0) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)
    )
    groups = [
        {"params": [p for p in model.parameters() if (p.ndim > 1) == flag]} for flag in (1, 0)
    ]
    return model, torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)


def learn(model: torch.nn.Module, optimizer: torch.optim.Optimizer, n_steps: int) -> None:
    for _ in range(n_steps):
        optimizer.zero_grad()
        model(torch.randn(5, 4)).square().sum().backward()
        optimizer.step()


def weights(model: torch.nn.Module) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in model.state_dict().values()]


def test_a_resumed_model_learns_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    whole, optimizer = a_model()
    learn(whole, optimizer, 9)
    stopped, optimizer = a_model()
    learn(stopped, optimizer, 4)
    progress = Progress(
        "f", epoch=2, step=3, best_f1=0.5, best_epoch=1, seconds=1.5, dev=[{"a": 1}]
    )
    save_checkpoint(tmp_path / "at", progress, stopped, optimizer)
    learn(stopped, optimizer, 2)  # lost with the crash
    other, optimizer = a_model(seed=99)
    kept = resume(tmp_path / "at", Progress("f"), other, optimizer)
    assert kept == progress
    learn(other, optimizer, 5)
    assert weights(other) == weights(whole)
    assert weights(stopped) != weights(whole)


def test_a_checkpoint_before_the_first_step_can_be_resumed(tmp_path: Path) -> None:
    model, optimizer = a_model()
    save_checkpoint(tmp_path / "at", Progress("f"), model, optimizer)
    learn(model, optimizer, 3)
    other, optimizer = a_model(seed=9)
    assert resume(tmp_path / "at", Progress("f"), other, optimizer) == Progress("f")
    learn(other, optimizer, 3)
    assert weights(other) == weights(model)


def test_a_checkpoint_holds_tensors_and_json_and_nothing_that_runs(tmp_path: Path) -> None:
    model, optimizer = a_model()
    learn(model, optimizer, 1)
    save_checkpoint(tmp_path / "at", Progress("f"), model, optimizer)
    names = sorted(path.name for path in (tmp_path / "at").iterdir())
    assert names == ["progress.json", "tensors.safetensors"]
    assert json.loads((tmp_path / "at" / "progress.json").read_bytes())["fingerprint"] == "f"


def test_another_run_s_checkpoint_is_refused_and_left_alone(tmp_path: Path) -> None:
    model, optimizer = a_model()
    place = tmp_path / "out.training" / "checkpoint"
    save_checkpoint(place, Progress("theirs"), model, optimizer)
    before = weights(model)
    with pytest.raises(InputError, match="unfinished run on other data or settings") as caught:
        resume(place, Progress("ours"), model, optimizer)
    assert str(caught.value).startswith(f"{tmp_path / 'out.training'}: ")
    assert weights(model) == before
    assert (place / "tensors.safetensors").exists()


# --- what makes two runs the same ----------------------------------------------------------------


def an_example(**changes: Any) -> Example:
    parts = {
        "ids": np.array([2, 7, 3], dtype=np.int64),
        "allowed": np.array([[1, 1, 1], [0, 1, 0], [1, 1, 1]], dtype=bool),
        "learn": np.array([0, 1, 0], dtype=bool),
        "opens_word": np.array([1, 1, 1], dtype=bool),
        "at_start": True,
        "at_end": False,
    }
    return Example(**{**parts, **changes})


RECIPE = Recipe(labels=("A",))


def mark(recipe: Recipe, examples: list[Example], encoder: str, soft_from: str = "") -> str:
    return fingerprint(recipe, examples, {}, encoder, soft_from)


def test_the_same_run_has_the_same_fingerprint() -> None:
    assert mark(RECIPE, [an_example()], "e") == mark(RECIPE, [an_example()], "e")
    assert len(mark(RECIPE, [], "e")) == 64


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(TrainSettings) if f.name != "checkpoint_minutes"]
)
def test_every_setting_that_decides_the_weights_changes_it(name: str) -> None:
    before = getattr(RECIPE.train, name)
    other = {"share": 0.5, "layer_decay": 0.5, "patience": 3, "keep_empty": 0.1, "empty_share": 0.1}
    other |= {"dropout": 0.2, "stop_after": 2}
    more = 1 if isinstance(before, int) else 0.25
    changed = dataclasses.replace(RECIPE.train, **{name: other.get(name) or before + more})
    other = dataclasses.replace(RECIPE, train=changed)
    assert mark(other, [an_example()], "e") != mark(RECIPE, [an_example()], "e")


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": np.array([2, 8, 3], dtype=np.int64)},
        {"allowed": np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1]], dtype=bool)},
        {"learn": np.array([0, 0, 1], dtype=bool)},
        {"opens_word": np.array([1, 0, 1], dtype=bool)},
        {"at_start": False},
        {"at_end": True},
        {"soft": np.zeros((3, 3), dtype=np.float16)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_window_s_content_changes_it(changes: dict[str, Any]) -> None:
    usual, other = [an_example(), an_example()], [an_example(), an_example(**changes)]
    assert mark(RECIPE, usual, "e") != mark(RECIPE, other, "e")
    assert mark(RECIPE, other, "e") != mark(RECIPE, other[::-1], "e")
    assert mark(RECIPE, usual, "e") != mark(RECIPE, usual[:1], "e")


def test_labels_and_encoder_change_it_and_words_about_the_run_do_not() -> None:
    examples = [an_example()]
    usual = mark(RECIPE, examples, "e")
    assert mark(dataclasses.replace(RECIPE, labels=("B",)), examples, "e") != usual
    assert mark(RECIPE, examples, "f") != usual
    assert mark(RECIPE, examples, "e", "bigger") != usual
    head = HeadSettings("crf")
    assert mark(dataclasses.replace(RECIPE, head=head), examples, "e") != usual
    dev = {"dev": invented_set(2)}
    assert fingerprint(RECIPE, examples, dev, "e", "") != usual
    assert mark(dataclasses.replace(RECIPE, words=5), examples, "e") != usual
    often = dataclasses.replace(RECIPE.train, checkpoint_minutes=0.0)
    for same in (
        {"train": often},
        {"card": Card(name="other")},
        {"sets": (SetSpec("x"),)},
        {"tests": (SetSpec("x"),)},
    ):
        assert mark(dataclasses.replace(RECIPE, **same), examples, "e") == usual
