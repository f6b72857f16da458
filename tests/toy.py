"""Toy parts, small enough to follow by hand: two tokenizers, a label scheme, a network.

Nothing here is downloaded, trained or random.
"""

from __future__ import annotations

import string
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from clin_edge.core.batching import Batch
from clin_edge.core.encode import Encoder
from clin_edge.core.labels import LabelScheme

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
def wordpiece_json() -> bytes:
    """A ``tokenizer.json`` as BERT's: lower case, no accents, words and pieces of words.

    Any word of ASCII letters and digits can be spelled; others are ``[UNK]``.
    """
    signs = string.ascii_lowercase + string.digits
    inner = [f"##{sign}" for sign in signs]
    known = [*SPECIAL, *WORDS.split(), *string.punctuation, *signs, *inner]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(known))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
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
    max_tokens: int = MAX_TOKENS, overlap: int = OVERLAP, *, kind: str = "wordpiece"
) -> Encoder:
    """An encoder over a toy tokenizer: ``wordpiece`` or ``bytes``."""
    return Encoder(TOKENIZERS[kind](), max_tokens=max_tokens, overlap=overlap)


def toy_scheme() -> LabelScheme:
    """Three labels, seven tags."""
    return LabelScheme(TYPES)


class ToySession:
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
