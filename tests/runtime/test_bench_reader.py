"""clin-edge as a subject of its own bench: in one process, and in several."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli_runs import as_jsonl
from clin_edge.runtime.bench import reader as reader_module
from clin_edge.runtime.bench.reader import Reader, Team, start_reader
from toy import toy_bundle

TEXTS = ["no chest pain", "metformin 500 mg", "", "denies fever. " * 40, "aspirin"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("reader") / "bundle", "openvino").path


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A note a file."""
    for n, text in enumerate(TEXTS):
        (tmp_path / f"{n}.jsonl").write_bytes(as_jsonl({f"n{n}": text}))
    return [str(tmp_path / f"{n}.jsonl") for n in range(len(TEXTS))]


def order(bundle: Path, out: Path, workers: int) -> dict[str, Any]:
    said = {"bundle": str(bundle), "engine": "auto", "out": str(out), "threads": 4}
    return {**said, "workers": workers}


@pytest.mark.parametrize(("kind", "workers"), [(Reader, 1), (Team, 2)])
def test_several_readers_read_all_that_one_reads(
    bundle: Path, files: list[str], kind: type[Reader | Team], workers: int, tmp_path: Path
) -> None:
    expected = Reader(order(bundle, tmp_path / "one", 1)).answer({"read": files})
    reader = kind(order(bundle, tmp_path / "out", workers))
    for _ in range(2):  # nothing is remembered from one run to the next
        said = reader.answer({"read": files})
        assert said["positions"] >= expected["positions"]  # batches of fewer notes
        assert 0 < reader.answer({"again": True})["seconds"] < said["seconds"]
        written = [out.read_text() for out in sorted(tmp_path.glob("out*"))]
        assert len(written) == workers
        lines = [line for text in written for line in text.splitlines()]
        assert sorted(lines) == sorted((tmp_path / "one").read_text().splitlines())
    assert len(reader.answer({"singly": files[0]})["seconds"]) == 1
    if isinstance(reader, Team):
        assert said["peak_memory_bytes"] > 2 * 20_000_000
        assert said["cpu_s"] > 0
        reader.close()


@pytest.mark.parametrize(("workers", "kind"), [(1, "Reader"), (2, "Team")])
def test_the_order_says_how_many_read(
    bundle: Path, workers: int, kind: str, tmp_path: Path, monkeypatch
) -> None:
    made = []

    def make(given: dict[str, Any]) -> SimpleNamespace:
        made.append(given["workers"])
        return SimpleNamespace(versions={"openvino": "1"}, answer=None)

    monkeypatch.setattr(reader_module, kind, make)
    ready, _ = start_reader(order(bundle, tmp_path / "out", workers))
    assert (ready, made) == ({"versions": {"openvino": "1"}}, [workers])
