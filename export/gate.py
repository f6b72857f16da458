"""The gates: what a bundle must show on clinical labels before it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clin_edge.core.labelled import Labelled
from clin_edge.core.predict import Predictor, Reading
from clin_edge.core.score import score
from clin_edge.core.score_difference import Gap, difference
from clin_edge.core.spans import Entity
from clin_edge.runtime.selftest import Invariance

MIN_AGREEMENT = 0.99
MIN_NOTES = 200
FLOOR_ON_FEW_NOTES = 0.90
MIN_LABEL_SPANS = 100
MAX_FLOAT_LOGIT_CHANGE = 1e-3

Found = Mapping[str, Sequence[Entity]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much strict F1 INT8 may cost: on all labels together, and on each common label.

    Raises:
        ValueError: If a limit is not from 0 to 1.
    """

    max_f1_drop: float = 0.005
    max_label_drop: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        for name in ("max_f1_drop", "max_label_drop"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        facts: What was measured, for the manifest.
        said: The same in a line, for whoever waits.
        refusals: Why the bundle may not be written; a line each.
    """

    facts: Mapping[str, Any]
    said: str
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the float model found, once, for every engine to be held against.

    Attributes:
        golden: The golden notes with its entities.
        readings: The same with its logits.
        compared: Notes that nobody labelled, with its entities.
        gold: By name, labelled notes and the entities it found in them.
    """

    golden: Sequence[Labelled]
    readings: Sequence[Reading]
    compared: Sequence[Labelled]
    gold: Mapping[str, tuple[Sequence[Labelled], Found]]

    def judges(self, precision: str) -> str:
        """Say what decides about accuracy; nothing where there is too little to go by."""
        if precision == "fp32":
            return "the spans of torch on the golden notes"
        if self.gold:
            return f"strict F1 on {', '.join(self.gold)}"
        if len(self.compared) >= MIN_NOTES:
            return "agreement with the float model; no gold was used"
        return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of all engines.

    Attributes:
        checks: By engine, then by name.
        golden_agreement: The lowest agreement of an engine with the float model on the golden
            notes: what `selftest` expects elsewhere.
    """

    precision: str
    checks: Mapping[str, Mapping[str, Check]]
    evidence: Evidence
    golden_agreement: float
    limits: Limits

    @property
    def refusals(self) -> tuple[str, ...]:
        """Give every reason not to write the bundle."""
        return tuple(
            f"{engine}: {line}"
            for engine, checks in self.checks.items()
            for check in checks.values()
            for line in check.refusals
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the manifest's ``gate``."""
        judge = self.evidence.judges(self.precision)
        return {
            "verdict": "refused" if self.refusals else "passed" if judge else "not judged",
            "judged_by": judge or f"nobody: neither gold nor {MIN_NOTES} notes were given",
            "gold_used": bool(self.evidence.gold),
            "refusals": list(self.refusals),
            "limits": {
                "max_f1_drop": self.limits.max_f1_drop,
                "max_label_drop": self.limits.max_label_drop,
                "min_label_spans": MIN_LABEL_SPANS,
                "min_agreement": MIN_AGREEMENT,
                "min_notes": MIN_NOTES,
            },
            "golden_agreement": round(self.golden_agreement, 4),
            "engines": {
                engine: {name: check.facts for name, check in checks.items()}
                for engine, checks in self.checks.items()
            },
        }


def float_parity(reference: Sequence[Reading], engine: Predictor) -> Check:
    """Compare the engine's float model with what torch read: it must find the very same spans."""
    moved, changed = [0.0], 0
    found = engine.read(reading.note for reading in reference)
    for ours, theirs in zip(reference, found, strict=True):
        moved.append(float(np.abs(ours.logits - theirs.logits).max(initial=0.0)))
        changed += len(_spans(ours.entities) ^ _spans(theirs.entities))
    largest = float(np.max(moved))  # not a number, if any is
    said = f"float against torch: logits within {largest:.1e}, {changed} spans differ"
    refusals: tuple[str, ...] = ()
    if changed or not largest <= MAX_FLOAT_LOGIT_CHANGE:
        refusals = (f"{said}; the model was not converted faithfully",)
    facts = {"notes": len(reference), "max_logit_change": largest, "spans_changed": changed}
    return Check(facts, f"{said}, on {len(reference)} notes", refusals)


def invariance(result: Invariance) -> Check:
    """Judge whether answers depend on batch, order or padding."""
    worst = max(result.changes, key=lambda c: (c.spans_changed, c.max_logit_change))
    said = (
        f"alone, in batches, in any order, padded: logits within {result.max_logit_change:.1e} "
        f"over {result.windows} windows"
    )
    facts = {
        "windows": result.windows,
        "changes": [change.what for change in result.changes],
        "max_logit_change": result.max_logit_change,
        "notes_changed": worst.spans_changed,
    }
    refusals = () if result.passed else (f"answers change {worst.what}: {said}",)
    return Check(facts, said, refusals)


def agreement(gold: Sequence[Labelled], ours: Found, *, judged: bool) -> Check:
    """Compare spans with those that the float model found, on notes that nobody labelled.

    Agreement is span F1, label included, with the float model's spans as ``gold``: F1 since nobody
    can count the spans that neither found (Hripcsak and Rothschild 2005). ``judged``: whether it is
    the gate; where people's labels decide, it is only told. Fewer than ``MIN_NOTES`` notes cannot
    show that it is high, only that it is low.
    """
    row = score(gold, ours).micro
    counts = row.counts
    f1 = counts.f1 if counts.gold or counts.found else 1.0
    facts = {
        "notes": len(gold),
        "f1": round(f1, 4),
        "f1_low": round(row.f1_low, 4),
        "f1_high": round(row.f1_high, 4),
        "spans_shared": counts.tp,
        "spans_only_float": counts.fn,
        "spans_only_bundle": counts.fp,
    }
    said = (
        f"agreement with float {f1:.4f} on {len(gold)} notes: {counts.tp:,} spans shared, "
        f"{counts.fn:,} lost, {counts.fp:,} gained"
    )
    needed = MIN_AGREEMENT if len(gold) >= MIN_NOTES else FLOOR_ON_FEW_NOTES
    refusals = (f"{said}; needs {needed}",) if judged and f1 < needed else ()
    return Check(facts, said, refusals)


def on_gold(
    name: str, gold: Sequence[Labelled], reference: Found, ours: Found, limits: Limits
) -> Check:
    """Compare strict F1 on labelled notes, with paired 95 % intervals of the change."""
    found = difference(gold, ours, reference)
    spans = {label: row.counts.gold for label, row in score(gold, ours).by_label.items()}
    refusals = []
    if -found.micro.difference > limits.max_f1_drop:
        refusals.append(_dropped(f"{name}, all labels", found.micro, limits.max_f1_drop))
    for label, gap in found.by_label.items():
        if spans[label] >= MIN_LABEL_SPANS and -gap.difference > limits.max_label_drop:
            refusals.append(_dropped(f"{name}, {label}", gap, limits.max_label_drop))
    facts = {
        "notes": len(gold),
        "all": _gap(found.micro),
        "labels": {
            label: {**_gap(gap), "gold": spans[label]} for label, gap in found.by_label.items()
        },
    }
    return Check(facts, f"{name}: strict F1 {_change(found.micro)}", tuple(refusals))


def _dropped(where: str, gap: Gap, limit: float) -> str:
    return f"{where}: strict F1 {_change(gap)}; may lose {limit}"


def _change(gap: Gap) -> str:
    return (
        f"{gap.other_f1:.4f} -> {gap.f1:.4f}, {gap.difference:+.4f} "
        f"(95 % interval {gap.low:+.4f} to {gap.high:+.4f})"
    )


def _gap(gap: Gap) -> dict[str, float]:
    return {
        "float": round(gap.other_f1, 4),
        "bundle": round(gap.f1, 4),
        "change": round(gap.difference, 4),
        "low": round(gap.low, 4),
        "high": round(gap.high, 4),
    }


def _spans(entities: Sequence[Entity]) -> set[tuple[int, int, str]]:
    return {(e.span.start, e.span.end, e.label) for e in entities}
