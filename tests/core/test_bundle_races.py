"""A bundle that changes while it is opened: what is used is what was hashed, or it is refused."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from bundle_changes import CARD, refusal
from clin_edge.core import bundle as bundle_module
from clin_edge.core.bundle import open_bundle
from toy import toy_bundle

NAMES = ["manifest.json", "model.bin", "docs/CARD.md"]
Change = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good bundle with a file in a folder of its own."""
    return toy_bundle(tmp_path / "b", files={"docs/CARD.md": CARD}).path


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path, Change], None]:
    """Do something to a file just before ``open``, or just after ``fstat``, has dealt with it."""

    def prepare(moment: str, target: Path, change: Change) -> None:
        opened: dict[int, Path] = {}
        real_open, real_fstat = os.open, os.fstat

        def open_(place: Path, *rest: object, **options: object) -> int:
            if place == target and moment == "open":
                change(target)
            descriptor = real_open(place, *rest, **options)
            opened[descriptor] = Path(place)
            return descriptor

        def fstat(descriptor: int) -> os.stat_result:
            facts = real_fstat(descriptor)
            if opened.get(descriptor) == target and moment == "fstat":
                change(target)
            return facts

        monkeypatch.setattr(os, "open", open_)
        monkeypatch.setattr(os, "fstat", fstat)

    return prepare


def outside(path: Path) -> Path:
    """The folder that holds the bundle."""
    return next(place for place in path.parents if place.name == "b").parent


def by_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


def by_a_link_to_a_copy(path: Path) -> None:
    place = outside(path) / "elsewhere"
    shutil.copy(path, place)
    path.unlink()
    path.symlink_to(place)


def by_a_second_name(path: Path) -> None:
    os.link(path, outside(path) / "second")


def by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def by_nothing(path: Path) -> None:
    path.unlink()


def by_more_of_it(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


def by_less_of_it(path: Path) -> None:
    os.truncate(path, 3)


def by_its_folder_as_a_link(path: Path) -> None:
    elsewhere = outside(path) / "elsewhere"
    shutil.copytree(path.parent, elsewhere)
    shutil.rmtree(path.parent)
    path.parent.symlink_to(elsewhere, target_is_directory=True)


def with_other_words(path: Path) -> None:
    """The same inode and length, other bytes."""
    with path.open("r+b") as stream:
        stream.write(b"#")
        stream.seek(-1, os.SEEK_END)
        stream.write(b"#")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (by_a_copy, "exchanged while it was being read"),
        (by_a_link_to_a_copy, "cannot be read"),
        (by_a_second_name, "a hard link"),
        (by_a_folder, "not a plain file"),
        (by_a_pipe, "not a plain file"),
        (by_nothing, "cannot be read"),
        (by_more_of_it, "exchanged while it was being read"),
        (by_less_of_it, "exchanged while it was being read"),
        (by_its_folder_as_a_link, "exchanged while it was being read"),
    ],
)
def test_a_file_exchanged_after_it_was_listed_is_refused(
    folder: Path, strike, name: str, change: Change, told: str
) -> None:
    strike("open", folder / name, change)
    assert refusal(folder).startswith(f"{name}: {told}")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_rewritten_in_its_place_after_it_was_opened_is_refused(folder, strike, name) -> None:
    strike("fstat", folder / name, with_other_words)
    assert refusal(folder).startswith(f"{name}: ")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_takes_its_place_after_it_was_opened_is_not_read(folder, strike, name) -> None:
    """The descriptor is of the file that was checked, whatever its name leads to now."""
    good = (folder / name).read_bytes()
    id_before = open_bundle(folder).id

    def other(path: Path) -> None:
        path.unlink()
        path.write_bytes(b"#" * len(good))

    strike("fstat", folder / name, other)
    opened = open_bundle(folder)
    assert (folder / name).read_bytes() != good
    assert opened.id == id_before
    assert opened.files.get(name, good) == good


def test_the_bytes_used_are_the_bytes_hashed_though_every_file_changes_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_file = bundle_module.read_file
    opened, real_open = Counter[str](), os.open

    def counted(place: Path, *rest: object) -> int:
        opened[Path(place).relative_to(folder).as_posix()] += 1
        return real_open(place, *rest)

    def then_spoil(place: Path, **options: object) -> bytes:
        content = read_file(place, **options)
        place.write_bytes(b"spoilt")
        return content

    monkeypatch.setattr(bundle_module, "read_file", then_spoil)
    monkeypatch.setattr(os, "open", counted)
    bundle = open_bundle(folder)
    assert opened == Counter(["manifest.json", *bundle.manifest.files])
    for name, content in bundle.files.items():
        assert sha256(content).hexdigest() == bundle.manifest.files[name].sha256
        assert (folder / name).read_bytes() == b"spoilt"


def test_no_descriptor_stays_open_whatever_the_end(folder: Path, strike) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not list them")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    strike("open", folder / "model.bin", by_a_folder)
    assert "not a plain file" in refusal(folder)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
