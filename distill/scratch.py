"""An encoder that was never trained: its shape from a recipe, its vocabulary given or learnt."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import DistilBertConfig

from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.distill.config import ScratchSettings
from clin_edge.distill.encoders import read_tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
INNER = "##"  # before a piece that goes on with a word
ROOM = 512  # positions of DistilBERT, and of the paper's encoder


def scratch_encoder(
    settings: ScratchSettings, texts: Iterable[str], *, max_tokens: int
) -> tuple[DistilBertConfig, bytes]:
    """Give the config of an untrained encoder, without labels, and its ``tokenizer.json``.

    It is DistilBERT's: learned positions, GELU, no token types. Nothing in it is random: the seed
    that is set when a model is made from the config decides the weights. ``texts`` are read only
    if a vocabulary is learnt from them; their order does not matter.

    Raises:
        InputError: If the vocabulary cannot be read, or has no room for the signs of ``texts``.

    Source: the "Transformer" of Belkadi, Han, Wu and Nenadic (2023), without its head.
    """
    if settings.vocabulary:
        tokenizer_json = _read_tokenizer(settings.vocabulary, lowercase=settings.lowercase)
    else:
        tokenizer_json = learn_wordpiece(
            texts, size=settings.vocabulary_size, lowercase=settings.lowercase
        )
    vocab = Tokenizer.from_buffer(tokenizer_json).get_vocab()
    config = DistilBertConfig(
        vocab_size=max(vocab.values()) + 1,
        pad_token_id=Encoder(tokenizer_json, max_tokens=max_tokens, overlap=0).pad_id,
        max_position_embeddings=max(ROOM, max_tokens),
        n_layers=settings.layers,
        dim=settings.hidden,
        n_heads=settings.heads,
        hidden_dim=settings.feed_forward,
    )
    return config, tokenizer_json


def learn_wordpiece(texts: Iterable[str], *, size: int, lowercase: bool) -> bytes:
    """Learn a ``tokenizer.json`` of WordPiece with at most ``size`` pieces; same texts, same bytes.

    Words are cut from the text as BERT does. Every sign of ``texts`` and of ASCII can be spelled;
    other pieces come from what is found at least twice. The special tokens are numbers 0 to 4.

    Raises:
        InputError: If the signs alone are more than ``size``.
    """
    blank = _wordpiece(SPECIAL, lowercase=lowercase)
    normalizer, cutter = blank.normalizer, blank.pre_tokenizer
    cleaned = [normalizer.normalize_str(text) for text in texts]
    ascii_signs = string.ascii_letters + string.digits + string.punctuation
    signs = set(normalizer.normalize_str(ascii_signs)).union(*cleaned)
    outer = sorted(sign for sign in signs if cutter.pre_tokenize_str(sign))
    inner = [INNER + sign for sign in outer if len(cutter.pre_tokenize_str(f"a{sign}a")) == 1]
    if len(SPECIAL) + len(outer) + len(inner) > size:
        raise InputError(
            f"a vocabulary of {size:,} pieces has no room for the {len(outer):,} signs of the "
            "texts; raise vocabulary_size"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=outer,
        # Numbered here, since the trainer numbers inner signs in an order that differs from run to
        # run, and settles ties by number.
        special_tokens=[*SPECIAL, *inner],
        show_progress=False,
    )
    blank.train_from_iterator(cleaned, trainer)
    numbers = blank.get_vocab()
    pieces = sorted(numbers, key=numbers.__getitem__)
    return _wordpiece(pieces, lowercase=lowercase).to_str().encode()


def _read_tokenizer(place: str, *, lowercase: bool) -> bytes:
    """Give the ``tokenizer.json`` that ``place`` stands for, once it reads at least a word."""
    path = Path(place)
    try:
        if path.suffix == ".json":
            tokenizer = Tokenizer.from_buffer(path.read_bytes())
        elif path.suffix == ".txt":
            pieces = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            tokenizer = _wordpiece(pieces, lowercase=lowercase)
        else:
            tokenizer = read_tokenizer(place).backend_tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        read = tokenizer.encode("a", add_special_tokens=False).tokens
    except Exception as error:  # tokenizers raises bare Exception for every defect
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{place}: not a vocabulary ({reason})") from None
    if read in ([], ["[UNK]"], ["<unk>"]):
        raise InputError(f"{place}: not a vocabulary (it has no piece for the letter a)")
    return tokenizer.to_str().encode()


def _wordpiece(pieces: Sequence[str], *, lowercase: bool) -> Tokenizer:
    """Make a tokenizer as BERT's, cased or not; a piece's number is its place in ``pieces``."""
    vocab = {piece: number for number, piece in enumerate(pieces)}
    missing = [name for name in SPECIAL if name not in vocab]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, vocab[name]) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer
