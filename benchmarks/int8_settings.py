"""What each way to quantise a student costs in spans, logits and speed, on this machine.

    python benchmarks/int8_settings.py STUDENT NOTES GOLD -o results/int8-settings.json

STUDENT is a folder of `clin-edge distill`; NOTES are unlabelled (the first calibrate, later ones
are compared with the float model); GOLD is a labelled set that no model learnt from. Every variant
differs from the default in what its name says. Speed is measured in turns: all variants read the
same notes, then all again; the JSON has each one's median against float.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from throughput import machine

from clin_edge.core.bundle import Bundle
from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.manifest import Manifest
from clin_edge.core.notes import read_notes
from clin_edge.core.predict import Predictor
from clin_edge.core.score import score
from clin_edge.distill.student import Student, load_student
from clin_edge.export.calibrate import calibration_batches
from clin_edge.export.evaluate import find_with, scorable
from clin_edge.export.openvino import (
    Int8Settings,
    model_files,
    quantize_int8,
    quantized_share,
    to_openvino,
)
from clin_edge.export.sensitivity import rank_layers
from clin_edge.runtime.ov import OpenVinoSession

ROUNDS = 3
DEFAULT = Int8Settings()
N_CALIBRATE = 200
VARIANTS: dict[str, tuple[Int8Settings, int, int]] = {  # settings, windows, layers left in float
    "default": (DEFAULT, 300, 0),
    "smooth_quant 0.95 (NNCF's own)": (replace(DEFAULT, smooth_quant=0.95), 300, 0),
    "smooth_quant 0.65": (replace(DEFAULT, smooth_quant=0.65), 300, 0),
    "preset performance": (replace(DEFAULT, preset="performance"), 300, 0),
    "overflow_fix disable": (replace(DEFAULT, overflow_fix="disable"), 300, 0),
    "30 windows": (DEFAULT, 30, 0),
    "100 windows": (DEFAULT, 100, 0),
    "3 layers in float": (DEFAULT, 300, 3),
    "6 layers in float": (DEFAULT, 300, 6),
    "12 layers in float": (DEFAULT, 300, 12),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", type=Path)
    parser.add_argument("notes")
    parser.add_argument("gold", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--compared", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    student = load_student(args.student)
    read = list(islice(read_notes([args.notes]), N_CALIBRATE + args.compared))
    calibration, compared = read[:N_CALIBRATE], read[N_CALIBRATE:]
    gold = scorable(read_labelled(args.gold), student.scheme.types)
    ranked = rank_layers(student, calibration_batches(calibration, student.encoder), DEFAULT)
    predictors = {"float": predictor(student, to_openvino(student), args.threads)}
    rows: dict[str, dict[str, Any]] = {"float": {}}
    for name, (settings, n_windows, n_float) in VARIANTS.items():
        kept = tuple(one.layer for one in ranked[:n_float])
        batches = calibration_batches(calibration, student.encoder, n_windows=n_windows)
        model = quantize_int8(to_openvino(student), batches, replace(settings, float_layers=kept))
        rows[name] = {"share_in_8_bits": round(quantized_share(model), 4)}
        predictors[name] = predictor(student, model, args.threads)
    reference = list(predictors["float"].read(compared))
    by_float = [
        Labelled(r.note, tuple(r.entities), frozenset(student.scheme.types)) for r in reference
    ]
    for name, one in predictors.items():
        readings = list(one.read(compared))
        moved = [abs(a.logits - b.logits).max(1) for a, b in zip(reference, readings, strict=True)]
        agreed = score(by_float, {r.note.id: r.entities for r in readings}).micro
        rows[name] |= {
            "agreement": round(agreed.counts.f1, 4),
            "agreement_interval": [round(agreed.f1_low, 4), round(agreed.f1_high, 4)],
            "mean_logit_change": round(float(np.concatenate(moved).mean()), 4),
            "strict_f1": round(score(gold, find_with(one, gold)).micro.counts.f1, 4),
        }
        print(name, rows[name], flush=True)
    some = compared[:20]
    took: dict[str, list[float]] = {name: [] for name in predictors}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, one in predictors.items():
            start = time.perf_counter()
            n_tokens = sum(len(reading.encoded.ids) for reading in one.read(some))
            took[name].append(n_tokens / (time.perf_counter() - start))
    base = took["float"][1:]
    for name, speeds in took.items():
        ratios = [a / b for a, b in zip(speeds[1:], base, strict=True)]
        rows[name]["tokens_s_over_float"] = round(statistics.median(ratios), 2)
    results = {
        "machine": machine(),
        "notes": len(compared),
        "gold_notes": len(gold),
        "float_tokens_s": round(statistics.median(base)),
        "layers_by_sensitivity": [[one.layer, round(one.mean_logit_change, 4)] for one in ranked],
        "variants": rows,
    }
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def predictor(student: Student, model: Any, threads: int) -> Predictor:
    """Open a model as the runtime would, in no bundle yet."""
    sizes = (student.max_tokens, student.overlap)
    manifest = Manifest("m", "0", student.scheme, *sizes, ("openvino",), "int8", {})
    bundle = Bundle(Path("model"), manifest, model_files(model), "sha256:0")
    session = OpenVinoSession(bundle, threads=threads)
    return Predictor(student.encoder, student.scheme, session, crf=student.crf)


if __name__ == "__main__":
    main()
