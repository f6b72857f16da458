"""Two students made one: a mean of their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from clin_edge.core.errors import InputError
from clin_edge.distill.student import Student, load_student
from clin_edge.distill.words import add_words, words_added


def mix(older: Path, newer: Path, share: float, bias: Mapping[str, float] | None = None) -> Student:
    """Give the student ``newer`` with ``share`` of the weights of ``older``, from which it came.

    What they have in common is mixed: the encoder, and of the head the tags that both know. A
    student that went on learning from other notes keeps so what it knew, at no cost at the edge.
    Words that the newer one was given as it began, the older one is given here, in the same way.

    Args:
        older: A student folder.
        newer: A student folder that training made of it, or of the same start.
        share: How much of the older one, in [0, 1].
        bias: By label, what is added to the logits of its tags: below 0, the label is found less
            often, and more surely.

    Raises:
        InputError: If one is no student, has a CRF, they differ in shape or word pieces, or a
            label is not known.

    Source: Wortsman et al. 2022 (WiSE-FT).
    """
    ours, theirs = load_student(newer), load_student(older)
    for name, student in ((newer, ours), (older, theirs)):
        if student.crf is not None:
            raise InputError(f"{name}: has a CRF; only students without one can be mixed")
    words = words_added(theirs.tokenizer_json, ours.tokenizer_json)
    if words:
        add_words(theirs.model, Tokenizer.from_buffer(theirs.tokenizer_json), words)
    elif words is None and ours.tokenizer_json != theirs.tokenizer_json:
        raise InputError(
            f"{older} and {newer} have other word pieces: one does not come of the other"
        )
    shared = [tag for tag in ours.scheme.tags if tag in theirs.scheme.index]
    into = torch.tensor([ours.scheme.index[tag] for tag in shared])
    of = torch.tensor([theirs.scheme.index[tag] for tag in shared])
    weights, others = ours.model.state_dict(), theirs.model.state_dict()
    prefix = ours.model.base_model_prefix + "."
    for name, weight in weights.items():
        other = others.get(name)
        if name.startswith(prefix):
            if other is None or other.shape != weight.shape:
                raise InputError(f"{older} and {newer} differ in shape, at {name}")
            weights[name] = torch.lerp(weight, other, share)
        elif other is not None and other.shape[1:] == weight.shape[1:]:
            mixed = weight.clone()
            mixed[into] = torch.lerp(weight[into], other[of], share)
            weights[name] = mixed
    ours.model.load_state_dict(weights)
    bias = dict(bias or {})
    for label, added in bias.items():
        if label not in ours.scheme.types:
            raise InputError(f"{label}: the student knows {', '.join(ours.scheme.types)}")
        with torch.no_grad():
            for prefix in ("B", "I"):
                ours.model.classifier.bias[ours.scheme.index[f"{prefix}-{label}"]] += added
    facts = {"mixed_with": older.name, "mixed_share": share, "bias": bias}
    return replace(ours, facts={**ours.facts, **facts})
