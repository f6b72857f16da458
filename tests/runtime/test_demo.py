"""The demonstration: every word shown stands where the record says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from clin_edge.core.errors import ClinEdgeError
from clin_edge.core.notes import read_notes
from clin_edge.runtime.demo import SAMPLES, check_offsets, run_demo
from toy import toy_bundle


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The records and the lines of a demonstration with the toy network."""
    folder = tmp_path_factory.mktemp("demo")
    bundle, lines = toy_bundle(folder / "b"), []
    say: Callable[[str], None] = lines.append
    run_demo(folder / "out.jsonl", bundle=bundle.path, threads=1, show=say)
    return folder / "out.jsonl", [click.unstyle(line) for line in lines]


def test_every_sample_has_a_record_whose_words_are_in_their_places(shown) -> None:
    texts = {note.id: note.text for note in read_notes([str(SAMPLES)])}
    records = [json.loads(line) for line in shown[0].read_bytes().decode().split("\n")[:-1]]
    assert [record["id"] for record in records] == sorted(texts)
    for record in records:
        text = texts[record["id"]]
        assert record["coverage"]["read"] == record["coverage"]["chars"] == len(text)
        for entity in record["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"]


def test_it_says_how_many_offsets_were_checked(shown) -> None:
    records = [json.loads(line) for line in shown[0].read_bytes().decode().split("\n")[:-1]]
    n_entities = sum(len(record["entities"]) for record in records)
    assert n_entities > 20
    assert shown[1][-1].startswith(f"{n_entities} entities written to {shown[0]}; ")


def test_it_lists_every_note_and_its_words(shown) -> None:
    listed = "\n".join(shown[1])
    for note in read_notes([str(SAMPLES)]):
        n_words = f"{len(note.text.split()):,}"
        assert re.search(rf"^{note.id}  {n_words} words, \d+ windows, ", listed, re.MULTILINE)


def test_an_offset_that_gives_other_words_is_an_error_that_quotes_none(tmp_path: Path) -> None:
    entity = {"start": 0, "end": 5, "label": "SYMPTOM", "text": "fever", "score": 1.0}
    line = json.dumps({"id": "n", "entities": [entity]})
    (tmp_path / "out").write_text(line + "\n")
    assert check_offsets(tmp_path / "out", {"n": "fever"}) == 1
    with pytest.raises(ClinEdgeError, match="note 'n': an offset does not give its words"):
        check_offsets(tmp_path / "out", {"n": " fever"})
