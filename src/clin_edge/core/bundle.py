"""A bundle: a folder with a model and all it needs, verified in full before any of it is used.

Every file is opened and read once; the bytes that were hashed are the bytes an engine gets, so
nothing can be exchanged between the check and the use. What can be known without reading is checked
before: a bundle that is refused for its names or sizes costs neither time nor memory.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from clin_edge.core.errors import BundleError, InputError
from clin_edge.core.manifest import MANIFEST, FileFact, Manifest, parse_manifest
from clin_edge.core.onnx_scan import has_external_data
from clin_edge.core.plain_files import list_files, read_file, shown
from clin_edge.core.strict_json import read_json

MAX_MANIFEST_BYTES = 1_000_000
_SHOWN_HEX = 12


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle that was verified; there is no other way to get one than ``open_bundle``.

    ``files`` holds the bytes that were hashed. Since the manifest holds every file's hash, its own
    (``manifest_sha256``, in hexadecimal) names them all.
    """

    path: Path
    manifest: Manifest
    files: Mapping[str, bytes]
    manifest_sha256: str

    @property
    def id(self) -> str:
        """``sha256:`` and the first 12 hexadecimal digits of the manifest's hash."""
        return f"sha256:{self.manifest_sha256[:_SHOWN_HEX]}"


def open_bundle(path: Path, *, allow_hard_links: bool = False) -> Bundle:
    """Verify a bundle and read it into memory.

    Args:
        path: The folder.
        allow_hard_links: Accept files with a second name. Only for the bundle that comes with the
            package: installers such as uv link a package's files from their cache. It is safe,
            since the bytes that were hashed are the ones used.

    Raises:
        BundleError: If the folder is missing; if a file is missing, extra, altered, a symbolic or
            hard link, or exchanged meanwhile; if there are far too many files or bytes; if the
            manifest is malformed or its schema unknown; or if an ONNX file refers to tensor data
            in another file.
    """
    if not path.is_dir():
        raise BundleError(f"{path}: no such bundle; a bundle is a folder with a {MANIFEST}")
    try:
        return _open(path, allow_hard_links=allow_hard_links)
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else path
        raise BundleError(f"{shown(Path(place))}: cannot be read ({error.strerror})") from None


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
    raw = text.encode("utf-8", "backslashreplace")  # half a character is for the parser to refuse
    parse_manifest(str(path / MANIFEST), raw)  # names that leave the folder, too
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    old = fresh.with_suffix(".old")
    try:
        fresh.mkdir(parents=True)
        for name, content in {**files, MANIFEST: raw}.items():
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
    found = list_files(path, allow_hard_links=allow_hard_links)
    if MANIFEST not in found:
        raise BundleError(f"{path}: not a bundle, it has no {MANIFEST}")

    def read(name: str) -> bytes:
        return read_file(path / name, listed=found[name], allow_hard_links=allow_hard_links)

    if found[MANIFEST].st_size > MAX_MANIFEST_BYTES:
        size = f"{found[MANIFEST].st_size:,} bytes"
        raise BundleError(f"{path / MANIFEST}: larger than any manifest, {size}")
    raw = read(MANIFEST)
    manifest = parse_manifest(str(path / MANIFEST), raw)
    for name in sorted(set(manifest.files) - set(found)):
        raise BundleError(f"{path / name}: missing; the bundle is incomplete, copy it again")
    for name in sorted(set(found) - set(manifest.files) - {MANIFEST}):
        raise BundleError(f"{shown(path / name)}: not part of the bundle; delete it or copy again")
    altered = "altered, its content is not what the manifest lists"
    for name, fact in manifest.files.items():
        if found[name].st_size != fact.size_bytes:
            raise BundleError(f"{path / name}: {altered}")
    files = {}
    for name, fact in manifest.files.items():
        content = read(name)
        if sha256(content).hexdigest() != fact.sha256:
            raise BundleError(f"{path / name}: {altered}")
        if name.endswith(".onnx") and has_external_data(content):
            raise BundleError(
                f"{path / name}: refers to tensor data in another file, or is no ONNX"
            )
        # OpenVINO chooses its reader by content: an ONNX file under this name would be read as one.
        if name.endswith(".xml") and not content.startswith(b"<?xml"):
            raise BundleError(f"{path / name}: is no XML")
        files[name] = content
    return Bundle(path, manifest, files, sha256(raw).hexdigest())


def check_replaceable(path: Path) -> None:
    """Refuse to replace what is not a bundle: other programs have a ``manifest.json`` too.

    Raises:
        InputError: If ``path`` holds anything else, or is a link.
    """
    if path.is_symlink():
        raise InputError(f"{path}: a link; give the folder itself, or another name")
    if not path.exists():
        return
    try:
        place = path / MANIFEST
        facts = place.lstat()
        sound = facts.st_size <= MAX_MANIFEST_BYTES
        fields = read_json(read_file(place, listed=facts, allow_hard_links=True)) if sound else None
    except (OSError, ValueError, BundleError):
        fields = None
    if not isinstance(fields, dict) or not {"schema", "files", "max_tokens"} <= set(fields):
        raise InputError(f"{path}: exists and is not a bundle; choose another name")
