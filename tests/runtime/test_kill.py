"""A slice of tests/kill_points.py: killed at random moments, the bytes are those of a whole run."""

from __future__ import annotations

from pathlib import Path

import kill_points


def test_killed_and_run_again_it_makes_the_same_bytes(tmp_path: Path) -> None:
    met = kill_points.run(5, seed=0, n_notes=60, folder=tmp_path)
    assert met["kills"] >= 5
