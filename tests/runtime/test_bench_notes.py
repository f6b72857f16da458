"""The notes that are read while speed is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.notes import read_notes
from clin_edge.runtime.bench import notes as bench_notes
from clin_edge.runtime.bench.notes import (
    LATENCY_WORDS,
    SIZES,
    Portion,
    invented_portions,
    latency_notes,
    own_portions,
)
from toy import toy_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """The toy tokenizer."""
    return toy_encoder(64, 8)


@pytest.fixture(autouse=True)
def few_portions(monkeypatch) -> None:
    """Portions enough to tell them apart."""
    monkeypatch.setattr(bench_notes, "MAX_PORTIONS", 3)


def sizes(portion: Portion, encoder: Encoder) -> list[int]:
    return [len(encoder.encode(note).ids) for note in read_notes([str(portion.path)])]


def test_a_portion_counts_what_is_in_its_file(tmp_path: Path, encoder: Encoder) -> None:
    for portion in invented_portions(tmp_path, encoder):
        notes = list(read_notes([str(portion.path)]))
        assert portion.notes == len(notes) == len(SIZES)
        assert portion.words == sum(len(note.text.split()) for note in notes)
        assert portion.tokens == sum(sizes(portion, encoder))
        assert portion.chars == sum(len(note.text) for note in notes)


def test_every_portion_has_notes_of_all_sizes(tmp_path: Path, encoder: Encoder) -> None:
    for portion in invented_portions(tmp_path, encoder):
        for wanted, got in zip(sorted(SIZES), sorted(sizes(portion, encoder)), strict=True):
            assert 0.9 * wanted <= got <= wanted


def test_invented_notes_are_the_same_each_time_and_none_comes_twice(
    tmp_path: Path, encoder
) -> None:
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        portions = invented_portions(tmp_path / name, encoder)
        texts.append([n.text for n in read_notes([str(p.path) for p in portions])])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == len(texts[0]) == 3 * len(SIZES)


def test_no_window_of_invented_notes_comes_twice(tmp_path: Path, encoder: Encoder) -> None:
    seen = []
    for portion in invented_portions(tmp_path, encoder):
        for note in read_notes([str(portion.path)]):
            encoded = encoder.encode(note)
            seen += [tuple(encoder.window_ids(encoded, w)) for w in encoded.windows]
    assert len(set(seen)) > 0.99 * len(seen)


@pytest.mark.parametrize("words", LATENCY_WORDS)
def test_notes_of_exactly_so_many_words(words: int, tmp_path: Path, encoder: Encoder) -> None:
    portion = latency_notes(tmp_path, words, encoder)
    texts = [note.text for note in read_notes([str(portion.path)])]
    assert {len(text.split()) for text in texts} == {words}
    assert len(set(texts)) == len(texts) == LATENCY_WORDS[words]


def test_one_s_own_notes_are_cut_into_portions_and_no_more_than_needed(
    tmp_path: Path, encoder: Encoder, monkeypatch
) -> None:
    monkeypatch.setattr(bench_notes, "SIZES", (10, 10))
    place = tmp_path / "mine.jsonl"
    texts = ["patient takes metformin daily for diabetes."] * 30
    lines = [json.dumps({"id": f"n{i}", "text": text}) for i, text in enumerate(texts)]
    place.write_text("\n".join(lines))
    made = tmp_path / "made"
    made.mkdir()
    portions = own_portions(made, encoder, [str(place)])
    assert len(portions) == 3
    assert [p.notes for p in portions] == [3, 3, 3]
    assert all(p.tokens >= 20 for p in portions)


def test_places_without_notes_are_refused(tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(InputError):
        own_portions(tmp_path, encoder, [str(tmp_path / "nowhere")])
    blank = tmp_path / "blank.txt"
    blank.write_text(" \n")
    with pytest.raises(InputError, match="no text"):
        own_portions(tmp_path, encoder, [str(blank)])
