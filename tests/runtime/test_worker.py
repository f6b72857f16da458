"""What a worker loads before it says that it is ready."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clin_edge.core.errors import BundleError
from clin_edge.core.notes import Note
from clin_edge.runtime.context_rules import load_rules
from clin_edge.runtime.frames import Order
from clin_edge.runtime.worker import NotesReader
from toy import toy_bundle


@pytest.fixture
def order(tmp_path) -> Order:
    """An order to read with a toy bundle, context included."""
    bundle = toy_bundle(tmp_path / "bundle", "openvino")
    return Order(str(bundle.path), bundle.manifest_sha256)


def silent(_: bytes) -> None:
    """Hear that all is well."""


@pytest.mark.parametrize("context", [True, False])
def test_rules_of_context_wait_for_no_note(order, context) -> None:
    load_rules.cache_clear()
    reader = NotesReader(replace(order, context=context), beat=silent)
    assert load_rules.cache_info().currsize == context
    tally, lines = reader.read([Note("a", "No fever today.")])
    assert tally["words"] == 3
    assert b'"id":"a"' in lines.replace(b" ", b"")


def test_what_is_wrong_with_a_model_is_said_as_ever(order, tmp_path) -> None:
    broken = toy_bundle(
        tmp_path / "broken", "openvino", files={"model.xml": b'<?xml version="1.0"?><net'}
    )
    wrong = replace(order, bundle=str(broken.path), manifest_sha256=broken.manifest_sha256)
    with pytest.raises(BundleError, match="OpenVINO cannot use its model"):
        NotesReader(wrong, beat=silent)
