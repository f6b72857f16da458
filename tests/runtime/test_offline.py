"""Not one packet: no command opens a socket, sends a report, or leaves a file for one to be sent.

Three observers, since none sees everything. An audit hook, in the command and in every Python
process it starts, sees sockets of Python code and other programs. The counters of an empty network
namespace see packets of any code, also an engine's own. A home folder sees what an engine keeps to
send later. The environment invites everything that is known to send, to do so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from saturating import ToyNumpy, golden
from toy import toy_bundle

# What OpenVINO's telemetry, onnxruntime (Microsoft's 1DS), Hugging Face's libraries and Python's
# own clients look at; each set to what would let it call out.
INVITATIONS = {
    "ORT_DISABLE_TELEMETRY": "0",
    "DISABLE_TELEMETRY": "0",
    "DO_NOT_TRACK": "0",
    "OPENVINO_TELEMETRY": "1",
    "OV_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "0",
    "HF_HUB_OFFLINE": "0",
    "TRANSFORMERS_OFFLINE": "0",
    "HF_ENDPOINT": "http://203.0.113.1",
    "HTTP_PROXY": "http://203.0.113.1:3128",
    "HTTPS_PROXY": "http://203.0.113.1:3128",
}

# `sitecustomize`: every Python process below the test runs it before anything else.
OBSERVER = """
import atexit, os, sys
_log = os.environ["OBSERVED"]
_python = os.path.basename(sys.executable)

def _note(what):
    with open(_log, "a", encoding="utf-8") as stream:
        stream.write(what + "\\n")

def _watch(event, arguments):
    calls = event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib."))
    if event == "subprocess.Popen":
        program = arguments[0] or arguments[1][0]
        calls = os.path.basename(os.fsdecode(program)) != _python
    if event == "exec" and "openvino_telemetry" in getattr(arguments[0], "co_filename", ""):
        calls = True
    if calls or event in ("os.system", "os.exec", "os.posix_spawn", "os.forkpty"):
        _note("called " + event)
        raise RuntimeError("not here: " + event)

def _end():
    loaded = sys.modules.get("openvino_telemetry") is not None
    _note("telemetry loaded" if loaded else "telemetry absent")

sys.addaudithook(_watch)
atexit.register(_end)
_note("started")
"""

# Runs commands, each given as a JSON list, and says how each ended.
COMMANDS = """
import json, sys
from clin_edge.cli import main
for line in sys.argv[1:]:
    try:
        main(json.loads(line))
        code = 0
    except SystemExit as left:
        code = left.code or 0
    print("ended", code, line)
"""
COUNTERS = """
import pathlib
print("COUNTERS", *(pathlib.Path("/proc/self/net", name).read_text() for name in ("snmp", "snmp6")))
"""


@dataclass(frozen=True)
class Seen:
    """How the commands ended, and what the observers saw."""

    ended: dict[str, str]
    said: str
    observed: list[str]
    counters: dict[str, int]
    left_at_home: list[str]


def in_empty_namespace() -> list[str]:
    """How to start a program without a network here; empty if this machine does not allow it."""
    for way in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if (
            shutil.which(way[0])
            and subprocess.run([*way, "true"], capture_output=True).returncode == 0
        ):
            return way
    return []


NAMESPACE = in_empty_namespace() if sys.platform == "linux" else []


def run(folder: Path, code: str, *args: str, watch: bool = True) -> Seen:
    """Run Python code in ``folder``, under every observer that this machine has."""
    home, log = folder / "home", folder / "observed"
    home.mkdir()
    (folder / "site").mkdir()
    if watch:
        (folder / "site/sitecustomize.py").write_text(OBSERVER)
        (folder / "site/openvino_telemetry.py").touch()  # it need not be installed to be seen
    usual = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    places = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {
        **usual,
        **INVITATIONS,
        **dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "TMPDIR", "TEMP"), str(home)),
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CLIN_EDGE_THREADS": "1",
        "OBSERVED": str(log),
    }
    started = [sys.executable, "-c", code, *args]
    if NAMESPACE:  # the counters are the namespace's: read them before it is gone
        script = '"$@"; status=$?; "$0" -I -S -c "$COUNTERS"; exit $status'
        started = [*NAMESPACE, "sh", "-c", script, sys.executable, *started]
        env["COUNTERS"] = COUNTERS
    done = subprocess.run(started, capture_output=True, text=True, env=env, cwd=folder)
    said, _, counted = done.stdout.partition("COUNTERS")
    lines = [line.split(" ", 2) for line in said.splitlines() if line.startswith("ended ")]
    return Seen(
        ended={line: code for _, code, line in lines},
        said=said + done.stderr,
        observed=log.read_text().splitlines() if log.exists() else [],
        counters=attempts(counted),
        left_at_home=sorted(str(path.relative_to(home)) for path in home.rglob("*")),
    )


def attempts(text: str) -> dict[str, int]:
    """Of the counters of IP, TCP and UDP: those that an attempt to reach anyone raises.

    For IPv4 there are a line of names and one of values for each protocol, for IPv6 pairs.
    """
    rows = [line.split() for line in text.strip().splitlines()]
    flat = {row[0]: row[1] for row in rows if len(row) == 2}
    tables = [row for row in rows if len(row) > 2]
    for names, values in zip(tables[::2], tables[1::2], strict=True):
        flat |= {names[0] + name: value for name, value in zip(names, values, strict=True)}
    ends = ("OutRequests", "OutNoRoutes", "OutDatagrams", "ActiveOpens")
    return {name: int(value) for name, value in flat.items() if name.endswith(ends)}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Every command of the runtime, with both engines, in one go."""
    folder = tmp_path_factory.mktemp("offline")
    files = {"golden.jsonl": golden(ToyNumpy())}
    toy_bundle(folder / "b", "openvino", "onnxruntime", files=files)
    (folder / "n.jsonl").write_text('{"id": "n", "text": "fever, takes metformin"}\n')
    commands = [
        ["extract", "n.jsonl", "--bundle", "b", "--engine", "openvino", "-o", "openvino.jsonl"],
        ["extract", "n.jsonl", "--bundle", "b", "--engine", "onnxruntime", "-o", "onnx.jsonl"],
        ["selftest", "b"],
        ["doctor", "--bundle", "b"],
        ["demo", "--bundle", "b", "-o", "demo.jsonl"],
        ["verify", "b"],
    ]
    return run(folder, COMMANDS, *map(json.dumps, commands))


def test_every_command_does_its_work_without_a_network(seen: Seen) -> None:
    assert len(seen.ended) == 6, seen.said
    codes = {json.loads(line)[0]: code for line, code in seen.ended.items()}
    assert codes.pop("doctor") in ("0", "1"), seen.said  # 1: a machine with little memory
    assert set(codes.values()) == {"0"}, seen.said


def test_no_process_opens_a_socket_or_starts_another_program(seen: Seen) -> None:
    assert [line for line in seen.observed if line.startswith("called")] == []
    assert seen.observed.count("started") >= 3  # doctor starts each engine in a process


def test_no_process_loads_the_reporting_of_openvino(seen: Seen) -> None:
    assert set(seen.observed) == {"started", "telemetry absent"}


def test_nothing_is_kept_at_home_to_be_sent_later(seen: Seen) -> None:
    folders = {"clin-edge"}
    assert [at for at in seen.left_at_home if not at.endswith(".compiled")] == sorted(folders)
    assert all(at.startswith("clin-edge/") for at in set(seen.left_at_home) - folders)


def test_not_one_packet_is_tried(seen: Seen) -> None:
    if not NAMESPACE:
        pytest.skip("this machine lets us make no empty network namespace (unshare --net)")
    assert len(seen.counters) >= 5
    assert not any(seen.counters.values()), seen.counters


# --- what the observers would see ----------------------------------------------------------------

KNOCK = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    try:
        one.connect(("203.0.113.1", 9))
    except OSError:
        pass
"""


def test_a_packet_that_is_tried_would_be_counted(tmp_path: Path) -> None:
    if not NAMESPACE:
        pytest.skip("this machine lets us make no empty network namespace (unshare --net)")
    assert any(run(tmp_path, KNOCK, watch=False).counters.values())


IN_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}])"
SOCKET = "import socket; socket.socket()"
BAD = {
    "a socket": (SOCKET, "called socket.__new__"),
    "a socket of a child": (IN_CHILD.format(SOCKET), "called socket.__new__"),
    "a look-up": (
        "import socket; socket.gethostbyname('localhost')",
        "called socket.gethostbyname",
    ),
    "a program": ("import subprocess; subprocess.run(['true'])", "called subprocess.Popen"),
    "a shell": ("import os; os.system('true')", "called os.system"),
    "telemetry": ("import openvino_telemetry", "called exec"),
    "telemetry of a child": (IN_CHILD.format("import openvino_telemetry"), "called exec"),
    "telemetry's name": (
        "import sys; sys.modules['openvino_telemetry'] = sys",
        "telemetry loaded",
    ),
}


@pytest.mark.parametrize(("code", "line"), BAD.values(), ids=BAD)
def test_a_call_would_be_seen(tmp_path: Path, code: str, line: str) -> None:
    assert line in run(tmp_path, code).observed
