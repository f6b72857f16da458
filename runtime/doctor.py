"""What a machine's facts mean: a finding for each, and whether the machine is ready."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clin_edge.core.errors import BundleError, ClinEdgeError, MissingInstallError
from clin_edge.core.manifest import ENGINES as BUNDLE_ENGINES
from clin_edge.runtime.machine import BROKEN, MISSING, READY, BundleFact, EngineFact, Machine
from clin_edge.runtime.processor import Processor
from clin_edge.runtime.threads import CpuShare

WIDTH = 80
MAX_LINES = 24
# The default bundle was seen to take 394 MB while it read 2,376 notes; the rest is for longer
# notes. A larger model is held twice: as read, and as the engine arranges it.
BASE_BYTES = 650_000_000
_NAMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
_INDENT = len("ATTENTION  ONNX Runtime  ")
_BY_WEIGHT = (BundleError.exit_code, MissingInstallError.exit_code, ClinEdgeError.exit_code)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the screen. ``cure`` says what to do and makes it one that needs attention.

    ``exit_code`` is what the command ends with if nothing weighs more; 0 without a cure.
    """

    name: str
    said: str
    cure: str = ""
    exit_code: int = 0

    def __post_init__(self) -> None:
        """Refuse a cure without an exit code, and the reverse."""
        if bool(self.cure) != bool(self.exit_code):
            raise ValueError(f"{self.name}: a cure and an exit code go together")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings about a machine."""

    machine: Machine
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 if ready; else 4 (the bundle) before 5 (no engine) before 1 (anything else)."""
        codes = {finding.exit_code for finding in self.findings}
        return next((code for code in _BY_WEIGHT if code in codes), 0)

    @property
    def advice(self) -> str:
        """What to do first, or that nothing is left to do."""
        for finding in self.findings:
            if finding.exit_code and finding.exit_code == self.exit_code:
                return f"Not ready (exit code {self.exit_code}): {finding.cure}"
        return 'Ready. "clin-edge selftest" shows that its answers are right here.'


def diagnose(machine: Machine) -> Diagnosis:
    """Say what each fact means."""
    return Diagnosis(
        machine,
        (
            Finding("System", f"{_plain(machine.system)}, {machine.processor.architecture}"),
            Finding("Processor", f"{_plain(machine.processor.name)}; {_int8(machine.processor)}"),
            _cpus(machine.cpus, problem=machine.threads_problem),
            _memory(machine),
            *(_engine(engine, machine) for engine in machine.engines),
            _bundle(machine.bundle),
            _network(machine),
        ),
    )


def screen(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """Yield the lines as a mark (``OK``, ``ATTENTION`` or none) and what follows it.

    At most ``MAX_LINES`` lines of ``WIDTH`` columns; what is too long for that is shortened.
    """
    yield "", f"clin-edge {diagnosis.machine.clin_edge}: can this machine do the work?"
    yield "", ""
    for finding in diagnosis.findings:
        mark = "ATTENTION" if finding.cure else "OK"
        first, *more = _wrapped(finding.said, WIDTH - _INDENT, lines=3 if finding.cure else 2)
        yield mark, f"{'':{9 - len(mark)}}  {finding.name:12}  {first}"
        for line in more:
            yield "", f"{'':{_INDENT}}{line}"
        if finding.name == "Bundle":
            path = _plain(diagnosis.machine.bundle.path)
            yield "", f"{'':{_INDENT}}{_middle(path, WIDTH - _INDENT)}"
    yield "", ""
    for line in _wrapped(diagnosis.advice, WIDTH, lines=3):
        yield "", line


def to_plain(diagnosis: Diagnosis) -> dict[str, Any]:
    """Give the diagnosis as JSON values: the verdict, the findings, and the facts behind them."""
    facts = dataclasses.asdict(diagnosis.machine)
    facts["processor"]["int8"] = diagnosis.machine.processor.int8
    cpus = diagnosis.machine.cpus
    facts["cpus"] |= {"threads": cpus.threads, "quota": _finite(cpus.quota)}
    facts["bundle"]["verified"] = diagnosis.machine.bundle.verified
    facts["memory_needed_bytes"] = memory_needed(diagnosis.machine.bundle)
    return {
        "ready": diagnosis.exit_code == 0,
        "exit_code": diagnosis.exit_code,
        "advice": diagnosis.advice,
        "findings": [
            {"name": f.name, "ok": not f.cure, "said": f.said, "cure": f.cure}
            for f in diagnosis.findings
        ],
        "facts": facts,
    }


def memory_needed(bundle: BundleFact) -> int:
    """Give the memory that reading notes with a bundle should find free, in bytes."""
    return BASE_BYTES + 2 * bundle.size_bytes


def _int8(processor: Processor) -> str:
    has = [name for name, there in processor.instructions.items() if there]
    shown = f" ({', '.join(has)})" if has else ""
    if processor.int8 == "fast":
        return f"8-bit arithmetic is fast{shown}"
    if processor.int8 == "works":
        if processor.prefers_float:
            return f"8-bit arithmetic works{shown}; float is faster here, and is used"
        untold = None in processor.instructions.values()
        return f"8-bit arithmetic works{shown}; " + (
            "this system does not tell whether it is fast"
            if untold
            else "newer processors have faster instructions for it"
        )
    if processor.int8 == "slow":
        return "8-bit arithmetic is slow: without AVX2"
    return "whether 8-bit arithmetic is fast is unknown"


def _cpus(cpus: CpuShare, *, problem: bool) -> Finding:
    if problem:
        said = "CLIN_EDGE_THREADS is set to something that is no number of threads"
        return Finding("CPUs", said, "remove CLIN_EDGE_THREADS, or set a number from 1 to 512", 1)
    n = cpus.threads
    said = f"{n} thread{'s' * (n != 1)} will be used"
    if cpus.asked is not None:
        return Finding("CPUs", f"{said}, as CLIN_EDGE_THREADS says; CPUs allowed: {cpus.allowed}")
    why = [f"CPUs: {cpus.machine}"]
    if cpus.allowed < cpus.machine:
        why.append(f"allowed for this process: {cpus.allowed}")
    if cpus.cores is not None:
        why.append(f"cores: {cpus.cores}")
    if cpus.quota < math.inf:
        why.append(f"limit of the container or service: {cpus.quota:g}")
    return Finding("CPUs", f"{said} ({', '.join(why)})")


def _memory(machine: Machine) -> Finding:
    total, free = machine.memory_bytes, machine.memory_available_bytes
    needed = memory_needed(machine.bundle)
    said = ", ".join(
        [
            "size unknown" if total is None else f"{_gb(total)} in all",
            "how much is free is unknown" if free is None else f"{_gb(free)} free",
            f"{_gb(needed)} wanted",
        ]
    )
    known = [size for size in (total, free) if size is not None]
    if known and min(known) < needed:
        cure = "end other programs, or give this machine or container more memory"
        return Finding("Memory", said, cure, 1)
    return Finding("Memory", said)


def _engine(engine: EngineFact, machine: Machine) -> Finding:
    """Judge an engine by whether the bundle has a model for it, and others that could do."""
    name = _NAMES[engine.name]
    wanted = machine.bundle.engines or BUNDLE_ENGINES
    version = f"version {_plain(engine.version)}, " if engine.version else ""
    if engine.name not in wanted:
        state = {READY: "starts", MISSING: "not installed", BROKEN: "installed, does not start"}
        return Finding(name, f"{version}{state[engine.state]}; this bundle does not use it")
    if engine.state == READY:
        return Finding(name, f"{version}starts")
    another = any(e.state == READY and e.name in wanted for e in machine.engines)
    if engine.state == MISSING and another:
        return Finding(name, "not installed; not needed, the other engine does the work")
    code = ClinEdgeError.exit_code if another else MissingInstallError.exit_code
    extra = "" if engine.name == "openvino" else "[onnxruntime]"
    cure = f"install {name} again: pip install --force-reinstall 'clin-edge{extra}'"
    if engine.state == MISSING:
        return Finding(name, "not installed", cure, code)
    return Finding(name, "installed, but it does not start on this machine", cure, code)


def _bundle(bundle: BundleFact) -> Finding:
    if bundle.problem:
        cure = "copy the bundle again, or correct its path (--bundle, CLIN_EDGE_BUNDLE)"
        return Finding("Bundle", _plain(bundle.problem), cure, BundleError.exit_code)
    said = f"{_plain(bundle.name)} {_plain(bundle.version)} ({bundle.id}), {bundle.precision}; "
    said += f"all {bundle.n_files} files unaltered, {bundle.size_bytes / 1e6:.1f} MB"
    return Finding("Bundle", said)


def _network(machine: Machine) -> Finding:
    if machine.reports_off:
        return Finding("Network", "not used, not needed; engines' usage reports are off")
    cure = "remove ORT_DISABLE_TELEMETRY from the environment"
    return Finding("Network", "an engine could send usage reports", cure, 1)


def _wrapped(text: str, width: int, *, lines: int) -> list[str]:
    return textwrap.wrap(text, width, max_lines=lines, placeholder=" …") or [""]


def _middle(text: str, width: int) -> str:
    """Cut the middle out of what is too long."""
    half = (width - 1) // 2
    return text if len(text) <= width else f"{text[:half]}…{text[-half:]}"


def _plain(text: str) -> str:
    """Give one line of printable characters, of a length that leaves room for others."""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
