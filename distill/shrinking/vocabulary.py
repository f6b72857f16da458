"""An encoder without the word pieces that a corpus does not use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer

from clin_edge.core.errors import InputError

ROLES = tuple(f"{role}_token_id" for role in ("pad", "bos", "eos", "cls", "sep", "mask", "unk"))
BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """The tokenizer that goes with a pruned model; how many pieces it had and has."""

    tokenizer_json: bytes
    before: int
    kept: int


def prune_vocabulary(model: Any, tokenizer_json: bytes, texts: Iterable[str]) -> Pruned:
    """Take out of ``model`` the embeddings of all pieces that reading ``texts`` does not need.

    Special tokens stay, and every piece of one character or byte. A text whose pieces were all
    kept, and known, is cut as before, and the model's answer to it is the same. Other texts are cut
    otherwise, mostly into more pieces. Where each character has a piece of its own, as in BERT's
    vocabularies, what was known stays known, and what was unknown stays unknown.

    WordPiece takes the longest piece that fits, so one that stays is still the longest. BPE keeps
    each merge that can build a kept piece, in its order. Unigram keeps its scores, and the piece
    with the lowest, which decides what an unknown character costs.

    Args:
        model: A token classifier or a bare encoder of transformers; it is changed.
        tokenizer_json: Its tokenizer.
        texts: The corpus, which is read once.

    Raises:
        InputError: If the tokenizer is of another kind, or is not the model's.
    """
    tokenizer = Tokenizer.from_buffer(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # as core.encode reads a note
    embedding, config = model.get_input_embeddings(), model.config
    ids = tokenizer.get_vocab(with_added_tokens=True)
    if sorted(ids.values()) != list(range(len(ids))) or len(ids) > embedding.num_embeddings:
        raise InputError(
            f"the vocabulary cannot be pruned: the {len(ids):,} entries of the tokenizer are not "
            f"numbered as the {embedding.num_embeddings:,} embeddings are"
        )
    spec = json.loads(tokenizer.to_str())
    roles: dict[str, int] = {
        name: getattr(config, name)
        for name in ROLES
        if getattr(config, name, None) in range(len(ids))
    }
    # RoBERTa counts positions from the padding's number on, so that must not change.
    kept = {*roles.values(), *range(roles.get("pad_token_id", -1) + 1)}
    kept |= {token["id"] for token in spec["added_tokens"]}
    kept |= {numbers[i] for numbers, i in _frame(spec["post_processor"])}
    for text in texts:
        kept.update(tokenizer.encode(text, add_special_tokens=False).ids)
    kept |= {ids[piece] for piece in _always_kept(spec["model"])}
    if spec["model"]["type"] == "BPE":
        kept |= {ids[piece] for piece in _parts(spec["model"], {p for p in ids if ids[p] in kept})}
    order = sorted(kept)
    _renumber(spec, {old: new for new, old in enumerate(order)})
    embedding.weight = torch.nn.Parameter(embedding.weight.detach()[order])
    embedding.num_embeddings = config.vocab_size = len(order)
    for name, number in roles.items():
        setattr(config, name, order.index(number))
    pruned = Tokenizer.from_str(json.dumps(spec)).to_str().encode()
    return Pruned(pruned, before=len(ids), kept=len(order))


def _always_kept(model: dict[str, Any]) -> Iterator[str]:
    """Give the pieces that stay whether a text uses them or not, but for the special ones."""
    match model["type"]:
        case "WordPiece" | "BPE":
            vocab = list(model["vocab"])
            if model["unk_token"] is not None:
                yield model["unk_token"]
        case "Unigram":
            vocab = [piece for piece, _ in model["vocab"]]
            if model["unk_id"] is not None:
                yield vocab[model["unk_id"]]
            yield min(model["vocab"], key=lambda entry: entry[1])[0]
        case other:
            raise InputError(f"the vocabulary of a {other} tokenizer cannot be pruned")
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    for piece in vocab:
        if len(piece.removeprefix(prefix).removesuffix(suffix)) <= 1 or piece in BYTES:
            yield piece


def _parts(model: dict[str, Any], pieces: set[str]) -> set[str]:
    """Leave BPE's ``model`` the merges that can build ``pieces``; give every piece these need."""
    prefix = model["continuing_subword_prefix"] or ""
    built: dict[str, list[tuple[str, str]]] = {}
    for left, right in model["merges"]:
        built.setdefault(left + right.removeprefix(prefix), []).append((left, right))
    needed: set[str] = set()
    left_to_do = list(pieces)
    while left_to_do:
        piece = left_to_do.pop()
        if piece not in needed:
            needed.add(piece)
            left_to_do += [part for merge in built.get(piece, ()) for part in merge]
    model["merges"] = [
        [left, right]
        for left, right in model["merges"]
        if left + right.removeprefix(prefix) in needed
    ]
    return needed


def _renumber(spec: dict[str, Any], new: dict[int, int]) -> None:
    """Give the entries of a tokenizer their new numbers; those without one go."""
    model = spec["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if i in new]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        model["vocab"] = {piece: new[i] for piece, i in model["vocab"].items() if i in new}
    for token in spec["added_tokens"]:
        token["id"] = new[token["id"]]
    for numbers, i in _frame(spec["post_processor"]):
        numbers[i] = new[numbers[i]]


def _frame(processor: dict[str, Any] | None) -> Iterator[tuple[list[Any], int]]:
    """Give the places, as lists and indices, of the numbers of the tokens that frame a window."""
    if processor is None:
        return
    match processor["type"]:
        case "TemplateProcessing":
            for token in processor["special_tokens"].values():
                yield from ((token["ids"], i) for i in range(len(token["ids"])))
        case "BertProcessing" | "RobertaProcessing":
            yield from ((processor[role], 1) for role in ("sep", "cls"))
        case "Sequence":
            for part in processor["processors"]:
                yield from _frame(part)
