"""How threads are shared out among workers, asked for or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.manifest import FileFact, Manifest
from clin_edge.runtime import sharing
from clin_edge.runtime.pipeline import DEFAULT_BUNDLE, FAST_BUNDLE, open_default_or
from clin_edge.runtime.sharing import MOST_WORKERS, SMALL_MODEL_BYTES, share_out
from toy import toy_bundle

COUNTS = st.none() | st.integers(1, 64)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return toy_bundle(tmp_path_factory.mktemp("sharing") / "bundle", "openvino").manifest


def of_size(manifest: Manifest, model_bytes: int) -> Manifest:
    models = {name: FileFact(model_bytes, "0" * 64) for name in ("model.xml", "model.bin")}
    return replace(manifest, files={**manifest.files, **models})


@pytest.mark.parametrize(
    ("model_bytes", "threads", "expected"),
    [
        (SMALL_MODEL_BYTES, 1, (1, 1)),
        (SMALL_MODEL_BYTES, 2, (2, 1)),
        (SMALL_MODEL_BYTES, 8, (8, 1)),
        (SMALL_MODEL_BYTES, 64, (8, 8)),
        (SMALL_MODEL_BYTES + 1, 1, (1, 1)),
        (SMALL_MODEL_BYTES + 1, 2, (1, 2)),
        (SMALL_MODEL_BYTES + 1, 3, (1, 3)),
        (SMALL_MODEL_BYTES + 1, 4, (2, 2)),
        (SMALL_MODEL_BYTES + 1, 40, (8, 5)),
    ],
)
def test_where_nobody_asks_for_workers_the_model_decides(
    toy: Manifest, model_bytes: int, threads: int, expected: tuple[int, int], monkeypatch
) -> None:
    assert share_out(of_size(toy, model_bytes), None, threads) == expected
    monkeypatch.setattr(sharing, "usable_threads", lambda: threads)
    assert share_out(of_size(toy, model_bytes), None, None) == expected


@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [(0, None, (0, 8)), (0, 3, (0, 3)), (3, None, (3, 2)), (16, None, (16, 1)), (4, 5, (4, 5))],
)
def test_what_was_asked_for_is_given(
    toy: Manifest, workers: int, threads: int | None, expected: tuple[int, int], monkeypatch
) -> None:
    monkeypatch.setattr(sharing, "usable_threads", lambda: 8)
    assert share_out(toy, workers, threads) == expected


@given(st.integers(0, 10**9), COUNTS)
def test_threads_are_neither_invented_nor_left_over(model_bytes: int, threads: int | None) -> None:
    manifest = of_size(open_default_or(FAST_BUNDLE).manifest, model_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "usable_threads", lambda: 6)
        workers, each = share_out(manifest, None, threads)
    assert 1 <= workers <= MOST_WORKERS
    assert workers * each <= (threads or 6) < workers * (each + 1)


@pytest.mark.parametrize(("folder", "expected"), [(DEFAULT_BUNDLE, (1, 2)), (FAST_BUNDLE, (2, 1))])
def test_on_two_cores_the_fast_bundle_is_read_by_two(
    folder: Path, expected: tuple[int, int]
) -> None:
    assert share_out(open_default_or(folder).manifest, None, 2) == expected
