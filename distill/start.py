"""Where a student starts: with an encoder of a folder or hub, or none; made smaller if asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification

from clin_edge.core.batching import Batch, pad
from clin_edge.core.encode import Encoder
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.distill.config import Recipe, WidthSettings
from clin_edge.distill.crf import Crf
from clin_edge.distill.encoders import quiet_transformers
from clin_edge.distill.guide import Guide
from clin_edge.distill.scratch import scratch_encoder
from clin_edge.distill.shrinking.layers import keep_layers
from clin_edge.distill.shrinking.vocabulary import prune_vocabulary
from clin_edge.distill.shrinking.width import narrow_encoder
from clin_edge.distill.student import Student, Tagger, new_student
from clin_edge.distill.words import add_words, frequent_words

SCRATCH = "scratch"
N_SEEN = 64  # texts that show which parts of an encoder are used


def start_student(
    recipe: Recipe, encoder: str, texts: Sequence[str], *, prune_to: Iterable[str] | None = None
) -> Student:
    """Give an untrained student as the recipe wants it.

    Args:
        recipe: Labels, shape, seed.
        encoder: A folder, a hub id, or ``scratch``.
        texts: What it is to learn from; a vocabulary may be learnt from it.
        prune_to: If given, pieces that neither ``texts`` nor these use leave the vocabulary.

    Raises:
        InputError: If the encoder cannot be loaded, or a layer that is to be kept does not exist.
    """
    settings, scheme = recipe.train, LabelScheme(recipe.labels)
    if encoder == SCRATCH:
        student = _scratch_student(recipe, scheme, texts)
    else:
        student = new_student(
            encoder,
            scheme,
            max_tokens=recipe.max_tokens,
            overlap=recipe.overlap,
            seed=settings.seed,
            attention_dropout=settings.attention_dropout,
            dropout=settings.dropout,
        )
    student = replace(student, passage_tokens=recipe.passage_tokens)
    if recipe.keep_layers is not None:
        keep_layers(student.model, recipe.keep_layers)
    if recipe.width != WidthSettings():
        seen = _first_windows(student.encoder, texts)
        student = replace(student, model=narrow_encoder(student.model, recipe.width, seen))
    if recipe.words:
        student = _with_words(student, texts, recipe.words)
    if prune_to is None:
        return student
    pruned = prune_vocabulary(student.model, student.tokenizer_json, [*texts, *prune_to])
    facts = {"pieces": pruned.kept, "pieces_before": pruned.before}
    facts = {**student.facts, **facts}
    return replace(student, tokenizer_json=pruned.tokenizer_json, facts=facts)


def start_tagger(recipe: Recipe, student: Student, guide: Guide | None) -> Tagger:
    """Give what is trained of ``student``: its model, and a fresh CRF if the recipe wants one."""
    crf = projection = None
    if recipe.head.kind == "crf":
        crf = Crf(student.scheme, constrained=recipe.head.constrained)
    if guide is not None and guide.width != student.model.config.hidden_size:
        projection = torch.nn.Linear(student.model.config.hidden_size, guide.width)
    return Tagger(student.model, crf, first_pieces=recipe.head.first_pieces, projection=projection)


def _with_words(student: Student, texts: Sequence[str], most: int) -> Student:
    tokenizer = Tokenizer.from_buffer(student.tokenizer_json)
    words = frequent_words(tokenizer, texts, most)
    add_words(student.model, tokenizer, words)
    facts = {**student.facts, "new_words": len(words)}
    return replace(student, tokenizer_json=tokenizer.to_str().encode(), facts=facts)


def _first_windows(encoder: Encoder, texts: Sequence[str]) -> list[Batch]:
    """Give the first window of some of the texts, spread evenly over all."""
    windows = []
    for text in texts[:: max(1, len(texts) // N_SEEN)]:
        encoded = encoder.encode(Note("seen", text))
        windows += [encoder.window_ids(encoded, window) for window in encoded.windows[:1]]
    return [pad([ids], rows=[0], length=len(ids), pad_id=encoder.pad_id) for ids in windows]


def _scratch_student(recipe: Recipe, scheme: LabelScheme, texts: Iterable[str]) -> Student:
    quiet_transformers()
    config, tokenizer_json = scratch_encoder(recipe.scratch, texts, max_tokens=recipe.max_tokens)
    config.num_labels = len(scheme.tags)
    config.id2label = dict(enumerate(scheme.tags))
    config.label2id = dict(scheme.index)
    config.attention_dropout = recipe.train.attention_dropout
    if recipe.train.dropout is not None:
        config.hidden_dropout_prob = recipe.train.dropout
    torch.manual_seed(recipe.train.seed)
    model = AutoModelForTokenClassification.from_config(config)  # type: ignore[no-untyped-call]
    return Student(model, tokenizer_json, scheme, recipe.max_tokens, recipe.overlap, {})
