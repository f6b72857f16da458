"""The engines a bundle can be made for, behind one face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clin_edge.core.batching import Batch
from clin_edge.core.errors import MissingInstallError
from clin_edge.distill.student import Student
from clin_edge.export.openvino import (
    Int8Settings,
    model_files,
    quantize_int8,
    quantized_share,
    to_openvino,
)

NAMES = ("openvino", "onnx", "both")


@dataclass(frozen=True, slots=True)
class Backend:
    """How a student becomes a model of one engine; what a model is, only its functions know.

    Attributes:
        engine: Which of the runtime's engines reads it.
        tools: Packages whose versions the manifest names.
        convert: Makes a float model of a student.
        quantize: Makes an INT8 model of a float one, from calibration batches.
        files: Gives a model's files, as they lie in a bundle.
        share_in_8_bits: Gives the share of a model's numbers that are 8-bit.
    """

    engine: str
    tools: tuple[str, ...]
    convert: Callable[[Student], Any]
    quantize: Callable[[Any, Sequence[Batch], Int8Settings], Any]
    files: Callable[[Any], dict[str, bytes]]
    share_in_8_bits: Callable[[Any], float]


OPENVINO = Backend(
    engine="openvino",
    tools=("openvino", "nncf"),
    convert=to_openvino,
    quantize=quantize_int8,
    files=model_files,
    share_in_8_bits=quantized_share,
)


def backends(name: str) -> tuple[Backend, ...]:
    """Give the backends that ``--backend`` names, OpenVINO first.

    Raises:
        MissingInstallError: If what ONNX needs is not installed.
    """
    if name == "openvino":
        return (OPENVINO,)
    return (_onnx(),) if name == "onnx" else (OPENVINO, _onnx())


def _onnx() -> Backend:
    try:
        from clin_edge.export import onnx_model  # for those who want it
    except ModuleNotFoundError as error:
        raise MissingInstallError("export", str(error.name)) from None
    return Backend(
        engine="onnxruntime",
        tools=("onnx", "onnxruntime", "nncf"),
        convert=onnx_model.to_onnx,
        quantize=onnx_model.quantize_int8_onnx,
        files=lambda model: {"model.onnx": model},
        share_in_8_bits=onnx_model.quantized_share_onnx,
    )
