"""A student keeps its answers through a folder, whatever its architecture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from clin_edge.core.batching import Batch
from clin_edge.core.errors import InputError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.distill.student import FACTS_FILE, Student, TorchSession, load_student, new_student
from tiny import KINDS, MAX_TOKENS, OVERLAP, TYPES, tiny_encoder, tiny_student
from toy import bytes_json, wordpiece_json

SCHEME = LabelScheme(TYPES)
TEXT = "patient takes metformin 500 mg daily for diabetes. no fever, no cough. "


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of each kind, and the student ``bert-student``."""
    folder = tmp_path_factory.mktemp("student")
    for kind in KINDS:
        tiny_encoder(folder / kind, kind)
    student_of(folder / "bert").save(folder / "bert-student")
    return folder


def student_of(encoder: Path | str, *, max_tokens: int = MAX_TOKENS, seed: int = 0) -> Student:
    return new_student(str(encoder), SCHEME, max_tokens=max_tokens, overlap=OVERLAP, seed=seed)


def some_batch(student: Student) -> Batch:
    """Three rows of random tokens, two of them padded."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 60, (3, 20))
    mask = (np.arange(20) < np.array([[20], [13], [1]])).astype(np.int64)
    return Batch(np.where(mask == 1, ids, student.encoder.pad_id), mask, (0, 1, 2))


def logits_of(student: Student) -> np.ndarray:
    return TorchSession(student.model).run(some_batch(student))


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        act()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3
    return str(caught.value)


# --- made, kept, opened again --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_student_answers_as_before(kind: str, tmp_path: Path) -> None:
    made = tiny_student(tmp_path / "encoder", kind)
    made.save(tmp_path / "deep" / "student")
    opened = load_student(tmp_path / "deep" / "student")
    assert logits_of(opened).tobytes() == logits_of(made).tobytes()
    assert opened.tokenizer_json == made.tokenizer_json
    assert opened.scheme == SCHEME
    assert (opened.max_tokens, opened.overlap) == (MAX_TOKENS, OVERLAP)
    assert opened.facts == {}
    notes = [Note("n", TEXT * 4)]
    readings = [
        next(Predictor(s.encoder, s.scheme, TorchSession(s.model)).read(notes))
        for s in (made, opened)
    ]
    assert readings[0].logits.tobytes() == readings[1].logits.tobytes()
    assert len(readings[0].encoded.windows) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_s_weights_are_in_it_and_only_the_head_is_new(kind: str, folders: Path) -> None:
    kept = load_file(folders / kind / "model.safetensors")
    model = student_of(folders / kind).model
    ours = {name.removeprefix(f"{model.base_model_prefix}."): t for name, t in _state(model)}
    there = set(kept) & set(ours)
    assert {name for name in kept if name not in there} <= {
        name for name in kept if name.startswith("pooler.")
    }
    assert len(there) > 30
    assert all(torch.equal(kept[name], ours[name]) for name in there)
    assert {name.split(".")[0] for name in set(ours) - there} == {"classifier"}


def _state(model: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return list(model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_alone_opens_a_student_folder(kind: str, folders: Path, tmp_path: Path):
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    made = student_of(folders / kind)
    made.save(tmp_path)
    model = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    assert model.config.id2label == dict(enumerate(SCHEME.tags))
    assert model.config.label2id == SCHEME.index
    batch = some_batch(made)
    with torch.inference_mode():
        theirs = model(torch.tensor(batch.input_ids), torch.tensor(batch.attention_mask)).logits
    assert theirs.numpy().tobytes() == logits_of(made).tobytes()
    encoder = made.encoder
    encoded = encoder.encode(Note("n", TEXT))
    ours = encoder.window_ids(encoded, encoded.windows[0]).tolist()
    if kind not in ("roberta", "mpnet"):  # v5 rebuilds their tokenizers by its own lights
        assert AutoTokenizer.from_pretrained(tmp_path)(TEXT)["input_ids"] == ours


@pytest.mark.parametrize("kind", KINDS)
def test_its_tokenizer_is_the_encoder_s(kind: str, folders: Path) -> None:
    source = bytes_json() if kind == "roberta" else wordpiece_json()
    ours, theirs = (
        Tokenizer.from_buffer(raw).encode(TEXT)
        for raw in (student_of(folders / kind).tokenizer_json, source)
    )
    assert (ours.ids, ours.offsets) == (theirs.ids, theirs.offsets)
    pad = 1 if kind == "roberta" else 0
    assert student_of(folders / kind).encoder.pad_id == pad


def test_facts_are_kept_beside_what_is_needed_to_read(folders: Path, tmp_path: Path) -> None:
    made = student_of(folders / "bert")
    facts = {"recipe": {"labels": ["A"], "sets": []}, "notes": 3, "said": "naïve 🙂"}
    student = Student(made.model, made.tokenizer_json, SCHEME, 40, 4, facts, passage_tokens=9)
    student.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clin_edge.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    kept = json.loads((tmp_path / FACTS_FILE).read_bytes())
    assert kept == {
        "head": "linear",
        "labels": list(TYPES),
        "tagging": "BIO",
        "max_tokens": 40,
        "overlap": 4,
        "passage_tokens": 9,
        **facts,
    }
    opened = load_student(tmp_path)
    assert opened.facts == facts
    assert (opened.max_tokens, opened.overlap, opened.encoder.passage_tokens) == (40, 4, 9)


def test_the_seed_decides_the_new_head(folders: Path) -> None:
    a, same, other = (student_of(folders / "bert", seed=seed).model for seed in (3, 3, 4))
    weights = [model.classifier.weight for model in (a, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("kind", "key"), [("bert", "attention_probs_dropout_prob"), ("distilbert", "attention_dropout")]
)
def test_attention_dropout_is_what_is_asked_for(kind: str, key: str, folders: Path) -> None:
    for asked in (0.0, 0.25):
        model = new_student(
            str(folders / kind),
            SCHEME,
            max_tokens=MAX_TOKENS,
            overlap=OVERLAP,
            seed=0,
            attention_dropout=asked,
        ).model
        assert getattr(model.config, key) == asked


def test_padding_and_neighbours_change_a_row_by_rounding_alone(folders: Path) -> None:
    student = student_of(folders / "bert")
    batch = some_batch(student)
    together = logits_of(student)
    for row, n_tokens in enumerate((20, 13, 1)):
        ids = batch.input_ids[row : row + 1, :n_tokens]
        alone = TorchSession(student.model).run(Batch(ids, np.ones_like(ids), (0,)))[0]
        np.testing.assert_allclose(together[row, :n_tokens], alone, atol=1e-5)


def test_a_student_that_was_training_answers_without_dropout(folders: Path) -> None:
    student = student_of(folders / "bert")
    calm = logits_of(student)
    student.model.train()
    assert logits_of(student).tobytes() == calm.tobytes()
    assert calm.dtype == np.float32


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no-such-org/no-such-model", "no-such-model"])
def test_a_hub_id_out_of_reach_is_refused_in_one_line(name: str, monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = refusal(lambda: student_of(name))
    assert message.startswith(f"{name}: not an encoder transformers can load (")


@pytest.mark.parametrize("kind", KINDS)
def test_windows_longer_than_an_encoder_reads_are_refused(kind, folders: Path) -> None:
    room = MAX_TOKENS
    assert student_of(folders / kind, max_tokens=room).max_tokens == room
    message = refusal(lambda: student_of(folders / kind, max_tokens=room + 1))
    assert message == (f"{folders / kind}: reads {room} tokens at most, {room + 1} are asked for")


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_reads_windows_as_long_as_is_allowed(kind: str, folders: Path) -> None:
    student = student_of(folders / kind)
    text = ("x" if kind == "roberta" else "x ") * (MAX_TOKENS - 2)
    predictor = Predictor(student.encoder, SCHEME, TorchSession(student.model))
    (reading,) = predictor.read([Note("n", text)])
    (window,) = reading.encoded.windows
    assert len(student.encoder.window_ids(reading.encoded, window)) == MAX_TOKENS


def _edit_json(name: str, **changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        fields = json.loads((folder / name).read_bytes())
        (folder / name).write_text(json.dumps({**fields, **changes}))

    return edit


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def _remove(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def _cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _rename_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    renamed = {f"other.{name}": tensor for name, tensor in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


def _drop_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: t for name, t in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_remove("config.json"), id="no config"),
        pytest.param(_remove("model.safetensors"), id="no weights"),
        pytest.param(_remove("tokenizer.json"), id="no tokenizer.json"),
        pytest.param(_remove("tokenizer.json", "tokenizer_config.json"), id="no tokenizer"),
        pytest.param(_write("config.json", b"{"), id="config is no JSON"),
        pytest.param(_edit_json("config.json", model_type="nonsense"), id="unknown type"),
        pytest.param(_edit_json("config.json", vocab_size=10), id="weights of another shape"),
        pytest.param(_cut, id="weights cut short"),
        pytest.param(_rename_weights, id="weights of something else"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused(spoil, folders: Path, tmp_path: Path) -> None:
    place = tmp_path / "encoder"
    shutil.copytree(folders / "bert", place)
    spoil(place)
    message = refusal(lambda: student_of(place))
    assert message.startswith(f"{place}: ")


def test_a_folder_that_is_empty_or_not_there_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        assert refusal(lambda place=place: student_of(place)).startswith(f"{place}: ")
        assert refusal(lambda place=place: load_student(place)).startswith(f"{place}: ")


def test_an_encoder_is_not_a_student(folders: Path) -> None:
    message = refusal(lambda: load_student(folders / "bert"))
    assert message.startswith(f"{folders / 'bert'}: not a student folder (")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_write(FACTS_FILE, b"{"), id="facts are no JSON"),
        pytest.param(_write(FACTS_FILE, b"\xff"), id="facts are no UTF-8"),
        pytest.param(_write(FACTS_FILE, b"[]"), id="facts are a list"),
        pytest.param(_write(FACTS_FILE, b"{}"), id="facts lack all"),
        pytest.param(_edit_json(FACTS_FILE, labels=None), id="no labels"),
        pytest.param(_edit_json(FACTS_FILE, labels=[]), id="empty labels"),
        pytest.param(_edit_json(FACTS_FILE, labels=["A"]), id="labels of another head"),
        pytest.param(_edit_json(FACTS_FILE, tagging="BIOES"), id="unknown tagging"),
        pytest.param(_edit_json(FACTS_FILE, max_tokens=None), id="no window"),
        pytest.param(_remove("tokenizer.json"), id="no tokenizer"),
        pytest.param(_remove("model.safetensors"), id="no weights"),
        pytest.param(_remove("config.json"), id="no config"),
        pytest.param(_cut, id="weights cut short"),
        pytest.param(_drop_head, id="weights without the head"),
    ],
)
def test_a_folder_that_is_no_student_is_refused(spoil, folders: Path, tmp_path: Path) -> None:
    place = tmp_path / "student"
    shutil.copytree(folders / "bert-student", place)
    spoil(place)
    message = refusal(lambda: load_student(place))
    assert message.startswith(f"{place}: not a student folder (")
