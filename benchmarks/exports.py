"""What a student becomes on its way to the edge: size, time, memory, scores, spans, speed.

    python benchmarks/exports.py NOTES default=build/student:dev.jsonl crf=runs/crf bert-base \\
        -o benchmarks/results/exports.json

Each student is exported by the command (`clin-edge export --backend both`, once INT8 and once in
float; with gold after a colon, gold is the gate; `--force`, so that a refusal is in the table too).
`bert-base` is a 12 x 768 encoder with random weights, and has no score. Then torch and every engine
read the same NOTES in turn, two threads each, so that a machine that changes speed changes it for
all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from throughput import machine

from clin_edge.core.bundle import open_bundle
from clin_edge.core.notes import Note, read_notes
from clin_edge.core.predict import Predictor
from clin_edge.distill.student import load_student
from clin_edge.runtime.pipeline import Pipeline

ROUNDS = 3
THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes")
    parser.add_argument("students", nargs="+", metavar="NAME=STUDENT[:GOLD]")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--calibrate", type=int, default=60, help="how many notes calibrate")
    parser.add_argument("--compare", type=int, default=20, help="how many later ones are timed")
    args = parser.parse_args()
    read = list(islice(read_notes([args.notes]), args.calibrate + args.compare))
    here, rows = machine(), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calibrate = folder / "calibrate.jsonl"
        lines = (json.dumps({"id": n.id, "text": n.text}) for n in read[: args.calibrate])
        calibrate.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for given in args.students:
            title, _, rest = given.partition("=")
            student, _, gold = rest.partition(":")
            place = Path(student) if student else bert_base(folder / title)
            rows[title] = measure(
                place, gold, calibrate, read[args.calibrate :], folder / f"b-{title}"
            )
            print(title, json.dumps(rows[title]), flush=True)
            args.out.write_text(
                json.dumps({"machine": here, "students": rows}, indent=1) + "\n", encoding="utf-8"
            )


def measure(
    student: Path, gold: str, calibrate: Path, notes: list[Note], folder: Path
) -> dict[str, Any]:
    """Export one student both ways, then time torch and the engines in turn."""
    row: dict[str, Any] = {}
    for precision in ("fp32", "int8"):
        out = folder / precision
        command = ["export", str(student), "-o", str(out), f"--{precision}"]
        command += ["--backend", "both", "--force", "--calibrate", str(calibrate)]
        row[precision] = run(command + (["--gate", gold] if gold else []))
        manifest = open_bundle(out).manifest
        row[precision]["model_mb"] = {
            engine: round(sum(manifest.files[f].size_bytes for f in files) / 1e6, 1)
            for engine, files in (
                ("openvino", ("model.xml", "model.bin")),
                ("onnxruntime", ("model.onnx",)),
            )
        }
        row[precision]["gate"] = manifest.gate
    row["tokens_s"] = speeds(
        {
            "torch float": load_student(student).predictor,
            **{
                f"{engine} {precision}": Pipeline.from_bundle(
                    folder / precision, engine=engine, threads=THREADS
                ).predictor
                for precision in ("fp32", "int8")
                for engine in ("onnxruntime", "openvino")
            },
        },
        notes,
    )
    return row


WATCHED = """
import atexit, pathlib, re, sys
def tell():  # its own high-water mark; what wait4 gives would count this process before exec
    peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
    print(f"peak_kb {peak}", file=sys.stderr)
atexit.register(tell)
from clin_edge.cli import main
main(sys.argv[1:])
"""


def run(command: list[str]) -> dict[str, float]:
    """Run a command of ours; give its wall time and its high-water mark."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *command], stderr=subprocess.PIPE, text=True, check=False
    )
    took_s = time.perf_counter() - started
    print(done.stderr, file=sys.stderr)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}")
    peak_kb = int(done.stderr.split("peak_kb ")[1])
    return {"wall_s": round(took_s, 1), "peak_mb": round(peak_kb / 1e3)}


def speeds(predictors: dict[str, Predictor], notes: list[Note]) -> dict[str, Any]:
    """Give medians of tokens a second, and of each round's ratio to torch."""
    seen: dict[str, list[float]] = {name: [] for name in predictors}
    for _ in range(ROUNDS + 1):  # the first one warms up
        for name, one in predictors.items():
            start = time.perf_counter()
            n_tokens = sum(len(reading.encoded.ids) for reading in one.read(notes))
            seen[name].append(n_tokens / (time.perf_counter() - start))
    base = seen["torch float"][1:]
    return {
        name: {
            "tokens_s": round(statistics.median(of[1:])),
            "over_torch": round(
                statistics.median(a / b for a, b in zip(of[1:], base, strict=True)), 2
            ),
        }
        for name, of in seen.items()
    }


def bert_base(folder: Path) -> Path:
    """Write a student of 12 layers x 768 with random weights and the default bundle's pieces."""
    import torch
    from transformers import BertConfig, BertForTokenClassification

    from clin_edge.core.labels import LabelScheme
    from clin_edge.distill.student import Student
    from clin_edge.runtime.pipeline import open_default_or

    torch.manual_seed(0)
    bundle = open_default_or(None)
    scheme = LabelScheme(("MEDICATION", "DISEASE", "SYMPTOM"))
    tokenizer = bundle.files["tokenizer.json"]
    pieces = len(json.loads(tokenizer)["model"]["vocab"])
    config = BertConfig(vocab_size=pieces, num_labels=len(scheme.tags))
    Student(BertForTokenClassification(config), tokenizer, scheme, 256, 32, {}).save(folder)
    return folder


if __name__ == "__main__":
    main()
