"""Pins what a machine without network is to install, and gathers it into one folder.

    python constraints/make.py pins              ask the package index; write runtime.txt, sign.txt
    python constraints/make.py wheelhouse OUT    our wheel and all pinned ones, with SHA256SUMS

Only pip talks to the index, with whatever configuration it has. `wheelhouse` takes no file whose
hash is not pinned. Needs Python 3.11 and pip, nothing else.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {
    # glibc 2.28 and newer: RHEL 8, Debian 10, Ubuntu 20.04.
    "linux": (
        "manylinux_2_28_x86_64",
        "manylinux_2_27_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
    ),
    "windows": ("win_amd64",),
}
# Declared by openvino and by tokenizers, and needed by neither here: the one reports every use to
# its vendor, the other is a client of a model hub. With them go all that only they ask for.
LEFT_OUT = ("huggingface-hub", "openvino-telemetry")
LISTS = {"runtime.txt": None, "sign.txt": "sign"}  # the file, and the extra it is of

HEAD = """\
# Made by constraints/make.py; do not edit. Install with --no-deps --require-hashes.
# Wheels for Linux (x86_64, glibc 2.28 and newer) and Windows (amd64), Python {pythons}.
# Left out: {left_out}
"""
README = """\
Check: sha256sum -c SHA256SUMS (the hash of that file itself should have come another way).
Linux: python3 -m venv DIR && DIR/bin/pip install {options} -r runtime.txt
Windows: py -3.11 -m venv DIR && DIR\\Scripts\\python -m pip install {options} -r runtime.txt
"""
OPTIONS = "--no-index --no-deps --require-hashes --find-links ."


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pins", help="write the lists of pins anew")
    gather = commands.add_parser("wheelhouse", help="gather the wheels in OUT")
    gather.add_argument("out", type=Path)
    gather.add_argument("--system", choices=PLATFORMS, action="append", help="[all of these]")
    gather.add_argument("--python", choices=PYTHONS, action="append", help="[all of these]")
    asked = parser.parse_args()
    if asked.command == "pins":
        write_pins()
    else:
        write_wheelhouse(asked.out, asked.system or PLATFORMS, asked.python or PYTHONS)


def write_pins() -> None:
    """Write each list: the newest versions that fit together, with the hashes of all wheels."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, extra in LISTS.items():
        asked = project["optional-dependencies"][extra] if extra else project["dependencies"]
        # What fits the oldest Python is chosen for all.
        found = reported("linux", PYTHONS[0], asked)
        chosen = needed(asked, found)
        hashes: dict[str, set[str]] = {pin: set() for pin in chosen}
        for system in PLATFORMS:
            for python in PYTHONS:
                for item in reported(system, python, chosen, "--no-deps"):
                    download = item["download_info"]["archive_info"]["hashes"]["sha256"]
                    hashes[pin_of(item)].add(download)
        (HERE / name).write_text(listing(hashes), encoding="utf-8", newline="\n")
        print(f"{name}: {' '.join(chosen)}")


def reported(system: str, python: str, wanted: Iterable[str], *more: str) -> list[dict[str, Any]]:
    """Give pip's report of what it would install there; nothing is installed."""
    with tempfile.TemporaryDirectory() as nowhere:
        said = pip(
            *("install", "--dry-run", "--ignore-installed", "--report", "-", "--target", nowhere),
            *(*wheels_for(system, python), *more, *wanted),
        )
    return json.loads(said)["install"]  # type: ignore[no-any-return]


def needed(asked: Iterable[str], found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Give as pins, sorted, what ``asked`` asks for, and what that asks for but ``LEFT_OUT``."""
    by_name = {plain(item["metadata"]["name"]): item for item in found}
    reached: set[str] = set()
    waiting = [plain(line) for line in asked]
    while waiting:
        name = waiting.pop()
        # A name that pip did not report is for another system, or for an extra.
        if name in by_name and name not in reached and name not in LEFT_OUT:
            reached.add(name)
            lines = by_name[name]["metadata"].get("requires_dist", [])
            waiting += [plain(line) for line in lines if "extra ==" not in line]
    return [pin_of(by_name[name]) for name in sorted(reached)]


def plain(requirement: str) -> str:
    """Give the normalised name of a requirement.

    >>> plain("Huggingface_Hub[x]>=0.16.4,<3.0")
    'huggingface-hub'
    """
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement.strip())[0]).lower()


def pin_of(item: Mapping[str, Any]) -> str:
    """Give ``name==version`` of an item of pip's report."""
    return f"{plain(item['metadata']['name'])}=={item['metadata']['version']}"


def listing(hashes: Mapping[str, Iterable[str]]) -> str:
    """Give the text of a list: each pin with its hashes, as pip reads it."""
    text = HEAD.format(pythons=", ".join(PYTHONS), left_out=" ".join(LEFT_OUT))
    for pin, digests in hashes.items():
        text += " \\\n    ".join([pin, *(f"--hash=sha256:{h}" for h in sorted(digests))]) + "\n"
    return text


def write_wheelhouse(out: Path, systems: Iterable[str], pythons: Iterable[str]) -> None:
    """Make ``out`` anew: wheels, lists, SHA256SUMS and three lines of instructions."""
    if out.exists() and not (out / "SHA256SUMS").exists():
        sys.exit(f"{out}: exists and is no wheelhouse; choose another folder")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    pip("wheel", "--no-deps", "--wheel-dir", str(out), str(HERE.parent))
    (ours,) = out.iterdir()
    lists = [part for name in LISTS for part in ("-r", str(HERE / name))]
    for system in systems:
        for python in pythons:
            target = wheels_for(system, python)
            pip("download", "--no-deps", "--require-hashes", *target, "--dest", str(out), *lists)
    for name in LISTS:
        shutil.copy(HERE / name, out)
    name, version = ours.name.split("-")[:2]
    with (out / "runtime.txt").open("a", encoding="utf-8", newline="\n") as stream:
        stream.write(f"{plain(name)}=={version} --hash=sha256:{digest(ours)}\n")
    (out / "README.txt").write_text(README.format(options=OPTIONS), encoding="utf-8")
    files = sorted(out.iterdir())
    sums = "".join(f"{digest(path)}  {path.name}\n" for path in files)
    (out / "SHA256SUMS").write_text(sums, encoding="utf-8", newline="\n")
    size = sum(path.stat().st_size for path in files)
    print(f"{out}: {len(files)} files, {size / 1e6:.0f} MB")
    print(f"SHA256SUMS has {digest(out / 'SHA256SUMS')}")


def wheels_for(system: str, python: str) -> list[str]:
    """Give the options that make pip choose wheels for that system and Python."""
    platforms = [part for tag in PLATFORMS[system] for part in ("--platform", tag)]
    return ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms]


def digest(path: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal."""
    return sha256(path.read_bytes()).hexdigest()


def pip(*arguments: str) -> str:
    """Run pip and give what it printed; end with its words if it fails."""
    line = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
