"""OpenVINO by hand: a float model converted as its documentation shows, one note at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import openvino as ov
import torch

from clin_edge.export.peers.hugging_face import random_model
from clin_edge.export.peers.reading import Found, Peer


def openvino_float(order: dict[str, Any]) -> Peer:
    """Load a float model with OpenVINO's own settings; its windows are those of the pipeline."""
    model, tokenizer = random_model(order)
    names = ("input_ids", "attention_mask")
    example = torch.ones((2, 16), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = ov.convert_model(model, example_input=dict.fromkeys(names, example))
    settings = {"INFERENCE_NUM_THREADS": str(order["threads"])}
    compiled = ov.Core().compile_model(converted, "CPU", settings)
    tags = order["tags"]

    def find(texts: Sequence[str]) -> Iterator[Found]:
        for text in texts:
            yield _found(_windows(tokenizer, text, order), compiled, tags)

    version = ov.__version__.split("-")[0]
    return Peer(find, {"openvino": version}, f"{order['layers']}x{order['hidden']}")


def _windows(tokenizer: Any, text: str, order: dict[str, Any]) -> Any:
    return tokenizer(
        text,
        truncation=True,
        max_length=order["max_tokens"],
        stride=order["overlap"],
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )


def _found(windows: Any, compiled: Any, tags: Sequence[str]) -> Found:
    """Take the best tag of each token; what says O is dropped."""
    found = []
    places = zip(windows["input_ids"], windows["offset_mapping"], strict=True)
    for ids, offsets in places:
        row = np.array([ids], dtype=np.int64)
        logits = compiled({"input_ids": row, "attention_mask": np.ones_like(row)})[0]
        for tag, (start, end) in zip(logits[0].argmax(axis=-1), offsets, strict=True):
            if tags[tag] != "O":
                found.append({"start": start, "end": end, "label": tags[tag]})
    return found
