"""benchmarks/compare.py: worse beyond noise, and only then."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compare.py"


def a_figure(middle: float, spread: float = 0.05) -> dict[str, float]:
    low, high = (1 - spread) * middle, (1 + spread) * middle
    return {"median": middle, "lowest": low, "highest": high, "n": 5}


def a_report() -> dict[str, Any]:
    return {
        "machine": {"processor": "Some CPU", "threads": 2},
        "notes": {"invented": True},
        "figures": {
            "words_per_s": a_figure(10_000),
            "cold_start_s": a_figure(0.5),
            "extract_peak_memory_bytes": a_figure(300e6, 0),
            "outside_engine_fraction": a_figure(0.08),
            "fraction_of_limit": a_figure(0.7),
            "int8_products_tokens_per_s": a_figure(20_000),
            "cores_busy": a_figure(1.9),
        },
        "peers": {
            "transformers": {"figures": {"clin_edge_times_faster": a_figure(30)}},
            "spacy": {"skipped": "spacy is not installed"},
        },
    }


def compare(tmp_path: Path, old: dict[str, Any], new: dict[str, Any], *more: str) -> Any:
    places = []
    for name, report in (("old", old), ("new", new)):
        places.append(tmp_path / f"{name}.json")
        places[-1].write_text(json.dumps(report))
    command = [sys.executable, str(SCRIPT), *map(str, places), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_is_as_good_as_itself_and_has_a_line_a_figure(tmp_path: Path) -> None:
    done = compare(tmp_path, a_report(), a_report())
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(a_report()["figures"]) + 1


@pytest.mark.parametrize(
    ("name", "factor", "code"),
    [
        ("words_per_s", 0.8, 7),
        ("words_per_s", 0.92, 0),  # a tie
        ("words_per_s", 1.5, 0),
        ("cold_start_s", 1.3, 7),
        ("cold_start_s", 0.5, 0),
        ("extract_peak_memory_bytes", 1.2, 7),
        ("outside_engine_fraction", 1.5, 7),
        ("fraction_of_limit", 0.8, 7),
        ("int8_products_tokens_per_s", 0.5, 0),  # the machine's own
        ("cores_busy", 0.5, 0),
    ],
)
def test_only_what_is_worse_beyond_noise_counts(name, factor, code, tmp_path: Path) -> None:
    new = a_report()
    new["figures"][name] = {key: factor * value for key, value in new["figures"][name].items()}
    assert compare(tmp_path, a_report(), new).returncode == code


@pytest.mark.parametrize("noisy", ["old", "new"])
def test_a_difference_within_either_run_s_spread_is_noise(noisy: str, tmp_path: Path) -> None:
    old, new = a_report(), a_report()
    new["figures"]["words_per_s"] = a_figure(8_000)
    wide = {"old": old, "new": new}[noisy]["figures"]["words_per_s"]
    wide["lowest"], wide["highest"] = 7_000, 11_000
    assert compare(tmp_path, old, new).returncode == 0


def test_a_lead_that_is_lost_counts_and_a_peer_that_was_skipped_does_not(tmp_path: Path) -> None:
    new = copy.deepcopy(a_report())
    new["peers"]["transformers"]["figures"]["clin_edge_times_faster"] = a_figure(20)
    assert compare(tmp_path, a_report(), new).returncode == 7
    new["peers"]["transformers"] = {"skipped": "transformers is not installed"}
    assert compare(tmp_path, a_report(), new).returncode == 0


def test_what_is_a_tie_can_be_said(tmp_path: Path) -> None:
    new = a_report()
    new["figures"]["words_per_s"] = a_figure(8_000)
    assert compare(tmp_path, a_report(), new, "--tie", "0.3").returncode == 0


@pytest.mark.parametrize(
    ("part", "what", "value"),
    [
        ("machine", "threads", 4),
        ("machine", "processor", "Another CPU"),
        ("notes", "invented", False),
    ],
)
def test_what_differs_in_more_than_clin_edge_is_not_compared(
    part: str, what: str, value: object, tmp_path: Path
) -> None:
    new = a_report()
    new[part][what] = value
    done = compare(tmp_path, a_report(), new)
    assert done.returncode == 2
    assert what in done.stderr
