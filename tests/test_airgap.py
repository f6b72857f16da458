"""What a machine without network installs: all of it is pinned by hash, and it is enough.

The installation itself is tried by ``constraints/try.sh``, in an empty network namespace.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "constraints"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LISTS = {
    "runtime.txt": PROJECT["dependencies"],
    "sign.txt": PROJECT["optional-dependencies"]["sign"],
}

READ_A_NOTE = """
import sys
from importlib.metadata import packages_distributions
pinned = set(sys.argv[1:]) | {"clin-edge"}
owners = packages_distributions()
class Absent:  # what is not pinned is not there
    def find_spec(self, name, path=None, target=None):
        by = {owner.lower().replace("_", "-") for owner in owners.get(name.partition(".")[0], ())}
        if by and not by & pinned:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
for gone in ("huggingface_hub", "openvino_telemetry"):
    try:
        __import__(gone)
        raise SystemExit(gone + " is there")
    except ImportError:
        pass
from clin_edge.runtime import Pipeline
((note, entities),) = Pipeline.from_bundle(threads=1).annotate(["Takes metformin daily."])
print([note.text[e.span.start : e.span.end] for e in entities if e.label == "MEDICATION"])
"""


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The script that makes the lists."""
    spec = importlib.util.spec_from_file_location("constraints_make", FOLDER / "make.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(name: str) -> dict[str, str]:
    """The versions a list pins. Every line of it must be a comment, or a pin and its hashes."""
    text = (FOLDER / name).read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    matches = [
        re.fullmatch(r"([a-z0-9-]+)==([\w.]+)( +--hash=sha256:[0-9a-f]{64})+", line)
        for line in lines
    ]
    assert [line for line, match in zip(lines, matches, strict=True) if not match] == []
    return {match[1]: match[2] for match in matches if match}


def all_pins() -> dict[str, str]:
    return {key: version for name in LISTS for key, version in pins(name).items()}


def left_out() -> set[str]:
    text = (FOLDER / "runtime.txt").read_text(encoding="utf-8")
    (names,) = re.findall(r"^# Left out: (.*)$", text, flags=re.MULTILINE)
    return set(names.split())


@pytest.mark.parametrize("name", LISTS)
def test_what_the_project_asks_for_is_pinned_within_its_ranges(name: str) -> None:
    pinned = pins(name)
    for line in LISTS[name]:
        asked = Requirement(line)
        assert asked.specifier.contains(pinned[canonicalize_name(asked.name)]), line


def test_what_that_asks_for_in_turn_is_pinned_or_left_out() -> None:
    waiting = [Requirement(line).name for lines in LISTS.values() for line in lines]
    reached: set[str] = set()
    while waiting:
        name = str(canonicalize_name(waiting.pop()))
        if name not in reached and name not in left_out():
            reached.add(name)
            asked = map(Requirement, metadata.requires(name) or ())
            waiting += [
                each.name
                for each in asked
                if each.marker is None or each.marker.evaluate({"extra": ""})
            ]
    assert reached == set(all_pins())


def test_the_runtime_reads_a_note_with_what_is_pinned_and_nothing_else() -> None:
    line = [sys.executable, "-c", READ_A_NOTE, *pins("runtime.txt")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['metformin']\n"


# --- the script ----------------------------------------------------------------------------------


def item(name: str, *asks: str, version: str = "1.0") -> dict[str, Any]:
    """An item of pip's report."""
    return {"metadata": {"name": name, "version": version, "requires_dist": list(asks)}}


def test_only_what_is_reached_past_those_left_out_is_needed(make: ModuleType) -> None:
    found = [
        item("Tokenizers", "huggingface_hub<3.0,>=0.16.4", 'black; extra == "dev"'),
        item("numpy", version="2.4.6"),
        item("openvino", "numpy<2.6.0,>=1.16.6", "openvino-telemetry>=2023.2.1", "win_only"),
        item("huggingface-hub", "httpx"),
        item("httpx"),
        item("black"),
        item("openvino-telemetry"),
    ]
    chosen = make.needed(["openvino>=2025.4", "tokenizers[x]>=0.21"], found)
    assert chosen == ["numpy==2.4.6", "openvino==1.0", "tokenizers==1.0"]


def test_a_list_written_is_a_list_read(make: ModuleType, monkeypatch, tmp_path) -> None:
    text = make.listing({"a-b==1.0": {"0" * 64, "f" * 64}, "c==2": {"1" * 64}})
    (tmp_path / "runtime.txt").write_text(text)
    monkeypatch.setitem(globals(), "FOLDER", tmp_path)
    assert pins("runtime.txt") == {"a-b": "1.0", "c": "2"}
    assert left_out() == set(make.LEFT_OUT)


def test_a_wheelhouse_is_whole_and_tells_its_hashes(make, monkeypatch, tmp_path, capsys) -> None:
    asked = []

    def pip(command: str, *arguments: str) -> str:
        asked.append((command, *arguments))
        if command == "wheel":
            (out / "clin_edge-9.8-py3-none-any.whl").write_bytes(b"ours")
        return ""

    out = tmp_path / "wheelhouse"
    monkeypatch.setattr(make, "pip", pip)
    for _ in range(2):  # a wheelhouse that is there is made anew
        make.write_wheelhouse(out, ["linux", "windows"], ["3.11", "3.12"])
        (out / "left over").touch()
    (out / "left over").unlink()
    downloads = [line for line in asked if line[0] == "download"]
    assert len(downloads) == 8
    assert all("--require-hashes" in line and "--no-deps" in line for line in downloads)
    own = f"clin-edge==9.8 --hash=sha256:{sha256(b'ours').hexdigest()}\n"
    assert (out / "runtime.txt").read_text() == (FOLDER / "runtime.txt").read_text() + own
    sums = [line.split("  ") for line in (out / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in sums} == {path.name for path in out.iterdir()} - {"SHA256SUMS"}
    assert all(sha256((out / name).read_bytes()).hexdigest() == value for value, name in sums)
    assert sha256((out / "SHA256SUMS").read_bytes()).hexdigest() in capsys.readouterr().out


def test_a_folder_that_is_no_wheelhouse_is_left_alone(make: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SystemExit, match="no wheelhouse"):
        make.write_wheelhouse(tmp_path, ["linux"], ["3.11"])
    assert (tmp_path / "notes.txt").exists()
