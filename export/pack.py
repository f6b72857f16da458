"""A student made into a bundle: exported, opened by the runtime, judged, scored, described."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clin_edge import __version__
from clin_edge.core.batching import Batch
from clin_edge.core.bundle import Bundle, check_replaceable, write_bundle
from clin_edge.core.crf import CRF_FILE
from clin_edge.core.errors import GateError, InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.manifest import Manifest
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor, Reading
from clin_edge.core.score import Scores, score
from clin_edge.distill.config import Card
from clin_edge.distill.student import Student
from clin_edge.export import gate
from clin_edge.export.backends import Backend, backends
from clin_edge.export.calibrate import calibration_batches, enough_windows
from clin_edge.export.card import model_card
from clin_edge.export.evaluate import find_with, scorable
from clin_edge.export.gate import Check, Evidence, Limits, Verdict
from clin_edge.export.openvino import Int8Settings
from clin_edge.export.sensitivity import rank_layers
from clin_edge.runtime.pipeline import Pipeline, open_session
from clin_edge.runtime.selftest import GOLDEN, check_invariance, cut_notes
from clin_edge.runtime.threads import usable_threads

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What bundle is wanted.

    Attributes:
        precision: ``int8`` or ``fp32``.
        backend: ``openvino``, ``onnx`` or ``both``.
        calibration: Notes whose windows set the INT8 ranges.
        compared: Notes on which spans are compared with the float model's.
        golden: Invented notes kept in the bundle with what the float model finds in them.
        gold: Labelled notes that decide whether INT8 is good enough, by name; never a test set.
        tests: Labelled notes on which float and bundle are scored for the card, by name.
        card: What the model card says beyond the figures.
        int8: How to quantise.
        limits: How much INT8 may cost.
        force: Write the bundle even if a gate says no, marked as refused.

    Raises:
        ValueError: If there is no golden note.
    """

    precision: str
    calibration: Sequence[Note]
    golden: Sequence[Note]
    card: Card
    backend: str = "openvino"
    compared: Sequence[Note] = ()
    gold: Mapping[str, Sequence[Labelled]] = field(default_factory=dict)
    tests: Mapping[str, Sequence[Labelled]] = field(default_factory=dict)
    int8: Int8Settings = field(default_factory=Int8Settings)
    limits: Limits = field(default_factory=Limits)
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse an order whose bundle no machine could test."""
        if not self.golden:
            raise ValueError("a bundle needs golden notes, by which a machine can be tested")


def pack(student: Student, out: Path, order: Order, *, say: Say = lambda _: None) -> Bundle:
    """Make a bundle of a student; it is written once every gate has said yes.

    Raises:
        InputError: If ``out`` cannot be written, or gold knows none of the student's labels.
        BundleError: If the runtime cannot open what was made.
        GateError: If a gate says no and ``order.force`` is false; ``out`` is as it was.
    """
    check_replaceable(out)
    evidence = _evidence(student, order)
    with TemporaryDirectory() as folder:
        made = _export(student, order, evidence, Path(folder), say)
        draft = write_bundle(Path(folder, "draft"), made.manifest, made.files)
        pipelines = {engine: _open(draft, engine) for engine in draft.manifest.engines}
        verdict = _judge(pipelines, evidence, made, order, say)
        if verdict.refusals and not order.force:
            for line in verdict.refusals:
                say(f"refused: {line}")
            raise GateError(
                f"{out}: not written, {len(verdict.refusals)} gate(s) said no; keep the most "
                "sensitive layers in float (--float-layers 6), judge by labelled notes (--gate), "
                "take --fp32, or write it marked as refused (--force)"
            )
        scores = _scores(student.predictor, pipelines, order, say)
    manifest = replace(made.manifest, scores=scores, gate=verdict.as_dict())
    card = model_card(manifest, order.card, student.facts, made.files)
    return write_bundle(out, manifest, {**made.files, "MODEL_CARD.md": card.encode()})


def choose_float_layers(
    student: Student, order: Order, n_layers: int, *, say: Say = lambda _: None
) -> tuple[str, ...]:
    """Give the names of the layers that INT8 hurts most, after measuring each.

    Raises:
        InputError: If the calibration notes hold too little text.
    """
    windows = _calibration(student, order)
    ranked = rank_layers(student, windows, order.int8)[:n_layers]
    for one in ranked:
        say(f"in float: {one.layer} (alone in INT8 it moves logits by {one.mean_logit_change:.3f})")
    return tuple(one.layer for one in ranked)


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """A bundle's files, what the manifest says without scores, and how float fared by engine."""

    files: Mapping[str, bytes]
    manifest: Manifest
    parity: Mapping[str, Check]


def _evidence(student: Student, order: Order) -> Evidence:
    reference = student.predictor
    gold = {}
    for name, items in order.gold.items():
        known = scorable(items, student.scheme.types)
        if not any(item.marked for item in known):
            raise InputError(f"{name}: marks none of the student's labels, so it cannot judge it")
        gold[name] = (known, find_with(reference, known))
    types = frozenset(student.scheme.types)

    def labelled(readings: Iterable[Reading]) -> list[Labelled]:
        return [Labelled(r.note, tuple(r.entities), types) for r in readings]

    readings = list(reference.read(order.golden))
    return Evidence(labelled(readings), readings, labelled(reference.read(order.compared)), gold)


def _export(student: Student, order: Order, evidence: Evidence, folder: Path, say: Say) -> _Made:
    """Convert for each engine, look whether float still finds what torch finds, quantise."""
    common = {"tokenizer.json": student.tokenizer_json}
    if student.crf is not None:
        common[CRF_FILE] = student.crf.to_npz()
    common[GOLDEN] = "".join(map(_golden_line, evidence.golden)).encode()
    chosen = backends(order.backend)
    manifest = Manifest(
        name=order.card.name,
        version=order.card.version,
        scheme=student.scheme,
        max_tokens=student.max_tokens,
        overlap=student.overlap,
        passage_tokens=student.passage_tokens,
        engines=tuple(backend.engine for backend in chosen),
        precision=order.precision,
        files={},
        made_with=_versions(chosen),
        sources=_sources(student, order.card),
    )
    windows = _calibration(student, order)
    files, parity, quantization = dict(common), {}, {}
    for backend in chosen:
        say(f"converting for {backend.engine}")
        model = backend.convert(student)
        content = backend.files(model)
        alone = replace(manifest, engines=(backend.engine,), precision="fp32")
        draft = write_bundle(folder / f"float-{backend.engine}", alone, {**common, **content})
        engine = _open(draft, backend.engine).predictor
        parity[backend.engine] = gate.float_parity(evidence.readings, engine)
        say(parity[backend.engine].said)
        if order.precision == "int8":
            say(f"quantising to INT8 on {len(windows)} windows of {len(order.calibration)} notes")
            model = backend.quantize(model, windows, order.int8)
            content = backend.files(model)
            quantization[backend.engine] = {
                **order.int8.as_dict(),
                "tool": "nncf",
                "calibration_notes": len(order.calibration),
                "calibration_windows": len(windows),
                "share_of_numbers_in_8_bits": round(backend.share_in_8_bits(model), 4),
            }
        files |= content
    return _Made(files, replace(manifest, quantization=quantization), parity)


def _calibration(student: Student, order: Order) -> list[Batch]:
    n_windows = enough_windows(student.model.num_parameters())
    return calibration_batches(order.calibration, student.encoder, n_windows=n_windows)


def _judge(
    pipelines: Mapping[str, Pipeline], evidence: Evidence, made: _Made, order: Order, say: Say
) -> Verdict:
    judged: dict[str, dict[str, Check]] = {}
    golden_agreement = 1.0
    for engine, pipeline in pipelines.items():
        predictor = pipeline.predictor
        checks = {"float_parity": made.parity[engine]}
        session = open_session(pipeline.bundle, engine=engine, threads=usable_threads())
        changes = check_invariance(pipeline.bundle, session, cut_notes(evidence.golden))
        checks["invariance"] = gate.invariance(changes)
        judged_so = not evidence.gold
        found = find_with(predictor, evidence.golden)
        golden = gate.agreement(evidence.golden, found, judged=judged_so)
        golden_agreement = min(golden_agreement, golden.facts["f1"])
        checks["agreement"] = golden
        if evidence.compared:
            found = find_with(predictor, evidence.compared)
            checks["agreement"] = gate.agreement(evidence.compared, found, judged=judged_so)
        for name, (gold, by_float) in evidence.gold.items():
            found = find_with(predictor, gold)
            checks[f"gold: {name}"] = gate.on_gold(name, gold, by_float, found, order.limits)
        for check in list(checks.values())[1:]:
            say(f"{engine}: {check.said}")
        judged[engine] = checks
    return Verdict(order.precision, judged, evidence, golden_agreement, order.limits)


def _scores(
    reference: Predictor, pipelines: Mapping[str, Pipeline], order: Order, say: Say
) -> dict[str, Any]:
    """Score float and every engine on the test sets, which decide nothing."""
    scores: dict[str, Any] = {}
    first, *others = pipelines
    kinds = {order.precision: first, **{f"{order.precision}, {name}": name for name in others}}
    for name, every_label in order.tests.items():
        gold = scorable(every_label, reference.scheme.types)
        found = {"float": score(gold, find_with(reference, gold))}
        for kind, engine in kinds.items():
            found[kind] = score(gold, find_with(pipelines[engine].predictor, gold))
        scores[name] = {kind: result.as_dict() for kind, result in found.items()}
        say(f"{name}: {_said(found)}")
    return scores


def _open(draft: Bundle, engine: str) -> Pipeline:
    return Pipeline(draft, open_session(draft, engine=engine, threads=usable_threads()))


def _golden_line(item: Labelled) -> str:
    found = [
        {"start": e.span.start, "end": e.span.end, "label": e.label, "score": round(e.score, 4)}
        for e in item.entities
    ]
    line = {"id": item.note.id, "text": item.note.text, "entities": found}
    return json.dumps(line, ensure_ascii=False) + "\n"


def _said(found: Mapping[str, Scores]) -> str:
    labels = next(iter(found.values())).by_label
    return "; ".join(
        f"{label} {' -> '.join(f'{r.by_label[label].counts.f1:.4f}' for r in found.values())}"
        for label in labels
    )


def _versions(chosen: Sequence[Backend]) -> dict[str, str]:
    tools = {tool for backend in chosen for tool in backend.tools}
    packages = sorted(tools | {"torch", "transformers", "tokenizers", "numpy"})
    return {
        "clin-edge": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _sources(student: Student, card: Card) -> tuple[Mapping[str, Any], ...]:
    """List what the student was made of, each once: of an unpacked one what its bundle said too."""
    sets = student.facts.get("recipe", {}).get("sets", [])
    encoder = card.encoder or student.facts.get("encoder", "")
    listed = [
        *([{"name": encoder, "licence": card.encoder_licence}] if encoder else []),
        *student.facts.get("learnt_from", []),
        *({"name": s["name"] or s["path"], "licence": s["licence"]} for s in sets),
        *({"name": other, "licence": ""} for other in card.also),
    ]
    return tuple({source["name"]: source for source in listed}.values())
