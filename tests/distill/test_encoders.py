"""What transformers does not say of an encoder's tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.distill.encoders import load_config, load_tokenizer, quiet_transformers
from tiny import tiny_encoder


def bare(encoder: Path, folder: Path) -> Path:
    """The encoder with config and ``vocab.txt`` alone, as BioBERT was first given away."""
    folder.mkdir()
    shutil.copy(encoder / "config.json", folder)
    vocab = json.loads((encoder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.__getitem__)) + "\n")
    return folder


@pytest.mark.parametrize("cased", [False, True], ids=["uncased", "cased"])
def test_a_bare_vocabulary_tells_capitals_apart_if_it_has_any(cased: bool, tmp_path: Path) -> None:
    quiet_transformers()
    whole = tiny_encoder(tmp_path / "whole", cased=cased)
    place = str(bare(whole, tmp_path / "bare"))
    tokenizer = load_tokenizer(place, load_config(place, attention_dropout=0.0))
    read = tokenizer.tokenize("Metformin for Mr M")
    theirs = load_tokenizer(str(whole), load_config(str(whole), attention_dropout=0.0))
    assert read == theirs.tokenize("Metformin for Mr M")
    assert ("M" in read) == cased
    tokenizer.save_pretrained(tmp_path / "again")
    shutil.copy(whole / "config.json", tmp_path / "again")
    again = load_tokenizer(
        str(tmp_path / "again"), load_config(str(tmp_path / "again"), attention_dropout=0.0)
    )
    assert again.tokenize("Metformin for Mr M") == read


def test_a_vocabulary_that_is_not_the_encoder_s_is_refused(tmp_path: Path) -> None:
    quiet_transformers()
    place = bare(tiny_encoder(tmp_path / "whole"), tmp_path / "bare")
    (place / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    config = load_config(str(place), attention_dropout=0.0)
    with pytest.raises(InputError, match=r"its tokenizer has 6 entries, its embeddings \d+"):
        load_tokenizer(str(place), config)
