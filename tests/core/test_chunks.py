"""Chunks looked up give what the tokenizer gives for the whole text, whatever was read before."""

from __future__ import annotations

import json
import string
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer

from clin_edge.core import chunks as module
from clin_edge.core.chunks import LONGEST, ChunkCutter, cuts_by_chunks, opens_word
from clin_edge.runtime.pipeline import DEFAULT_BUNDLE, FAST_BUNDLE
from strategies import texts
from toy import bytes_json, wordpiece_json


def tokenizer_of(content: bytes) -> Tokenizer:
    tokenizer = Tokenizer.from_buffer(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


TOKENIZERS = {
    "toy": tokenizer_of(wordpiece_json()),
    "toy, capitals": tokenizer_of(wordpiece_json(cased=True)),
    "default": tokenizer_of((DEFAULT_BUNDLE / "tokenizer.json").read_bytes()),
    "fast": tokenizer_of((FAST_BUNDLE / "tokenizer.json").read_bytes()),
}
CUTTERS = {name: ChunkCutter(tokenizer) for name, tokenizer in TOKENIZERS.items()}
SIGNS = string.printable + "éß½µ\u0301\x00\x1c\x85\xa0\u2009🙂糖ΣİΑΣ"


def check(name: str, cutter: ChunkCutter, text: str) -> bool:
    """Compare with the tokenizer itself; False if the text is left to it."""
    cut = cutter.cut(text)
    if cut is None:
        assert max(map(len, text.split(" "))) > LONGEST
        return False
    whole = TOKENIZERS[name].encode(text, add_special_tokens=False)
    assert cut[0].tolist() == whole.ids
    assert list(map(tuple, cut[1].tolist())) == whole.offsets
    places = np.array(whole.offsets, dtype=np.int64).reshape(-1, 2)
    assert cut[2].tolist() == opens_word(text, places).tolist()
    assert cut[0].dtype == cut[1].dtype == np.int64
    assert cut[1].shape == (len(cut[0]), 2)
    return True


@pytest.mark.parametrize("name", TOKENIZERS)
@given(st.one_of(texts(), st.text(st.sampled_from(SIGNS), max_size=60)))
@example("")
@example(" \n\t ")
@example("a\x00b c\u0301 \u0301d \x1ce\x1c \xa0f\xa0g ΑΣ ΑΣ. İ")
@example("don't b.i.d. 0.5mg/kg (q8h) [SEP] ##ing _a_b^c`~")
def test_it_is_the_tokenizer_s_own_cut(name: str, text: str) -> None:
    check(name, CUTTERS[name], text)
    check(name, ChunkCutter(TOKENIZERS[name]), text)


def test_real_notes_are_cut_by_chunks_and_alike() -> None:
    samples = sorted((Path(module.__file__).parents[1] / "runtime/samples").rglob("*.txt"))
    assert len(samples) > 10
    cutter = ChunkCutter(TOKENIZERS["default"])
    by_chunks = [check("default", cutter, path.read_text(encoding="utf-8")) for path in samples]
    assert all(by_chunks)


def test_a_long_chunk_is_left_to_the_tokenizer() -> None:
    cutter = CUTTERS["toy"]
    assert check("toy", cutter, "x" * LONGEST + " pain")
    assert not check("toy", cutter, "x" * (LONGEST + 1) + " pain")


def test_what_is_known_is_bounded_and_answers_stay(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_KNOWN", 50)
    cutter = ChunkCutter(TOKENIZERS["toy"])
    for start in range(0, 600, 7):
        check("toy", cutter, " ".join(f"pain{n} x{n % 13}." for n in range(start, start + 9)))
        assert len(cutter._known.rows) <= 50 + 18


def test_each_chunk_is_cut_once(monkeypatch) -> None:
    asked = []

    def listening(text: str) -> Encoding:
        asked.append(text)
        return TOKENIZERS["toy"].encode(text, add_special_tokens=False)

    cutter = ChunkCutter(TOKENIZERS["toy"])
    monkeypatch.setattr(cutter, "_encode", listening)
    for text in ("pain, pain fever\nfever,", "pain, fever, é pain,", "é fever"):
        cutter.cut(text)
    assert asked == ["pain, pain fever fever,", "é"]


def test_threads_may_share_one() -> None:
    cutter = ChunkCutter(TOKENIZERS["toy"])
    some = [" ".join(f"w{(n * k) % 997}" for n in range(300)) for k in range(1, 40)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda text: check("toy", cutter, text), some * 3))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"normalizer": None}, "no normaliser"),
        ({"normalizer": {"type": "Lowercase"}}, "another normaliser"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "another way to words"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_only_bert_s_own_tokenizers_are_cut_by_chunks(change: dict[str, object], why: str) -> None:
    usual = json.loads(wordpiece_json())
    assert cuts_by_chunks(TOKENIZERS["toy"])
    assert not cuts_by_chunks(Tokenizer.from_str(json.dumps(usual | change))), why
    assert not cuts_by_chunks(Tokenizer.from_buffer(bytes_json()))


def test_a_word_added_by_hand_may_hold_a_blank() -> None:
    tokenizer = tokenizer_of(wordpiece_json())
    tokenizer.add_tokens(["chest pain"])
    assert not cuts_by_chunks(tokenizer)
