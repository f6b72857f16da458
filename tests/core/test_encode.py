"""Text to tokens: places are exact, the note is encoded once, every character has its window."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from clin_edge.core.encode import Encoder
from clin_edge.core.errors import BundleError
from clin_edge.core.notes import Note
from clin_edge.core.windows import plan_windows
from strategies import ODD, PLAIN, texts
from toy import TOKENIZERS, bytes_json, toy_encoder, wordpiece_json

WORDPIECE = Tokenizer.from_buffer(wordpiece_json())
BYTES = Tokenizer.from_buffer(bytes_json())
KINDS = sorted(TOKENIZERS)
SPECIAL_PIECES = {"[CLS]", "[SEP]", "[PAD]", "[MASK]", "<s>", "</s>", "<pad>", "<mask>", "<unk>"}


def pieces(encoder: Encoder, tokenizer: Tokenizer, text: str) -> list[tuple[str, int, int]]:
    """Each token's piece and place."""
    encoded = encoder.encode(Note("n", text))
    names = [tokenizer.id_to_token(i) for i in encoded.ids.tolist()]
    return [(name, *place) for name, place in zip(names, encoded.offsets.tolist(), strict=True)]


def quotes(text: str, kind: str = "wordpiece") -> list[tuple[str, str]]:
    """Each token's piece and the characters of the note at its place."""
    tokenizer = WORDPIECE if kind == "wordpiece" else BYTES
    return [(p, text[a:b]) for p, a, b in pieces(toy_encoder(kind=kind), tokenizer, text)]


def normal(text: str) -> str:
    return str(WORDPIECE.normalizer.normalize_str(text)).strip(" ")


# --- places --------------------------------------------------------------------------------------


@given(texts())
@example("".join(ODD))
@example("".join(PLAIN))
def test_each_piece_stands_where_its_offsets_say(text: str) -> None:
    """The characters there, made lower case and so on as the tokenizer does, are the piece."""
    for piece, start, end in pieces(toy_encoder(), WORDPIECE, text):
        if piece != "[UNK]":
            assert normal(text[start:end]) == piece.removeprefix("##")
            # A place neither begins nor ends with what the tokenizer drops or reads as a blank.
            assert normal(text[start])
            assert normal(text[end - 1])


@given(texts())
@example("".join(ODD))
def test_no_visible_character_is_outside_every_piece(text: str) -> None:
    at = {i for _, a, b in pieces(toy_encoder(), WORDPIECE, text) for i in range(a, b)}
    assert not [i for i, sign in enumerate(text) if i not in at and normal(sign)]


# GPT-2's way to write a byte as one sign: itself where it can be seen, else the next from U+0100.
SEEN = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
HIDDEN = [byte for byte in range(256) if byte not in SEEN]
SIGN_OF = {byte: chr(byte) for byte in SEEN} | {b: chr(256 + i) for i, b in enumerate(HIDDEN)}


@given(texts())
@example("".join(ODD))
@example("".join(PLAIN))
def test_bytes_of_a_byte_level_piece_stand_where_its_offsets_say(text: str) -> None:
    """Piece after piece they are the whole text; blanks at a piece's edge have no place."""
    raw = text.encode()
    char_at = [i for i, sign in enumerate(text) for _ in sign.encode()]
    at = 0
    for piece, start, end in pieces(toy_encoder(kind="bytes"), BYTES, text):
        mine = range(at, at + len(piece))  # one sign of a piece is one byte
        at += len(piece)
        assert piece == "".join(SIGN_OF[raw[byte]] for byte in mine)
        shown = [char_at[byte] for byte in mine if raw[byte] != ord(" ")]
        if shown:
            assert (start, end) == (shown[0], shown[-1] + 1)
        else:
            assert start == end
    assert at == len(raw)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Takes\r\nASPIRIN", [("takes", "Takes"), ("aspirin", "ASPIRIN")]),
        ("\tpain\t\tfever", [("pain", "pain"), ("fever", "fever")]),
        ("pain🙂 fever", [("[UNK]", "pain🙂"), ("fever", "fever")]),
        ("👩🏽\u200d⚕️ pain", [("[UNK]", "👩🏽\u200d⚕"), ("pain", "pain")]),
        ("fe\u0301ver", [("fever", "fe\u0301ver")]),
        ("féver", [("fever", "féver")]),
        ("pai\u200bn \ufefffever", [("pain", "pai\u200bn"), ("fever", "fever")]),
        ("fe\x00\x07ver\u00adish", [("fever", "fe\x00\x07ver")]),
        ("\ufffd\x00 \u200d", []),
        ("met\u00a0mg", [("met", "met"), ("mg", "mg")]),
        ("50mg,", [("5", "5"), ("##0", "0"), ("##m", "m"), ("##g", "g"), (",", ",")]),
        ("metformin", [("metformin", "metformin")]),
        ("Metformins", [("metformin", "Metformin"), ("##s", "s")]),
        ("a" * 101, [("[UNK]", "a" * 101)]),
        ("糖尿", [("[UNK]", "糖"), ("[UNK]", "尿")]),
    ],
)
def test_places_of_odd_text_by_hand(text: str, expected: list[tuple[str, str]]) -> None:
    assert quotes(text)[: len(expected)] == expected
    if not expected:
        assert quotes(text) == []


def test_places_count_code_points_not_bytes_or_utf16_units() -> None:
    text = "🙂 é e\u0301 👨\u200d👩\u200d👧 aspirin"
    for kind in KINDS:
        found = pieces(toy_encoder(kind=kind), _tokenizer(kind), text)
        start = min(start for _, start, _ in found if start > 12)
        assert text[start:].startswith("aspirin"), kind


def _tokenizer(kind: str) -> Tokenizer:
    return WORDPIECE if kind == "wordpiece" else BYTES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelled", sorted(SPECIAL_PIECES))
def test_text_that_spells_a_special_token_is_plain_text(kind: str, spelled: str) -> None:
    found = quotes(f"no {spelled} pain", kind)
    assert not {piece for piece, _ in found} & SPECIAL_PIECES
    assert "".join(quote for _, quote in found).replace(" ", "") == f"no{spelled}pain"


# --- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts(), max_tokens=st.integers(4, 24), data=st.data())
def test_windows_are_slices_of_the_note_encoded_once(kind, text, max_tokens, data) -> None:
    overlap = data.draw(st.integers(0, max_tokens - 3))
    encoder, tokenizer = toy_encoder(max_tokens, overlap, kind=kind), _tokenizer(kind)
    encoded = encoder.encode(Note("n", text))
    names = ("[CLS]", "[SEP]") if kind == "wordpiece" else ("<s>", "</s>")
    first, last = map(tokenizer.token_to_id, names)
    plan = plan_windows(len(encoded.ids), size=max_tokens - 2, overlap=overlap)
    assert list(encoded.windows) == plan
    for window in encoded.windows:
        ids = encoder.window_ids(encoded, window)
        body = encoded.ids[window.start : window.end].tolist()
        assert ids.dtype == np.int64
        assert ids.tolist() == [first, *body, last]
        assert len(ids) <= max_tokens
    assert encoder.n_prefix == 1


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts(), max_tokens=st.integers(3, 24))
@example(text="".join(ODD), max_tokens=3)
def test_every_character_belongs_to_exactly_one_window(kind, text, max_tokens) -> None:
    encoder = toy_encoder(max_tokens, 0, kind=kind)
    encoded = encoder.encode(Note("n", text))
    assert encoded.n_chars == len(text)
    kept = [encoded.chars_kept(window) for window in encoded.windows]
    assert all(n_chars >= 0 for n_chars in kept)
    assert sum(kept) == (len(text) if len(encoded.ids) else 0)


def test_blanks_belong_to_the_token_before_them_and_leading_ones_to_the_first() -> None:
    encoded = toy_encoder(3, 0).encode(Note("n", "\r\n pain \x00\tfever. "))
    assert [encoded.chars_kept(window) for window in encoded.windows] == [10, 5, 2]


@pytest.mark.parametrize("kind", KINDS)
@given(texts(), texts(4))
def test_encoding_a_note_leaves_no_trace_in_the_next(kind: str, text: str, other: str) -> None:
    fresh, used = toy_encoder(kind=kind), toy_encoder(kind=kind)
    used.encode(Note("other", other))
    one, two = fresh.encode(Note("n", text)), used.encode(Note("n", text))
    assert one.ids.tolist() == two.ids.tolist()
    assert one.offsets.tolist() == two.offsets.tolist()
    assert (one.ids.dtype, one.offsets.dtype, one.offsets.shape[1:]) == (np.int64, np.int64, (2,))


@pytest.mark.parametrize("text", ["", " \r\n\t ", "\x00\u200b\u0301"])
def test_a_note_without_tokens_has_no_windows(text: str) -> None:
    encoded = toy_encoder().encode(Note("n", text))
    assert encoded.ids.shape == (0,)
    assert encoded.offsets.shape == (0, 2)
    assert encoded.windows == ()


# --- the tokenizer file --------------------------------------------------------------------------


def test_padding_and_truncation_written_in_the_file_are_switched_off() -> None:
    tokenizer = Tokenizer.from_buffer(wordpiece_json())
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=100)
    encoder = Encoder(tokenizer.to_str().encode(), max_tokens=16, overlap=4)
    encoded = encoder.encode(Note("n", "pain and fever " * 20))
    pain, and_, fever = (tokenizer.token_to_id(word) for word in ("pain", "and", "fever"))
    assert encoded.ids.tolist() == [pain, and_, fever] * 20


@pytest.mark.parametrize(("kind", "pad"), [("wordpiece", "[PAD]"), ("bytes", "<pad>")])
def test_the_padding_id_is_the_tokenizer_s_own(kind: str, pad: str) -> None:
    assert toy_encoder(kind=kind).pad_id == _tokenizer(kind).token_to_id(pad)


def test_a_tokenizer_without_special_tokens_frames_nothing() -> None:
    parts = json.loads(wordpiece_json())
    parts["post_processor"] = None
    encoder = Encoder(json.dumps(parts).encode(), max_tokens=2, overlap=1)
    encoded = encoder.encode(Note("n", "pain and fever"))
    assert encoder.n_prefix == 0
    ids = [encoder.window_ids(encoded, w).tolist() for w in encoded.windows]
    assert ids == [encoded.ids[i : i + 2].tolist() for i in (0, 1)]


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"not json", wordpiece_json()[:-20]])
def test_a_tokenizer_file_that_cannot_be_read_is_a_defect_of_the_bundle(raw: bytes) -> None:
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot be read") as caught:
        Encoder(raw, max_tokens=16, overlap=4)
    assert caught.value.exit_code == 4


def test_what_the_tokenizer_says_of_its_file_is_not_passed_on() -> None:
    raw = wordpiece_json().replace(b'"WordPiece"', b'"Zebu\\nlon"')
    with pytest.raises(BundleError) as caught:
        Encoder(raw, max_tokens=16, overlap=4)
    assert str(caught.value) == (
        "tokenizer.json cannot be read; copy the bundle again, or export it anew"
    )


def test_a_tokenizer_that_panics_when_it_frames_is_a_defect_of_the_bundle() -> None:
    """A panic in Rust is no ``Exception`` in Python."""
    parts = json.loads(wordpiece_json())
    parts["post_processor"]["special_tokens"].pop("[CLS]")
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot be read"):
        Encoder(json.dumps(parts).encode(), max_tokens=16, overlap=4)


def test_a_tokenizer_that_fails_on_a_note_is_a_defect_of_the_bundle() -> None:
    """It knows no piece for what it cannot spell: tokenizers then raises a bare ``Exception``."""
    parts = json.loads(wordpiece_json())
    parts["model"]["unk_token"] = "[NONE]"
    encoder = Encoder(json.dumps(parts).encode(), max_tokens=16, overlap=4)
    assert len(encoder.encode(Note("n", "pain")).ids) == 1
    with pytest.raises(BundleError) as caught:
        encoder.encode(Note("n", "Zebulon 心"))
    assert str(caught.value) == "note 'n': the bundle's tokenizer cannot read it"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_is_no_defect_of_the_tokenizer_goes_on(monkeypatch, stop: type[BaseException]) -> None:
    encoder = toy_encoder()

    def stopped(_: str) -> None:
        raise stop

    assert encoder._chunks is not None
    monkeypatch.setattr(encoder._chunks, "_encode", stopped)
    with pytest.raises(stop):
        encoder.encode(Note("n", "pain"))


@pytest.mark.parametrize(("max_tokens", "overlap"), [(2, 0), (0, 0), (8, 6), (8, -1)])
def test_windows_without_room_for_text_are_refused(max_tokens: int, overlap: int) -> None:
    with pytest.raises(BundleError, match="have no room for"):
        toy_encoder(max_tokens, overlap)


def test_a_tokenizer_whose_places_run_backwards_is_refused(monkeypatch) -> None:
    encoder = toy_encoder()
    monkeypatch.setattr(encoder, "_chunks", None)

    class Broken:
        def __init__(self, offsets: list[tuple[int, int]]) -> None:
            self.ids, self.offsets = [1] * len(offsets), offsets

        def encode(self, *_: object, **__: object) -> Broken:
            return self

    for offsets in ([(2, 3), (0, 1)], [(0, 9), (1, 3)], [(3, 1)], [(0, 99)], [(-1, 2)]):
        monkeypatch.setattr(encoder, "_tokenizer", Broken(offsets))
        with pytest.raises(BundleError, match="note 'n': the tokenizer gives places") as caught:
            encoder.encode(Note("n", "Zebulon has pain"))
        assert "Zebulon" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("metformin", ["metformin"]),
        ("metformin-induced", ["metformin", "-", "induced"]),
        ("caf\u0065\u0301 noir", ["caf\u0065\u0301", "noir"]),
        ("500mg", ["500mg"]),
        ("a\u200bb", ["a", "b"]),
    ],
)
def test_a_token_opens_a_word_or_goes_on_with_one(text: str, words: list[str]) -> None:
    """A word is a run of letters, digits and marks; pieces that go on with it open none."""
    encoded = toy_encoder(max_tokens=32, overlap=4).encode(Note("n", text))
    begins = encoded.offsets[encoded.opens_word, 0].tolist()
    assert begins == [text.index(word) for word in words]
