"""What the pages say can be done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clin_edge.cli import clin_edge

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"]
PAGES += [f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    place = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)\)", place.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (place.parent / target).exists(), target


def test_every_command_in_the_readme_exists_with_the_options_shown() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^clin-edge (\w+)(.*?)(?:\s#.*)?$", text, flags=re.MULTILINE)
    assert {name for name, _ in shown} >= {"extract", "label", "distill", "export", "evaluate"}
    for name, rest in shown:
        options = {o for p in clin_edge.commands[name].params for o in (*p.opts, *p.secondary_opts)}
        assert {word for word in rest.split() if word.startswith("-") and word != "-"} <= options


def test_the_readme_s_python_runs_and_finds_the_drug(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102
    assert "('metformin', 'MEDICATION')" in capsys.readouterr().out
