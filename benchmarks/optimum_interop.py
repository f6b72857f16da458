"""Open a bundle's model with optimum's classes and compare their logits with the engine's own.

    python benchmarks/optimum_interop.py BUNDLE STUDENT

Each class needs an environment of its own, without clin-edge: optimum-onnx 0.1.0 with transformers
4.57, optimum-intel 2.2.0 with transformers 5.5. What is not installed here is passed over.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {
    "model.onnx": "model.onnx",
    "model.xml": "openvino_model.xml",
    "model.bin": "openvino_model.bin",
}
# What a student folder has and a bundle does not: the names of the tags, among others.
OF_STUDENT = ("config.json", "tokenizer.json", "tokenizer_config.json")
TEXTS = [
    "Started metformin 500 mg twice daily for type 2 diabetes.",
    "Denies chest pain.",
    "History of asthma and hypertension; takes lisinopril and a salbutamol inhaler when needed.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("student", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for ours, theirs in NAMES.items():
            if (args.bundle / ours).exists():
                shutil.copy(args.bundle / ours, folder / theirs)
        for kept in OF_STUDENT:
            if (args.student / kept).exists():
                shutil.copy(args.student / kept, folder)
        if (folder / "model.onnx").exists():
            attempt("optimum-onnx", with_onnxruntime, folder)
        if (folder / "openvino_model.xml").exists():
            attempt("optimum-intel", with_openvino, folder)


def attempt(package: str, run: Any, folder: Path) -> None:
    try:
        found = f"{package} {version(package)}, transformers {version('transformers')}"
    except ImportError:
        print(f"{package}: not installed here")
        return
    try:
        ours, theirs, entities = run(folder)
    except Exception as error:  # whatever it says is the result
        print(f"{found}: FAILED: {type(error).__name__}: {str(error).splitlines()[0]}")
        return
    print(f"{found}: max difference {np.abs(ours - theirs).max():.1e}, {entities} entities")


def tokens(folder: Path) -> tuple[Any, dict[str, Any]]:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]"
    )
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=True)
    return tokenizer, dict(encoded)


def with_onnxruntime(folder: Path) -> tuple[Any, Any, int]:
    import onnxruntime
    from optimum.onnxruntime import ORTModelForTokenClassification

    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    tokenizer, inputs = tokens(folder)
    wanted = {port.name: inputs[port.name].numpy() for port in session.get_inputs()}
    model = ORTModelForTokenClassification.from_pretrained(folder)
    theirs = model(**inputs).logits.numpy()
    return session.run(["logits"], wanted)[0], theirs, count(model, tokenizer)


def with_openvino(folder: Path) -> tuple[Any, Any, int]:
    import openvino
    from optimum.intel import OVModelForTokenClassification

    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(folder / "openvino_model.xml"), "CPU", exact)
    tokenizer, inputs = tokens(folder)
    wanted = {port.any_name: inputs[port.any_name].numpy() for port in compiled.inputs}
    model = OVModelForTokenClassification.from_pretrained(folder, ov_config=exact)
    theirs = model(**inputs).logits.numpy()
    return compiled(wanted)["logits"], theirs, count(model, tokenizer)


def count(model: Any, tokenizer: Any) -> int:
    """How many entities transformers' own pipeline finds with it in TEXTS."""
    from transformers import pipeline

    find = pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple"
    )
    return sum(map(len, find(TEXTS)))


if __name__ == "__main__":
    main()
