"""What was compiled is kept for the next start: the same answers, or it is compiled anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from clin_edge.core.batching import pad
from clin_edge.core.bundle import Bundle
from clin_edge.runtime import compiled as module
from clin_edge.runtime.compiled import Compiled, cache_folder
from clin_edge.runtime.pipeline import FAST_BUNDLE, open_default_or, open_session
from toy import toy_bundle

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are POSIX's")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIN_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return toy_bundle(tmp_path / "b")


@pytest.fixture
def times_compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As many items as models were compiled."""
    compile_model, compiled = ov.Core.compile_model, []

    def spy(*how, **more):
        compiled.append(1)
        return compile_model(*how, **more)

    monkeypatch.setattr(ov.Core, "compile_model", spy)
    return compiled


def answer(bundle: Bundle, *, threads: int = 1, keep: bool = True) -> bytes:
    session = open_session(bundle, engine="openvino", threads=threads, keep=keep)
    rng = np.random.default_rng(5)
    said = b""
    for rows, length in ((1, 16), (3, 48), (7, 64)):
        windows = [rng.integers(1, 40, length - 3 * row) for row in range(rows)]
        said += session.run(pad(windows, rows=range(rows), length=length, pad_id=0)).tobytes()
    return said


@pytest.mark.parametrize("products", ["int8", "float"])
def test_a_real_model_answers_to_the_bit_as_if_compiled_anew(
    cache: Path, products: str, monkeypatch, times_compiled: list[int]
) -> None:
    monkeypatch.setenv("CLIN_EDGE_PRODUCTS", products)
    fast = open_default_or(FAST_BUNDLE)
    anew = answer(fast, keep=False)
    assert not cache.exists()
    assert answer(fast) == anew
    assert len(times_compiled) == 2
    assert answer(fast) == anew
    assert len(times_compiled) == 2


def test_other_models_threads_and_products_have_files_of_their_own(
    cache: Path, bundle: Bundle, tmp_path: Path, monkeypatch
) -> None:
    answer(bundle)
    answer(bundle, threads=2)
    answer(toy_bundle(tmp_path / "other", version="2"))
    monkeypatch.setattr(ov, "get_version", lambda: "another")
    answer(bundle)
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("n_bytes", [0, 20, 31, 32, 5000])
def test_a_file_cut_short_is_replaced(
    cache: Path, bundle: Bundle, times_compiled: list[int], n_bytes: int
) -> None:
    right = answer(bundle)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    assert len(whole) > 5000
    file.write_bytes(whole[:n_bytes])
    assert answer(bundle) == right
    assert len(times_compiled) == 2
    assert (answer(bundle), len(times_compiled)) == (right, 2)


def test_a_changed_byte_and_another_models_file_are_noticed(
    cache: Path, bundle: Bundle, tmp_path: Path, times_compiled: list[int]
) -> None:
    right = answer(bundle)
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    content[-7] ^= 1
    file.write_bytes(content)
    assert answer(bundle) == right
    answer(toy_bundle(tmp_path / "other", version="2"))
    (other,) = set(cache.iterdir()) - {file}
    file.write_bytes(other.read_bytes())
    assert answer(bundle) == right
    assert len(times_compiled) == 4


@pytest.mark.usefixtures("cache")
def test_what_the_engine_does_not_take_is_dropped(
    bundle: Bundle, monkeypatch, times_compiled: list[int]
) -> None:
    right = answer(bundle)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("of another version")

    with monkeypatch.context() as patch:
        patch.setattr(ov.Core, "import_model", refuse)
        assert answer(bundle) == right
    assert (answer(bundle), len(times_compiled)) == (right, 2)


@POSIX
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_not_trusted(
    cache: Path, bundle: Bundle, times_compiled: list[int], mode: int
) -> None:
    right = answer(bundle)
    (file,) = cache.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(mode)
    assert (answer(bundle), len(times_compiled)) == (right, 2)
    assert file.stat().st_mode & 0o777 == 0o600


@POSIX
@pytest.mark.usefixtures("cache")
def test_a_file_of_somebody_else_is_not_trusted(
    bundle: Bundle, times_compiled: list[int], monkeypatch
) -> None:
    right = answer(bundle)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert (answer(bundle), len(times_compiled)) == (right, 2)


def test_where_nothing_can_be_kept_nothing_is_said(
    tmp_path: Path, bundle: Bundle, monkeypatch, capfd
) -> None:
    (tmp_path / "file").touch()
    right = answer(bundle, keep=False)
    for place in (tmp_path / "file", tmp_path / "file" / "below", ""):
        monkeypatch.setenv("CLIN_EDGE_CACHE", str(place))
        assert answer(bundle) == right
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "file"]
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_leaves_nothing_half_written(cache: Path, bundle: Bundle, monkeypatch) -> None:
    right = answer(bundle, keep=False)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert answer(bundle) == right
    assert list(cache.iterdir()) == []


def test_files_not_used_for_longest_make_room(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 3000)
    kept = [Compiled(tmp_path, "e", str(i), {}) for i in range(4)]
    for age, one in enumerate(kept[:3]):
        one.keep(bytes(900))
        path = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(path, (1000 + age, 1000 + age))
    assert kept[0].load() == bytes(900)  # used just now
    kept[3].keep(bytes(900))
    assert [one.load() is not None for one in kept] == [True, False, True, True]
    kept[1].keep(bytes(3001))
    assert [one.load() is not None for one in kept] == [True, False, True, True]


@pytest.mark.parametrize(
    ("platform", "env", "expected"),
    [
        ("linux", {"HOME": "/home/a"}, "/home/a/.cache/clin-edge"),
        ("linux", {"HOME": "/home/a", "XDG_CACHE_HOME": "/fast"}, "/fast/clin-edge"),
        ("linux", {"HOME": "/home/a", "XDG_CACHE_HOME": "here"}, None),
        ("linux", {"HOME": "/home/a", "CLIN_EDGE_CACHE": "/own"}, "/own"),
        ("linux", {"HOME": "/home/a", "CLIN_EDGE_CACHE": ""}, None),
        ("darwin", {"HOME": "/home/a"}, "/home/a/Library/Caches/clin-edge"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/clin-edge"),
        ("win32", {}, None),
    ],
)
@POSIX
def test_each_system_has_its_place_for_what_may_be_lost(
    platform: str, env: dict[str, str], expected: str | None, monkeypatch
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "CLIN_EDGE_CACHE", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    folder = cache_folder()
    assert (None if folder is None else str(folder)) == expected


def test_extract_keeps_it_and_writes_the_same_records(tmp_path: Path) -> None:
    (tmp_path / "n.jsonl").write_text('{"id": "1", "text": "Started metformin for diabetes."}\n')
    cache, said = tmp_path / "cache", set()
    for place in ("", str(cache), str(cache)):
        command = [sys.executable, "-m", "clin_edge", "extract", "n.jsonl", "--bundle", "fast"]
        done = subprocess.run(
            [*command, "--threads", "1"],
            cwd=tmp_path,
            env=os.environ | {"CLIN_EDGE_CACHE": place},
            capture_output=True,
            check=True,
        )
        said.add(done.stdout)
    assert len(said) == 1
    assert len(list(cache.iterdir())) == 1
