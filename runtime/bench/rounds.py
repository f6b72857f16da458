"""Every subject in turn (A B A B …): what disturbs the machine disturbs all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clin_edge.runtime.bench.notes import Portion
from clin_edge.runtime.bench.process import EnergyMeter
from clin_edge.runtime.bench.subjects import Subject, SubjectError

PERCENTILES = (50, 95, 99)
_ROUND_S = 3.0
_PROBE_S = 0.7

Figure = dict[str, float]


def figure(values: Sequence[float], middle: float | None = None) -> Figure:
    """Give the median of what rounds gave (or ``middle``), its bounds, and how many there were."""
    middle = statistics.median(values) if middle is None else middle
    return {
        "median": middle,
        "lowest": min(middle, *values),
        "highest": max(middle, *values),
        "n": len(values),
    }


def total(portions: Sequence[Portion], what: str) -> int:
    """Add up ``notes``, ``words``, ``tokens`` or ``chars`` of portions."""
    return sum(getattr(portion, what) for portion in portions)


@dataclass(slots=True, eq=False)
class Rounds:
    """All subjects, and what they answered.

    Attributes:
        own: clin-edge itself, whose failure ends the run.
        probes: Bare products, by name.
        peers: Others by name; one that fails goes to ``skipped``, with the reason.
        portions: What is read: as many of the first as fill a round, for each subject.
        latency: Notes that are read singly, by their number of words.
    """

    own: Subject
    probes: Mapping[str, Subject]
    peers: dict[str, Subject]
    skipped: dict[str, str]
    portions: Sequence[Portion]
    latency: Mapping[int, Portion]
    _reads: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _speeds: dict[str, list[float]] = field(default_factory=dict)
    _waits: dict[int, list[list[float]]] = field(default_factory=dict)
    _engine_s: list[float] = field(default_factory=list)
    _joules: list[float | None] = field(default_factory=list)
    _taken: dict[str, int] = field(default_factory=dict)

    def run(self, n_rounds: int, tell: Callable[[str], None]) -> None:
        """Warm everything up, find out how many portions fill a round, then measure."""
        for name in self._names():
            tell(f"warming up {name}")
            self._guarded(name, self._calibrate)
        for number in range(n_rounds):
            tell(f"round {number + 1} of {n_rounds}")
            for name in self._names():
                self._guarded(name, self._measure)
            for name, probe in self.probes.items():
                answer = probe.ask({"at_least_s": _PROBE_S})
                self._speeds.setdefault(name, []).append(answer["tokens"] / answer["seconds"])
            for words, portion in self.latency.items():
                answer = self.own.ask({"singly": str(portion.path)})
                self._waits.setdefault(words, []).append(answer["seconds"])

    @property
    def own_portions(self) -> Sequence[Portion]:
        """Give what clin-edge itself reads in a round."""
        return self.portions[: self._taken[self.own.name]]

    def figures(self) -> dict[str, Figure]:
        """Give clin-edge's own figures; what this machine does not tell is not among them."""
        reads = self._reads[self.own.name]
        n_notes, n_tokens = (total(self.own_portions, what) for what in ("notes", "tokens"))
        said = self._speed_values(self.own.name)
        said["notes_per_s"] = [n_notes / read["seconds"] for read in reads]
        said["cores_busy"] = [read["cpu_s"] / read["seconds"] for read in reads]
        said["outside_engine_fraction"] = [
            1 - engine_s / read["seconds"]
            for engine_s, read in zip(self._engine_s, reads, strict=True)
        ]
        said["positions_per_token"] = [read["positions"] / n_tokens for read in reads]
        joules = [used for used in self._joules if used is not None]
        said["energy_j_per_1000_notes"] = [1000 * used / n_notes for used in joules]
        own = said["tokens_per_s"]
        for name, speeds in self._speeds.items():
            said[f"{name}_tokens_per_s"] = speeds
            said[f"fraction_of_{name}"] = _ratios(own, speeds)
        limits = [max(speeds) for speeds in zip(*self._speeds.values(), strict=True)]
        said["fraction_of_limit"] = _ratios(own, limits)
        figures = {name: figure(values) for name, values in said.items() if values}
        for words, waits in self._waits.items():
            pooled = [wait for round_ in waits for wait in round_]
            for percent in PERCENTILES:
                each = [float(np.percentile(wait, percent)) for wait in waits]
                middle = float(np.percentile(pooled, percent))
                figures[f"latency_{words}_words_p{percent}_s"] = figure(each, middle)
        return figures

    def peer_facts(self) -> dict[str, dict[str, Any]]:
        """Give each peer's figures and how many times faster clin-edge was, or why it has none."""
        own = self._speed_values(self.own.name)["tokens_per_s"]
        facts: dict[str, dict[str, Any]] = {
            name: {"skipped": why} for name, why in self.skipped.items()
        }
        for name, subject in self.peers.items():
            said = self._speed_values(name)
            said["clin_edge_times_faster"] = _ratios(own, said["tokens_per_s"])
            facts[name] = {
                "network": subject.ready["network"],
                "versions": subject.ready["versions"],
                "figures": {key: figure(values) for key, values in said.items() if values},
            }
        return facts

    def _names(self) -> list[str]:
        return [self.own.name, *self.peers]

    def _guarded(self, name: str, step: Callable[[Subject], None]) -> None:
        if name == self.own.name:
            step(self.own)
            return
        try:
            step(self.peers[name])
        except SubjectError as error:
            self.peers.pop(name).close()
            self.skipped[name] = str(error).removeprefix(f"{name}: ")

    def _calibrate(self, subject: Subject) -> None:
        n, most = 1, len(self.portions)
        while True:
            seconds = self._read(subject, n)["seconds"]
            if n == most or seconds > _ROUND_S / 2:
                break
            n = min(most, max(n + 1, round(n * _ROUND_S / seconds)))
        self._taken[subject.name] = n

    def _measure(self, subject: Subject) -> None:
        meter = EnergyMeter()
        answer = self._read(subject, self._taken[subject.name])
        if subject is self.own:
            self._joules.append(meter.joules())
            self._engine_s.append(subject.ask({"again": True})["seconds"])
        self._reads.setdefault(subject.name, []).append(answer)

    def _read(self, subject: Subject, n: int) -> dict[str, Any]:
        return subject.ask({"read": [str(portion.path) for portion in self.portions[:n]]})

    def _speed_values(self, name: str) -> dict[str, list[float]]:
        portions = self.portions[: self._taken[name]]
        reads = self._reads[name]
        n_notes = total(portions, "notes")
        return {
            "words_per_s": [total(portions, "words") / read["seconds"] for read in reads],
            "tokens_per_s": [total(portions, "tokens") / read["seconds"] for read in reads],
            "cpu_s_per_1000_notes": [1000 * read["cpu_s"] / n_notes for read in reads],
            "peak_memory_bytes": [m for r in reads if (m := r["peak_memory_bytes"]) is not None],
        }


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide round by round: what disturbed a round disturbed both."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]
