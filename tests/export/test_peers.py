"""What a user would pick instead: it reads whole notes, and says what is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clin_edge.export.peers import hugging_face
from clin_edge.export.peers.reading import _LOADERS, start_peer
from clin_edge.runtime.bench.run import PEERS
from clin_edge.runtime.bench.subjects import SubjectError
from tiny import n_threads
from toy import toy_scheme, wordpiece_json

HERE = ("transformers", "transformers-batched", "torch-int8", "openvino")
TEXTS = {
    "long": "patient takes metformin daily for diabetes. " * 20,
    "short": "no fever",
    "middle": "history of asthma and stroke " * 4,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with n_threads(1):
        yield


@pytest.fixture
def order(tmp_path: Path) -> dict[str, Any]:
    """A tiny network."""
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_bytes(wordpiece_json())
    return {
        "tokenizer": str(tokenizer),
        "layers": 1,
        "hidden": 12,
        "tags": list(toy_scheme().tags),
        "max_tokens": 32,
        "overlap": 4,
        "threads": 1,
        "folder": str(tmp_path),
    }


def read(name: str, order: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    place = folder / "notes.jsonl"
    lines = [json.dumps({"id": name, "text": text}) for name, text in TEXTS.items()]
    place.write_text("\n".join(lines) + "\n")
    ready, answer = start_peer(name, order)
    assert ready["network"] == order.get("network", "1x12")
    assert ready["versions"]
    said = answer({"read": [str(place)]})
    assert said["seconds"] > 0
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_the_command_knows_the_peers_that_there_are() -> None:
    assert tuple(_LOADERS) == PEERS


@pytest.mark.parametrize("name", HERE)
def test_nothing_is_found_so_that_nobody_pays_for_it(name: str, order, tmp_path: Path) -> None:
    records = read(name, order, tmp_path)
    assert [record["id"] for record in records] == list(TEXTS)
    assert [record["entities"] for record in records] == [[], [], []]


@pytest.mark.parametrize("name", HERE)
def test_a_note_is_read_to_its_end(name: str, order, tmp_path: Path, monkeypatch) -> None:
    usual = hugging_face.random_model

    def always_something(order: dict[str, Any]) -> tuple[Any, Any]:
        model, tokenizer = usual(order)
        model.classifier.bias.data[1] = 1000.0
        return model, tokenizer

    monkeypatch.setattr(hugging_face, "random_model", always_something)
    monkeypatch.setattr("clin_edge.export.peers.openvino_float.random_model", always_something)
    for record in read(name, order, tmp_path):
        text = TEXTS[record["id"]].rstrip()
        places = [(e["start"], e["end"]) for e in record["entities"]]
        assert min(start for start, _ in places) == 0
        assert max(end for _, end in places) == len(text)
        covered = {i for start, end in places for i in range(start, end)}
        assert {i for i, c in enumerate(text) if not c.isspace()} <= covered


@pytest.mark.parametrize(
    ("width", "heads"), [(12, 12), (64, 1), (768, 12), (312, 12), (384, 12), (256, 4)]
)
def test_heads_are_those_of_published_encoders(width: int, heads: int, order) -> None:
    model, _ = hugging_face.random_model({**order, "hidden": width})
    assert model.config.num_attention_heads == heads
    assert model.config.intermediate_size == 4 * width


@pytest.mark.parametrize(("name", "package"), [("optimum-int8", "optimum"), ("spacy", "spacy")])
def test_what_is_not_installed_is_named(name: str, package: str, order, monkeypatch) -> None:
    for module in (package, "optimum.onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError) as error:
        start_peer(name, order)
    assert str(error.value.name).partition(".")[0] == package


class PlayedLanguage:
    """A pipeline of spaCy's that finds the first word."""

    def __init__(self, *parts: str) -> None:
        self.pipe_names = list(parts)
        self.meta = {"version": "3"}

    def select_pipes(self, *, enable: list[str]) -> None:
        self.pipe_names = enable

    def pipe(self, texts: list[str]) -> Iterator[SimpleNamespace]:
        assert self.pipe_names == ["tok2vec", "ner"]
        for text in texts:
            end = len(text.split()[0])
            yield SimpleNamespace(ents=[SimpleNamespace(start_char=0, end_char=end, label_="X")])


def play_spacy(monkeypatch, **languages: PlayedLanguage) -> None:
    installed = SimpleNamespace(get_installed_models=lambda: list(languages))
    played = SimpleNamespace(util=installed, load=languages.__getitem__, __version__="4")
    monkeypatch.setitem(sys.modules, "spacy", played)
    monkeypatch.delitem(sys.modules, "clin_edge.export.peers.spacy_english", raising=False)


def test_an_english_pipeline_of_spacy_is_read(order, tmp_path: Path, monkeypatch) -> None:
    german, tagger = PlayedLanguage("ner"), PlayedLanguage("tagger")
    finder = PlayedLanguage("tok2vec", "tagger", "ner")
    play_spacy(monkeypatch, de_news=german, en_tags=tagger, en_web=finder)
    ready, _ = start_peer("spacy", order)
    assert ready == {"versions": {"spacy": "4", "en_web": "3"}, "network": "en_web"}
    order["network"] = "en_web"
    records = read("spacy", order, tmp_path)
    assert [record["entities"][0]["end"] for record in records] == [7, 2, 7]


def test_spacy_without_such_a_pipeline_is_skipped(order, monkeypatch) -> None:
    play_spacy(monkeypatch, de_news=PlayedLanguage("ner"), en_tags=PlayedLanguage("tagger"))
    with pytest.raises(SubjectError, match="no English pipeline"):
        start_peer("spacy", order)
