"""A report as a picture: how fast, and how fast against how right."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clin_edge.core.errors import InputError, MissingInstallError

OWN = "clin-edge"


def read_scores(path: Path) -> dict[str, float]:
    """Read F1 scores by name of a JSON object, such as ``{"transformers": 0.861}``.

    Raises:
        InputError: If it is none, or a score is not from 0 to 1.
    """
    try:
        scores = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise InputError(f"{path}: cannot be read as JSON") from None
    if not isinstance(scores, dict) or not all(
        type(score) in (int, float) and 0 <= score <= 1 for score in scores.values()
    ):
        raise InputError(f'{path}: expected names and F1 scores, as {{"transformers": 0.861}}')
    return {name: float(score) for name, score in scores.items()}


def known_scores(report: Mapping[str, Any], others: Mapping[str, float]) -> dict[str, float]:
    """Give the F1 of what was measured, where one is known: the bundle's is in its manifest."""
    bundle = report["bundle"]
    scores = dict(others)
    for on_data in bundle["scores"].values():
        try:
            score = float(on_data[bundle["precision"]]["micro"]["f1"])
        except (TypeError, KeyError, ValueError):
            continue
        if math.isfinite(score):
            scores.setdefault(OWN, score)
    return scores


def plot(report: Mapping[str, Any], scores: Mapping[str, float], path: Path) -> None:
    """Write a PNG: bars of words a second, and beside them points if two scores or more are known.

    Raises:
        MissingInstallError: If matplotlib is not installed.
        InputError: If the file cannot be written.
    """
    check_plot()
    from matplotlib.figure import Figure

    speeds = _speeds(report)
    known = {name: scores[name] for name in speeds if name in scores}
    compared = len(known) > 1  # one point says nothing
    figure = Figure(figsize=(11 if compared else 7, 1.6 + 0.4 * len(speeds)), layout="constrained")
    axes = figure.subplots(1, 2 if compared else 1, squeeze=False)[0]
    names = sorted(speeds, key=lambda name: speeds[name]["median"])
    middle = [speeds[name]["median"] for name in names]
    spread = [
        [speeds[name]["median"] - speeds[name]["lowest"] for name in names],
        [speeds[name]["highest"] - speeds[name]["median"] for name in names],
    ]
    bars = axes[0].barh(names, middle, xerr=spread, color=[_colour(name) for name in names])
    axes[0].bar_label(bars, fmt="{:,.0f}", padding=4)
    axes[0].set_xlabel("words per second (median, lowest to highest)")
    axes[0].margins(x=0.2)
    if compared:
        for name, score in known.items():
            axes[1].scatter(speeds[name]["median"], score, color=_colour(name))
            place = (speeds[name]["median"], score)
            axes[1].annotate(name, place, xytext=(6, 4), textcoords="offset points")
        axes[1].set_xscale("log")
        axes[1].set_xlabel("words per second")
        axes[1].set_ylabel("F1 (each as its source says)")
        axes[1].margins(0.3)
    machine = report["machine"]
    figure.suptitle(f"{machine['processor']}, {machine['threads']} threads", fontsize="medium")
    try:
        figure.savefig(path, format="png", dpi=150)
    except OSError:
        raise InputError(f"{path}: cannot be written; choose another place") from None


def check_plot() -> None:
    """Find out whether ``plot`` can work, before minutes are spent on what it would show.

    Raises:
        MissingInstallError: If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingInstallError("plot", str(error.name)) from None


def _colour(name: str) -> str:
    return "tab:blue" if name == OWN else "tab:gray"


def _speeds(report: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    speeds = {OWN: report["figures"]["words_per_s"]}
    for name, peer in report["peers"].items():
        if "figures" in peer:
            speeds[name] = peer["figures"]["words_per_s"]
    return speeds
