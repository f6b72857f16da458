"""The self-test and the spans of two short notes on CPUs that qemu emulates; see emulated.sh."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from throughput import machine

from clin_edge.core.bundle import Bundle, write_bundle
from clin_edge.core.notes import Note, read_notes
from clin_edge.runtime.demo import SAMPLES
from clin_edge.runtime.pipeline import Pipeline, open_default_or, open_session

CPUS = ("Haswell", "Nehalem")
# OpenVINO's own switch; onnxruntime has none.
CAPS = ("AVX", "SSE41")
N_CHARS = 300  # a note of this length takes an emulated CPU seconds
TIMEOUT_S = 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("qemu", help="a qemu-x86_64-static")
    parser.add_argument("more", nargs="*", type=Path, help="bundles that are only self-tested")
    parser.add_argument("--bundle", help="a bundle's folder (default: the package's)")
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    args = parser.parse_args()
    qemu_version = said([args.qemu, "--version"]).splitlines()[0]
    results: dict[str, Any] = {
        "machine": {**machine(), "onnxruntime": version("onnxruntime"), "qemu": qemu_version},
        "bundle": open_default_or(args.bundle).id,
    }
    with tempfile.TemporaryDirectory() as folder:
        notes = [
            replace(note, text=note.text[:N_CHARS]) for note in list(read_notes([str(SAMPLES)]))[:2]
        ]
        source = Path(folder, "notes.jsonl")
        source.write_text(
            "".join(json.dumps({"id": n.id, "text": n.text}) + "\n" for n in notes), "utf-8"
        )
        bundle = with_native_answers(open_default_or(args.bundle), notes, Path(folder, "bundle"))
        ways: dict[str, tuple[list[str], dict[str, str]]] = {"native": ([], {})}
        ways |= {f"ONEDNN_MAX_CPU_ISA={cap}": ([], {"ONEDNN_MAX_CPU_ISA": cap}) for cap in CAPS}
        ways |= {f"qemu {cpu}": ([args.qemu, "-cpu", cpu], {}) for cpu in CPUS}
        native: list[Any] = []
        for way, (first, env) in ways.items():
            done = command(["extract", str(source), "--bundle", str(bundle.path)], first, env)
            records = [json.loads(line) for line in done.stdout.splitlines()]
            native = native or records
            row = {"extract": {"exit": done.returncode}}
            row["extract"] |= compared(native, records) if records else {"said": last(done.stderr)}
            for place in (bundle.path, *args.more):
                done = command(["selftest", str(place), "--json"], first, env)
                row[f"selftest {place.name}"] = {
                    "exit": done.returncode,
                    **(verdicts(json.loads(done.stdout)) if done.stdout else {}),
                }
            results[way] = row
            print(way, json.dumps(row, indent=2), file=sys.stderr)
    text = json.dumps(results, indent=2) + "\n"
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def with_native_answers(bundle: Bundle, notes: list[Note], folder: Path) -> Bundle:
    """A copy whose golden notes are short and hold what the bundle finds on this very CPU."""
    lines = []
    pipeline = Pipeline(bundle, open_session(bundle, engine="auto", threads=1))
    for note, entities in pipeline.annotate(notes):
        found = [{"start": e.span.start, "end": e.span.end, "label": e.label} for e in entities]
        lines.append(json.dumps({"id": note.id, "text": note.text, "entities": found}))
    files = {**bundle.files, "golden.jsonl": "\n".join(lines).encode()}
    return write_bundle(folder, replace(bundle.manifest, gate={"golden_agreement": 1.0}), files)


def command(
    words: list[str], first: list[str], env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run ``clin-edge`` on one thread, emulated if ``first`` says so."""
    return subprocess.run(
        [*first, sys.executable, "-m", "clin_edge", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env={**os.environ, "CLIN_EDGE_THREADS": "1", **env},
    )


def compared(native: list[Any], records: list[Any]) -> dict[str, Any]:
    """Count spans that are not the native run's; the scores of the others, by how much."""

    def spans(found: list[Any]) -> dict[tuple[Any, ...], float]:
        return {
            (r["id"], e["start"], e["end"], e["label"]): e["score"]
            for r in found
            for e in r["entities"]
        }

    ours, theirs = spans(native), spans(records)
    shared = ours.keys() & theirs.keys()
    return {
        "spans": len(theirs),
        "spans_shared_with_native": len(shared),
        "max_score_difference": round(max(abs(ours[k] - theirs[k]) for k in shared), 4),
    }


def verdicts(report: dict[str, Any]) -> dict[str, Any]:
    return {
        result["engine"]: {
            "passed": result["passed"],
            "agreement": result["golden"] and round(result["golden"]["agreement"], 4),
            "max_logit_change": result["invariance"]
            and max(c["max_logit_change"] for c in result["invariance"]["changes"]),
            **({"stopped": result["stopped"]} if result["stopped"] else {}),
        }
        for result in report["engines"]
    }


def said(words: list[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def last(stderr: str) -> str:
    """The last line that is not one of qemu's warnings, without the place of a bundle."""
    lines = [line for line in stderr.splitlines() if "warning: TCG" not in line]
    return lines[-1].rpartition(": ")[2] if lines else ""


if __name__ == "__main__":
    main()
