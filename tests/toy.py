"""Toy parts, small enough to follow by hand: two tokenizers, a label scheme, a network.

Nothing here is downloaded, trained or random.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from clin_edge.core.batching import Batch, Session
from clin_edge.core.bundle import Bundle, write_bundle
from clin_edge.core.crf import CrfTables
from clin_edge.core.encode import Encoder
from clin_edge.core.labels import LabelScheme
from clin_edge.core.manifest import Manifest

if TYPE_CHECKING:
    from onnx import ModelProto

TYPES = ("MEDICATION", "DISEASE", "SYMPTOM")
MAX_TOKENS = 16
OVERLAP = 4

WORDS = """
patient takes took denies reports has had with without for and or of in on at the a no not
metformin aspirin warfarin heparin insulin lisinopril ibuprofen amoxicillin
diabetes hypertension asthma pneumonia anaemia stroke
pain nausea fever cough headache rash dyspnoea
mg mcg ml units tablet capsule daily twice weekly oral iv
chest severe acute chronic mild discharge admission history
met ##formin ##itis hyper ##tension anti ##biotic ##s ##ing ##ed
"""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@cache
def wordpiece_json(*, cased: bool = False) -> bytes:
    """A ``tokenizer.json`` as BERT's: words and pieces of words; lower case and no accents, or not.

    Any word of ASCII letters and digits can be spelled; others are ``[UNK]``.
    """
    signs = (string.ascii_letters if cased else string.ascii_lowercase) + string.digits
    inner = [f"##{sign}" for sign in signs]
    known = [*SPECIAL, *WORDS.split(), *string.punctuation, *signs, *inner]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(known))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocab[name]) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer.to_str().encode()


@cache
def bytes_json() -> bytes:
    """A ``tokenizer.json`` as RoBERTa's: every byte is a token, some pairs of them are merged.

    A character of several bytes is several tokens with the same offsets; a space that belongs to
    no word is a token without characters.
    """
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    merges = [("m", "e"), ("me", "t"), ("i", "n"), ("Ġ", "m"), ("Ġ", "Ġ"), ("Ġm", "g")]
    pieces = [*names, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", vocab["</s>"]),
        ("<s>", vocab["<s>"]),
        trim_offsets=True,
        add_prefix_space=False,
    )
    tokenizer.add_special_tokens(names)
    return tokenizer.to_str().encode()


TOKENIZERS = {"wordpiece": wordpiece_json, "bytes": bytes_json}


def toy_encoder(
    max_tokens: int = MAX_TOKENS,
    overlap: int = OVERLAP,
    *,
    kind: str = "wordpiece",
    passage_tokens: int = 0,
) -> Encoder:
    """An encoder over a toy tokenizer: ``wordpiece`` or ``bytes``."""
    return Encoder(
        TOKENIZERS[kind](), max_tokens=max_tokens, overlap=overlap, passage_tokens=passage_tokens
    )


def toy_scheme() -> LabelScheme:
    """Three labels, seven tags."""
    return LabelScheme(TYPES)


def toy_crf(*, first_pieces: bool = False, constrained: bool = True) -> CrfTables:
    """A CRF over the tags of ``toy_scheme``: tables that look arbitrary, in eighths."""
    n_tags = 2 * len(TYPES) + 1
    numbers = np.arange(n_tags * (n_tags + 2)) * 29 % 23
    tables = ((numbers - 11) / 8).astype(np.float32).reshape(-1, n_tags)
    return CrfTables(tables[2:], tables[0], tables[1], first_pieces, constrained)


class ToySession(Session):
    """A network whose logits are a fixed function of each token, whatever the padding.

    With ``context`` they also depend on the token's neighbours and its place in the window, as a
    real network's do: then a row kept from the wrong window, or the wrong row, is another row.
    ``shapes`` remembers the shape of each batch.
    """

    def __init__(self, n_tags: int = 2 * len(TYPES) + 1, *, context: bool = False) -> None:
        self.n_tags = n_tags
        self.context = context
        self.shapes: list[tuple[int, int]] = []

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Logits (B, T, C)."""
        self.shapes.append(batch.input_ids.shape)
        ids = batch.input_ids * batch.attention_mask
        logits = self._of(ids)
        if self.context:
            n_tokens = batch.attention_mask.sum(axis=1, keepdims=True)
            places = np.arange(ids.shape[1])
            logits[:, 1:] += 0.5 * self._of(ids[:, :-1])
            logits[:, :-1] += 0.25 * self._of(ids[:, 1:]) * batch.attention_mask[:, 1:, None]
            logits += 0.1 * self._of(places[None] + 64 * n_tokens)
        # Where the mask is 0 a network may say anything, and does.
        logits[batch.attention_mask == 0] = 1e3
        return logits.astype(np.float32)

    def _of(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Numbers in [-4, 4) that look arbitrary, in eighths: their sums are exact."""
        mixed = (ids[..., None] + 1) * (2 * np.arange(self.n_tags) + 7919) * 2654435761
        return ((mixed >> 13) % 64 - 32) / 8


# --- a real bundle -------------------------------------------------------------------------------
# A network of real engines: each token has a row of a table, and a word or two of its neighbours.
#     masked = table[input_ids] * attention_mask;  logits = masked @ tags + sum(masked) @ context
# All weights are whole multiples of 1/512 and small, so every sum is exact in float32, in any
# order: an engine's answer must be that of numpy to the last bit, whatever the shape or machine.

N_HIDDEN = 2 * len(TYPES) + 2
OPENS = {
    "MEDICATION": "metformin aspirin warfarin heparin insulin lisinopril ibuprofen amoxicillin met",
    "DISEASE": "diabetes hypertension asthma pneumonia anaemia stroke",
    "SYMPTOM": "chest nausea fever cough headache rash dyspnoea",
}
CONTINUES = {"MEDICATION": "##formin ##ing", "DISEASE": "##itis", "SYMPTOM": "pain"}


@cache
def toy_weights() -> dict[str, NDArray[np.float32]]:
    """``table`` (V, H), ``tags`` (H, C) and ``context`` (H, C), float32.

    It finds the words of ``OPENS`` surely, those of ``CONTINUES`` surely after one of the same
    label and weakly elsewhere: "chest pain" is one symptom, "pain" alone one with a low score.
    """
    vocab = Tokenizer.from_buffer(wordpiece_json()).get_vocab()
    table = np.zeros((len(vocab), N_HIDDEN), np.float32)
    table[:, 0] = 4
    table[:, -1] = (np.arange(len(vocab)) * 37 % 17 - 8) / 8
    for i, label in enumerate(TYPES):
        for word in OPENS[label].split():
            table[vocab[word], [0, 1 + 2 * i]] = -2, 6
        for word in CONTINUES[label].split():
            table[vocab[word], [0, 1 + 2 * i, 2 + 2 * i]] = 2, 4, 6
    tags = np.eye(N_HIDDEN, N_HIDDEN - 1, dtype=np.float32)
    context = np.zeros_like(tags)
    context[-1] = (np.arange(N_HIDDEN - 1) * 5 % 7 - 3) / 64
    return {"table": table, "tags": tags, "context": context}


def toy_logits(batch: Batch) -> NDArray[np.float32]:
    """What the network of ``toy_bundle`` says, in numpy: logits (B, T, C)."""
    weights = toy_weights()
    masked = weights["table"][batch.input_ids] * batch.attention_mask[..., None].astype(np.float32)
    summed = masked.sum(axis=1, keepdims=True)
    return masked @ weights["tags"] + summed @ weights["context"]


@cache
def toy_openvino() -> dict[str, bytes]:
    """``model.xml`` and ``model.bin`` of the toy network."""
    import openvino as ov
    from openvino import opset13 as ops

    weights = toy_weights()
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    mask = ops.parameter([-1, -1], np.int64, name="attention_mask")
    rows = ops.gather(ops.constant(weights["table"]), ids, ops.constant(np.int64(0)))
    wide = ops.unsqueeze(ops.convert(mask, "f32"), ops.constant(np.array([2])))
    masked = ops.multiply(rows, wide)
    summed = ops.reduce_sum(masked, ops.constant(np.array([1])), keep_dims=True)
    by_token = ops.matmul(masked, ops.constant(weights["tags"]), False, False)
    by_window = ops.matmul(summed, ops.constant(weights["context"]), False, False)
    logits = ops.add(by_token, by_window)
    for node, name in ((ids, "input_ids"), (mask, "attention_mask"), (logits, "logits")):
        node.output(0).get_tensor().set_names({name})
    model = ov.Model([logits], [ids, mask], "toy")
    with TemporaryDirectory() as folder:
        ov.save_model(model, Path(folder, "model.xml"), compress_to_fp16=False)
        return {name: Path(folder, name).read_bytes() for name in ("model.xml", "model.bin")}


def toy_onnx_proto() -> ModelProto:
    """The toy network as a fresh ONNX message."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {**toy_weights(), "two": np.array([2]), "one": np.array([1])}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["wide"]),
        helper.make_node("Mul", ["rows", "wide"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "one"], ["summed"], keepdims=1),
        helper.make_node("MatMul", ["masked", "tags"], ["by_token"]),
        helper.make_node("MatMul", ["summed", "context"], ["by_window"]),
        helper.make_node("Add", ["by_token", "by_window"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "T", N_HIDDEN - 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@cache
def toy_onnx() -> dict[str, bytes]:
    """``model.onnx`` of the toy network."""
    return {"model.onnx": toy_onnx_proto().SerializeToString()}


TOY_MODELS = {"openvino": toy_openvino, "onnxruntime": toy_onnx}


def toy_manifest(*engines: str, **changes: object) -> Manifest:
    """The manifest of a toy bundle, without its list of files."""
    fields: dict[str, Any] = {
        "name": "toy",
        "version": "1",
        "scheme": toy_scheme(),
        "max_tokens": MAX_TOKENS,
        "overlap": OVERLAP,
        "engines": engines,
        "precision": "fp32",
        "files": {},
    }
    return Manifest(**{**fields, **changes})


def toy_bundle(
    folder: Path,
    *engines: str,
    files: Mapping[str, bytes] | None = None,
    **changes: object,
) -> Bundle:
    """Write a real bundle with the toy tokenizer and the toy network, and open it.

    Args:
        folder: Where.
        engines: ``openvino`` (if none is named), ``onnxruntime``, or both.
        files: Instead of, or beside, the files it would have.
        changes: Fields of the manifest.
    """
    engines = engines or ("openvino",)
    all_files = {"tokenizer.json": wordpiece_json()}
    for engine in engines:
        all_files |= TOY_MODELS[engine]()
    manifest = toy_manifest(*engines, **changes)
    return write_bundle(folder, manifest, {**all_files, **(files or {})})
