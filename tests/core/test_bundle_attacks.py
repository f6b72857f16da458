"""A bundle made or altered by someone who means harm: refused at once, and nothing is followed."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from bundle_changes import CARD, list_as_it_is, refusal, relist
from clin_edge.core import bundle as bundle_module
from clin_edge.core.bundle import open_bundle
from clin_edge.core.manifest import MAX_BUNDLE_BYTES
from clin_edge.core.plain_files import MAX_ENTRIES
from toy import toy_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good bundle with a file in a folder of its own."""
    toy_bundle(tmp_path / "b", "openvino", "onnxruntime", files={"docs/CARD.md": CARD})
    return tmp_path / "b"


# --- links and pipes -----------------------------------------------------------------------------


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
    assert refusal(folder) == f"{name}: not a plain file"


# --- too much ------------------------------------------------------------------------------------


@pytest.fixture
def unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file but the manifest may be read."""
    read_file = bundle_module.read_file

    def watched(place: Path, **options: object) -> bytes:
        assert place == folder / "manifest.json", f"{place} was read"
        return read_file(place, **options)

    monkeypatch.setattr(bundle_module, "read_file", watched)


@pytest.mark.usefixtures("unread")
def test_files_without_end_are_listed_up_to_a_limit(folder: Path, monkeypatch) -> None:
    """As a folder of millions would be: neither their number nor their names are kept."""
    taken = itertools.count()

    class Endless:
        def __enter__(self) -> Endless:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __iter__(self) -> Endless:
            return self

        def __next__(self) -> SimpleNamespace:
            next(taken)
            return SimpleNamespace(path=str(folder / "model.bin"))

    monkeypatch.setattr(os, "scandir", lambda _: Endless())
    assert refusal(folder).startswith(f": more than {MAX_ENTRIES} files and folders")
    assert next(taken) == MAX_ENTRIES + 1


def test_too_many_real_files_and_folders_are_refused(folder: Path) -> None:
    for i in range(MAX_ENTRIES):
        (folder / f"{i}").mkdir()
    assert refusal(folder).startswith(f": more than {MAX_ENTRIES} files and folders")


def test_folders_in_folders_are_counted_too(folder: Path) -> None:
    inner = folder
    for _ in range(MAX_ENTRIES):
        inner = inner / "d"
        inner.mkdir()
    assert refusal(folder).startswith(f": more than {MAX_ENTRIES} files and folders")


@pytest.mark.usefixtures("unread")
def test_a_sparse_model_of_a_terabyte_is_refused_by_its_size(folder: Path) -> None:
    os.truncate(folder / "model.bin", 2**40)
    assert refusal(folder).startswith("model.bin: altered")


@pytest.mark.usefixtures("unread")
def test_a_sparse_model_whose_size_is_listed_is_refused_too(folder: Path) -> None:
    os.truncate(folder / "model.bin", 2**40)
    relist(folder, lambda fields: fields["files"]["model.bin"].update(size_bytes=2**40))
    assert refusal(folder).startswith("manifest.json: lists 1,099,5")


@pytest.mark.usefixtures("unread")
def test_files_that_are_too_large_only_together_are_refused(folder: Path) -> None:
    for name in ("model.bin", "model.onnx"):
        size = MAX_BUNDLE_BYTES // 2 + 1
        os.truncate(folder / name, size)
        relist(folder, lambda f, n=name, s=size: f["files"][n].update(size_bytes=s))
    assert "bytes, more than any bundle has" in refusal(folder)


@pytest.mark.usefixtures("unread")
def test_a_truncated_model_is_refused_before_anything_is_read(folder: Path) -> None:
    os.truncate(folder / "model.bin", 10)
    assert refusal(folder).startswith("model.bin: altered")


# --- names on disk -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "\u202egnp.exe", "a\x9bb", "a\udcffb", "é"])
def test_a_name_on_disk_is_told_in_one_line_that_can_be_shown(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    message = refusal(folder)
    assert message.isprintable()
    assert message.endswith(": not part of the bundle; delete it or copy again")
    (folder / name).unlink()
    (folder / name).symlink_to("model.bin")
    assert refusal(folder).isprintable()


@pytest.mark.parametrize("name", ["Model.bin", "TOKENIZER.JSON", "docs/card.md"])
def test_a_second_file_that_some_systems_take_for_a_listed_one_is_refused(folder, name) -> None:
    place = folder / name
    if place.exists():
        pytest.skip("this system takes them for one")
    place.write_bytes(CARD)
    list_as_it_is(folder, name)
    assert refusal(folder).endswith(" are one file on some systems")
