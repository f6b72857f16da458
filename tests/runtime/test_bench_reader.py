"""clin-edge as a subject of its own bench: in one process, and in several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli_runs import as_jsonl
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


@pytest.mark.parametrize(("workers", "kind"), [(1, Reader), (2, Team)])
def test_several_readers_read_all_that_one_reads(
    bundle: Path, files: list[str], workers: int, kind: type, tmp_path: Path
) -> None:
    one = Reader(order(bundle, tmp_path / "one", 1))
    expected = one.answer({"read": files})
    ready, answer = start_reader(order(bundle, tmp_path / "out", workers))
    assert answer.__self__.__class__ is kind  # type: ignore[attr-defined]
    assert list(ready["versions"]) == ["openvino"]
    for _ in range(2):  # the second run is no shorter, and repeats nothing
        said = answer({"read": files})
        assert said["positions"] >= expected["positions"]  # batches of fewer notes
        assert 0 < said["engine_s"] < said["seconds"]
        written = [out.read_text() for out in sorted(tmp_path.glob("out*"))]
        assert len(written) == workers
        lines = [line for text in written for line in text.splitlines()]
        assert sorted(lines) == sorted((tmp_path / "one").read_text().splitlines())
    if workers > 1:
        assert said["peak_memory_bytes"] > 2 * 20_000_000
        assert said["cpu_s"] > 0
        answer.__self__.close()  # type: ignore[attr-defined]
    assert len(answer({"singly": files[0]})["seconds"]) == 1
