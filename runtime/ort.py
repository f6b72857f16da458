"""The onnxruntime session."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from clin_edge.core.batching import Batch, Logits, Session
from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import BundleError
from clin_edge.runtime.ports import check_ports

# Without VNNI, products of weights that need all 8 bits would overflow 16-bit sums: take the exact
# way for those. Weights of 7 bits, as `export` writes, keep the quick one.
_EXACT_PRODUCTS = ("session.x64quantprecision", "1")


class OrtSession(Session):
    """Runs ``model.onnx`` on the CPU, one batch at a time.

    The memory arena is off: it would grow to the largest batch ever met and stay there.
    """

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        """Load the bundle's model; raises ``BundleError`` if onnxruntime cannot."""
        self.name = f"onnxruntime {ort.__version__}"
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.use_deterministic_compute = True
        options.log_severity_level = 4  # what goes wrong is said below, once
        options.add_session_config_entry(*_EXACT_PRODUCTS)
        try:
            self._session = ort.InferenceSession(
                bundle.files["model.onnx"], options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no base class of their own
            reason = str(error).strip().splitlines()[0]
            raise BundleError(
                f"{bundle.path}: onnxruntime cannot use its model ({reason})"
            ) from None
        check_ports(
            bundle,
            {port.name for port in self._session.get_inputs()},
            {port.name for port in self._session.get_outputs()},
        )

    def run(self, batch: Batch) -> Logits:
        """Give the logits (B, T, C)."""
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        (logits,) = self._session.run(["logits"], inputs)
        return np.asarray(logits, dtype=np.float32)
