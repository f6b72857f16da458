"""A student: any BERT-family encoder with a linear head, kept as a plain transformers folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

from clin_edge.core.batching import Batch, Logits
from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.predict import Predictor

FACTS_FILE = "clin_edge.json"


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    """A token classifier with all it needs to read notes.

    ``facts`` says how it came to be: recipe, dev scores, versions.
    """

    model: Any  # transformers gives its models no useful static type
    tokenizer_json: bytes
    scheme: LabelScheme
    max_tokens: int
    overlap: int
    facts: Mapping[str, Any]

    @property
    def encoder(self) -> Encoder:
        """The tokenizer and window plan, the very ones of the runtime."""
        return Encoder(self.tokenizer_json, max_tokens=self.max_tokens, overlap=self.overlap)

    @property
    def predictor(self) -> Predictor:
        """The runtime's own walk over notes, with torch as its engine."""
        return Predictor(self.encoder, self.scheme, TorchSession(self.model))

    def save(self, folder: Path) -> None:
        """Write ``config.json``, ``model.safetensors``, ``tokenizer.json`` and our own facts."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder, safe_serialization=True)
        (folder / "tokenizer.json").write_bytes(self.tokenizer_json)
        facts = {
            "labels": list(self.scheme.types),
            "tagging": self.scheme.tagging,
            "max_tokens": self.max_tokens,
            "overlap": self.overlap,
            **self.facts,
        }
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        (folder / FACTS_FILE).write_text(text + "\n", encoding="utf-8")


class TorchSession:
    """Runs a student in torch, in float: the reference the exported model is held against."""

    def __init__(self, model: Any) -> None:
        """Hold a token classifier; it is put into evaluation mode at each run."""
        self._model = model

    def run(self, batch: Batch) -> Logits:
        """Give the logits (B, T, C)."""
        self._model.eval()
        with torch.inference_mode():
            out = self._model(
                input_ids=torch.from_numpy(batch.input_ids),
                attention_mask=torch.from_numpy(batch.attention_mask),
            )
        return np.asarray(out.logits.float().numpy(), dtype=np.float32)


def new_student(
    encoder: str,
    scheme: LabelScheme,
    *,
    max_tokens: int,
    overlap: int,
    seed: int,
    attention_dropout: float = 0.0,
) -> Student:
    """Put a fresh linear head on an encoder from a folder or a hub id.

    Raises:
        InputError: If the encoder cannot be loaded, or reads fewer than ``max_tokens``.
    """
    quiet_transformers()
    torch.manual_seed(seed)
    with _loading(encoder, "an encoder transformers can load"):
        config = AutoConfig.from_pretrained(
            encoder,
            num_labels=len(scheme.tags),
            id2label=dict(enumerate(scheme.tags)),
            label2id=dict(scheme.index),
        )
        # BERT, RoBERTa and ELECTRA use the first name, DistilBERT the second.
        for name in ("attention_probs_dropout_prob", "attention_dropout"):
            if hasattr(config, name):
                setattr(config, name, attention_dropout)
        model = _load_weights(encoder, head_is_new=True, config=config)
        tokenizer = AutoTokenizer.from_pretrained(encoder)
    _check_room(encoder, config, max_tokens)
    # Without its files transformers makes up a tokenizer of five entries, and says nothing.
    if not 0.9 * config.vocab_size <= len(tokenizer) <= config.vocab_size:
        raise InputError(
            f"{encoder}: its tokenizer has {len(tokenizer):,} entries, its embeddings "
            f"{config.vocab_size:,}; is tokenizer.json or vocab.txt missing?"
        )
    tokenizer_json = tokenizer.backend_tokenizer.to_str().encode()
    return Student(model, tokenizer_json, scheme, max_tokens, overlap, {})


def load_student(folder: Path) -> Student:
    """Open a folder that ``Student.save`` wrote.

    Raises:
        InputError: If it is not one.
    """
    quiet_transformers()
    with _loading(str(folder), "a student folder"):
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        scheme = LabelScheme(tuple(facts.pop("labels")), facts.pop("tagging"))
        max_tokens, overlap = int(facts.pop("max_tokens")), int(facts.pop("overlap"))
        model = _load_weights(folder, head_is_new=False, local_files_only=True)
        tokenizer_json = (folder / "tokenizer.json").read_bytes()
        if model.config.num_labels != len(scheme.tags):
            raise ValueError(f"its head has {model.config.num_labels} tags, not {len(scheme.tags)}")
    return Student(model, tokenizer_json, scheme, max_tokens, overlap, facts)


@contextmanager
def _loading(place: str, expected: str) -> Iterator[None]:
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
    ) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{place}: not {expected} ({reason})") from None


def _load_weights(place: str | Path, *, head_is_new: bool, **options: Any) -> Any:
    """Load a token classifier; refuse weights that leave part of it random, but for a new head."""
    model, info = AutoModelForTokenClassification.from_pretrained(
        place, output_loading_info=True, **options
    )
    encoder_prefix = model.base_model_prefix + "."
    missing = sorted(
        name
        for name in [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
        if not head_is_new or name.startswith(encoder_prefix)
    )
    if missing:
        raise ValueError(f"{len(missing)} weights are missing, the first is {missing[0]}")
    return model


def quiet_transformers() -> None:
    """Keep the bars, advice and retries of transformers and the hub off the user's screen."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity(logging.ERROR)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _check_room(encoder: str, config: Any, max_tokens: int) -> None:
    room = getattr(config, "max_position_embeddings", max_tokens)
    if config.model_type in ("roberta", "xlm-roberta", "camembert"):
        room -= 2  # their positions begin after the padding index
    if max_tokens > room:
        raise InputError(f"{encoder}: reads {room} tokens at most, the recipe asks {max_tokens}")
