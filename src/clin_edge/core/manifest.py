"""What a bundle says of itself: the manifest, checked field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clin_edge.core.errors import BundleError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.strict_json import brief, read_json

SCHEMA = 1
MANIFEST = "manifest.json"
ENGINES = ("openvino", "onnxruntime")
PRECISIONS = ("int8", "fp32")
MODEL_FILES = {"openvino": ("model.xml", "model.bin"), "onnxruntime": ("model.onnx",)}
MAX_BUNDLE_BYTES = 4_000_000_000
MAX_FILES = 100
MAX_TOKENS = 65_536
MAX_LABELS = 1_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Names that are one and the same file on every system, and lead nowhere else.
_NAME = re.compile(r"[\w-]+(\.[\w-]+)*(/[\w-]+(\.[\w-]+)*)*", re.ASCII)
_DEVICE = re.compile(r"(.*/)?(con|prn|aux|nul|com\d|lpt\d)([./].*)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileFact:
    """Size and SHA-256 of one file of a bundle."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a bundle declares.

    ``engines`` are those its model files serve; for ``passage_tokens`` see ``core.windows``.
    ``quantization``, ``scores``, ``gate``, ``made_with`` and ``sources`` are for people and audits:
    plain JSON values.
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
    passage_tokens: int = 0

    def to_json(self) -> str:
        """Write it as the text of ``manifest.json``; equal manifests give the same text."""
        fields = {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "scheme": {"types": list(self.scheme.types), "tagging": self.scheme.tagging},
            "max_tokens": self.max_tokens,
            "overlap": self.overlap,
            "passage_tokens": self.passage_tokens,
            "engines": list(self.engines),
            "precision": self.precision,
            "quantization": self.quantization,
            "files": {
                name: {"size_bytes": fact.size_bytes, "sha256": fact.sha256}
                for name, fact in self.files.items()
            },
            "scores": self.scores,
            "gate": self.gate,
            "made_with": self.made_with,
            "sources": list(self.sources),
        }
        return json.dumps(fields, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def parse_manifest(where: str, raw: bytes) -> Manifest:
    """Read the bytes of a ``manifest.json``.

    Raises:
        BundleError: With ``where`` and the field, if it is not strict JSON (see ``read_json``), the
            schema is unknown, or a field is missing, of the wrong type, out of range, or names a
            file that is not the same one, inside the bundle, on every system.
    """
    try:
        fields = read_json(raw)
    except ValueError as error:
        raise BundleError(f"{where}: {error}") from None
    if not isinstance(fields, dict):
        raise BundleError(f"{where}: not a JSON object")
    schema = fields.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        raise BundleError(
            f"{where}: schema {brief(schema)} is not known to this version, which reads {SCHEMA}; "
            "upgrade clin-edge"
        )
    get = _Fields(where, fields)
    scheme = _Fields(where, get("scheme", dict))
    engines = tuple(get("engines", list))
    if not engines or any(e not in ENGINES or engines.count(e) > 1 for e in engines):
        raise BundleError(
            f"{where}: engines {brief(list(engines))} are not among {', '.join(ENGINES)}, each once"
        )
    if get("precision", str) not in PRECISIONS:
        raise BundleError(f"{where}: precision {brief(fields['precision'])} is not known")
    max_tokens, overlap = get("max_tokens", int), get("overlap", int)
    if not 0 <= overlap < max_tokens <= MAX_TOKENS:
        raise BundleError(
            f"{where}: windows of {max_tokens} tokens (at most {MAX_TOKENS:,}) have no room for "
            f"{overlap} shared"
        )
    # Bundles older than passages do not tell: a note was one.
    passage_tokens = get("passage_tokens", int) if "passage_tokens" in fields else 0
    if not 0 <= passage_tokens <= MAX_TOKENS:
        raise BundleError(
            f"{where}: passages of {passage_tokens} tokens are not between 0 and {MAX_TOKENS:,}"
        )
    files = _files(where, get("files", dict))
    wanted = {"tokenizer.json"}.union(*(MODEL_FILES[engine] for engine in engines))
    for name in sorted(wanted - set(files)):
        raise BundleError(f"{where}: lists no {name}")
    return Manifest(
        name=get("name", str),
        version=get("version", str),
        scheme=_labels(where, scheme("types", list), scheme("tagging", str)),
        max_tokens=max_tokens,
        overlap=overlap,
        engines=engines,
        precision=fields["precision"],
        files=files,
        quantization=get("quantization", dict),
        scores=get("scores", dict),
        gate=get("gate", dict),
        made_with=get("made_with", dict),
        sources=_sources(where, get("sources", list)),
        passage_tokens=passage_tokens,
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


def _labels(where: str, types: list[object], tagging: str) -> LabelScheme:
    # A chain keeps a table of all pairs of tags.
    if len(types) > MAX_LABELS:
        raise BundleError(f"{where}: {len(types):,} labels are more than {MAX_LABELS:,}")
    for label in types:
        if not isinstance(label, str) or len(label) > 100 or not label.isprintable():
            raise BundleError(f"{where}: scheme: {brief(label)} is no name of a label")
    try:
        return LabelScheme(tuple(map(str, types)), tagging)
    except ValueError as error:
        raise BundleError(f"{where}: scheme: {str(error)[:200]}") from None


def _sources(where: str, listed: list[object]) -> tuple[Mapping[str, Any], ...]:
    sources = tuple(source for source in listed if isinstance(source, dict))
    if len(sources) < len(listed):
        raise BundleError(f"{where}: every one of 'sources' must be a JSON object")
    return sources


def _files(where: str, listed: dict[str, object]) -> dict[str, FileFact]:
    """Check names and sizes before any file is looked at."""
    if len(listed) > MAX_FILES:
        raise BundleError(f"{where}: lists {len(listed):,} files, more than {MAX_FILES}")
    for name in listed:
        if len(name) > 200 or not _NAME.fullmatch(name) or _DEVICE.fullmatch(name):
            raise BundleError(
                f"{where}: the file name {brief(name)} is not safe on every system; expected "
                "letters, digits, '_', '-', single dots and '/' from the bundle's folder"
            )
        if name.lower() == MANIFEST:
            raise BundleError(f"{where}: a manifest cannot list itself")
    by_lower = {name.lower(): name for name in listed}
    for name in sorted(set(listed) - set(by_lower.values())):
        raise BundleError(
            f"{where}: {brief(name)} and {brief(by_lower[name.lower()])} are one file on some "
            "systems"
        )
    files = {name: _file_fact(where, name, fact) for name, fact in listed.items()}
    total = sum(fact.size_bytes for fact in files.values())
    if total > MAX_BUNDLE_BYTES:
        raise BundleError(f"{where}: lists {total:,} bytes, more than any bundle has")
    return files


def _file_fact(where: str, name: str, fact: object) -> FileFact:
    if not isinstance(fact, dict):
        raise BundleError(f"{where}: files: {brief(name)} needs size_bytes and sha256")
    size, sha256 = fact.get("size_bytes"), fact.get("sha256")
    if type(size) is not int or size < 0:
        raise BundleError(f"{where}: files: {brief(name)} has no size in bytes")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise BundleError(f"{where}: files: {brief(name)} has no SHA-256 in hexadecimal")
    return FileFact(size, sha256)
