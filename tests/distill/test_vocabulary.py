"""A pruned vocabulary cuts a text as before wherever it can, and leaves nothing unread."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor, Reading
from clin_edge.distill.shrinking.vocabulary import Pruned, prune_vocabulary
from clin_edge.distill.student import Student, TorchSession, load_student
from strategies import texts
from tiny import KINDS, invented_set, tiny_student
from toy import SPECIAL, bytes_json, wordpiece_json

SIGNS = "abc"
UNKNOWN = "[UNK]"
WORDS = st.lists(st.text(SIGNS, min_size=2, max_size=5), max_size=12, unique=True)
CORPORA = st.lists(st.text(f"{SIGNS}  ", max_size=30), max_size=4)
TEXTS = st.text(f"{SIGNS}{SIGNS}  d", max_size=40)  # nothing can spell a "d"


class Embeddings:
    """As much of a model as a tokenizer needs: one number a piece, in its order."""

    def __init__(self, tokenizer: Tokenizer, **roles: int) -> None:
        self.embeddings = torch.nn.Embedding(len(tokenizer.get_vocab()), 1)
        self.embeddings.weight.data = torch.arange(len(tokenizer.get_vocab())).float()[:, None]
        self.config = SimpleNamespace(vocab_size=len(tokenizer.get_vocab()), **roles)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.embeddings

    @property
    def rows(self) -> list[int]:
        """The number each row had before."""
        return self.embeddings.weight.int().flatten().tolist()


def read(tokenizer: Tokenizer, text: str) -> list[tuple[str, tuple[int, int]]]:
    """Pieces and offsets."""
    tokenizer.encode_special_tokens = True
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return list(zip(encoding.tokens, encoding.offsets, strict=True))


# --- vocabularies without rhyme or reason ---------------------------------------------------------


def frame(tokenizer: Tokenizer, pre_tokenizer: Any = None) -> Tokenizer:
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(SPECIAL))
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*ends)
    return tokenizer


@st.composite
def wordpieces(draw: DrawFn) -> Tokenizer:
    pieces = [*SPECIAL, *SIGNS, *(f"##{sign}" for sign in SIGNS)]
    pieces += [*draw(WORDS), *(f"##{word}" for word in draw(WORDS))]
    vocab = {piece: i for i, piece in enumerate(draw(st.permutations(pieces)))}
    return frame(Tokenizer(models.WordPiece(vocab, unk_token=UNKNOWN, max_input_chars_per_word=30)))


@st.composite
def bpes(draw: DrawFn) -> Tokenizer:
    """Any two pieces may be merged, in any order, also into one that there is already."""
    prefix, suffix = draw(st.sampled_from(("", "##"))), draw(st.sampled_from(("", "</w>")))
    ends = itertools.product(sorted({"", prefix}), SIGNS, sorted({"", suffix}))
    pieces = ["".join(parts) for parts in ends]
    merges: list[tuple[str, str]] = []
    for left, right in draw(st.lists(st.tuples(*2 * [st.integers(0, 99)]), max_size=25)):
        a, b = pieces[left % len(pieces)], pieces[right % len(pieces)]
        if (suffix and a.endswith(suffix)) or not b.startswith(prefix) or (a, b) in merges:
            continue
        merges.append((a, b))
        pieces = list(dict.fromkeys([*pieces, a + b.removeprefix(prefix)]))
    order = draw(st.permutations([*SPECIAL, *pieces]))
    model = models.BPE(
        vocab={piece: i for i, piece in enumerate(order)},
        merges=merges,
        unk_token=UNKNOWN,
        continuing_subword_prefix=prefix,
        end_of_word_suffix=suffix,
        ignore_merges=draw(st.booleans()),
        fuse_unk=draw(st.booleans()),
    )
    return frame(Tokenizer(model))


@st.composite
def unigrams(draw: DrawFn) -> Tokenizer:
    """Scores are whole numbers, so ties are frequent."""
    pieces = draw(st.permutations([*SPECIAL, *SIGNS, "▁", *draw(WORDS)]))
    scores = draw(st.lists(st.integers(-9, 0), min_size=len(pieces), max_size=len(pieces)))
    vocab = [(piece, float(score)) for piece, score in zip(pieces, scores, strict=True)]
    model = models.Unigram(vocab, unk_id=pieces.index(UNKNOWN), byte_fallback=False)
    return frame(Tokenizer(model), pre_tokenizers.Metaspace())


def pruned_of(tokenizer: Tokenizer, corpus: Sequence[str]) -> tuple[Embeddings, Pruned, Tokenizer]:
    roles = {"pad_token_id": tokenizer.token_to_id("[PAD]"), "eos_token_id": None}
    model = Embeddings(tokenizer, **roles, cls_token_id=tokenizer.token_to_id("[CLS]"))
    pruned = prune_vocabulary(model, tokenizer.to_str().encode(), corpus)
    return model, pruned, Tokenizer.from_buffer(pruned.tokenizer_json)


def check(tokenizer: Tokenizer, corpus: Sequence[str], others: Sequence[str]) -> None:
    """All that is promised of a tokenizer whose vocabulary is pruned to ``corpus``."""
    model, pruned, after = pruned_of(tokenizer, corpus)
    old, new = tokenizer.get_vocab(), after.get_vocab()
    # Numbers follow the old order, and each row is its piece's.
    assert sorted(new, key=new.__getitem__) == sorted(new, key=old.__getitem__)
    assert model.rows == sorted(old[piece] for piece in new)
    assert (pruned.before, pruned.kept) == (len(old), len(new))
    assert model.config.vocab_size == model.embeddings.num_embeddings == len(new)
    assert model.config.pad_token_id == new["[PAD]"] == old["[PAD]"]
    assert (model.config.cls_token_id, model.config.eos_token_id) == (new["[CLS]"], None)
    assert after.encode("a").tokens == ["[CLS]", *tokenizer.encode("a").tokens[1:-1], "[SEP]"]
    for text in [*corpus, *others]:
        was, now = read(tokenizer, text), read(after, text)
        if text in corpus or {piece for piece, _ in was} <= new.keys():
            assert now == was
        for before, then in ((was, now), (now, was)):
            assert [p for p in before if p[0] == UNKNOWN] == [p for p in then if p[0] == UNKNOWN]
        starts = [start for _, (start, _) in now]
        assert starts == sorted(starts)
    again = pruned_of(after, corpus)[1]
    assert again.kept == pruned.kept
    assert again.tokenizer_json == pruned.tokenizer_json


OTHERS = st.lists(TEXTS, min_size=3, max_size=8)


@given(wordpieces(), CORPORA, OTHERS)
def test_wordpiece_stays_exact(tokenizer: Tokenizer, corpus: list[str], others: list[str]) -> None:
    check(tokenizer, corpus, others)


@given(bpes(), CORPORA, OTHERS)
def test_bpe_stays_exact(tokenizer: Tokenizer, corpus: list[str], others: list[str]) -> None:
    check(tokenizer, corpus, others)


@given(unigrams(), CORPORA, OTHERS)
def test_unigram_stays_exact(tokenizer: Tokenizer, corpus: list[str], others: list[str]) -> None:
    check(tokenizer, corpus, others)


@given(wordpieces(), CORPORA)
def test_nothing_stays_that_is_not_needed(tokenizer: Tokenizer, corpus: list[str]) -> None:
    old = tokenizer.get_vocab()
    needed = {piece for piece in old if old[piece] <= old["[PAD]"]}  # its number may not change
    needed |= {*SPECIAL, *SIGNS, *(f"##{sign}" for sign in SIGNS)}
    needed |= {piece for text in corpus for piece, _ in read(tokenizer, text)}
    assert pruned_of(tokenizer, corpus)[2].get_vocab().keys() == needed


def test_bpe_keeps_the_merges_on_the_way_to_a_piece_and_no_others() -> None:
    pieces = ["a", "b", "c", "ab", "abc", "bc", "ca", "abca"]
    merges = [("a", "b"), ("ab", "c"), ("b", "c"), ("c", "a"), ("abc", "a")]
    vocab = {piece: i for i, piece in enumerate([*SPECIAL, *pieces])}
    after = pruned_of(frame(Tokenizer(models.BPE(vocab=vocab, merges=merges))), ["abc"])[2]
    assert json.loads(after.to_str())["model"]["merges"] == [["a", "b"], ["ab", "c"]]
    assert after.get_vocab().keys() == {*SPECIAL, "a", "b", "c", "ab", "abc"}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_bytes_that_stand_in_for_unknown_signs_stay(kind: str) -> None:
    spelled = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = [*SPECIAL, *spelled, "a", "b", "ab", "ba"]
    if kind == "bpe":
        vocab = {piece: i for i, piece in enumerate(pieces)}
        merges = [("a", "b"), ("b", "a")]
        model = models.BPE(vocab=vocab, merges=merges, unk_token=UNKNOWN, byte_fallback=True)
    else:
        scores = [(piece, -float(len(piece))) for piece in pieces]
        model = models.Unigram(scores, unk_id=1, byte_fallback=True)
    tokenizer = frame(Tokenizer(model))
    after = pruned_of(tokenizer, ["ab"])[2]
    assert tokenizer.get_vocab().keys() - after.get_vocab().keys() == {"ba"}
    assert read(after, "ab 糖") == read(tokenizer, "ab 糖")
    assert [piece for piece, _ in read(after, "糖")] == ["<0xE7>", "<0xB3>", "<0x96>"]


def test_what_an_unknown_sign_costs_does_not_change() -> None:
    """With the piece of the lowest score gone, "abc" and an unknown "d" would cost less."""
    scores = {"<unk>": 0, "a": -12, "b": -12, "c": -12, "ab": -12, "cd": -12, "abc": -1, "ca": -30}
    vocab = [(piece, float(score)) for piece, score in scores.items()]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=False))
    tokenizer_json = tokenizer.to_str().encode()
    pruned = prune_vocabulary(Embeddings(tokenizer), tokenizer_json, ["abcd", "abc"])
    after = Tokenizer.from_buffer(pruned.tokenizer_json)
    assert [piece for piece, _ in read(after, "abcd")] == ["ab", "cd"]
    assert read(after, "bxxb") == read(tokenizer, "bxxb")
    assert after.encode("x").ids == [0]


# --- texts at their worst, through the runtime's own encoder --------------------------------------


@pytest.mark.parametrize("source", [wordpiece_json, bytes_json])
@given(corpus=st.lists(texts(), max_size=3), others=st.lists(texts(), max_size=3))
def test_any_note_is_read_after_pruning(source, corpus: list[str], others: list[str]) -> None:
    tokenizer = Tokenizer.from_buffer(source())
    pruned = prune_vocabulary(Embeddings(tokenizer), source(), corpus)
    after = Tokenizer.from_buffer(pruned.tokenizer_json)
    old, new = (Encoder(r, max_tokens=16, overlap=4) for r in (source(), pruned.tokenizer_json))
    for text in [*corpus, *others]:
        was, now = old.encode(Note("n", text)), new.encode(Note("n", text))
        pieces = [tokenizer.id_to_token(i) for i in was.ids.tolist()]
        if text in corpus or all(after.token_to_id(piece) is not None for piece in pieces):
            assert [after.id_to_token(i) for i in now.ids.tolist()] == pieces
            assert now.offsets.tolist() == was.offsets.tolist()
    assert new.pad_id == old.pad_id


# --- what a model answers -------------------------------------------------------------------------


NOTES = [item.note for item in invented_set(12)]


def readings(student: Student) -> list[Reading]:
    predictor = Predictor(student.encoder, student.scheme, TorchSession(student.model))
    return list(predictor.read(NOTES))


@pytest.mark.parametrize("kind", KINDS)
def test_a_pruned_student_answers_as_before_also_from_its_folder(kind: str, tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "encoder", kind)
    whole = copy.deepcopy(student)
    pruned = prune_vocabulary(student.model, student.tokenizer_json, [n.text for n in NOTES])
    shape = (student.scheme, student.max_tokens, student.overlap, {})
    smaller = Student(student.model, pruned.tokenizer_json, *shape)
    smaller.save(tmp_path / "student")
    opened = load_student(tmp_path / "student")
    if kind != "roberta":  # its bytes are all kept, its toy merges are all used
        assert pruned.kept < pruned.before
    width = student.model.get_input_embeddings().weight.shape[1]
    assert opened.model.get_input_embeddings().weight.shape == (pruned.kept, width)
    assert opened.model.config.vocab_size == pruned.kept
    gone = pruned.before - pruned.kept
    assert whole.model.num_parameters() - opened.model.num_parameters() == gone * width
    for small in (smaller, opened):
        for was, now in zip(readings(whole), readings(small), strict=True):
            np.testing.assert_allclose(now.logits, was.logits, rtol=0, atol=1e-6)
            assert now.encoded.offsets.tolist() == was.encoded.offsets.tolist()
            assert len(now.encoded.ids) > 0


def test_a_pruned_student_can_still_learn(tmp_path: Path) -> None:
    student = tiny_student(tmp_path, "electra")
    pruned = prune_vocabulary(student.model, student.tokenizer_json, ["patient"])
    student.model(input_ids=torch.tensor([[pruned.kept - 1]])).logits.sum().backward()
    gradient = student.model.get_input_embeddings().weight.grad
    assert gradient.shape[0] == pruned.kept
    assert gradient[-1].any()
    assert not gradient[:-1].any()


# --- frames, and what is refused ------------------------------------------------------------------


ENDS = [("[SEP]", 4), ("[CLS]", 7)]
TEMPLATE = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ENDS)
SEVERAL = processors.Sequence([processors.ByteLevel(), TEMPLATE])


@pytest.mark.parametrize("processor", [processors.RobertaProcessing(*ENDS), TEMPLATE, SEVERAL])
def test_what_frames_a_window_still_does(processor: Any) -> None:
    pieces = ["[PAD]", "gone", "a", "lost", "[SEP]", "[UNK]", "left", "[CLS]"]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=UNKNOWN))
    tokenizer.post_processor = processor
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(2)
    model = Embeddings(tokenizer)
    pruned = prune_vocabulary(model, tokenizer.to_str().encode(), ["a"])
    after = Tokenizer.from_buffer(pruned.tokenizer_json)
    framed = after.encode("a")
    assert framed.tokens == ["[CLS]", "a", "[SEP]"]
    assert [model.rows[i] for i in framed.ids] == [7, 2, 4]
    assert [model.rows[i] for i in after.encode("left", add_special_tokens=False).ids] == [5]


def test_a_text_that_spells_a_special_token_is_a_text() -> None:
    pieces = [*SPECIAL, "[", "]", "SEP", "MASK"]
    model = models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token=UNKNOWN)
    after = pruned_of(frame(Tokenizer(model), pre_tokenizers.BertPreTokenizer()), ["[SEP]"])[2]
    assert [piece for piece, _ in read(after, "[SEP]")] == ["[", "SEP", "]"]
    assert "MASK" not in after.get_vocab()


def test_names_that_are_added_stay_and_keep_their_rows() -> None:
    tokenizer = Tokenizer.from_buffer(wordpiece_json())
    before = len(tokenizer.get_vocab())
    tokenizer.add_tokens([AddedToken("<drug name>", normalized=False)])
    model = Embeddings(tokenizer)
    pruned = prune_vocabulary(model, tokenizer.to_str().encode(), [])
    after = Tokenizer.from_buffer(pruned.tokenizer_json)
    assert read(after, "a <drug name>") == read(tokenizer, "a <drug name>")
    assert model.rows[after.token_to_id("<drug name>")] == before


def test_rows_of_no_piece_go() -> None:
    tokenizer = Tokenizer.from_buffer(wordpiece_json())
    model = Embeddings(tokenizer)
    model.embeddings = torch.nn.Embedding(len(tokenizer.get_vocab()) + 7, 3, padding_idx=0)
    pruned = prune_vocabulary(model, wordpiece_json(), [])
    assert model.embeddings.weight.shape == (pruned.kept, 3)


KNOWN = {piece: i for i, piece in enumerate([*SPECIAL, "a"])}
GAP = "the 7 entries of the tokenizer are not numbered as the 7 embeddings are"


@pytest.mark.parametrize(
    ("kind", "vocab", "said"),
    [
        (models.WordLevel, KNOWN, "the vocabulary of a WordLevel tokenizer cannot be pruned"),
        (models.WordPiece, {**KNOWN, "b": 99}, f"the vocabulary cannot be pruned: {GAP}"),
    ],
)
def test_tokenizers_that_cannot_be_pruned_are_refused(kind: Any, vocab: Any, said: str) -> None:
    tokenizer = Tokenizer(kind(vocab, unk_token=UNKNOWN))
    model = Embeddings(tokenizer)
    with pytest.raises(InputError) as caught:
        prune_vocabulary(model, tokenizer.to_str().encode(), ["a"])
    assert str(caught.value) == said
    assert model.rows == list(range(len(vocab)))
