"""The model card: what a reader should know before trusting a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clin_edge.core.crf import CRF_FILE
from clin_edge.core.manifest import Manifest
from clin_edge.distill.config import Card


def model_card(
    manifest: Manifest, card: Card, facts: Mapping[str, Any], files: Mapping[str, bytes]
) -> str:
    """Write ``MODEL_CARD.md`` from the manifest's figures and the recipe's words."""
    size_mb = sum(map(len, files.values())) / 1e6
    lines = [
        f"# {manifest.name}, version {manifest.version}",
        "",
        f"Finds {', '.join(manifest.scheme.types)} in English clinical text.",
        f"{manifest.precision.upper()}, {size_mb:.1f} MB, windows of {manifest.max_tokens} word "
        f"pieces that share {manifest.overlap}{_passages(manifest)}.",
        _score_line(CRF_FILE in files),
        "",
        "## Learnt from",
        "",
        *(
            f"- {s['name']}" + (f" ({s['licence']})" if s["licence"] else "")
            for s in manifest.sources
        ),
        "",
        _training_line(facts),
        "",
        "## Scores",
        "",
        *_score_table(manifest),
        "",
        "Strict: start, end and label must be right. In brackets the 95 % interval over documents.",
        "Where a set does not tell diseases from symptoms, both count as DISEASE or SYMPTOM.",
        "",
        "## Quantisation",
        "",
        *_gate_lines(manifest),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in card.limits or ("None were stated: measure before use.",)),
        "",
        "## Made with",
        "",
        ", ".join(f"{name} {v}" for name, v in manifest.made_with.items()),
    ]
    return "\n".join(lines) + "\n"


def _passages(manifest: Manifest) -> str:
    least = manifest.passage_tokens
    return f" and end at blank lines and headers, after {least} or more" if least else ""


def _score_line(has_crf: bool) -> str:
    if has_crf:
        return "An entity's score is the probability of exactly its span and label, under a CRF."
    return "An entity's score is the probability of the tag of its least sure word piece."


def _training_line(facts: Mapping[str, Any]) -> str:
    if "notes" not in facts:
        if "unpacked_from" in facts:
            return f"Its weights are those of the bundle {facts['unpacked_from']}, unpacked."
        return "How it was trained is not recorded."
    scored = any(epoch["strict_micro_f1"] for epoch in facts["dev"])
    why = "the best on the dev sets" if scored else "the last"
    unlabelled = facts.get("unlabelled", 0)
    learnt = f"{facts['notes'] - unlabelled:,} labelled documents"
    if unlabelled:
        learnt += f" and {unlabelled:,} without labels"
    said = (
        f"{learnt}, {facts['training_minutes']:.0f} minutes on a CPU; "
        f"epoch {facts['best_epoch']} was kept, {why}."
    )
    if "mixed_with" in facts:
        said += f" {facts['mixed_share']:.0%} of the weights are those of an earlier student."
    for label, added in facts.get("bias", {}).items():
        said += f" {added:+g} is added to the logits of {label}."
    return said


def _score_table(manifest: Manifest) -> list[str]:
    if not manifest.scores:
        return ["None were measured."]
    lines = [
        f"| set | label | strict F1, float | strict F1, {manifest.precision} | gold entities |",
        "|---|---|---|---|---|",
    ]
    for name, both in manifest.scores.items():
        ours = both[manifest.precision]["labels"]
        for label, row in both["float"]["labels"].items():
            cells = (_f1(row), _f1(ours[label]), f"{row['tp'] + row['fn']:,}")
            said = label.replace("|", " or ")
            lines.append(f"| {name} | {said} | {cells[0]} | {cells[1]} | {cells[2]} |")
    return lines


def _f1(row: Mapping[str, float]) -> str:
    return f"{row['f1']:.3f} [{row['f1_low']:.3f}–{row['f1_high']:.3f}]"


def _gate_lines(manifest: Manifest) -> list[str]:
    """Say how each engine's model was made, and what it was held against."""
    lines = []
    for engine, checks in manifest.gate["engines"].items():
        how = manifest.quantization.get(engine)
        lines += [f"- {engine}: {_quantised(how) if how else 'weights are float32.'}"]
        lines += [f"  {_agreement(checks['agreement'], manifest.precision)}"]
        for name, facts in checks.items():
            if name.startswith("gold: "):
                lines += [f"  {name.removeprefix('gold: ')}: {_gold(facts)}"]
    verdict = manifest.gate["verdict"]
    lines += ["", f"Verdict of the gates: **{verdict}**, judged by {manifest.gate['judged_by']}."]
    lines += [f"- {line}" for line in manifest.gate["refusals"]]
    return lines


def _quantised(how: Mapping[str, Any]) -> str:
    kept = how["float_layers"]
    said = (
        f"static INT8 by NNCF (preset {how['preset']}, overflow fix {how['overflow_fix']}, "
        f"SmoothQuant {how['smooth_quant']}), calibrated on {how['calibration_windows']} windows "
        f"of {how['calibration_notes']} notes."
    )
    return said + (f" In float: {', '.join(kept)}." if kept else "")


def _agreement(facts: Mapping[str, Any], precision: str) -> str:
    return (
        f"On {facts['notes']:,} notes its spans agree with the float model's with F1 "
        f"{facts['f1']:.4f}: {facts['spans_shared']:,} shared, {facts['spans_only_float']:,} only "
        f"float, {facts['spans_only_bundle']:,} only {precision}."
    )


def _gold(facts: Mapping[str, Any]) -> str:
    gap = facts["all"]
    return (
        f"strict F1 {gap['float']:.4f} in float, {gap['bundle']:.4f} here "
        f"(95 % interval of the change {gap['low']:+.4f} to {gap['high']:+.4f})."
    )
