"""Adapting an encoder to notes: a run that dies goes on, and ends as if it had not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.distill import adapt as adapting
from clin_edge.distill.adapt import AdaptSettings, adapt
from dying import Killed, dying_at, weights
from tiny import DRUGS, KINDS, MAX_TOKENS, n_threads, tiny_encoder

FEW = [Note(f"n{i}", f"{drug} for stroke") for i, drug in enumerate(DRUGS)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On one thread, so that sums are made in one order."""
    with n_threads(1):
        yield


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("adapt-resume")
    return {kind: str(tiny_encoder(place / kind, kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def unbroken(
    encoders: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[bytes]]:
    """The weights of a short run that nothing interrupts."""
    made: dict[str, list[bytes]] = {}

    def weights_of(kind: str) -> list[bytes]:
        if kind not in made:
            out = tmp_path_factory.mktemp("unbroken") / "out"
            adapt(encoders[kind], FEW, out, short(checkpoint_minutes=5.0))
            made[kind] = weights(out)
        return made[kind]

    return weights_of


def short(**settings: Any) -> AdaptSettings:
    """Two epochs of a few batches, with a checkpoint after each batch."""
    usual = {
        "epochs": 2,
        "batch_tokens": 10,
        "learning_rate": 1e-2,
        "max_tokens": MAX_TOKENS,
        "seed": 1,
        "checkpoint_minutes": 0.0,
    }
    return AdaptSettings(**{**usual, **settings})


@pytest.mark.parametrize(
    ("kind", "where", "nth", "after"),
    [
        pytest.param("bert", "save_checkpoint", 1, False, id="before the first save"),
        *(
            pytest.param(kind, "save_checkpoint", 2, True, id=f"within the first epoch, {kind}")
            for kind in KINDS
        ),
        pytest.param("bert", "take_step", 5, True, id="a step after the checkpoint"),
        pytest.param("bert", "replace_folder", 1, False, id="when all is learnt"),
        pytest.param("bert", "replace_folder", 1, True, id="when all is written"),
    ],
)
def test_a_run_that_dies_ends_with_the_weights_of_an_unbroken_one(
    kind: str, where: str, nth: int, after: bool, encoders, tmp_path: Path, unbroken, monkeypatch
) -> None:
    settings = short()
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(adapting, where, dying_at(nth, getattr(adapting, where), after=after))
        with pytest.raises(Killed):
            adapt(encoders[kind], FEW, out, settings)
    assert not out.exists()
    said: list[str] = []
    facts = adapt(encoders[kind], FEW, out, settings, say=said.append)
    assert said[0].startswith("resumed after") == (nth != 1 or where == "replace_folder")
    assert weights(out) == unbroken(kind)
    assert [result["epoch"] for result in facts["held_out"]] == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_that_dies_again_and_again_gets_there_too(
    encoders: dict[str, str], tmp_path: Path, unbroken, monkeypatch
) -> None:
    settings, n_deaths = short(), 0
    for _ in range(20):
        with monkeypatch.context() as patch:
            patch.setattr(adapting, "take_step", dying_at(2, adapting.take_step, after=False))
            try:
                adapt(encoders["bert"], FEW, tmp_path / "out", settings)
                break
            except Killed:
                n_deaths += 1
    assert n_deaths > 3
    assert weights(tmp_path / "out") == unbroken("bert")


def test_a_run_that_dies_between_two_checkpoints_goes_on_from_the_older(
    encoders: dict[str, str], tmp_path: Path, unbroken, monkeypatch
) -> None:
    settings, out = short(), tmp_path / "out"
    with monkeypatch.context() as patch:
        save = dying_at(2, adapting.save_checkpoint, after=True)
        patch.setattr(adapting, "save_checkpoint", save)
        with pytest.raises(Killed):
            adapt(encoders["bert"], FEW, out, settings)
    checkpoint = tmp_path / "out.training" / "checkpoint"
    checkpoint.rename(checkpoint.with_name("checkpoint.old"))
    said: list[str] = []
    adapt(encoders["bert"], FEW, out, settings, say=said.append)
    assert said[0] == "resumed after epoch 0, step 2"
    assert weights(out) == unbroken("bert")


def test_a_run_that_dies_while_it_clears_up_is_not_in_the_way_of_another(
    encoders: dict[str, str], tmp_path: Path, unbroken, monkeypatch
) -> None:
    clear, out = shutil.rmtree, tmp_path / "out"

    def dying(place: Path, **how: Any) -> None:
        if place.name == "out.training":
            for path in place.rglob("tensors.safetensors"):
                path.unlink()
            raise Killed
        clear(place, **how)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying)
        with pytest.raises(Killed):
            adapt(encoders["bert"], FEW, out, short())
    assert weights(out) == unbroken("bert")
    clear(out)
    adapt(encoders["bert"], FEW, out, short())
    assert weights(out) == unbroken("bert")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_another_seed_gives_other_weights(
    encoders: dict[str, str], tmp_path: Path, unbroken
) -> None:
    adapt(encoders["bert"], FEW, tmp_path / "out", short(seed=2))
    assert weights(tmp_path / "out") != unbroken("bert")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"notes": FEW[:-1]}, id="other notes"),
        pytest.param({"settings": short(seed=5)}, id="another seed"),
        pytest.param({"settings": short(whole_words=False)}, id="pieces"),
    ],
)
def test_an_unfinished_run_on_other_data_or_settings_is_refused(
    other: dict[str, Any], encoders: dict[str, str], tmp_path: Path, monkeypatch
) -> None:
    usual = {"encoder": encoders["bert"], "notes": FEW, "settings": short()}
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        save = dying_at(1, adapting.save_checkpoint, after=True)
        patch.setattr(adapting, "save_checkpoint", save)
        with pytest.raises(Killed):
            adapt(**usual, out=out)
    with pytest.raises(InputError, match="unfinished run on other data or settings"):
        adapt(**{**usual, **other}, out=out)
    assert not out.exists()
