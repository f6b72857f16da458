"""A student: any BERT-family encoder with a linear head or a CRF, kept as a transformers folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForTokenClassification

from clin_edge.core.batching import Batch, Logits, Session
from clin_edge.core.crf import CRF_FILE, CrfTables
from clin_edge.core.encode import Encoder
from clin_edge.core.labels import LabelScheme
from clin_edge.core.predict import Predictor
from clin_edge.distill.crf import Crf
from clin_edge.distill.encoders import (
    check_room,
    load_config,
    load_tokenizer,
    loading,
    quiet_transformers,
)

FACTS_FILE = "clin_edge.json"


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    """A token classifier with all it needs to read notes.

    ``facts`` says how it came to be: recipe, dev scores, versions. With a CRF, the classifier's
    logits are what a unit of the chain adds, and ``crf`` has the rest.
    """

    model: Any  # transformers gives its models no useful static type
    tokenizer_json: bytes
    scheme: LabelScheme
    max_tokens: int
    overlap: int
    facts: Mapping[str, Any]
    crf: CrfTables | None = None
    passage_tokens: int = 0

    @property
    def encoder(self) -> Encoder:
        """The tokenizer and window plan, the very ones of the runtime."""
        return Encoder(
            self.tokenizer_json,
            max_tokens=self.max_tokens,
            overlap=self.overlap,
            passage_tokens=self.passage_tokens,
        )

    @property
    def predictor(self) -> Predictor:
        """The runtime's own walk over notes, with torch as its engine."""
        return Predictor(self.encoder, self.scheme, TorchSession(self.model), crf=self.crf)

    def save(self, folder: Path) -> None:
        """Write ``config.json``, ``model.safetensors``, ``tokenizer.json``, facts, CRF tables."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder, safe_serialization=True)
        (folder / "tokenizer.json").write_bytes(self.tokenizer_json)
        if self.crf is not None:
            (folder / CRF_FILE).write_bytes(self.crf.to_npz())
        facts = {
            "head": "linear" if self.crf is None else "crf",
            "labels": list(self.scheme.types),
            "tagging": self.scheme.tagging,
            "max_tokens": self.max_tokens,
            "overlap": self.overlap,
            "passage_tokens": self.passage_tokens,
            **self.facts,
        }
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        (folder / FACTS_FILE).write_text(text + "\n", encoding="utf-8")


class Tagger(torch.nn.Module):
    """What is trained of a student: its model, its CRF, and what is needed only on the way.

    ``projection`` carries its hidden states to the width of a bigger student's.
    """

    def __init__(
        self,
        model: Any,
        crf: Crf | None = None,
        *,
        first_pieces: bool = False,
        projection: torch.nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.crf = crf
        self.first_pieces = first_pieces
        self.projection = projection

    def tables(self) -> CrfTables | None:
        """Give what the CRF has learnt so far."""
        return self.crf.tables(first_pieces=self.first_pieces) if self.crf is not None else None


class TorchSession(Session):
    """Runs a student in torch, in float: the reference the exported model is held against."""

    def __init__(self, model: Any) -> None:
        """Hold a token classifier; it is put into evaluation mode at each run."""
        self._model = model

    def run(self, batch: Batch) -> Logits:
        """Give the logits (B, T, C)."""
        self._model.eval()
        device = self._model.device
        with torch.inference_mode():
            out = self._model(
                input_ids=torch.from_numpy(batch.input_ids).to(device),
                attention_mask=torch.from_numpy(batch.attention_mask).to(device),
            )
        return np.asarray(out.logits.float().cpu().numpy(), dtype=np.float32)


def new_student(
    encoder: str,
    scheme: LabelScheme,
    *,
    max_tokens: int,
    overlap: int,
    seed: int,
    attention_dropout: float = 0.0,
    dropout: float | None = None,
) -> Student:
    """Put a linear head on an encoder from a folder or a hub id.

    The head is a fresh one, unless the folder is a student's with as many tags.

    Raises:
        InputError: If the encoder cannot be loaded, or reads fewer than ``max_tokens``.
    """
    quiet_transformers()
    torch.manual_seed(seed)
    with loading(encoder, "an encoder transformers can load"):
        config = load_config(
            encoder,
            attention_dropout=attention_dropout,
            dropout=dropout,
            num_labels=len(scheme.tags),
            id2label=dict(enumerate(scheme.tags)),
            label2id=dict(scheme.index),
        )
        model = _load_weights(encoder, head_is_new=True, config=config)
        tokenizer = load_tokenizer(encoder, config)
    check_room(encoder, config, max_tokens)
    tokenizer_json = tokenizer.backend_tokenizer.to_str().encode()
    return Student(model, tokenizer_json, scheme, max_tokens, overlap, {})


def load_student(folder: Path) -> Student:
    """Open a folder that ``Student.save`` wrote.

    Raises:
        InputError: If it is not one.
    """
    quiet_transformers()
    with loading(str(folder), "a student folder"):
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        scheme = LabelScheme(tuple(facts.pop("labels")), facts.pop("tagging"))
        crf = None
        if facts.pop("head", "linear") == "crf":
            crf = CrfTables.from_npz((folder / CRF_FILE).read_bytes(), len(scheme.tags))
        max_tokens, overlap = int(facts.pop("max_tokens")), int(facts.pop("overlap"))
        passage_tokens = int(facts.pop("passage_tokens", 0))
        model = _load_weights(folder, head_is_new=False, local_files_only=True)
        tokenizer_json = (folder / "tokenizer.json").read_bytes()
        if model.config.num_labels != len(scheme.tags):
            raise ValueError(f"its head has {model.config.num_labels} tags, not {len(scheme.tags)}")
    return Student(model, tokenizer_json, scheme, max_tokens, overlap, facts, crf, passage_tokens)


def _load_weights(place: str | Path, *, head_is_new: bool, **options: Any) -> Any:
    """Load a token classifier; refuse weights that leave part of it random, but for a new head."""
    model, info = AutoModelForTokenClassification.from_pretrained(
        place,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=head_is_new,
        **options,
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
