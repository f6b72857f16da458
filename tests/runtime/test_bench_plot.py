"""The picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clin_edge.core.errors import InputError
from clin_edge.runtime.bench.plot import OWN, known_scores, plot


def a_figure(middle: float) -> dict[str, float]:
    return {"median": middle, "lowest": 0.9 * middle, "highest": 1.2 * middle, "n": 3}


def a_report() -> dict[str, Any]:
    return {
        "machine": {"processor": "Some CPU", "threads": 2},
        "bundle": {
            "precision": "int8",
            "scores": {
                "gold": {"float": {"micro": {"f1": 0.9}}, "int8": {"micro": {"f1": 0.875}}},
                "strange": "said otherwise",
            },
        },
        "figures": {"words_per_s": a_figure(9000)},
        "peers": {
            "transformers": {"figures": {"words_per_s": a_figure(400)}},
            "spacy": {"skipped": "spacy is not installed"},
        },
    }


def test_the_bundle_s_own_score_is_of_its_own_precision() -> None:
    assert known_scores(a_report(), {}) == {OWN: 0.875}
    assert known_scores(a_report(), {"transformers": 0.8, OWN: 0.5})[OWN] == 0.5


def test_a_score_that_cannot_be_read_is_none() -> None:
    report = a_report()
    for scores in ({}, {"x": None}, {"x": {"int8": {"micro": {"f1": "high"}}}}):
        report["bundle"]["scores"] = scores
        assert known_scores(report, {}) == {}


@pytest.mark.parametrize(
    ("scores", "wide"),
    [({}, 1050), ({OWN: 0.875}, 1050), ({OWN: 0.875, "transformers": 0.861, "nobody": 0.5}, 1650)],
)
def test_a_picture_is_drawn(scores: dict[str, float], wide: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawing is an optional install")
    place = tmp_path / "speed.png"
    plot(a_report(), scores, place)
    content = place.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20]) == wide  # with points beside the bars, or without
    with pytest.raises(InputError, match="cannot be written"):
        plot(a_report(), scores, tmp_path / "nowhere" / "speed.png")
