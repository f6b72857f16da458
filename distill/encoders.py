"""Encoders and tokenizers as transformers keeps them, with what it does not check checked."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer

from clin_edge.core.errors import BundleError, InputError


@contextmanager
def loading(place: str, expected: str) -> Iterator[None]:
    """Turn whatever is wrong with a folder's files into an ``InputError``."""
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        SafetensorError,
        BundleError,
    ) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{place}: not {expected} ({reason})") from None


def quiet_transformers() -> None:
    """Keep the bars, advice and retries of transformers and the hub off the user's screen."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity(logging.ERROR)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def load_config(
    encoder: str, *, attention_dropout: float, dropout: float | None = None, **changes: Any
) -> Any:
    """Give an encoder's config; ``dropout`` is all but that of attention."""
    config = AutoConfig.from_pretrained(encoder, **changes)
    # BERT, RoBERTa, ELECTRA and MPNet use the first name, DistilBERT the second.
    names = {
        "attention_probs_dropout_prob": attention_dropout,
        "attention_dropout": attention_dropout,
        "hidden_dropout_prob": dropout,
        "dropout": dropout,
    }
    for name, value in names.items():
        if value is not None and hasattr(config, name):
            setattr(config, name, value)
    return config


def read_tokenizer(place: str) -> Any:
    """Give a tokenizer, which tells capitals apart if its vocabulary does.

    Without a ``tokenizer_config.json`` transformers lower-cases whatever BERT vocabulary it finds,
    BioBERT's too, and says nothing.
    """
    tokenizer = AutoTokenizer.from_pretrained(place)
    if _lowers(tokenizer) and _has_capitals(tokenizer):
        tokenizer = AutoTokenizer.from_pretrained(place, do_lower_case=False)
    return tokenizer


def load_tokenizer(encoder: str, config: Any) -> Any:
    """Give an encoder's tokenizer, as ``read_tokenizer`` does.

    Raises:
        InputError: If its size is not that of the embeddings: without its files transformers makes
            up a tokenizer of five entries, and says nothing.
    """
    tokenizer = read_tokenizer(encoder)
    if not 0.9 * config.vocab_size <= len(tokenizer) <= config.vocab_size:
        raise InputError(
            f"{encoder}: its tokenizer has {len(tokenizer):,} entries, its embeddings "
            f"{config.vocab_size:,}; is tokenizer.json or vocab.txt missing?"
        )
    return tokenizer


def check_room(encoder: str, config: Any, max_tokens: int) -> None:
    """Refuse windows of more tokens than an encoder has positions for; raises ``InputError``."""
    room = getattr(config, "max_position_embeddings", max_tokens)
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        room -= 2  # their positions begin after the padding index
    if max_tokens > room:
        raise InputError(f"{encoder}: reads {room} tokens at most, {max_tokens} are asked for")


def _lowers(tokenizer: Any) -> bool:
    normalizer = json.loads(tokenizer.backend_tokenizer.to_str())["normalizer"] or {}
    return bool(normalizer.get("lowercase"))


def _has_capitals(tokenizer: Any) -> bool:
    special = set(tokenizer.all_special_tokens)
    pieces = (p for p in tokenizer.get_vocab() if p not in special and not p.startswith("["))
    return any(piece != piece.lower() for piece in pieces)
