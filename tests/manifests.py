"""Manifests as JSON values, and what is said of those that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clin_edge.core.errors import BundleError
from clin_edge.core.manifest import FileFact, Manifest, parse_manifest
from toy import toy_manifest

FACT = {"size_bytes": 3, "sha256": "0" * 64}
FILES = ("model.bin", "model.xml", "tokenizer.json")


def fields(**changes: Any) -> dict[str, Any]:
    """A good manifest as JSON values; a change of None takes a field away."""
    facts = {name: FileFact(3, "0" * 64) for name in FILES}
    good = {**json.loads(toy_manifest("openvino", files=facts).to_json()), **changes}
    return {name: value for name, value in good.items() if value is not None}


def parse(value: object) -> Manifest:
    return parse_manifest("here/manifest.json", json.dumps(value).encode())


def refusal(value: object | bytes) -> str:
    """The message a manifest is refused with: one line that names the file; exit code 4."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(BundleError) as caught:
        parse_manifest("here/manifest.json", raw)
    assert caught.value.exit_code == 4
    message = str(caught.value)
    assert message.startswith("here/manifest.json: ")
    assert message.isprintable()
    assert len(message) < 300
    return message.removeprefix("here/manifest.json: ")
