"""An untrained encoder has the shape asked for, and a vocabulary that is always the same."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoModelForTokenClassification

from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.distill.config import ScratchSettings, build_table
from clin_edge.distill.scratch import learn_wordpiece, scratch_encoder
from clin_edge.distill.student import Student, TorchSession, load_student
from strategies import texts
from tiny import TYPES, invented_set, tiny_encoder
from toy import SPECIAL, bytes_json, wordpiece_json

TEXTS = [item.note.text for item in invented_set(30)] + ["Žofie a ž: 5 µg, 糖尿病", "(1 µg)"]
SMALL = {"layers": 1, "hidden": 8, "heads": 2, "feed_forward": 16}


def vocabulary_of(tokenizer_json: bytes) -> list[str]:
    """The pieces, by number."""
    numbers = Tokenizer.from_buffer(tokenizer_json).get_vocab()
    return sorted(numbers, key=numbers.__getitem__)


def pieces_of(tokenizer_json: bytes, text: str) -> list[str]:
    return Tokenizer.from_buffer(tokenizer_json).encode(text, add_special_tokens=False).tokens


def refusal(settings: ScratchSettings) -> str:
    with pytest.raises(InputError) as caught:
        scratch_encoder(settings, TEXTS, max_tokens=48)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the shape -----------------------------------------------------------------------------------


def test_it_has_as_many_weights_as_the_paper_s(tmp_path: Path) -> None:
    names = [*SPECIAL, *string.ascii_letters]
    names += [f"word{i}" for i in range(28_996 - len(names))]
    (tmp_path / "vocab.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    settings = ScratchSettings(vocabulary=str(tmp_path / "vocab.txt"))
    config, _ = scratch_encoder(settings, [], max_tokens=180)
    config.num_labels = 19
    with torch.device("meta"):
        model = AutoModelForTokenClassification.from_config(config)
    assert config.vocab_size == settings.vocabulary_size
    assert sum(weights.numel() for weights in model.parameters()) == 65_205_523
    assert 65_205_523 + 19 * 19 + 2 * 19 == 65_205_922  # with a CRF's tables
    assert model.config.activation == "gelu"
    assert not model.config.sinusoidal_pos_embds


def test_a_student_of_it_reads_notes_and_comes_back_from_its_folder(tmp_path: Path) -> None:
    scheme = LabelScheme(TYPES)
    config, tokenizer_json = scratch_encoder(
        ScratchSettings(**SMALL, vocabulary_size=300), TEXTS, max_tokens=24
    )
    config.num_labels = len(scheme.tags)
    model = AutoModelForTokenClassification.from_config(config)
    student = Student(model, tokenizer_json, scheme, 24, 4, {})
    student.save(tmp_path)
    answers = []
    for one in (student, load_student(tmp_path)):
        predictor = Predictor(one.encoder, scheme, TorchSession(one.model))
        (reading,) = predictor.read([Note("n", " ".join(TEXTS))])
        answers.append(reading.logits)
    assert len(reading.encoded.windows) > 5
    assert answers[0].tobytes() == answers[1].tobytes()
    assert np.ptp(answers[0], axis=0).min() > 0


@pytest.mark.parametrize(("max_tokens", "room"), [(48, 512), (512, 512), (700, 700)])
def test_it_has_a_position_for_each_token_of_a_window(max_tokens: int, room: int) -> None:
    settings = ScratchSettings(**SMALL, vocabulary_size=300)
    config, tokenizer_json = scratch_encoder(settings, TEXTS, max_tokens=max_tokens)
    assert config.max_position_embeddings == room
    assert config.vocab_size == len(vocabulary_of(tokenizer_json))
    assert (config.n_layers, config.dim, config.n_heads, config.hidden_dim) == (1, 8, 2, 16)


# --- a vocabulary that is learnt -----------------------------------------------------------------


def test_same_texts_same_bytes_in_any_process_and_any_order() -> None:
    here = [learn_wordpiece(TEXTS, size=220, lowercase=lowercase) for lowercase in (False, True)]
    mixed = random.Random(0).sample(TEXTS, k=len(TEXTS))
    assert learn_wordpiece(iter(mixed), size=220, lowercase=False) == here[0]
    program = (
        "import hashlib, json, sys\n"
        "from clin_edge.distill.scratch import learn_wordpiece\n"
        "texts = json.load(sys.stdin)\n"
        "for lowercase in (False, True):\n"
        "    made = learn_wordpiece(texts, size=220, lowercase=lowercase)\n"
        "    print(hashlib.sha256(made).hexdigest())\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.split() == [hashlib.sha256(made).hexdigest() for made in here]


def test_it_spells_what_is_frequent_in_few_pieces() -> None:
    learnt = learn_wordpiece(TEXTS, size=400, lowercase=False)
    assert pieces_of(learnt, "patient takes metformin") == ["patient", "takes", "metformin"]
    assert len(pieces_of(learnt, "zyx")) == 3
    small = learn_wordpiece(TEXTS, size=220, lowercase=False)
    assert len(vocabulary_of(small)) == 220
    assert len(pieces_of(small, TEXTS[0])) > len(pieces_of(learnt, TEXTS[0]))


def test_its_special_tokens_come_first_and_frame_a_window() -> None:
    learnt = learn_wordpiece(TEXTS, size=400, lowercase=False)
    assert tuple(vocabulary_of(learnt)[:5]) == SPECIAL
    tokenizer = Tokenizer.from_buffer(learnt)
    assert tokenizer.encode("patient").tokens == ["[CLS]", "patient", "[SEP]"]
    encoder = Encoder(learnt, max_tokens=16, overlap=4)
    assert encoder.pad_id == 0
    encoded = encoder.encode(Note("n", "[SEP] [MASK]"))  # as text, not as what ends a window
    assert min(encoded.ids) >= len(SPECIAL)


def test_case_is_kept_or_not() -> None:
    assert pieces_of(learn_wordpiece(TEXTS, size=400, lowercase=True), "METFORMIN") == ["metformin"]
    cased = learn_wordpiece(TEXTS, size=400, lowercase=False)
    assert pieces_of(cased, "METFORMIN")[0] == "M"
    upper = {p for p in vocabulary_of(cased) if p.isupper() and p not in SPECIAL}
    assert upper > set(string.ascii_uppercase)
    lower = vocabulary_of(learn_wordpiece(TEXTS, size=400, lowercase=True))
    assert not {p for p in lower if p.isupper() and p not in SPECIAL}


@given(some=st.lists(texts(), max_size=4), lowercase=st.booleans())
def test_it_spells_all_of_its_texts_and_all_of_ascii(some: list[str], lowercase: bool) -> None:
    learnt = learn_wordpiece(some, size=3_000, lowercase=lowercase)
    tokenizer = Tokenizer.from_buffer(learnt)
    ascii_signs = "".join(map(chr, range(128)))
    for text in (*some, ascii_signs, "x9" * 50, "Zz" * 50):
        encoding = tokenizer.encode(text, add_special_tokens=False)
        for piece, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            assert piece != "[UNK]" or end - start > 50  # too long for WordPiece to try
        Encoder(learnt, max_tokens=16, overlap=4).encode(Note("n", text))
    vocabulary = set(vocabulary_of(learnt))
    for sign in string.ascii_lowercase + string.digits:
        assert {sign, f"##{sign}"} <= vocabulary


def test_texts_of_more_signs_than_the_vocabulary_holds_are_refused() -> None:
    message = refusal(ScratchSettings(**SMALL, vocabulary_size=150))
    assert message.startswith("a vocabulary of 150 pieces has no room for the ")
    assert message.endswith(" signs of the texts; raise vocabulary_size")


# --- a vocabulary that is given ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_folder_or_a_tokenizer_json_gives_its_own_tokenizer(kind: str, tmp_path: Path) -> None:
    tiny_encoder(tmp_path, kind)
    source = {"bert": wordpiece_json, "roberta": bytes_json}[kind]()
    for place in (tmp_path, tmp_path / "tokenizer.json"):
        settings = ScratchSettings(**SMALL, vocabulary=str(place))
        config, tokenizer_json = scratch_encoder(settings, [], max_tokens=48)
        assert vocabulary_of(tokenizer_json) == vocabulary_of(source)
        assert pieces_of(tokenizer_json, TEXTS[0]) == pieces_of(source, TEXTS[0])
        assert config.vocab_size == len(vocabulary_of(source))
        assert config.pad_token_id == Encoder(source, max_tokens=48, overlap=8).pad_id


def test_padding_kept_in_a_tokenizer_json_does_not_come_along(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_buffer(wordpiece_json())
    tokenizer.enable_padding(length=30)
    tokenizer.enable_truncation(10)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    settings = ScratchSettings(vocabulary=str(tmp_path / "tokenizer.json"))
    assert scratch_encoder(settings, [], max_tokens=48)[1] == wordpiece_json()


@pytest.mark.parametrize("lowercase", [False, True])
def test_a_vocab_txt_is_read_as_bert_s(lowercase: bool, tmp_path: Path) -> None:
    lines = [*SPECIAL, "a", "A", "##b", "fever", "Fever"]
    (tmp_path / "vocab.txt").write_text("\r\n".join(lines), encoding="utf-8")
    settings = ScratchSettings(vocabulary=str(tmp_path / "vocab.txt"), lowercase=lowercase)
    config, tokenizer_json = scratch_encoder(settings, [], max_tokens=48)
    assert vocabulary_of(tokenizer_json) == lines
    assert config.vocab_size == len(lines)
    read = pieces_of(tokenizer_json, "Fever Ab A")
    assert read == (["fever", "a", "##b", "a"] if lowercase else ["Fever", "A", "##b", "A"])


def test_places_without_a_vocabulary_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "bad.txt").write_text("a\nb\n")
    (tmp_path / "latin.txt").write_bytes(b"\xff\n")
    few = Tokenizer(
        models.WordPiece({name: i for i, name in enumerate(SPECIAL)}, unk_token="[UNK]")
    )
    few.save(str(tmp_path / "few.json"))
    tiny_encoder(tmp_path / "weights")
    for path in (tmp_path / "weights").glob("*token*"):
        path.unlink()
    shutil.copytree(tmp_path / "weights", tmp_path / "deep" / "weights")
    names = ("bad.json", "bad.txt", "latin.txt", "few.json", "none.json", "none.txt", "none")
    for place in (*(tmp_path / name for name in names), tmp_path / "deep" / "weights"):
        message = refusal(ScratchSettings(**SMALL, vocabulary=str(place)))
        assert message.startswith(f"{place}: not a vocabulary (")
    assert refusal(ScratchSettings(vocabulary="no-such-org/none")).startswith("no-such-org/none: ")


# --- the table in a recipe -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"layers": 0}, "layers, hidden, heads, feed_forward, vocabulary_size are above 0"),
        ({"hidden": -8}, "layers, hidden, heads, feed_forward, vocabulary_size are above 0"),
        ({"heads": 0}, "layers, hidden, heads, feed_forward, vocabulary_size are above 0"),
        (
            {"vocabulary_size": 0},
            "layers, hidden, heads, feed_forward, vocabulary_size are above 0",
        ),
        ({"feed_forward": 0}, "layers, hidden, heads, feed_forward, vocabulary_size are above 0"),
        ({"hidden": 100}, "hidden 100 cannot be shared out among 12 heads"),
        ({"widht": 100}, "unknown key 'widht'; did you mean 'hidden'?"),
        ({"lowercase": 1}, "lowercase: expected bool, found 1"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused(table: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        build_table(ScratchSettings, table, "r.toml: scratch")
    assert str(caught.value) == f"r.toml: scratch: {said}"


def test_an_empty_table_is_the_paper_s_encoder() -> None:
    assert build_table(ScratchSettings, {}, "r.toml") == ScratchSettings(
        6, 768, 12, 3072, "", 28_996, False
    )
