"""Where a student starts: from an encoder, with fewer layers, fewer pieces, or from nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.distill.config import HeadSettings, ScratchSettings
from clin_edge.distill.start import start_student, start_tagger
from tiny import KINDS, invented_set, tiny_encoder, tiny_recipe

TEXTS = [item.note.text for item in invented_set(20)]
SMALL = ScratchSettings(layers=3, hidden=32, heads=2, feed_forward=64, vocabulary_size=300)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_encoder(tmp_path_factory.mktemp("start") / "tiny"))


def n_layers(student) -> int:
    return student.model.config.num_hidden_layers


@pytest.mark.parametrize("kind", KINDS)
def test_only_some_layers_are_kept(kind: str, tmp_path: Path) -> None:
    encoder = str(tiny_encoder(tmp_path / "e", kind))
    assert n_layers(start_student(tiny_recipe(), encoder, TEXTS)) == 2
    student = start_student(tiny_recipe(keep_layers=(1,)), encoder, TEXTS)
    assert n_layers(student) == 1
    student.save(tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_layer_that_is_not_there_is_named(encoder: str) -> None:
    with pytest.raises(InputError, match="layer 5 cannot be kept: the encoder has 2"):
        start_student(tiny_recipe(keep_layers=(0, 5)), encoder, TEXTS)


def test_pieces_that_nothing_uses_go(encoder: str) -> None:
    whole = start_student(tiny_recipe(), encoder, TEXTS)
    pruned = start_student(tiny_recipe(), encoder, TEXTS[:1], prune_to=TEXTS[1:2])
    n_whole, n_pruned = (s.model.config.vocab_size for s in (whole, pruned))
    assert n_pruned < n_whole
    assert pruned.facts == {"pieces": n_pruned, "pieces_before": n_whole}
    for note in invented_set(2):
        ours, theirs = (s.encoder.encode(note.note) for s in (pruned, whole))
        assert (ours.offsets == theirs.offsets).all()


def test_words_that_are_cut_up_get_a_piece(encoder: str) -> None:
    often = ["the feverish patient"] * 20
    plain = start_student(tiny_recipe(), encoder, often)
    student = start_student(tiny_recipe(words=9), encoder, often, prune_to=TEXTS)
    assert student.facts["new_words"] == 1
    assert {"pieces", "pieces_before"} < student.facts.keys()
    note = Note("n", "Feverish patient, fever")
    ours, theirs = (s.encoder.encode(note) for s in (student, plain))
    assert [note.text[a:b] for a, b in ours.offsets[:2]] == ["Feverish", "patient"]
    assert len(ours.ids) < len(theirs.ids)
    assert student.model.config.vocab_size == student.model.get_input_embeddings().num_embeddings


def test_from_nothing_the_seed_decides_the_weights() -> None:
    def weights(seed: int) -> bytes:
        student = start_student(tiny_recipe(scratch=SMALL, seed=seed), "scratch", TEXTS)
        assert n_layers(student) == 3
        return b"".join(t.numpy().tobytes() for t in student.model.state_dict().values())

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


def test_a_tagger_has_a_crf_only_where_the_recipe_wants_one(encoder: str) -> None:
    student = start_student(tiny_recipe(), encoder, TEXTS)
    assert start_tagger(tiny_recipe(), student, None).tables() is None
    head = HeadSettings("crf", first_pieces=True, constrained=False)
    tables = start_tagger(tiny_recipe(head=head), student, None).tables()
    assert tables is not None
    assert (tables.first_pieces, tables.constrained) == (True, False)
    assert tables.transitions.shape == (5, 5)
