"""A student as an OpenVINO model, float or INT8."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nncf
import numpy as np
import openvino as ov
import torch

from clin_edge.core.batching import Batch
from clin_edge.core.errors import InputError
from clin_edge.distill.student import Student

INPUTS = ("input_ids", "attention_mask")


class _Logits(torch.nn.Module):
    """The student as a function of two tensors (B, T) that gives logits (B, T, C)."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model(
            input_ids=input_ids, attention_mask=attention_mask
        ).logits
        return logits


def to_openvino(student: Student) -> Any:
    """Convert a student to a float32 OpenVINO model with any batch size and length.

    Inputs ``input_ids`` and ``attention_mask`` (B, T) int64; output ``logits`` (B, T, C).
    """
    example = torch.ones((2, 16), dtype=torch.int64)
    with warnings.catch_warnings():
        # The trace warns of every shape that transformers' attention masks look at.
        warnings.simplefilter("ignore")
        model = ov.convert_model(
            _Logits(student.model.eval()),
            example_input=dict.fromkeys(INPUTS, example),
            input=[(name, ov.PartialShape([-1, -1]), ov.Type.i64) for name in INPUTS],
        )
    for port, name in zip(model.inputs, INPUTS, strict=True):
        port.get_tensor().set_names({name})
    model.outputs[0].get_tensor().set_names({"logits"})
    return model


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """How NNCF quantises.

    ``overflow_fix`` keeps weights within 7 bits where a CPU without VNNI would overflow its 16-bit
    sums: without it such a CPU answers differently from one that has VNNI.
    """

    preset: str = "mixed"
    overflow_fix: str = "enable"


def quantize_int8(model: Any, batches: Sequence[Batch], settings: Int8Settings) -> Any:
    """Quantise weights, activations and embeddings to static INT8, calibrated on ``batches``.

    NNCF's rules for transformers: SmoothQuant, bias correction, and ranges fixed here once, so that
    a note's answer does not depend on what else is in its batch.

    Raises:
        InputError: If there is nothing to calibrate on.
    """
    if not batches:
        raise InputError("the calibration notes hold no text; name some with --calibrate")
    nncf.set_log_level(logging.ERROR)
    inputs = [
        {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask} for batch in batches
    ]
    with redirect_stdout(sys.stderr):  # where its progress bars belong
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset(settings.preset),
            subset_size=len(inputs),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix(settings.overflow_fix)
            ),
        )


def model_files(model: Any) -> dict[str, bytes]:
    """Give the bytes of ``model.xml`` and ``model.bin``."""
    with TemporaryDirectory() as folder:
        xml = Path(folder, "model.xml")
        ov.save_model(model, xml, compress_to_fp16=False)
        return {name: Path(folder, name).read_bytes() for name in ("model.xml", "model.bin")}


def quantized_share(model: Any) -> float:
    """Give the share of the model's constants, by count of numbers, that are 8-bit."""
    sizes = {True: 0, False: 0}
    for node in model.get_ops():
        if node.get_type_name() == "Constant":
            n_numbers = int(np.prod(list(node.get_output_shape(0)), dtype=np.int64))
            sizes[node.get_element_type().size == 1] += n_numbers
    return sizes[True] / max(sum(sizes.values()), 1)
