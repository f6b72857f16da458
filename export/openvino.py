"""A student as an OpenVINO model, float or INT8."""

from __future__ import annotations

import io
import logging
import re
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
from clin_edge.distill.rounding import SMOOTH_QUANT
from clin_edge.distill.student import Student
from clin_edge.export.attention import round_shares_and_values
from clin_edge.export.unsigned import count_from_zero

INPUTS = ("input_ids", "attention_mask")


class _Logits(torch.nn.Module):
    """The student as a function of two tensors (B, T) that gives logits (B, T, C).

    The encoder is given its mask as attention adds it, one row for all tokens that look
    (B, 1, 1, T). Of a mask (B, T) it would itself write out a square (B, 1, T, T).
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = torch.where(attention_mask == 1, 0.0, -torch.inf)[:, None, None, :]
        logits: torch.Tensor = self._model(input_ids=input_ids, attention_mask=hidden).logits
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
    model.set_friendly_name("student")  # its own name counts the models of this process
    return model


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """How NNCF quantises.

    Attributes:
        preset: ``mixed`` lets activations be asymmetric, ``performance`` does not.
        overflow_fix: Keeps weights within 7 bits where a CPU without VNNI would overflow its 16-bit
            sums: without it such a CPU answers differently from one that has VNNI.
        smooth_quant: How much of an activation's outliers goes into the weights (the alpha of
            SmoothQuant, Xiao et al. 2023); NNCF's own default is 0.95, and
            ``benchmarks/int8_settings.py`` compares them.
        float_layers: Names of the student's linear layers that stay in float.

    Raises:
        ValueError: If ``smooth_quant`` is not from 0 to 1.
    """

    preset: str = "mixed"
    overflow_fix: str = "enable"
    smooth_quant: float = SMOOTH_QUANT
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 <= self.smooth_quant <= 1:
            raise ValueError(f"smooth_quant is {self.smooth_quant}, expected 0 to 1")

    def as_dict(self) -> dict[str, Any]:
        """Give what the manifest says of it."""
        return {
            "model_type": "transformer",
            "preset": self.preset,
            "overflow_fix": self.overflow_fix,
            "smooth_quant": self.smooth_quant,
            "float_layers": list(self.float_layers),
        }


def quantize_int8(model: Any, batches: Sequence[Batch], settings: Int8Settings) -> Any:
    """Quantise weights, activations and embeddings to static INT8, calibrated on ``batches``.

    NNCF's rules for transformers: SmoothQuant, bias correction, and ranges fixed here once, so that
    a note's answer does not depend on what else is in its batch; attention's second product,
    which they leave in float; and what products with weights take counted from zero.

    Raises:
        InputError: If there is nothing to calibrate on.
    """
    float_ops = [_op_pattern(name) for name in settings.float_layers]
    quantized = run_nncf(model, batches, settings, float_ops)
    round_shares_and_values(quantized, batches)
    count_from_zero(quantized)
    return quantized


def run_nncf(
    model: Any,
    batches: Sequence[Batch],
    settings: Int8Settings,
    float_ops: Sequence[str],
    *,
    weights: Path | None = None,
) -> Any:
    """Quantise an OpenVINO or ONNX model; operations that match ``float_ops`` stay in float.

    ``weights`` is the folder where an ONNX model's tensors lie that are not in the model itself.

    Raises:
        InputError: If there is nothing to calibrate on.
    """
    if not batches:
        raise InputError("the calibration notes hold no text; name some with --calibrate")
    # Not nncf.set_log_level: that silences whatever else listens to its logger as well.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    inputs = [
        {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask} for batch in batches
    ]
    with redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset(settings.preset),
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(patterns=list(float_ops)) if float_ops else None,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix(settings.overflow_fix),
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(
                    matmul=settings.smooth_quant
                ),
                backend_params={"external_data_dir": str(weights)} if weights else {},
            ),
        )


def _op_pattern(layer: str) -> str:
    """Give the pattern of the names that the conversion gives the operations of a torch layer."""
    return rf".*\._model\.{re.escape(layer)}/.*MatMul.*"


def model_files(model: Any) -> dict[str, bytes]:
    """Give the bytes of ``model.xml`` and ``model.bin``: the same for the same model.

    OpenVINO numbers nodes as this process makes them; here they are numbered by their order.
    """
    for i, node in enumerate(model.get_ordered_ops()):
        kind, name = node.get_type_name(), node.get_friendly_name()
        if re.match(rf"{kind}_\d+", name):
            node.set_friendly_name(f"{kind}_{i}")
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
