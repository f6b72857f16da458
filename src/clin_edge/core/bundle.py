"""A bundle: a folder with a model and all it needs, verified in full before any of it is used.

Every file is read once; the bytes that were hashed are the bytes an engine gets, so nothing can be
exchanged between the check and the use.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from clin_edge.core.errors import BundleError, InputError
from clin_edge.core.manifest import MANIFEST, FileFact, Manifest, parse_manifest
from clin_edge.core.onnx_scan import has_external_data

MAX_MANIFEST_BYTES = 4_000_000
MAX_BUNDLE_BYTES = 4_000_000_000
_SHOWN_HEX = 12


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle that was verified; there is no other way to get one than ``open_bundle``.

    ``files`` holds the bytes that were hashed. ``id`` is ``sha256:`` and the first 12 hexadecimal
    digits of the manifest's hash; since the manifest holds every file's hash, it names them all.
    """

    path: Path
    manifest: Manifest
    files: Mapping[str, bytes]
    id: str


def open_bundle(path: Path, *, allow_hard_links: bool = False) -> Bundle:
    """Verify a bundle and read it into memory.

    Args:
        path: The folder.
        allow_hard_links: Accept files with a second name. Only for the bundle that comes with the
            package: installers such as uv link a package's files from their cache. It is safe,
            since the bytes that were hashed are the ones used.

    Raises:
        BundleError: If the folder is missing; if a file is missing, extra, altered, a symbolic or
            hard link, or outside the folder; if the manifest is malformed or its schema unknown; or
            if an ONNX file refers to tensor data in another file.
    """
    if not path.is_dir():
        raise BundleError(f"{path}: no such bundle; a bundle is a folder with a {MANIFEST}")
    if not (path / MANIFEST).is_file():
        raise BundleError(f"{path}: not a bundle, it has no {MANIFEST}")
    try:
        return _open(path, allow_hard_links=allow_hard_links)
    except OSError as error:
        place = error.filename or path
        raise BundleError(f"{place}: cannot be read ({error.strerror})") from None


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle so that under ``path`` there is either the whole of it or what was before.

    The manifest's own list of files is made here. The new bundle is opened (and so verified) before
    it takes its place; a bundle that stood there is replaced, anything else is refused.

    Raises:
        InputError: If ``path`` holds something that is not a bundle, or cannot be written.
        BundleError: If the new bundle does not verify.
    """
    check_replaceable(path)
    facts = {name: FileFact(len(c), sha256(c).hexdigest()) for name, c in files.items()}
    text = dataclasses.replace(manifest, files=facts).to_json()
    parse_manifest(str(path / MANIFEST), text.encode())  # refuses names that leave the folder
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    old = fresh.with_suffix(".old")
    try:
        fresh.mkdir(parents=True)
        for name, content in {**files, MANIFEST: text.encode()}.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            with (fresh / name).open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        open_bundle(fresh)
        if path.exists():
            path.replace(old)
        fresh.replace(path)
    except OSError as error:
        if old.exists() and not path.exists():
            old.replace(path)
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return open_bundle(path)


def _open(path: Path, *, allow_hard_links: bool) -> Bundle:
    found = _list_files(path, allow_hard_links=allow_hard_links)
    if found[MANIFEST] > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path / MANIFEST}: larger than any manifest, {found[MANIFEST]:,} bytes")
    raw = (path / MANIFEST).read_bytes()
    manifest = parse_manifest(str(path / MANIFEST), raw)
    for name in sorted(set(manifest.files) - set(found)):
        raise BundleError(f"{path / name}: missing; the bundle is incomplete, copy it again")
    for name in sorted(set(found) - set(manifest.files) - {MANIFEST}):
        raise BundleError(f"{path / name}: not part of the bundle; delete it or copy again")
    if sum(found.values()) > MAX_BUNDLE_BYTES:
        raise BundleError(f"{path}: larger than any bundle, {sum(found.values()):,} bytes")
    files = {}
    for name, fact in manifest.files.items():
        content = (path / name).read_bytes()
        if len(content) != fact.size_bytes or sha256(content).hexdigest() != fact.sha256:
            raise BundleError(f"{path / name}: altered, its content is not what the manifest lists")
        if name.endswith(".onnx") and has_external_data(content):
            raise BundleError(
                f"{path / name}: refers to tensor data in another file, or is no ONNX"
            )
        # OpenVINO chooses its reader by content: an ONNX file under this name would be read as one.
        if name.endswith(".xml") and not content.startswith(b"<?xml"):
            raise BundleError(f"{path / name}: is no XML")
        files[name] = content
    return Bundle(path, manifest, files, f"sha256:{sha256(raw).hexdigest()[:_SHOWN_HEX]}")


def check_replaceable(path: Path) -> None:
    """Refuse to replace what is not a bundle: other programs have a ``manifest.json`` too.

    Raises:
        InputError: If ``path`` holds anything else.
    """
    if not path.exists():
        return
    try:
        fields = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or not {"schema", "files", "max_tokens"} <= set(fields):
        raise InputError(f"{path}: exists and is not a bundle; choose another name")


def _list_files(path: Path, *, allow_hard_links: bool) -> dict[str, int]:
    """Give the size of every file below ``path``; refuse links and what is not a plain file."""
    found: dict[str, int] = {}
    for folder, folders, names in os.walk(path, onerror=_raise):
        for name in [*folders, *names]:
            place = Path(folder, name)
            facts = place.lstat()
            if stat.S_ISLNK(facts.st_mode):
                raise BundleError(f"{place}: a symbolic link; a bundle holds plain files only")
            if stat.S_ISDIR(facts.st_mode):
                continue
            if not stat.S_ISREG(facts.st_mode):
                raise BundleError(f"{place}: not a plain file")
            if facts.st_nlink > 1 and not allow_hard_links:
                raise BundleError(
                    f"{place}: a hard link; another name could change it. Copy the bundle instead"
                )
            found[place.relative_to(path).as_posix()] = facts.st_size
    return found


def _raise(error: OSError) -> None:
    raise error
