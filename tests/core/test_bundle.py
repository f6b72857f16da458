"""A bundle on disk: opened only if every byte is as listed."""

from __future__ import annotations

import errno
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from bundle_changes import CARD, refusal, relist, snapshot
from clin_edge.core import bundle as bundle_module
from clin_edge.core.bundle import Bundle, open_bundle
from toy import toy_bundle, toy_manifest, toy_onnx


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good bundle with a file in a folder of its own."""
    toy_bundle(tmp_path / "b", "openvino", "onnxruntime", files={"docs/CARD.md": CARD})
    return tmp_path / "b"


# --- round trip ----------------------------------------------------------------------------------


def test_what_was_written_is_what_is_opened(folder: Path) -> None:
    opened = open_bundle(folder)
    on_disk = snapshot(folder)
    raw = on_disk.pop("manifest.json")
    assert opened.path == folder
    assert dict(opened.files) == on_disk
    assert opened.manifest_sha256 == sha256(raw).hexdigest()
    assert opened.id == f"sha256:{sha256(raw).hexdigest()[:12]}"
    assert set(opened.manifest.files) == set(on_disk)
    assert opened.manifest.engines == ("openvino", "onnxruntime")
    for name, fact in opened.manifest.files.items():
        assert (fact.size_bytes, fact.sha256) == (
            len(on_disk[name]),
            sha256(on_disk[name]).hexdigest(),
        )


def test_the_same_parts_have_the_same_id_wherever_they_lie(tmp_path: Path) -> None:
    one, other = toy_bundle(tmp_path / "one"), toy_bundle(tmp_path / "deep/er/other")
    assert one.id == other.id
    assert toy_bundle(tmp_path / "two", version="2").id != one.id


def test_a_copy_opens(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    assert open_bundle(tmp_path / "copy").id == open_bundle(folder).id


def test_what_changes_on_disk_after_opening_changes_nothing(folder: Path) -> None:
    opened = open_bundle(folder)
    before = dict(opened.files)
    (folder / "model.xml").write_bytes(b"other")
    assert dict(opened.files) == before


def test_a_bundle_shows_no_bytes_of_its_files() -> None:
    """A traceback or a log would hold megabytes; ``eq`` would compare them."""
    bundle = Bundle(Path("b"), toy_manifest("openvino"), toy_onnx(), "0" * 64)
    assert bundle != Bundle(Path("b"), toy_manifest("openvino"), toy_onnx(), "0" * 64)


# --- refusals ------------------------------------------------------------------------------------


def test_no_folder_is_no_bundle(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").startswith(": no such bundle")


def test_a_file_is_no_bundle(folder: Path) -> None:
    assert refusal(folder / "model.xml").startswith(": no such bundle")


def test_a_folder_without_manifest_is_no_bundle(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    assert refusal(folder) == ": not a bundle, it has no manifest.json"


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "docs/CARD.md"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert refusal(folder).startswith(f"{name}: missing")


@pytest.mark.parametrize(
    "name", ["extra.txt", ".hidden", "model.xml~", "docs/manifest.json", "new/deep/x"]
)
def test_an_extra_file_is_named(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")
    assert refusal(folder).startswith(f"{name}: not part of the bundle")


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "tokenizer.json", "docs/CARD.md"])
@pytest.mark.parametrize("alter", ["one byte", "cut", "longer", "empty"])
def test_an_altered_file_is_named(folder: Path, name: str, alter: str) -> None:
    good = (folder / name).read_bytes()
    middle = len(good) // 2
    altered = {
        "one byte": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "cut": good[:-1],
        "longer": good + b"\n",
        "empty": b"",
    }
    (folder / name).write_bytes(altered[alter])
    assert refusal(folder).startswith(f"{name}: altered")


def test_two_files_exchanged_are_named(folder: Path) -> None:
    one, other = folder / "model.bin", folder / "model.onnx"
    one.rename(folder / "x")
    other.rename(one)
    (folder / "x").rename(other)
    assert ": altered" in refusal(folder)


def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "model.bin").unlink()
    (folder / "model.bin").mkdir()
    assert refusal(folder).startswith("model.bin: missing")


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "C:\\x", "a\\b", "x:stream", "x\0", "manifest.json"]
)
def test_a_manifest_that_lists_a_place_elsewhere_is_refused(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_bytes(CARD)
    fact = {"size_bytes": len(CARD), "sha256": sha256(CARD).hexdigest()}
    relist(folder, lambda fields: fields["files"].update({name: fact}))
    assert refusal(folder).startswith("manifest.json: ")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"schema": 2}', b'{"schema": 1}', b"\xff", b"null"]
)
def test_a_manifest_that_is_none_is_refused(folder: Path, raw: bytes) -> None:
    (folder / "manifest.json").write_bytes(raw)
    assert refusal(folder).startswith("manifest.json: ")


def test_a_huge_manifest_is_refused_before_it_is_read(folder: Path, monkeypatch) -> None:
    with (folder / "manifest.json").open("r+b") as stream:
        stream.truncate(bundle_module.MAX_MANIFEST_BYTES + 1)
    monkeypatch.setattr(bundle_module, "read_file", lambda place, **_: pytest.fail(f"{place} read"))
    assert refusal(folder).startswith("manifest.json: larger than any manifest")


@pytest.mark.parametrize("name", ["manifest.json", "model.bin"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, monkeypatch, name: str) -> None:
    opened = os.open

    def denied(path: Path, *rest: object) -> int:
        if Path(path) == folder / name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", denied)
    assert refusal(folder) == f"{name}: cannot be read (Permission denied)"


def test_a_folder_that_cannot_be_listed_is_named(folder: Path, monkeypatch) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    assert refusal(folder) == ": cannot be read (Permission denied)"
