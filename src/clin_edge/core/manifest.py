"""What a bundle says of itself: the manifest, checked field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from clin_edge.core.errors import BundleError
from clin_edge.core.labels import LabelScheme

SCHEMA = 1
MANIFEST = "manifest.json"
ENGINES = ("openvino", "onnxruntime")
PRECISIONS = ("int8", "fp32")
MODEL_FILES = {"openvino": ("model.xml", "model.bin"), "onnxruntime": ("model.onnx",)}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileFact:
    """Size and SHA-256 of one file of a bundle."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a bundle declares.

    ``engines`` are those its model files serve. ``quantization``, ``scores``, ``gate``,
    ``made_with`` and ``sources`` are for people and audits: plain JSON values.
    """

    name: str
    version: str
    scheme: LabelScheme
    max_tokens: int
    overlap: int
    engines: tuple[str, ...]
    precision: str
    files: Mapping[str, FileFact]
    quantization: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    made_with: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> str:
        """Write it as the text of ``manifest.json``."""
        fields = {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "scheme": {"types": list(self.scheme.types), "tagging": self.scheme.tagging},
            "max_tokens": self.max_tokens,
            "overlap": self.overlap,
            "engines": list(self.engines),
            "precision": self.precision,
            "quantization": self.quantization,
            "files": {
                name: {"size_bytes": fact.size_bytes, "sha256": fact.sha256}
                for name, fact in sorted(self.files.items())
            },
            "scores": self.scores,
            "gate": self.gate,
            "made_with": self.made_with,
            "sources": list(self.sources),
        }
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def parse_manifest(where: str, raw: bytes) -> Manifest:
    """Read the bytes of a ``manifest.json``.

    Raises:
        BundleError: With ``where`` and the field, if the schema is unknown or a field is missing,
            of the wrong type, or names a file outside the bundle.
    """
    try:
        fields = json.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise BundleError(f"{where}: not JSON") from None
    if not isinstance(fields, dict):
        raise BundleError(f"{where}: not a JSON object")
    if fields.get("schema") != SCHEMA:
        raise BundleError(
            f"{where}: schema {fields.get('schema')!r} is not known to this version, which reads "
            f"{SCHEMA}; upgrade clin-edge"
        )
    get = _Fields(where, fields)
    scheme = _Fields(where, get("scheme", dict))
    engines = tuple(get("engines", list))
    if not engines or not all(engine in ENGINES for engine in engines):
        raise BundleError(f"{where}: engines {list(engines)} are not among {', '.join(ENGINES)}")
    if get("precision", str) not in PRECISIONS:
        raise BundleError(f"{where}: precision {fields['precision']!r} is not known")
    try:
        labels = LabelScheme(tuple(scheme("types", list)), scheme("tagging", str))
    except (ValueError, TypeError) as error:
        raise BundleError(f"{where}: scheme: {error}") from None
    files = {
        _inside(where, name): _file_fact(where, name, fact)
        for name, fact in get("files", dict).items()
    }
    wanted = {"tokenizer.json"}.union(*(MODEL_FILES[engine] for engine in engines))
    for name in sorted(wanted - set(files)):
        raise BundleError(f"{where}: lists no {name}")
    return Manifest(
        name=get("name", str),
        version=get("version", str),
        scheme=labels,
        max_tokens=get("max_tokens", int),
        overlap=get("overlap", int),
        engines=engines,
        precision=fields["precision"],
        files=files,
        quantization=get("quantization", dict),
        scores=get("scores", dict),
        gate=get("gate", dict),
        made_with=get("made_with", dict),
        sources=tuple(get("sources", list)),
    )


class _Fields:
    """A JSON object asked for fields of a given type."""

    def __init__(self, where: str, fields: dict[str, Any]) -> None:
        self._where, self._fields = where, fields

    def __call__(self, name: str, kind: type) -> Any:
        value = self._fields.get(name)
        if type(value) is not kind:
            raise BundleError(f"{self._where}: needs {name!r}, a JSON {kind.__name__}")
        return value


def _inside(where: str, name: str) -> str:
    """Refuse any file name that could mean a place outside the bundle, on any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    # A Windows drive, root or stream needs a colon or a backslash; POSIX roots need a slash.
    escapes = (
        posix.is_absolute() or windows.is_absolute() or ".." in posix.parts or ".." in windows.parts
    )
    if escapes or not name or name != posix.as_posix() or name == "." or set(name) & set("\\:\0"):
        raise BundleError(f"{where}: the file name {name!r} leaves the bundle")
    if name.casefold() == MANIFEST:
        raise BundleError(f"{where}: a manifest cannot list itself")
    return name


def _file_fact(where: str, name: str, fact: object) -> FileFact:
    if not isinstance(fact, dict):
        raise BundleError(f"{where}: files: {name!r} needs size_bytes and sha256")
    size, sha256 = fact.get("size_bytes"), fact.get("sha256")
    if type(size) is not int or size < 0:
        raise BundleError(f"{where}: files: {name!r} has no size in bytes")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise BundleError(f"{where}: files: {name!r} has no SHA-256 in hexadecimal")
    return FileFact(size, sha256)
