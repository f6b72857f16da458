"""What NNCF's overflow fix costs and saves: agreement with the float model, F1, tokens a second.

    python benchmarks/overflow.py build/student --calibrate NOTES --agree NOTES --gold GOLD

One student, exported as float and with each overflow fix on the same windows. What 8-bit weights
would give on a CPU that does not overflow is also computed: the same model with its quantisation
carried out in float32 ("disable, unsaturated"); done to ``enable``, that should change little.

Speed is measured in turn, round after round, so that a machine that changes speed changes it for
all; medians, and ratios to ``enable``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from throughput import machine

from clin_edge.core.batching import Batch, Logits
from clin_edge.core.bundle import Bundle, write_bundle
from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.manifest import Manifest
from clin_edge.core.notes import Note, read_notes
from clin_edge.core.predict import Predictor
from clin_edge.core.score import score
from clin_edge.distill.student import Student, load_student
from clin_edge.export.calibrate import calibration_batches
from clin_edge.export.evaluate import find_with, scorable
from clin_edge.export.openvino import Int8Settings, model_files, quantize_int8, to_openvino
from clin_edge.runtime.pipeline import Pipeline

FIXES = ("enable", "first_layer_only", "disable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", type=Path)
    parser.add_argument("--calibrate", required=True, help="notes; the first 60 are used")
    parser.add_argument("--agree", required=True, help="notes on which spans are compared")
    parser.add_argument("--gold", required=True, help="labelled notes; the first 150 are used")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    args = parser.parse_args()
    here = machine()
    student = load_student(args.student)
    calibration = list(islice(read_notes([args.calibrate]), 60))
    notes = list(read_notes([args.agree]))
    gold = scorable(read_labelled(args.gold)[:150], student.scheme.types)
    with tempfile.TemporaryDirectory() as folder:
        bundles = {"float": bundle_of(student, to_openvino(student), Path(folder, "float"))}
        windows = calibration_batches(calibration, student.encoder)
        for fix in FIXES:
            print(f"quantising: {fix}", file=sys.stderr)
            model = quantize_int8(to_openvino(student), windows, Int8Settings(overflow_fix=fix))
            bundles[fix] = bundle_of(student, model, Path(folder, fix))
        readers = {
            name: Pipeline.from_bundle(bundle.path, threads=args.threads).predictor
            for name, bundle in bundles.items()
        }
        in_float = {
            f"{fix}, unsaturated": Pipeline(bundles[fix], InFloat(bundles[fix])).predictor
            for fix in ("enable", "disable")
        }
        speeds = tokens_per_s(readers, notes[:20], args.rounds)
        readers |= in_float
        reference = as_gold(find(readers["float"], notes), student.scheme.types, notes)
        rows = {name: quality(reader, reference, gold) for name, reader in readers.items()}
    for name, speed in speeds.items():
        rows[name] |= {"tokens_per_s": round(speed), "ratio": round(speed / speeds["enable"], 3)}
    weights = {name: bundle.manifest.files["model.bin"].sha256 for name, bundle in bundles.items()}
    results = {
        "machine": here,
        "student": args.student.name,
        "notes": {"calibration": len(calibration), "agreement": len(notes), "gold": len(gold)},
        "windows": len(windows),
        "same_weights": [
            [a, b] for a in FIXES for b in FIXES if a < b and weights[a] == weights[b]
        ],
        "rows": rows,
    }
    print(json.dumps(results, indent=2))
    if args.out:
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


class InFloat:
    """Runs a quantised model's FakeQuantize nodes as they stand, in float32: nothing overflows."""

    def __init__(self, bundle: Bundle) -> None:
        core = ov.Core()
        weights = ov.Tensor(np.frombuffer(bundle.files["model.bin"], dtype=np.uint8))
        model = core.read_model(bundle.files["model.xml"], weights)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}
        compiled = core.compile_model(model, "CPU", settings)
        for op in compiled.get_runtime_model().get_ops():
            layer, kernel = (
                op.get_rt_info()[key].astype(str) for key in ("layerType", "primitiveType")
            )
            if layer == "FullyConnected" and kernel.endswith("_I8"):
                sys.exit("this OpenVINO computes in INT8 although told not to")
        self._request = compiled.create_infer_request()

    def run(self, batch: Batch) -> Logits:
        self._request.infer({"input_ids": batch.input_ids, "attention_mask": batch.attention_mask})
        return np.array(self._request.get_output_tensor(0).data)


def bundle_of(student: Student, model: Any, folder: Path) -> Bundle:
    manifest = Manifest(
        name=folder.name,
        version="0",
        scheme=student.scheme,
        max_tokens=student.max_tokens,
        overlap=student.overlap,
        passage_tokens=student.passage_tokens,
        engines=("openvino",),
        precision="fp32" if folder.name == "float" else "int8",
        files={},
    )
    files = {**model_files(model), "tokenizer.json": student.tokenizer_json}
    if student.crf is not None:
        files["crf.npz"] = student.crf.to_npz()
    return write_bundle(folder, manifest, files)


def find(reader: Predictor, notes: Sequence[Note]) -> dict[str, Any]:
    return {reading.note.id: reading.entities for reading in reader.read(notes)}


def as_gold(found: dict[str, Any], types: Sequence[str], notes: Sequence[Note]) -> list[Labelled]:
    return [Labelled(note, tuple(found[note.id]), frozenset(types)) for note in notes]


def quality(
    reader: Predictor, reference: Sequence[Labelled], gold: Sequence[Labelled]
) -> dict[str, float]:
    agreed = score(reference, find_with(reader, reference)).micro
    scores = score(gold, find_with(reader, gold))
    return {
        "agreement_with_float": round(agreed.counts.f1, 4),
        "spans_not_shared": agreed.counts.fp + agreed.counts.fn,
        "micro_f1": round(scores.micro.counts.f1, 4),
        **{label: round(row.counts.f1, 4) for label, row in scores.by_label.items()},
    }


def tokens_per_s(
    readers: dict[str, Predictor], notes: Sequence[Note], rounds: int
) -> dict[str, float]:
    speeds: dict[str, list[float]] = {name: [] for name in readers}
    for n in range(rounds + 1):
        for name, reader in readers.items():
            started = time.perf_counter()
            n_tokens = sum(len(reading.encoded.ids) for reading in reader.read(notes))
            if n:  # the first round warms up
                speeds[name].append(n_tokens / (time.perf_counter() - started))
    return {name: statistics.median(of) for name, of in speeds.items()}


if __name__ == "__main__":
    main()
