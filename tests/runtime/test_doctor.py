"""What facts mean: findings, the screen, and the exit code."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.runtime.doctor import (
    MAX_LINES,
    WIDTH,
    Finding,
    diagnose,
    memory_needed,
    screen,
    to_plain,
)
from clin_edge.runtime.machine import BROKEN, MISSING, READY, BundleFact, EngineFact, Machine
from clin_edge.runtime.processor import Processor
from clin_edge.runtime.threads import CpuShare
from machines import BUNDLE, a_machine

ALTERED = BundleFact("/opt/b", problem="model.bin: altered, its content is not what it should be")
BOTH = dataclasses.replace(BUNDLE, engines=("openvino", "onnxruntime"))


def engines(openvino: str, onnxruntime: str) -> tuple[EngineFact, ...]:
    return EngineFact("openvino", openvino), EngineFact("onnxruntime", onnxruntime)


def shown(machine: Machine) -> str:
    return "\n".join(mark + text for mark, text in screen(diagnose(machine)))


def test_a_sound_machine_is_ready() -> None:
    diagnosis = diagnose(a_machine())
    assert diagnosis.exit_code == 0
    assert diagnosis.advice.startswith("Ready.")
    assert "ATTENTION" not in shown(a_machine())


# What differs from a sound machine, the exit code, and a word of what to do.
TROUBLES = {
    "bundle refused": ({"bundle": ALTERED}, 4, "copy the bundle again"),
    "engine missing": ({"engines": engines(MISSING, READY)}, 5, "install OpenVINO again"),
    "engine broken": ({"engines": engines(BROKEN, MISSING)}, 5, "install OpenVINO again"),
    "no engine at all": ({"engines": engines(MISSING, MISSING), "bundle": BOTH}, 5, "pip install"),
    "one of two engines broken": (
        {"engines": engines(READY, BROKEN), "bundle": BOTH},
        1,
        "clin-edge[onnxruntime]",
    ),
    "little memory free": ({"memory_available_bytes": 600_000_000}, 1, "more memory"),
    "a small container": ({"memory_bytes": 500_000_000}, 1, "more memory"),
    "threads that are none": ({"threads_problem": True}, 1, "CLIN_EDGE_THREADS"),
    "reports could be sent": ({"reports_off": False}, 1, "ORT_DISABLE_TELEMETRY"),
}


@pytest.mark.parametrize(("changes", "code", "cure"), TROUBLES.values(), ids=TROUBLES)
def test_each_trouble_has_a_code_and_a_cure(changes, code, cure) -> None:
    diagnosis = diagnose(a_machine(**changes))
    assert diagnosis.exit_code == code
    assert diagnosis.advice.startswith(f"Not ready (exit code {code}): ")
    assert cure in diagnosis.advice
    assert "ATTENTION" in shown(a_machine(**changes))


PAIRS = [
    pair
    for pair in itertools.combinations(TROUBLES, 2)
    if not TROUBLES[pair[0]][0].keys() & TROUBLES[pair[1]][0].keys()
]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_of_two_troubles_the_bundle_weighs_most_then_the_engines(pair) -> None:
    (one, code, _), (two, other, _) = (TROUBLES[name] for name in pair)
    assert diagnose(a_machine(**one, **two)).exit_code == min(code, other, key=[4, 5, 1].index)


NO_TROUBLE = {
    "the other engine is enough": {"engines": engines(MISSING, READY), "bundle": BOTH},
    "an engine no one needs is broken": {"engines": engines(READY, BROKEN)},
    "nothing known of memory": {"memory_bytes": None, "memory_available_bytes": None},
    "an old processor": {"processor": Processor("Old", "x86_64", {"AVX2": False})},
    "a processor that does not tell": {"processor": Processor("?", "riscv64", {})},
    "threads as asked": {"cpus": CpuShare(8, 8, 4, math.inf, asked=2)},
}


@pytest.mark.parametrize("changes", NO_TROUBLE.values(), ids=NO_TROUBLE)
def test_what_does_not_keep_it_from_working_is_no_trouble(changes) -> None:
    assert diagnose(a_machine(**changes)).exit_code == 0


@pytest.mark.parametrize(
    ("cpus", "said"),
    [
        (CpuShare(8, 8, 4, math.inf), "4 threads will be used (CPUs: 8, cores: 4)"),
        (
            CpuShare(8, 1, 1, math.inf),
            "1 thread will be used (CPUs: 8, allowed for this process: 1, cores: 1)",
        ),
        (
            CpuShare(8, 8, None, 1.5),
            "2 threads will be used (CPUs: 8, limit of the container or service: 1.5)",
        ),
        (
            CpuShare(8, 8, 4, 1.0, asked=6),
            "6 threads will be used, as CLIN_EDGE_THREADS says; CPUs allowed: 8",
        ),
    ],
)
def test_the_number_of_threads_is_said_with_its_reason(cpus, said) -> None:
    (finding,) = (f for f in diagnose(a_machine(cpus=cpus)).findings if f.name == "CPUs")
    assert finding.said == said


@pytest.mark.parametrize(
    ("instructions", "said"),
    [
        ({"AVX2": True, "AVX512-VNNI": True}, "is fast (AVX2, AVX512-VNNI)"),
        ({"AVX2": True, "AVX512-VNNI": False}, "works (AVX2); float is faster here, and is used"),
        ({"AVX2": True, "AVX-512": True}, "works (AVX2, AVX-512); newer processors have"),
        ({"AVX2": True, "AVX512-VNNI": None}, "works (AVX2); this system does not tell whether"),
        ({"AVX2": False}, "is slow: without AVX2"),
        ({}, "is fast is unknown"),
    ],
)
def test_8_bit_arithmetic_is_said_in_words(instructions, said) -> None:
    machine = a_machine(processor=Processor("X", "x86_64", instructions))
    (finding,) = (f for f in diagnose(machine).findings if f.name == "Processor")
    assert said in finding.said


def test_a_larger_bundle_wants_more_memory() -> None:
    large = dataclasses.replace(BUNDLE, size_bytes=2_000_000_000)
    assert memory_needed(large) > memory_needed(BUNDLE)
    assert diagnose(a_machine(bundle=large, memory_available_bytes=10**9)).exit_code == 1


TEXT = st.text(max_size=400)
STATES = st.sampled_from([READY, MISSING, BROKEN])


@given(
    system=TEXT,
    processor=TEXT,
    path=TEXT,
    name=TEXT,
    problem=TEXT,
    version=TEXT,
    openvino=STATES,
    onnxruntime=STATES,
    threads_problem=st.booleans(),
    reports_off=st.booleans(),
    memory=st.none() | st.integers(0, 10**15),
)
def test_it_is_one_screen_whatever_the_facts(
    system, processor, path, name, problem, version, openvino, onnxruntime, **rest
) -> None:
    bundle = dataclasses.replace(BOTH, path=path, name=name, version=version, problem=problem)
    machine = a_machine(
        system=system,
        processor=Processor(processor, "x86_64", {"AVX2": True, "AVX512-VNNI": None}),
        engines=(
            EngineFact("openvino", openvino, version),
            EngineFact("onnxruntime", onnxruntime, version),
        ),
        bundle=bundle,
        cpus=CpuShare(1024, 512, 256, 100.25),
        threads_problem=rest["threads_problem"],
        reports_off=rest["reports_off"],
        memory_bytes=rest["memory"],
        memory_available_bytes=rest["memory"],
    )
    lines = [mark + text for mark, text in screen(diagnose(machine))]
    assert len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)
    json.dumps(to_plain(diagnose(machine)), allow_nan=False)


FOREIGN = ("python", "module", "traceback", "exception", "package", "venv", "none", "null", "true")


@pytest.mark.parametrize(
    "changes", [{}, *(t[0] for t in TROUBLES.values()), *NO_TROUBLE.values()], ids=str
)
def test_no_programmer_s_word_is_on_it(changes) -> None:
    words = shown(a_machine(**changes)).lower().replace("/", " ").split()
    assert not [word for word in FOREIGN if word in words]


def test_what_monitoring_gets_holds_verdict_and_facts() -> None:
    plain = to_plain(diagnose(a_machine(bundle=ALTERED)))
    assert (plain["ready"], plain["exit_code"]) == (False, 4)
    assert [f["name"] for f in plain["findings"] if not f["ok"]] == ["Bundle"]
    assert plain["facts"]["cpus"]["threads"] == 4
    assert plain["facts"]["cpus"]["quota"] is None
    assert plain["facts"]["bundle"]["verified"] is False
    assert plain["facts"]["processor"]["int8"] == "works"


@pytest.mark.parametrize(("cure", "code"), [("do this", 0), ("", 1)])
def test_a_cure_and_an_exit_code_go_together(cure: str, code: int) -> None:
    with pytest.raises(ValueError, match="go together"):
        Finding("Memory", "little", cure, code)
