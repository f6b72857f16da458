"""A student made into a bundle: exported, opened by the runtime, compared, scored, described."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clin_edge import __version__
from clin_edge.core.bundle import Bundle, check_replaceable, write_bundle
from clin_edge.core.crf import CRF_FILE
from clin_edge.core.labelled import Labelled
from clin_edge.core.manifest import Manifest
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.core.score import Scores, score
from clin_edge.core.spans import Entity
from clin_edge.distill.config import Card
from clin_edge.distill.student import Student
from clin_edge.export.calibrate import calibration_batches
from clin_edge.export.card import model_card
from clin_edge.export.evaluate import find_with, scorable
from clin_edge.export.openvino import (
    Int8Settings,
    model_files,
    quantize_int8,
    quantized_share,
    to_openvino,
)
from clin_edge.runtime.pipeline import Pipeline

N_COMPARED = 200


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the spans of a float model and its bundle compare on the same notes."""

    notes: int
    shared: int
    only_float: int
    only_bundle: int

    @property
    def jaccard(self) -> float:
        """Shared spans among all spans; 1 if neither found any."""
        union = self.shared + self.only_float + self.only_bundle
        return self.shared / union if union else 1.0


def pack(
    student: Student,
    out: Path,
    *,
    precision: str,
    calibration: Sequence[Note],
    golden: Sequence[Note],
    tests: Mapping[str, Sequence[Labelled]],
    card: Card,
    int8: Int8Settings | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Make a bundle of a student and write it to ``out`` once the runtime has read notes with it.

    Args:
        student: What to export.
        out: The bundle's folder.
        precision: ``int8`` or ``fp32``.
        calibration: Notes whose windows set the INT8 ranges, and on which spans are compared with
            the float model (the first ``N_COMPARED``).
        golden: Invented notes kept in the bundle with what the float model finds in them.
        tests: Gold sets on which float and bundle are scored, by name.
        card: What the model card says beyond the figures.
        int8: How to quantise.
        say: Told a line about each step.

    Raises:
        InputError: If ``out`` cannot be written.
        BundleError: If the runtime cannot open what was made.
    """
    check_replaceable(out)
    int8 = int8 or Int8Settings()
    say("converting to OpenVINO")
    model = to_openvino(student)
    quantization: dict[str, Any] = {}
    if precision == "int8":
        windows = calibration_batches(calibration, student.encoder)
        say(f"quantising to INT8 on {len(windows)} windows of {len(calibration)} notes")
        model = quantize_int8(model, windows, int8)
        quantization = {
            "tool": "nncf",
            "model_type": "transformer",
            "preset": int8.preset,
            "overflow_fix": int8.overflow_fix,
            "calibration_windows": len(windows),
            "share_of_numbers_in_8_bits": round(quantized_share(model), 4),
        }
    files = model_files(model)
    files["tokenizer.json"] = student.tokenizer_json
    if student.crf is not None:
        files[CRF_FILE] = student.crf.to_npz()
    reference = student.predictor
    files["golden.jsonl"] = "".join(map(_golden_line, *_read(reference, golden))).encode()
    draft = Manifest(
        name=card.name,
        version=card.version,
        scheme=student.scheme,
        max_tokens=student.max_tokens,
        overlap=student.overlap,
        engines=("openvino",),
        precision=precision,
        files={},
        quantization=quantization,
        made_with=_versions(),
        sources=_sources(student, card),
    )
    with TemporaryDirectory() as folder:
        write_bundle(Path(folder, "draft"), draft, files)
        ours = Pipeline.from_bundle(Path(folder, "draft")).predictor
        compared = calibration[:N_COMPARED]
        say(f"comparing spans with the float model on {len(compared)} notes")
        agreement = compare(reference, ours, compared)
        say(f"spans shared with the float model: {agreement.jaccard:.4f}")
        scores: dict[str, Any] = {}
        for name, every_label in tests.items():
            gold = scorable(every_label, student.scheme.types)
            both = {
                "float": score(gold, find_with(reference, gold)),
                precision: score(gold, find_with(ours, gold)),
            }
            scores[name] = {kind: result.as_dict() for kind, result in both.items()}
            say(f"{name}: {_said(both)}")
    gate = {
        "kind": "agreement with the float model; no gold was used, nothing was refused",
        "notes": agreement.notes,
        "spans_shared": agreement.shared,
        "spans_only_float": agreement.only_float,
        "spans_only_bundle": agreement.only_bundle,
        "jaccard": round(agreement.jaccard, 4),
    }
    manifest = replace(draft, scores=scores, gate=gate)
    files["MODEL_CARD.md"] = model_card(manifest, card, student.facts, files).encode()
    return write_bundle(out, manifest, files)


def compare(reference: Predictor, other: Predictor, notes: Sequence[Note]) -> Agreement:
    """Count the spans (with label) that two predictors share and do not."""
    shared = only_reference = only_other = 0
    for left, right in zip(reference.read(notes), other.read(notes), strict=True):
        a = {(e.span, e.label) for e in left.entities}
        b = {(e.span, e.label) for e in right.entities}
        shared += len(a & b)
        only_reference += len(a - b)
        only_other += len(b - a)
    return Agreement(len(notes), shared, only_reference, only_other)


def _read(predictor: Predictor, notes: Sequence[Note]) -> tuple[list[Note], list[list[Entity]]]:
    readings = list(predictor.read(notes))
    return [r.note for r in readings], [r.entities for r in readings]


def _golden_line(note: Note, entities: Sequence[Entity]) -> str:
    found = [
        {"start": e.span.start, "end": e.span.end, "label": e.label, "score": round(e.score, 4)}
        for e in entities
    ]
    line = {"id": note.id, "text": note.text, "entities": found}
    return json.dumps(line, ensure_ascii=False) + "\n"


def _said(both: Mapping[str, Scores]) -> str:
    labels = next(iter(both.values())).by_label
    return "; ".join(
        f"{label} {' -> '.join(f'{r.by_label[label].counts.f1:.4f}' for r in both.values())}"
        for label in labels
    )


def _versions() -> dict[str, str]:
    packages = ("openvino", "nncf", "torch", "transformers", "tokenizers", "numpy")
    return {
        "clin-edge": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _sources(student: Student, card: Card) -> tuple[Mapping[str, Any], ...]:
    sets = student.facts.get("recipe", {}).get("sets", [])
    listed = [{"name": s["name"] or s["path"], "licence": s["licence"]} for s in sets]
    encoder = card.encoder or student.facts.get("encoder", "")
    started_from = [{"name": encoder, "licence": card.encoder_licence}] if encoder else []
    return (*started_from, *listed)
