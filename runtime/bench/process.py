"""``clin-edge extract`` as a user meets it: started, timed and watched from outside."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clin_edge.core.errors import ClinEdgeError
from clin_edge.runtime.bench.notes import Portion
from clin_edge.runtime.memory import resident_bytes

STARTS = 5
EXTRACTS = 3
_LOOK_EVERY_S = 0.02
_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class ExtractRun:
    """What a whole run took; ``peak_bytes`` is the most all its processes held at once.

    Shared pages count once for each process. None: the system does not tell.
    """

    seconds: float
    cpu_s: float | None
    peak_bytes: int | None


def figures_from_outside(
    portions: Sequence[Portion], one: Path, options: Sequence[str]
) -> dict[str, list[float]]:
    """Measure whole runs: to the first record of one short note, and over portions.

    Args:
        portions: What is read from file to file.
        one: A file with one note; records are written beside it.
        options: For every run.
    """
    said: dict[str, list[float]] = {}
    for _ in range(STARTS):
        for name, more in (("cold_start_s", []), ("cold_start_no_worker_s", ["--workers", "0"])):
            said.setdefault(name, []).append(first_record_s([str(one), *options, *more]))
    n_notes, n_words, n_tokens = (
        sum(getattr(portion, what) for portion in portions) for what in ("notes", "words", "tokens")
    )
    out = one.with_name("extracted.jsonl")
    files = [str(portion.path) for portion in portions]
    for _ in range(EXTRACTS):
        run = run_extract([*files, *options, "-o", str(out)])
        out.unlink()
        values: dict[str, float | None] = {
            "extract_words_per_s": n_words / run.seconds,
            "extract_tokens_per_s": n_tokens / run.seconds,
            "extract_cpu_s_per_1000_notes": run.cpu_s and 1000 * run.cpu_s / n_notes,
            "extract_peak_memory_bytes": run.peak_bytes,
        }
        for name, value in values.items():
            if value is not None:
                said.setdefault(name, []).append(value)
    return said


def run_extract(args: Sequence[str]) -> ExtractRun:
    """Run ``clin-edge extract`` to its end and watch its processes.

    Raises:
        ClinEdgeError: If it fails.
    """
    cpu_before, began = _children_cpu_s(), time.perf_counter()
    process = subprocess.Popen(_command(args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks: list[int] = []
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ended))
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    cpu_after = _children_cpu_s()
    _check(code)
    cpu_s = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
    return ExtractRun(seconds, cpu_s, max(peaks, default=None))


def first_record_s(args: Sequence[str]) -> float:
    """Give the seconds from the start of ``clin-edge extract`` to its first record on stdout.

    Raises:
        ClinEdgeError: If it fails.
    """
    began = time.perf_counter()
    with subprocess.Popen(
        _command(args), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        first = process.stdout.readline() if process.stdout else b""
        seconds = time.perf_counter() - began
        process.communicate()
    _check(process.returncode or int(not first))
    return seconds


class EnergyMeter:
    """The energy that the processors' packages have used since it was made.

    Linux tells it (``intel-rapl``, AMD's processors included), mostly to root alone.
    """

    def __init__(self, powercap: Path = _POWERCAP) -> None:
        """Find the packages (parts of them, ``intel-rapl:0:1``, are in their sum) and begin."""
        self._packages = sorted(powercap.glob("intel-rapl:[0-9]*"))
        self._packages = [place for place in self._packages if place.name.count(":") == 1]
        self._before = self._read()

    def joules(self) -> float | None:
        """Give the energy used until now; None if the machine does not tell."""
        now = self._read()
        if not now or self._before is None:
            return None
        used = 0
        for (count, limit), (before, _) in zip(now, self._before, strict=True):
            # The counter goes back to 0 at its limit.
            used += count - before if count >= before else count + limit - before
        return used / 1e6

    def _read(self) -> list[tuple[int, int]] | None:
        names = ("energy_uj", "max_energy_range_uj")
        try:
            return [
                (int((place / names[0]).read_text()), int((place / names[1]).read_text()))
                for place in self._packages
            ]
        except (OSError, ValueError):
            return None


def _command(args: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "clin_edge", "extract", *args]


def _check(code: int) -> None:
    if code:
        raise ClinEdgeError(
            f"clin-edge extract ended with exit code {code} while it was measured; "
            "run it on a note of yours to see why"
        )


def _watch(pid: int, peaks: list[int], ended: threading.Event) -> None:
    while not ended.is_set():
        held = [size for each in _family(pid) if (size := resident_bytes(each)) is not None]
        if held:
            peaks.append(sum(held))
        ended.wait(_LOOK_EVERY_S)


def _family(pid: int) -> list[int]:
    """Give a process and its children, and theirs; elsewhere than on Linux the process alone."""
    family = [pid]
    for each in family:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                family += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return family


def _children_cpu_s() -> float | None:
    """Give the CPU time of all processes that were waited for, and of theirs."""
    if sys.platform == "win32":
        return None
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
