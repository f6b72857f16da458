"""A bundle is written whole or not at all, and replaces nothing but a bundle."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundle_changes import CARD, others, snapshot
from clin_edge.core.bundle import open_bundle, write_bundle
from clin_edge.core.errors import BundleError, InputError
from toy import toy_bundle, toy_manifest, toy_onnx


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good bundle with a file in a folder of its own."""
    toy_bundle(tmp_path / "b", "openvino", "onnxruntime", files={"docs/CARD.md": CARD})
    return tmp_path / "b"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function after which the disk is full once so many files were written."""

    def fill(after: int) -> None:
        left = after
        fsync = os.fsync

        def failing(fd: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(fd)

        monkeypatch.setattr(os, "fsync", failing)

    return fill


def test_a_bundle_takes_the_place_of_another_and_leaves_nothing_beside_it(folder: Path) -> None:
    fresh = toy_bundle(folder, version="2")
    assert open_bundle(folder).id == fresh.id
    assert "docs/CARD.md" not in snapshot(folder)
    assert others(folder) == []


@pytest.mark.parametrize("after", range(4))
def test_a_full_disk_leaves_the_old_bundle_whole(folder, full_disk, after: int) -> None:
    before = snapshot(folder)
    full_disk(after)
    with pytest.raises(InputError, match=r"b: cannot be written \(No space left on device\)"):
        toy_bundle(folder, version="2")
    assert snapshot(folder) == before
    assert others(folder) == []


def test_a_full_disk_leaves_nothing_where_nothing_was(tmp_path: Path, full_disk) -> None:
    full_disk(1)
    with pytest.raises(InputError, match="cannot be written"):
        toy_bundle(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_cannot_take_its_place_leaves_the_old_one_in_it(folder, monkeypatch) -> None:
    before = snapshot(folder)
    replace = Path.replace

    def failing(source: Path, target: Path) -> Path:
        if Path(target) == folder and source.name.endswith(".new"):
            raise OSError(errno.EIO, "Input/output error")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(InputError, match="cannot be written"):
        toy_bundle(folder, version="2")
    assert folder.exists()
    assert snapshot(folder) == before
    assert others(folder) == []


def test_a_bundle_that_does_not_verify_is_not_left_behind(folder: Path) -> None:
    before = snapshot(folder)
    with pytest.raises(BundleError, match=r"model\.onnx: .* is no ONNX"):
        toy_bundle(folder, "onnxruntime", files={"model.onnx": b"none"})
    assert snapshot(folder) == before
    assert others(folder) == []


def test_a_bundle_without_a_model_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"lists no model\.bin"):
        write_bundle(tmp_path / "b", toy_manifest("openvino"), {"tokenizer.json": b"{}"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes", [{"scores": {"f1": float("nan")}}, {"name": "\ud800"}, {"gate": {"n": 10**20}}]
)
def test_a_manifest_that_would_not_open_again_is_not_written(tmp_path: Path, changes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: a (number|control character) "):
        toy_bundle(tmp_path / "b", **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside.txt", "a/../../outside.txt"])
def test_a_file_name_that_leaves_the_bundle_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises((BundleError, InputError)):
        toy_bundle(tmp_path / "in" / "b", files={name: b"x"})
    assert not list(tmp_path.rglob("outside.txt"))


def plain_folder(place: Path) -> None:
    (place / "notes").mkdir(parents=True)
    (place / "notes/a.txt").write_bytes(b"Zebulon")


def empty_folder(place: Path) -> None:
    place.mkdir()


def plain_file(place: Path) -> None:
    place.write_bytes(b"Zebulon")


def web_app(place: Path) -> None:
    """Many programs keep a ``manifest.json`` of their own."""
    plain_folder(place)
    (place / "manifest.json").write_text('{"name": "ward", "icons": [], "start_url": "/"}')


@pytest.mark.parametrize("make", [plain_folder, empty_folder, plain_file, web_app])
def test_what_is_not_a_bundle_is_never_replaced(tmp_path: Path, make) -> None:
    place = tmp_path / "b"
    make(place)
    before = place.read_bytes() if place.is_file() else snapshot(place)
    with pytest.raises(InputError, match="b: exists and is not a bundle; choose another name"):
        toy_bundle(place)
    assert (place.read_bytes() if place.is_file() else snapshot(place)) == before
    assert others(place) == []


@pytest.fixture
def shut(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be written to."""
    place = tmp_path / "shut"
    place.mkdir()
    place.chmod(0o500)
    yield place
    place.chmod(0o700)


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="this user may write everywhere"
)
def test_a_place_that_may_not_be_written_is_named(shut: Path) -> None:
    with pytest.raises(InputError, match=r"shut/b: cannot be written \(Permission denied\)"):
        toy_bundle(shut / "b")


def test_a_place_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="file/b: cannot be written"):
        toy_bundle(tmp_path / "file" / "b")


# --- what was there, looked at with care ---------------------------------------------------------


def test_a_link_to_a_bundle_is_neither_replaced_nor_followed(folder: Path) -> None:
    link = folder.parent / "current"
    link.symlink_to(folder, target_is_directory=True)
    before = snapshot(folder)
    with pytest.raises(InputError, match="current: a link; give the folder itself"):
        toy_bundle(link, version="2")
    assert link.is_symlink()
    assert snapshot(folder) == before
    assert others(folder) == ["current"]
    assert open_bundle(link).path == link  # to read, a link to the folder will do


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_for_a_manifest_is_no_bundle_and_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b" / "manifest.json")
    with pytest.raises(InputError, match="b: exists and is not a bundle"):
        toy_bundle(tmp_path / "b")


def test_a_manifest_of_gigabytes_is_no_bundle_s(folder: Path) -> None:
    with (folder / "manifest.json").open("r+b") as stream:
        stream.truncate(2**36)
    with pytest.raises(InputError, match="b: exists and is not a bundle"):
        toy_bundle(folder)


# --- the same bundle, the same bytes -------------------------------------------------------------


def reversed_throughout(value: object) -> object:
    """The same JSON value with every object's keys in the opposite order."""
    if isinstance(value, dict):
        return {key: reversed_throughout(value[key]) for key in reversed(value)}
    return [reversed_throughout(one) for one in value] if isinstance(value, list) else value


def test_equal_parts_are_written_as_the_same_bytes(tmp_path: Path) -> None:
    told = {"z": {"b": [1, {"y": 0.5, "x": 2}], "a": "é"}, "a": {}}
    files = {"tokenizer.json": b"{}", "docs/CARD.md": CARD, **toy_onnx()}
    manifests = [
        toy_manifest("onnxruntime", scores=s, gate=s, made_with=s, quantization=s, sources=(s,))
        for s in (told, reversed_throughout(told))
    ]
    assert manifests[0] == manifests[1]
    one = write_bundle(tmp_path / "one", manifests[0], files)
    other = write_bundle(tmp_path / "other", manifests[1], dict(reversed(files.items())))
    assert snapshot(one.path) == snapshot(other.path)
    assert one.manifest_sha256 == other.manifest_sha256
    again = write_bundle(tmp_path / "again", one.manifest, one.files)  # what was read, rewritten
    assert snapshot(again.path) == snapshot(one.path)
