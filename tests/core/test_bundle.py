"""A bundle on disk: opened only if every byte is as listed, replaced only by a whole one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import onnx
import pytest

from clin_edge.core import bundle as bundle_module
from clin_edge.core.bundle import Bundle, open_bundle, write_bundle
from clin_edge.core.errors import BundleError, InputError
from toy import toy_bundle, toy_manifest, toy_onnx, toy_onnx_proto

CARD = b"# Toy\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good bundle with a file in a folder of its own."""
    toy_bundle(tmp_path / "b", "openvino", "onnxruntime", files={"docs/CARD.md": CARD})
    return tmp_path / "b"


def refusal(folder: Path, **options: bool) -> str:
    """The message a bundle is refused with, after its path: one line, with exit code 4."""
    with pytest.raises(BundleError) as caught:
        open_bundle(folder, **options)
    assert caught.value.exit_code == 4
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message.removeprefix(str(folder)).removeprefix("/")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def relist(folder: Path, change: Callable[[dict], object]) -> None:
    """Change the manifest, so that the folder is consistent with it or is not."""
    path = folder / "manifest.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    change(fields)
    path.write_text(json.dumps(fields), encoding="utf-8")


def list_as_it_is(folder: Path, name: str) -> None:
    """Give a file its true size and hash in the manifest, as whoever altered it would."""
    content = (folder / name).read_bytes()
    fact = {"size_bytes": len(content), "sha256": sha256(content).hexdigest()}
    relist(folder, lambda fields: fields["files"].update({name: fact}))


# --- round trip ----------------------------------------------------------------------------------


def test_what_was_written_is_what_is_opened(folder: Path) -> None:
    opened = open_bundle(folder)
    on_disk = snapshot(folder)
    raw = on_disk.pop("manifest.json")
    assert opened.path == folder
    assert dict(opened.files) == on_disk
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


@pytest.mark.parametrize("name", ["model.bin", "manifest.json", "docs/CARD.md"])
def test_a_link_to_a_file_is_refused_though_its_content_is_right(folder, name, tmp_path) -> None:
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert refusal(folder).startswith(f"{name}: a symbolic link")


def test_a_link_within_the_bundle_or_to_nowhere_is_refused(folder: Path) -> None:
    (folder / "again").symlink_to("model.bin")
    assert refusal(folder).startswith("again: a symbolic link")
    (folder / "again").unlink()
    (folder / "again").symlink_to("nowhere")
    assert refusal(folder).startswith("again: a symbolic link")


def test_a_link_to_a_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "docs").rename(tmp_path / "elsewhere")
    (folder / "docs").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert refusal(folder).startswith("docs: a symbolic link")


@pytest.mark.parametrize("name", ["model.bin", "manifest.json", "docs/CARD.md"])
def test_a_hard_link_is_refused_unless_it_is_allowed(folder, name, tmp_path) -> None:
    os.link(folder / name, tmp_path / "second-name")
    assert refusal(folder).startswith(f"{name}: a hard link")
    assert open_bundle(folder, allow_hard_links=True).files["docs/CARD.md"] == CARD
    (tmp_path / "second-name").unlink()
    assert open_bundle(folder)


def test_where_hard_links_are_allowed_symbolic_ones_are_not(folder: Path, tmp_path: Path) -> None:
    (folder / "model.bin").rename(tmp_path / "elsewhere")
    (folder / "model.bin").symlink_to(tmp_path / "elsewhere")
    assert "a symbolic link" in refusal(folder, allow_hard_links=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["pipe", "model.bin", "manifest.json"])
def test_a_pipe_is_refused_and_never_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert "not a plain file" in refusal(folder) or name == "manifest.json"


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
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    assert refusal(folder).startswith("manifest.json: larger than any manifest")


def test_a_huge_bundle_is_refused_before_it_is_read(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(bundle_module, "MAX_BUNDLE_BYTES", 10_000)
    assert refusal(folder).startswith(": larger than any bundle")


@pytest.mark.parametrize("name", ["manifest.json", "model.bin"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, monkeypatch, name: str) -> None:
    read_bytes = Path.read_bytes

    def denied(path: Path) -> bytes:
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert refusal(folder).startswith(f"{name}: ")


# --- tensor data elsewhere -----------------------------------------------------------------------


@pytest.fixture
def with_data_elsewhere(tmp_path: Path) -> bytes:
    """A model that onnx itself wrote with its weights in a file beside it."""
    path = tmp_path / "saved" / "model.onnx"
    path.parent.mkdir()
    onnx.save(
        toy_onnx_proto(), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    return path.read_bytes()


@pytest.mark.parametrize("beside", [True, False])
def test_an_onnx_model_with_data_in_another_file_is_refused(folder, with_data_elsewhere, beside):
    """Also where that file is listed in the manifest: the engine would read it a second time."""
    if beside:
        (folder / "w.bin").write_bytes(b"0" * 10_000)
        list_as_it_is(folder, "w.bin")
    (folder / "model.onnx").write_bytes(with_data_elsewhere)
    list_as_it_is(folder, "model.onnx")
    assert refusal(folder) == "model.onnx: refers to tensor data in another file, or is no ONNX"


def test_an_onnx_file_that_is_no_model_is_looked_into_too(folder, with_data_elsewhere) -> None:
    (folder / "docs/extra.onnx").write_bytes(with_data_elsewhere)
    list_as_it_is(folder, "docs/extra.onnx")
    assert refusal(folder).startswith("docs/extra.onnx: refers to tensor data")


def test_bytes_that_are_no_onnx_are_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(bytes(range(255, 0, -1)))
    list_as_it_is(folder, "model.onnx")
    assert refusal(folder).endswith("or is no ONNX")


def test_an_onnx_model_under_the_name_of_an_openvino_one_is_refused(folder, with_data_elsewhere):
    """OpenVINO looks at the content: it would read it as ONNX, and the data it refers to."""
    (folder / "model.xml").write_bytes(with_data_elsewhere)
    list_as_it_is(folder, "model.xml")
    assert refusal(folder).startswith("model.xml: ")


# --- writing -------------------------------------------------------------------------------------


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


def others(folder: Path) -> list[str]:
    """What lies beside a folder."""
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


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


def test_a_bundle_that_does_not_verify_is_not_left_behind(folder, with_data_elsewhere) -> None:
    before = snapshot(folder)
    with pytest.raises(BundleError):
        toy_bundle(folder, "onnxruntime", files={"model.onnx": with_data_elsewhere})
    assert snapshot(folder) == before
    assert sorted(others(folder)) == ["saved"]


def test_a_bundle_without_a_model_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"lists no model\.bin"):
        write_bundle(tmp_path / "b", toy_manifest("openvino"), {"tokenizer.json": b"{}"})
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


def test_a_bundle_shows_no_bytes_of_its_files() -> None:
    """A traceback or a log would hold megabytes; ``eq`` would compare them."""
    bundle = Bundle(Path("b"), toy_manifest("openvino"), toy_onnx(), "sha256:0")
    assert bundle != Bundle(Path("b"), toy_manifest("openvino"), toy_onnx(), "sha256:0")
