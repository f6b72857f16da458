"""Tiny encoders with random weights, and notes so regular that such an encoder can learn them.

Nothing here is downloaded. torch and transformers are imported by the functions that need them.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clin_edge.core.labelled import Labelled, labelled_json
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.config import Recipe, TrainSettings
from toy import bytes_json, wordpiece_json

KINDS = ("bert", "distilbert", "roberta", "electra", "mpnet")
ATTENDING = KINDS[:4]  # in one operator; MPNet adds where tokens stand, in several
MAX_TOKENS = 48
OVERLAP = 8
TYPES = ("MEDICATION", "DISEASE")
DRUGS = ("metformin", "aspirin", "warfarin", "heparin", "insulin", "lisinopril", "ibuprofen")
ILLNESSES = ("diabetes", "hypertension", "asthma", "pneumonia", "anaemia", "acute stroke")
TEMPLATES = (
    "patient takes {drug} daily for {illness}.",
    "{illness} on admission, no fever. {drug} 500 mg twice weekly.",
    "denies pain. has {illness} and {illness}; took {drug}, {drug} and {drug}.",
    "history of {illness} without cough.",
    "no {drug} at discharge, not on {drug}",
    "the patient reports nausea.",
)


def tiny_encoder(
    folder: Path,
    kind: str = "bert",
    *,
    seed: int = 0,
    room: int = MAX_TOKENS,
    cased: bool = False,
) -> Path:
    """Write an encoder of 2 layers x 32 with random weights, as ``save_pretrained`` would.

    It reads ``room`` tokens at most. Gives the folder.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    tokenizer_json = bytes_json() if kind == "roberta" else wordpiece_json(cased=cased)
    tokenizer = _fast_tokenizer(tokenizer_json)
    torch.manual_seed(seed)
    model = transformers.AutoModel.from_config(_config(kind, tokenizer, room))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_recipe(**settings: Any) -> Recipe:
    """A recipe that fits ``tiny_encoder`` and lets it learn 60 notes of ``invented_set``.

    What is not a key of the recipe goes to its training settings.
    """
    usual = {"labels": TYPES, "max_tokens": MAX_TOKENS, "overlap": OVERLAP}
    own = {name: settings.pop(name) for name in Recipe.__slots__ if name in settings}
    tuned = {"epochs": 10, "learning_rate": 1e-2, "batch_tokens": 256, "seed": 1}
    return Recipe(**{**usual, **own}, train=TrainSettings(**{**tuned, **settings}))


def tiny_student(folder: Path, kind: str = "bert", *, seed: int = 0) -> Any:
    """An untrained student on a tiny encoder that is written to ``folder``."""
    from clin_edge.distill.student import new_student

    encoder = tiny_encoder(folder, kind, seed=seed)
    scheme = LabelScheme(TYPES)
    return new_student(str(encoder), scheme, max_tokens=MAX_TOKENS, overlap=OVERLAP, seed=seed)


def invented_set(
    n: int, *, seed: int = 0, marked: Sequence[str] = TYPES, prefix: str = "n"
) -> list[Labelled]:
    """Make ``n`` notes of a few sentences: ``DRUGS`` are MEDICATION, ``ILLNESSES`` DISEASE.

    Only the labels in ``marked`` are labelled.
    """
    draw = random.Random(seed)
    items = []
    for number in range(n):
        text, entities = "", []
        for template in draw.sample(TEMPLATES, k=draw.randint(1, 3)):
            text += "\n" if text else ""
            for piece in template.split("{"):
                slot, brace, rest = piece.rpartition("}")
                if brace:
                    word = draw.choice(DRUGS if slot == "drug" else ILLNESSES)
                    label = "MEDICATION" if slot == "drug" else "DISEASE"
                    if label in marked:
                        entities.append(Entity(Span(len(text), len(text) + len(word)), label))
                    text += word
                text += rest
        note = Note(f"{prefix}{number}", text)
        items.append(Labelled(note, tuple(entities), frozenset(marked)))
    return items


@contextlib.contextmanager
def n_threads(n: int) -> Iterator[None]:
    """Let torch use ``n`` threads: sums, and so weights, may depend on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *args: object) -> Done:
    """Run ``clin-edge`` in this process."""
    from clin_edge.cli import main

    with monkeypatch.context() as patch:
        patch.setattr(logging.root, "handlers", [])  # main sets up its own
        patch.delenv("CLIN_EDGE_DEBUG", raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        return Done(int(left.value.code or 0), *capsys.readouterr())


def write_labelled(path: Path, items: Sequence[Labelled]) -> Path:
    """Write labelled notes as JSONL; gives the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(labelled_json(item) + "\n" for item in items), encoding="utf-8")
    return path


def either(items: Sequence[Labelled]) -> list[Labelled]:
    """The same notes, as a source has them that does not tell the two labels apart."""
    label = "|".join(TYPES)
    return [
        Labelled(i.note, tuple(Entity(e.span, label) for e in i.entities), frozenset({label}))
        for i in items
    ]


def _fast_tokenizer(tokenizer_json: bytes) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_buffer(tokenizer_json)
    names = {"pad_token": ("[PAD]", "<pad>"), "unk_token": ("[UNK]", "<unk>")}
    names |= {"cls_token": ("[CLS]", "<s>"), "sep_token": ("[SEP]", "</s>")}
    names |= {"mask_token": ("[MASK]", "<mask>")}
    special = {
        role: next(name for name in known if tokenizer.token_to_id(name) is not None)
        for role, known in names.items()
    }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def _config(kind: str, tokenizer: Any, room: int) -> Any:
    import transformers

    common = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": room,
    }
    match kind:
        case "bert":
            return transformers.BertConfig(**common, **shape)
        case "electra":
            return transformers.ElectraConfig(**common, **shape, embedding_size=16)
        case "roberta" | "mpnet":
            # Positions are counted from after the padding id.
            shape["max_position_embeddings"] = room + 2
            if kind == "mpnet":
                return transformers.MPNetConfig(**common, **shape)
            return transformers.RobertaConfig(**common, **shape, type_vocab_size=1)
        case "distilbert":
            return transformers.DistilBertConfig(
                **common,
                dim=32,
                n_layers=2,
                n_heads=2,
                hidden_dim=64,
                max_position_embeddings=room,
            )
    raise ValueError(f"no such tiny encoder: {kind!r}")
