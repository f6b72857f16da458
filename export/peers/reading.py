"""Peers by name, and how each is asked: notes from JSONL files, found entities into a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clin_edge.runtime.bench.subjects import Answerer

Found = list[dict[str, Any]]  # entities of one note, as the peer gives them


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that is loaded.

    Attributes:
        find: Gives the entities of each text, lazily and in order.
        versions: Of the packages that do the work.
        network: What it runs, as ``layers x width`` or by name.
    """

    find: Callable[[Sequence[str]], Iterable[Found]]
    versions: dict[str, str]
    network: str


def start_peer(name: str, order: dict[str, Any]) -> tuple[dict[str, Any], Answerer]:
    """Load a peer; a question is ``{"read": [FILE…]}``, the answer its seconds.

    Raises:
        ModuleNotFoundError: If the peer is not installed.
        SubjectError: If what is installed is not all it needs.
    """
    peer = _LOADERS[name](order)

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        out = Path(order["folder"], f"{name}.jsonl")
        cpu_s, began = time.process_time(), time.perf_counter()
        notes = list(_notes(question["read"]))
        with out.open("w", encoding="utf-8") as written:
            found = peer.find([note["text"] for note in notes])
            for note, entities in zip(notes, found, strict=True):
                record = {"id": note["id"], "entities": entities}
                written.write(json.dumps(record, default=float) + "\n")
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "cpu_s": time.process_time() - cpu_s}

    return {"versions": peer.versions, "network": peer.network}, answer


def _notes(files: Sequence[str]) -> Iterator[dict[str, str]]:
    for file in files:
        with Path(file).open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _transformers(order: dict[str, Any]) -> Peer:
    from clin_edge.export.peers.hugging_face import transformers_pipeline

    return transformers_pipeline(order, batch_size=1)


def _transformers_batched(order: dict[str, Any]) -> Peer:
    from clin_edge.export.peers.hugging_face import transformers_pipeline

    return transformers_pipeline(order, batch_size=16)


def _torch_int8(order: dict[str, Any]) -> Peer:
    from clin_edge.export.peers.hugging_face import transformers_pipeline

    return transformers_pipeline(order, batch_size=1, int8=True)


def _optimum_int8(order: dict[str, Any]) -> Peer:
    from clin_edge.export.peers.hugging_face import optimum_pipeline

    return optimum_pipeline(order)


def _openvino(order: dict[str, Any]) -> Peer:
    from clin_edge.export.peers.openvino_float import openvino_float

    return openvino_float(order)


def _spacy(order: dict[str, Any]) -> Peer:
    from clin_edge.export.peers.spacy_english import spacy_english

    return spacy_english(order)


_LOADERS: dict[str, Callable[[dict[str, Any]], Peer]] = {
    "transformers": _transformers,
    "transformers-batched": _transformers_batched,
    "optimum-int8": _optimum_int8,
    "openvino": _openvino,
    "torch-int8": _torch_int8,
    "spacy": _spacy,
}
