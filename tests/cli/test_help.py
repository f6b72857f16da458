"""verify, help and version."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cli_runs import Run, only_line
from clin_edge.cli import clin_edge
from clin_edge.runtime import pipeline


def test_verify_prints_the_manifest_and_says_the_rest_on_stderr(run: Run, bundle: Path) -> None:
    for args in (["verify", bundle], ["verify"]):
        done = run(*args)
        assert done.code == 0
        assert done.out == (bundle / "manifest.json").read_text(encoding="utf-8")
        assert re.search(r"4 files, \d+\.\d MB, all as listed\nbundle sha256:\w{12}\n", done.err)


def test_fast_names_the_smaller_bundle_and_dot_fast_a_folder(run: Run, bundle: Path) -> None:
    shutil.copytree(bundle, "fast")
    assert run("verify", "./fast").out == (bundle / "manifest.json").read_text(encoding="utf-8")
    ours = (pipeline.FAST_BUNDLE / "manifest.json").read_text(encoding="utf-8")
    assert run("verify", "fast").out == ours


def test_verify_without_a_bundle_in_the_package_is_4(run, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("CLIN_EDGE_BUNDLE")
    monkeypatch.setattr(pipeline, "DEFAULT_BUNDLE", tmp_path / "model")
    done = run("verify")
    assert done.code == 4
    assert "no such bundle" in only_line(done)


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", [None, *sorted(clin_edge.commands)])
def test_every_help_has_an_example_and_ends_well(run: Run, command: str | None, flag: str) -> None:
    done = run(*([command] if command else []), flag)
    assert (done.code, done.err) == (0, "")
    assert re.search(rf"Example:\n +clin-edge {command or 'extract'} ", done.out)
    assert max(map(len, done.out.splitlines())) <= 100


def test_every_example_in_a_help_is_a_command_with_options_that_there_are() -> None:
    for name, command in clin_edge.commands.items():
        examples = re.findall(r"clin-edge (.*)", (command.help or "").split("Example:")[1])
        known = {option for parameter in command.params for option in parameter.opts}
        known |= {o for parameter in command.params for o in parameter.secondary_opts}
        assert examples
        for told, *words in map(str.split, examples):
            assert told == name
            assert {word for word in words if word.startswith("-") and word != "-"} <= known


def test_the_version_is_told(run: Run) -> None:
    from clin_edge import __version__

    assert run("--version").out == f"clin-edge, version {__version__}\n"
