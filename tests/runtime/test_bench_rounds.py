"""Rounds: who runs when, and what figures are made of the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clin_edge.runtime.bench.notes import Portion
from clin_edge.runtime.bench.rounds import Rounds, figure
from clin_edge.runtime.bench.subjects import SubjectError

PORTIONS = [Portion(Path(f"p{i}"), notes=2, words=100, tokens=150, chars=600) for i in range(10)]
LATENCY = {n: Portion(Path(f"w{n}"), notes=2, words=2 * n, tokens=3 * n, chars=9) for n in (100, 9)}


class Played:
    """A subject that takes ``seconds`` a portion, and notes in ``log`` what it is asked."""

    def __init__(self, name: str, log: list[str], *seconds: float, fails_after: int = 99) -> None:
        self.name = name
        self.ready = {"versions": {name: "1"}, "network": "2x64", "peak_memory_bytes": 5}
        self.closed = False
        self._log = log
        self._seconds = list(seconds)
        self._left = fails_after
        self._last = 0.0

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if "singly" in question:
            return {"seconds": [0.001, 0.003]}
        if "again" in question:
            return {"seconds": 0.75 * self._last}
        if "at_least_s" in question:
            self._log.append(self.name)
            return {"tokens": 1000, "seconds": self._seconds[0]}
        self._left -= 1
        if self._left < 0:
            raise SubjectError(f"{self.name}: it fell over")
        self._log.append(f"{self.name}*{len(question['read'])}")
        each = self._seconds[0] if len(self._seconds) == 1 else self._seconds.pop(0)
        seconds = self._last = each * len(question["read"])
        return {
            "seconds": seconds,
            "cpu_s": 1.5 * seconds,
            "positions": 180 * len(question["read"]),
            "peak_memory_bytes": 1000,
        }

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def log() -> list[str]:
    """What was asked."""
    return []


def rounds_of(log: list[str], own: Played, *peers: Played) -> Rounds:
    probes = {"int8_products": Played("int8", log, 0.5), "float32_products": Played("f", log, 1.0)}
    named = {peer.name: peer for peer in peers}
    return Rounds(own, probes, named, {}, PORTIONS, LATENCY)  # type: ignore[arg-type]


def test_everything_runs_in_turn_and_fills_a_round(log: list[str]) -> None:
    rounds = rounds_of(log, Played("own", log, 1.0), Played("slow", log, 4.0))
    rounds.run(2, lambda _: None)
    # A round is 3 s: three portions of the one, and not one whole of the other.
    turn = ["own*3", "slow*1", "int8", "f"]
    assert log == ["own*1", "own*3", "slow*1", *turn, *turn]


def test_a_quick_subject_reads_all_portions_and_no_more(log: list[str]) -> None:
    rounds = rounds_of(log, Played("own", log, 1e-6))
    rounds.run(1, lambda _: None)
    assert f"own*{len(PORTIONS)}" in log
    assert list(rounds.own_portions) == PORTIONS


def test_figures_are_of_what_was_read(log: list[str]) -> None:
    rounds = rounds_of(log, Played("own", log, 2.0), Played("slow", log, 8.0))
    rounds.run(3, lambda _: None)
    figures = {name: said["median"] for name, said in rounds.figures().items()}
    assert figures["words_per_s"] == 50
    assert figures["tokens_per_s"] == 75
    assert figures["notes_per_s"] == 1
    assert figures["cores_busy"] == 1.5
    assert figures["cpu_s_per_1000_notes"] == 1500
    assert figures["outside_engine_fraction"] == 0.25
    assert figures["positions_per_token"] == 180 / 150
    assert figures["peak_memory_bytes"] == 1000
    assert figures["int8_products_tokens_per_s"] == 2000
    assert figures["fraction_of_int8_products"] == 75 / 2000
    assert figures["fraction_of_float32_products"] == 75 / 1000
    assert figures["fraction_of_limit"] == 75 / 2000
    assert figures["latency_100_words_p50_s"] == pytest.approx(0.002)
    peer = rounds.peer_facts()["slow"]
    assert peer["figures"]["clin_edge_times_faster"]["median"] == 4
    assert peer["versions"] == {"slow": "1"}


def test_a_ratio_is_taken_round_by_round(log: list[str]) -> None:
    # The machine is twice as slow in the second round, for both.
    own, slow = Played("own", log, 2, 2, 4, 2), Played("slow", log, 6, 6, 12, 6)
    rounds = rounds_of(log, own, slow)
    rounds.run(3, lambda _: None)
    times = rounds.peer_facts()["slow"]["figures"]["clin_edge_times_faster"]
    assert times == {"median": 3, "lowest": 3, "highest": 3, "n": 3}
    assert rounds.figures()["words_per_s"]["lowest"] == 25


@pytest.mark.parametrize("asked_before", [0, 2])
def test_a_peer_that_fails_is_skipped_and_the_others_go_on(log: list[str], asked_before) -> None:
    frail = Played("frail", log, 2.0, fails_after=asked_before)
    rounds = rounds_of(log, Played("own", log, 2.0), frail, Played("good", log, 2.0))
    rounds.run(3, lambda _: None)
    facts = rounds.peer_facts()
    assert facts["frail"] == {"skipped": "it fell over"}
    assert facts["good"]["figures"]["words_per_s"]["n"] == 3
    assert frail.closed


def test_clin_edge_s_own_failure_ends_the_run(log: list[str]) -> None:
    with pytest.raises(SubjectError, match="own: it fell over"):
        rounds_of(log, Played("own", log, 2.0, fails_after=2)).run(3, lambda _: None)


def test_a_figure_has_a_middle_and_bounds() -> None:
    assert figure([3, 1, 2]) == {"median": 2, "lowest": 1, "highest": 3, "n": 3}
    assert figure([3, 1, 2], middle=2.5)["median"] == 2.5
    assert figure([3, 1, 2], middle=4)["highest"] == 4
