"""Words that get a piece of their own: which, where they start from, and that all else stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoModelForMaskedLM, AutoTokenizer

from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.distill.adapt import AdaptSettings, adapt
from clin_edge.distill.encoders import read_tokenizer
from clin_edge.distill.words import LEAST_NOTES, add_words, frequent_words
from tiny import MAX_TOKENS, tiny_encoder
from toy import bytes_json

PIECES = ["[UNK]", "a", "b", "##a", "##b", "ab", "##ab", ".", "-", "1", "##1"]


@pytest.fixture
def toy() -> Tokenizer:
    vocab = {piece: i for i, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def test_words_are_ranked_by_the_texts_they_stand_in_and_the_pieces_they_cost(
    toy: Tokenizer,
) -> None:
    often = ["Abbba aba abbba."] * LEAST_NOTES
    once = ["bbbb " * 1000]
    few = ["baba"] * (LEAST_NOTES - 1)
    # abbba is ab, ##b, ##b, ##a and aba is ab, ##a; "ab" and "." are pieces already.
    texts = [*often, *once, *few, *["ab ."] * 50]
    assert frequent_words(toy, texts, 10) == ["abbba", "aba"]
    assert frequent_words(toy, texts, 1) == ["abbba"]
    assert frequent_words(toy, reversed(texts), 10) == ["abbba", "aba"]
    assert frequent_words(toy, texts, 0) == []


def test_a_tokenizer_that_pads_ranks_and_cuts_alike(toy: Tokenizer, tmp_path: Path) -> None:
    texts = [*["Abbba aba ab."] * LEAST_NOTES, *["aba ab"] * 2]
    wanted = frequent_words(toy, texts, 10)
    toy.enable_padding(length=16, pad_token="[UNK]")
    toy.enable_truncation(2)
    assert frequent_words(toy, texts, 10) == wanted == ["abbba", "aba"]

    place = str(tiny_encoder(tmp_path / "bert", "bert"))
    rows = []
    for pads in (False, True):
        model = AutoModelForMaskedLM.from_pretrained(place)
        tokenizer = AutoTokenizer.from_pretrained(place).backend_tokenizer
        if pads:
            tokenizer.enable_padding(length=16)
            tokenizer.enable_truncation(1)
        add_words(model, tokenizer, ["feverish"])
        rows.append(model.get_input_embeddings().weight[-1])
    assert torch.equal(*rows)


def test_digits_and_hyphens_get_no_piece(toy: Tokenizer) -> None:
    assert frequent_words(toy, ["a1b a-b b1b"] * LEAST_NOTES, 10) == []


def test_a_word_starts_as_the_mean_of_its_pieces_and_the_head_stays_tied(tmp_path: Path) -> None:
    place = str(tiny_encoder(tmp_path / "bert", "bert"))
    model = AutoModelForMaskedLM.from_pretrained(place, tie_word_embeddings=True)
    tokenizer = AutoTokenizer.from_pretrained(place).backend_tokenizer
    before = tokenizer.get_vocab()
    table = model.get_input_embeddings().weight.detach().clone()
    new = [word for word in ("feverish", "coughed", "strokelike") if word not in before]
    cut = {word: tokenizer.encode(word, add_special_tokens=False).ids for word in new}
    assert new
    assert all(len(ids) > 1 for ids in cut.values())

    add_words(model, tokenizer, [*new, *new[:1]])  # a word given twice gets one piece

    after = tokenizer.get_vocab()
    assert len(after) == len(before) + len(new) == model.config.vocab_size
    assert before.items() <= after.items()
    rows = model.get_input_embeddings().weight
    assert rows.shape[0] == len(after)
    assert torch.equal(rows[: len(table)], table)
    for word in new:
        (number,) = tokenizer.encode(word, add_special_tokens=False).ids
        assert number == after[word]
        assert torch.allclose(rows[number], table[cut[word]].mean(dim=0))
    assert model.get_output_embeddings().weight is rows


def test_other_vocabularies_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be added to a BPE vocabulary"):
        add_words(None, Tokenizer.from_buffer(bytes_json()), ["fever"])


def test_an_encoder_adapts_with_words_of_the_notes(tmp_path: Path) -> None:
    place = str(tiny_encoder(tmp_path / "bert", "bert"))
    notes = [Note(f"n{i}", "feverish and coughed") for i in range(LEAST_NOTES + 4)]
    settings = AdaptSettings(
        epochs=1, words=5, learning_rate=1e-3, max_tokens=MAX_TOKENS, batch_tokens=128
    )
    facts = adapt(place, iter(notes), tmp_path / "out", settings)
    old, new = (read_tokenizer(str(folder)) for folder in (place, tmp_path / "out"))
    assert len(old.tokenize("feverish and coughed")) > 3
    assert new.tokenize("feverish and coughed") == ["feverish", "and", "coughed"]
    assert facts["new_words"] == len(new) - len(old) > 0
    model = AutoModelForMaskedLM.from_pretrained(str(tmp_path / "out"))
    assert model.config.vocab_size == len(new)
