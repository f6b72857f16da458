"""The OpenVINO session."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov

from clin_edge.core.batching import Batch, Logits, Pending, Session
from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import BundleError, InputError
from clin_edge.runtime.compiled import Compiled
from clin_edge.runtime.ov_weights import look_up_in_8_bits, widen_weights
from clin_edge.runtime.ports import check_ports
from clin_edge.runtime.processor import processor

PRODUCTS = ("int8", "float")


class OpenVinoSession(Session):
    """Runs ``model.xml`` on the CPU, several batches at once if it has several threads.

    Two threads on one small batch wait for each other again and again; on a batch each they do not,
    and two more batches are there for whoever is done first, while answers are read.

    Arithmetic that is not INT8 is done in float32 whatever the CPU would prefer (some default to
    bf16), so that the answer does not follow the machine. Threads are not pinned: two processes
    pinned by OpenVINO were seen to share one core.

    On a processor without instructions made for it, 8-bit arithmetic is slower than float. There
    the products of an INT8 model are done in float, of the same numbers: its inputs are rounded to
    8 bits all the same, and it finds nearly the same. ``CLIN_EDGE_PRODUCTS`` (int8, float) chooses.
    """

    def __init__(self, bundle: Bundle, *, threads: int, kept_in: Path | None = None) -> None:
        """Compile the bundle's model; raises ``BundleError`` if OpenVINO cannot.

        With a folder ``kept_in`` what was compiled is kept there, and taken from there.
        """
        self.name = f"openvino {ov.get_version().split('-')[0]}"
        streams = _streams(threads)
        in_float = bundle.manifest.precision == "int8" and _products() == "float"
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": str(threads),
            "ENABLE_CPU_PINNING": "NO",
            # What is compiled for a shape is kept, for all of the some forty shapes that batches
            # have: some 30 MB, and every fifth batch would else be planned anew. Float products
            # take so long that it does not count, and more memory.
            "CPU_RUNTIME_CACHE_CAPACITY": "16" if in_float else "256",
        }
        if in_float:
            self.name += ", float products"
            settings["LP_TRANSFORMS_MODE"] = "NO"
        kept = None
        if kept_in is not None:
            kept = Compiled(kept_in, ov.get_version(), bundle.manifest_sha256, settings)
        compiled = None if kept is None else _taken(kept, settings)
        if compiled is None:
            compiled = _compiled(bundle, settings, in_float=in_float)
            if kept is not None:
                kept.keep(_exported(compiled))
        self._compiled = compiled
        self._idle: list[ov.InferRequest] = []
        self.at_once = streams + 2 if streams > 1 else 1

    def run(self, batch: Batch) -> Logits:
        """Give the logits (B, T, C)."""
        return self.start(batch)()

    def start(self, batch: Batch) -> Pending:
        """Begin with a batch on a stream that is free, or as soon as one is."""
        request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        request.start_async(inputs, share_inputs=True)

        def logits() -> Logits:
            request.wait()
            inputs.clear()  # until now the engine read them where they lie
            answer = np.array(request.get_output_tensor(0).data, dtype=np.float32)
            self._idle.append(request)
            return answer

        return logits


def _streams(threads: int) -> int:
    """Say how many batches are computed at once: two share all threads evenly, or three do.

    More would each need memory of their own; workers are there for more threads.
    """
    return 3 if threads == 3 else min(threads, 2)


def _compiled(bundle: Bundle, settings: Mapping[str, str], *, in_float: bool) -> ov.CompiledModel:
    core = ov.Core()
    try:
        weights = np.frombuffer(bundle.files["model.bin"], dtype=np.uint8)
        model = core.read_model(bundle.files["model.xml"], ov.Tensor(weights))
        check_ports(
            bundle,
            {port.get_any_name() for port in model.inputs},
            {name for port in model.outputs for name in port.get_names()},
        )
        look_up_in_8_bits(model)
        if in_float:
            widen_weights(model)
        return core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        # The first line names a place in OpenVINO's source; the last says what was wrong.
        reason = str(error).strip().splitlines()[-1]
        raise BundleError(f"{bundle.path}: OpenVINO cannot use its model ({reason})") from None


def _taken(kept: Compiled, settings: Mapping[str, str]) -> ov.CompiledModel | None:
    content = kept.load()
    if content is None:
        return None
    try:
        return ov.Core().import_model(content, "CPU", settings)
    except RuntimeError:
        kept.drop()
        return None


def _exported(compiled: ov.CompiledModel) -> bytes:
    content = compiled.export_model()
    return content if isinstance(content, bytes) else content.getvalue()


def _products() -> str:
    """Say how products are done here; raises ``InputError`` if the choice is none."""
    chosen = os.environ.get("CLIN_EDGE_PRODUCTS")
    if not chosen:
        return "float" if processor().prefers_float else "int8"
    if chosen not in PRODUCTS:
        raise InputError(f"CLIN_EDGE_PRODUCTS={chosen!r}: expected {' or '.join(PRODUCTS)}")
    return chosen
