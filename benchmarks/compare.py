"""Whether speed got worse: two reports of ``clin-edge bench --json``, figure by figure.

    python benchmarks/compare.py OLD.json NEW.json

A figure is worse, or better, if each run's median lies outside what the other's rounds spread over,
and they differ by more than ``--tie`` (default 0.10: smaller differences are this project's ties).
One line a figure; exit code 7 if any is worse. Reports of two machines, or of invented notes and
one's own, are refused: exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORSE = 7
# By the ends of names; what is in none is neither good nor bad.
MORE_IS_BETTER = ("_per_s", "_times_faster", "fraction_of_limit")
MORE_IS_WORSE = ("_s", "_bytes", "_per_1000_notes", "outside_engine_fraction")
THE_MACHINE_S = ("products_tokens_per_s",)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare two reports of clin-edge bench.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tie", type=float, default=0.10, help="ignore smaller differences")
    asked = parser.parse_args()
    old, new = (json.loads(path.read_bytes()) for path in (asked.old, asked.new))
    for part, what in (("machine", "processor"), ("machine", "threads"), ("notes", "invented")):
        if old[part][what] != new[part][what]:
            print(f"not comparable: the {part} differ ({what})", file=sys.stderr)
            sys.exit(2)
    verdicts = []
    for name, before, after in shared_figures(old, new):
        verdict = judge(name, before, after, asked.tie)
        verdicts.append(verdict)
        change = after["median"] / before["median"] - 1 if before["median"] else 0.0
        print(f"{verdict:7} {name:45} {shown(before)} -> {shown(after)}  {change:+.1%}")
    sys.exit(WORSE if "worse" in verdicts else 0)


def shared_figures(
    old: dict[str, Any], new: dict[str, Any]
) -> Iterator[tuple[str, dict[str, float], dict[str, float]]]:
    """Yield each figure that both reports have: clin-edge's own, and its lead over each peer."""
    for name, before in old["figures"].items():
        if name in new["figures"]:
            yield name, before, new["figures"][name]
    for peer, facts in old["peers"].items():
        lead = "clin_edge_times_faster"
        after = new["peers"].get(peer, {})
        if "figures" in facts and "figures" in after:
            yield f"{peer}.{lead}", facts["figures"][lead], after["figures"][lead]


def judge(name: str, old: dict[str, float], new: dict[str, float], tie: float) -> str:
    """Say ``same``, ``better`` or ``worse``; ``-`` if the figure is neither good nor bad."""
    sign = direction(name)
    if sign == 0:
        return "-"
    if abs(new["median"] - old["median"]) <= tie * abs(old["median"]):
        return "same"
    if within(new["median"], old) or within(old["median"], new):
        return "same"
    return "better" if sign * (new["median"] - old["median"]) > 0 else "worse"


def direction(name: str) -> int:
    """Give 1 if more is better, -1 if more is worse, 0 if neither."""
    if name.endswith(THE_MACHINE_S):
        return 0
    if name.endswith(MORE_IS_BETTER):
        return 1
    return -1 if name.endswith(MORE_IS_WORSE) else 0


def within(value: float, figure: dict[str, float]) -> bool:
    return figure["lowest"] <= value <= figure["highest"]


def shown(figure: dict[str, float]) -> str:
    return f"{figure['median']:.4g} [{figure['lowest']:.4g}, {figure['highest']:.4g}]"


if __name__ == "__main__":
    main()
