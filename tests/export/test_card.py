"""The model card says what the manifest says, and what the model cannot do."""

from __future__ import annotations

from typing import Any

import pytest

from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.manifest import Manifest
from clin_edge.core.notes import Note
from clin_edge.core.score import score
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.config import Card
from clin_edge.export.card import model_card

GATE = {
    "verdict": "passed",
    "judged_by": "strict F1 on dev",
    "refusals": [],
    "engines": {
        "openvino": {
            "float_parity": {"notes": 14, "max_logit_change": 1e-5, "spans_changed": 0},
            "agreement": {
                "notes": 1200,
                "f1": 0.99379,
                "spans_shared": 4000,
                "spans_only_float": 30,
                "spans_only_bundle": 20,
            },
            "gold: dev": {
                "all": {"float": 0.8, "bundle": 0.79, "change": -0.01, "low": -0.02, "high": 0.001}
            },
        }
    },
}
QUANTIZATION = {
    "openvino": {
        "preset": "mixed",
        "overflow_fix": "enable",
        "smooth_quant": 0.8,
        "float_layers": [],
        "calibration_windows": 300,
        "calibration_notes": 60,
    }
}
FACTS = {
    "notes": 3800,
    "unlabelled": 300,
    "training_minutes": 61.4,
    "best_epoch": 2,
    "dev": [{"epoch": 2, "strict_micro_f1": {"dev": 0.5}}],
}


def scores(*labels: str, right: int, wrong: int) -> dict[str, object]:
    """One note for each entity; ``wrong`` of them are missed."""
    gold = [
        Labelled(Note(f"{label}{i}", "x"), (Entity(Span(0, 1), label),), frozenset(labels))
        for label in labels
        for i in range(right + wrong)
    ]
    found = {
        item.note.id: item.entities for item in gold if int(item.note.id[-1]) < right
    }  # fewer than ten a label
    return score(gold, found).as_dict()


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": "ours",
        "version": "3",
        "scheme": LabelScheme(("MEDICATION", "DISEASE")),
        "max_tokens": 256,
        "overlap": 32,
        "engines": ("openvino",),
        "precision": "int8",
        "files": {},
        "quantization": QUANTIZATION,
        "gate": GATE,
        "made_with": {"clin-edge": "0.1", "torch": "2"},
        "sources": (
            {"name": "an encoder", "licence": "MIT"},
            {"name": "a corpus", "licence": ""},
        ),
    }
    return Manifest(**{**fields, **changes})


def card_of(card: Card | None = None, facts: Any = None, **changes: Any) -> list[str]:
    files = {"model.bin": bytes(1_200_000), "tokenizer.json": bytes(40_000)}
    text = model_card(manifest(**changes), card or Card(), FACTS if facts is None else facts, files)
    assert text.endswith("\n")
    return text.splitlines()


def section(lines: list[str], title: str) -> list[str]:
    start = lines.index(f"## {title}") + 2
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("## ")), len(lines) + 1)
    return lines[start : end - 1]


def test_the_head_names_labels_precision_size_and_windows() -> None:
    lines = card_of()
    assert lines[0] == "# ours, version 3"
    assert lines[2] == "Finds MEDICATION, DISEASE in English clinical text."
    assert lines[3] == "INT8, 1.2 MB, windows of 256 word pieces that share 32."


def test_the_head_says_where_windows_end_if_they_do() -> None:
    said = "share 32 and end at blank lines and headers, after 48 or more."
    assert card_of(passage_tokens=48)[3].endswith(said)


def test_what_it_was_learnt_from_with_licences() -> None:
    assert section(card_of(), "Learnt from") == [
        "- an encoder (MIT)",
        "- a corpus",
        "",
        "3,500 labelled documents and 300 without labels, 61 minutes on a CPU; "
        "epoch 2 was kept, the best on the dev sets.",
    ]
    assert section(card_of(facts={}), "Learnt from")[-1] == "How it was trained is not recorded."


def test_that_weights_were_mixed_and_logits_moved_is_told() -> None:
    facts = {**FACTS, "mixed_with": "first", "mixed_share": 0.3, "bias": {"MEDICATION": -1.2}}
    said = section(card_of(facts=facts), "Learnt from")[-1]
    assert "30% of the weights are those of an earlier student." in said
    assert said.endswith("-1.2 is added to the logits of MEDICATION.")


def test_a_best_epoch_is_not_claimed_where_there_was_no_dev_set() -> None:
    facts = {**FACTS, "dev": [{"epoch": 2, "strict_micro_f1": {}}]}
    assert "best" not in section(card_of(facts=facts), "Learnt from")[-1]


def test_the_scores_stand_in_a_table_float_beside_bundle() -> None:
    both = {
        "float": scores("MEDICATION", "DISEASE|ADE", right=8, wrong=0),
        "int8": scores("MEDICATION", "DISEASE|ADE", right=4, wrong=4),
    }
    lines = section(card_of(scores={"set a": both, "set b": both}), "Scores")
    assert lines[:2] == [
        "| set | label | strict F1, float | strict F1, int8 | gold entities |",
        "|---|---|---|---|---|",
    ]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:6]]
    assert [row[:2] for row in rows] == [
        ["set a", "DISEASE or ADE"],
        ["set a", "MEDICATION"],
        ["set b", "DISEASE or ADE"],
        ["set b", "MEDICATION"],
    ]
    for row in rows:
        assert row[2] == "1.000 [1.000–1.000]"
        assert row[3].startswith("0.667 [0.")
        assert row[4] == "8"
    assert lines[6] == ""
    assert len({line.count("|") for line in lines[:6]}) == 1


def test_no_scores_are_said_to_be_none() -> None:
    assert section(card_of(), "Scores")[0] == "None were measured."


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((), ["- None were stated: measure before use."]),
        (("It is slow.", "It is old."), ["- It is slow.", "- It is old."]),
    ],
)
def test_the_limits_are_the_recipe_s(limits: tuple[str, ...], expected: list[str]) -> None:
    assert section(card_of(Card(limits=limits)), "Limits") == expected


def test_how_near_it_is_to_the_float_model() -> None:
    lines = section(card_of(), "Quantisation")
    agreed = (
        "  On 1,200 notes its spans agree with the float model's with F1 0.9938: 4,000 shared, "
        "30 only float, 20 only int8."
    )
    assert lines == [
        "- openvino: static INT8 by NNCF (preset mixed, overflow fix enable, SmoothQuant 0.8), "
        "calibrated on 300 windows of 60 notes.",
        agreed,
        "  dev: strict F1 0.8000 in float, 0.7900 here (95 % interval of the change -0.0200 to "
        "+0.0010).",
        "",
        "Verdict of the gates: **passed**, judged by strict F1 on dev.",
    ]
    lines = section(card_of(precision="fp32", quantization={}), "Quantisation")
    assert lines[0] == "- openvino: weights are float32."
    assert lines[1] == agreed.replace("int8", "fp32")
    assert section(card_of(), "Made with") == ["clin-edge 0.1, torch 2"]


def test_what_stayed_in_float_and_what_was_refused_is_told() -> None:
    how = {"openvino": {**QUANTIZATION["openvino"], "float_layers": ["a.b", "c"]}}
    gate = {**GATE, "verdict": "refused", "refusals": ["openvino: too bad", "openvino: too far"]}
    lines = section(card_of(quantization=how, gate=gate), "Quantisation")
    assert lines[0].endswith(" In float: a.b, c.")
    assert lines[-3:] == [
        "Verdict of the gates: **refused**, judged by strict F1 on dev.",
        "- openvino: too bad",
        "- openvino: too far",
    ]


@pytest.mark.parametrize("which", ["int8", "fp32"])
def test_the_card_in_a_bundle_is_that_of_its_manifest(which: str, request, student) -> None:
    bundle = request.getfixturevalue(which).bundle
    lines = bundle.files["MODEL_CARD.md"].decode().splitlines()
    assert lines[0] == "# invented, version 7"
    assert section(lines, "Limits") == ["- It knows seven drugs.", "- It knows six illnesses."]
    table = [line for line in section(lines, "Scores") if line.startswith("| ")]
    assert [line.split(" | ")[:2] for line in table[1:]] == [
        ["| gold set", "DISEASE"],
        ["| gold set", "MEDICATION"],
        ["| either set", "MEDICATION or DISEASE"],
    ]
    for line in table[1:]:
        name, label = line.strip("| ").split(" | ")[:2]
        both = bundle.manifest.scores[name]
        for kind in ("float", which):
            row = both[kind]["labels"][label.replace(" or ", "|")]
            assert f"{row['f1']:.3f} [{row['f1_low']:.3f}–{row['f1_high']:.3f}]" in line
    assert section(lines, "Learnt from")[0] == "- nobody/tiny (MIT)"
    assert str(student.facts["best_epoch"]) in section(lines, "Learnt from")[-1]
