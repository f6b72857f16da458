"""What can be done to a bundle on disk, and what it is then refused with."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from clin_edge.core.bundle import open_bundle
from clin_edge.core.errors import BundleError

CARD = b"# Toy\r\n"


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


def others(folder: Path) -> list[str]:
    """What lies beside a folder."""
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)
