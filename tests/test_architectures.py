"""Every kind of encoder, through training, export and the runtime, with either head."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clin_edge.core.labelled import Labelled
from clin_edge.distill.config import (
    Card,
    HeadSettings,
    Recipe,
    ScratchSettings,
    WidthSettings,
    load_recipe,
)
from clin_edge.distill.train import train
from clin_edge.export.pack import Order, pack
from clin_edge.runtime.pipeline import Pipeline
from tiny import invented_set, n_threads, tiny_encoder, tiny_recipe
from toy import wordpiece_json

RECIPES = sorted((Path(__file__).parents[1] / "distill" / "recipes").glob("*.toml"))
# What the encoder that a recipe names is built like, and whether it tells capitals apart.
BUILT_LIKE = {
    "": ("bert", False),
    "bert-base-cased": ("bert", True),
    "dmis-lab/biobert-base-cased-v1.2": ("bert", True),
    "medicalai/ClinicalBERT": ("distilbert", True),
    "scratch": ("scratch", True),
}
HEADS = {
    "linear": HeadSettings(),
    "crf": HeadSettings("crf"),
    "crf-first-pieces": HeadSettings("crf", first_pieces=True),
    "crf-free": HeadSettings("crf", constrained=False),
}
SMALL = ScratchSettings(layers=2, hidden=32, heads=2, feed_forward=64, vocabulary_size=300)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with n_threads(1):
        yield


def walk(recipe: Recipe, encoder: str, items: list[Labelled], folder: Path) -> int:
    """Train, export as float, read with both; give how many spans there were."""
    student = train(recipe, items, {}, encoder, folder / "student")
    notes = [item.note for item in invented_set(12, seed=8)]
    order = Order(precision="fp32", calibration=notes, golden=notes[:2], card=Card())
    made = pack(student, folder / "bundle", order)
    has_crf = recipe.head.kind == "crf"
    assert ("crf.npz" in made.files) == has_crf
    assert (b"exactly its span and label" in made.files["MODEL_CARD.md"]) == has_crf
    in_torch = [reading.entities for reading in student.predictor.read(notes)]
    at_the_edge = [
        entities for _, entities in Pipeline.from_bundle(folder / "bundle").annotate(notes)
    ]
    for ours, theirs in zip(in_torch, at_the_edge, strict=True):
        assert [(e.span, e.label) for e in ours] == [(e.span, e.label) for e in theirs]
        assert [e.score for e in ours] == pytest.approx([e.score for e in theirs], abs=1e-3)
    return sum(map(len, in_torch))


@pytest.mark.parametrize("head", ["linear", "crf"])
@pytest.mark.parametrize(
    "kind", ["bert", "bert-cased", "distilbert-cased", "roberta", "electra", "mpnet"]
)
def test_every_architecture_from_labels_to_records(kind: str, head: str, tmp_path: Path) -> None:
    kind, _, cased = kind.partition("-")
    encoder = tiny_encoder(tmp_path / "encoder", kind, cased=bool(cased))
    recipe = tiny_recipe(epochs=4, head=HEADS[head])
    assert walk(recipe, str(encoder), invented_set(40), tmp_path) > 10


@pytest.mark.parametrize("head", HEADS)
def test_an_encoder_from_nothing_with_every_head(head, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=6, head=HEADS[head], scratch=SMALL)
    assert walk(recipe, "scratch", invented_set(40), tmp_path) > 10


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_goes_through_with_a_tiny_encoder_of_its_kind(
    path: Path, tmp_path: Path
) -> None:
    """Its own encoder cannot be reached; its head, labels and settings are what is tried."""
    from dataclasses import replace

    recipe = load_recipe(path)
    kind, cased = BUILT_LIKE[recipe.encoder]
    encoder = kind
    scratch = SMALL
    if kind == "scratch":
        vocabulary = tmp_path / "tokenizer.json"
        vocabulary.write_bytes(wordpiece_json(cased=cased))
        scratch = replace(SMALL, vocabulary=str(vocabulary))
    else:
        encoder = str(tiny_encoder(tmp_path / "encoder", kind, cased=cased, room=recipe.max_tokens))
    settings = replace(recipe.train, epochs=3, learning_rate=1e-2, warmup=0.1)
    recipe = replace(recipe, scratch=scratch, train=settings)
    # A recipe that makes its encoder smaller makes this one so, as far as it can be.
    if recipe.keep_layers is not None:
        recipe = replace(recipe, keep_layers=(1,))
    if recipe.width != WidthSettings():
        recipe = replace(recipe, width=WidthSettings(heads=2, feed_forward=40))
    assert walk(recipe, encoder, invented_set(40), tmp_path) > 10
