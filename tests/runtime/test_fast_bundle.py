"""The smaller bundle in the box: small, as the default one's answers are, and not much worse."""

from __future__ import annotations

import json

import pytest

from clin_edge.core.bundle import open_bundle
from clin_edge.core.notes import read_notes
from clin_edge.runtime.demo import SAMPLES
from clin_edge.runtime.pipeline import (
    DEFAULT_BUNDLE,
    FAST_BUNDLE,
    Pipeline,
    suitable_batch_tokens,
)
from packed import check_claims

MAX_MB = 12
FLOORS = {"MEDICATION": 0.88, "DISEASE|SYMPTOM": 0.81}


def test_it_verifies_is_small_and_states_scores_above_the_floor() -> None:
    ours, default = (open_bundle(p, allow_hard_links=True) for p in (FAST_BUNDLE, DEFAULT_BUNDLE))
    check_claims(ours, max_mb=MAX_MB, floors=FLOORS)
    assert ours.manifest.scheme == default.manifest.scheme
    sizes = [suitable_batch_tokens(bundle.manifest) for bundle in (ours, default)]
    assert sizes == [1024, 512]


@pytest.mark.parametrize("options", [{"threads": 2}, {"batch_tokens": 512}], ids=str)
def test_records_do_not_depend_on_threads_batches_or_order(options) -> None:
    notes = list(read_notes([str(SAMPLES)]))
    lines = [r.to_json() for r in Pipeline.from_bundle("fast", threads=1).records(notes)]
    other = Pipeline.from_bundle("fast", **options).records(notes[::-1])
    assert [record.to_json() for record in other] == lines[::-1]
    for note, line in zip(notes, lines, strict=True):
        assert json.loads(line)["coverage"]["read"] == len(note.text)
    labels = {entity["label"] for line in lines for entity in json.loads(line)["entities"]}
    assert labels == set(open_bundle(FAST_BUNDLE, allow_hard_links=True).manifest.scheme.types)
