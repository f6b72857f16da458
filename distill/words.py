"""Words that get a piece of their own: what a tokenizer cuts up and a corpus often says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from clin_edge.core.errors import InputError

LEAST_NOTES = 20  # in fewer notes a word is not seen often enough to be learnt


def frequent_words(tokenizer: Tokenizer, texts: Iterable[str], most: int) -> list[str]:
    """Give up to ``most`` words that cost the tokenizer most pieces, the dearest first.

    Words are those that it cuts a text into before it looks for pieces; of letters alone, and in
    ``LEAST_NOTES`` texts at least. What a word costs is the number of texts it stands in times its
    pieces beyond the first, so that one text that repeats itself does not choose.
    """
    tokenizer = _plain(tokenizer)
    n_texts: Counter[str] = Counter()
    for text in texts:
        n_texts.update(set(_words(tokenizer, text)))
    often = sorted(word for word, n in n_texts.items() if n >= LEAST_NOTES and word.isalpha())
    cut = tokenizer.encode_batch(often, add_special_tokens=False)
    costs = {
        word: n_texts[word] * (len(encoding.ids) - 1)
        for word, encoding in zip(often, cut, strict=True)
    }
    dearest = sorted((word for word in often if costs[word]), key=lambda word: -costs[word])
    return dearest[:most]


def add_words(model: Any, tokenizer: Tokenizer, words: Sequence[str]) -> None:
    """Give each of ``words`` a piece and an embedding: the mean of those it was cut into.

    The pieces that were there keep their numbers. A word that begins with one of ``words`` may be
    cut otherwise too, since WordPiece takes the longest piece that fits.

    Args:
        model: Of transformers, any head; changed. A head tied to the embeddings stays tied.
        tokenizer: The model's; changed.
        words: As the tokenizer has them after normalising.

    Raises:
        InputError: If the tokenizer is not WordPiece, where a new word could need new merges.
    """
    old = tokenizer.model
    if not isinstance(old, WordPiece):
        raise InputError(
            f"words cannot be added to a {type(old).__name__} vocabulary, only to WordPiece"
        )
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    plain = _plain(tokenizer)
    cut = [encoding.ids for encoding in plain.encode_batch(words, add_special_tokens=False)]
    new = {word: ids for word, ids in zip(words, cut, strict=True) if word not in vocab}
    n_before = model.get_input_embeddings().num_embeddings
    model.resize_token_embeddings(n_before + len(new), mean_resizing=False)
    table = model.get_input_embeddings().weight
    with torch.no_grad():
        for row, ids in enumerate(new.values(), n_before):
            table[row] = table[ids].mean(dim=0)
    tokenizer.model = WordPiece(
        vocab | {word: row for row, word in enumerate(new, n_before)},
        unk_token=old.unk_token,
        max_input_chars_per_word=old.max_input_chars_per_word,
        continuing_subword_prefix=old.continuing_subword_prefix,
    )


def words_added(older: bytes, newer: bytes) -> list[str] | None:
    """Give the words that ``add_words`` made pieces of between two ``tokenizer.json``.

    None if the newer one is not the older one with words added.
    """
    before, after = json.loads(older), json.loads(newer)
    for spec in (before, after):
        spec["truncation"] = spec["padding"] = spec["decoder"] = None  # nobody here reads by these
    known, pieces = (spec["model"].pop("vocab", None) for spec in (before, after))
    if before != after or not isinstance(known, dict) or not isinstance(pieces, dict):
        return None
    added = sorted(pieces.keys() - known.keys(), key=lambda piece: pieces[piece])
    if pieces != known | {word: row for row, word in enumerate(added, len(known))}:
        return None
    return added


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """Give one that fills up no word to a fixed length, as that of a published encoder may do."""
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    return plain


def _words(tokenizer: Tokenizer, text: str) -> Iterable[str]:
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    if tokenizer.pre_tokenizer is None:
        return text.split()
    return (word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
