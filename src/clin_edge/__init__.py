"""Clinical information extraction on the CPUs a hospital already has."""

import os
import sys

__version__ = "0.1.0"

# Not one packet. On import, openvino sends an event through its telemetry package (it goes on
# without one), and onnxruntime opens a log that it may upload. Both are decided at import time.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # whatever it was: "0" would switch reporting on
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
