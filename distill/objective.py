"""What a batch costs: the loss on labels, and on what a bigger student says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clin_edge.core.batching import pad
from clin_edge.distill.config import Recipe
from clin_edge.distill.crf import Chains, Crf
from clin_edge.distill.dataset import Example
from clin_edge.distill.guide import Guide
from clin_edge.distill.losses import hidden_mse, partial_nll, soft_nll
from clin_edge.distill.optimization import mixed_precision
from clin_edge.distill.student import Tagger


@dataclass(frozen=True, slots=True, eq=False)
class TrainBatch:
    """Examples laid side by side (B, T, …), padded; see ``Example`` for what each part means."""

    input_ids: Tensor
    attention_mask: Tensor
    allowed: Tensor
    learn: Tensor
    opens_word: Tensor
    at_start: Tensor
    at_end: Tensor
    soft: Tensor | None


def collate(examples: Sequence[Example], *, pad_id: int, device: torch.device) -> TrainBatch:
    """Lay examples into one batch as wide as the longest."""
    width = max(len(example.ids) for example in examples)
    ids = [example.ids for example in examples]
    batch = pad(ids, rows=range(len(examples)), length=width, pad_id=pad_id)
    soft = [example.soft for example in examples if example.soft is not None]

    def wide(parts: Sequence[NDArray[np.generic]], fill: bool | float) -> Tensor:
        shape = (len(parts), width, *parts[0].shape[1:])
        out = np.full(shape, fill, dtype=parts[0].dtype)
        for row, part in enumerate(parts):
            out[row, : len(part)] = part
        return torch.from_numpy(out).to(device)

    return TrainBatch(
        torch.from_numpy(batch.input_ids).to(device),
        torch.from_numpy(batch.attention_mask).to(device),
        wide([example.allowed for example in examples], fill=True),
        wide([example.learn for example in examples], fill=False),
        wide([example.opens_word for example in examples], fill=True),
        torch.tensor([example.at_start for example in examples], device=device),
        torch.tensor([example.at_end for example in examples], device=device),
        wide(soft, fill=0.0) if soft else None,
    )


def batch_loss(tagger: Tagger, batch: TrainBatch, recipe: Recipe, guide: Guide | None) -> Tensor:
    """Give the loss of a batch, a scalar.

    On labels: the mean over tokens, or over a chain's units, of which something is known. Where a
    bigger student is followed, ``SoftSettings`` says how the losses are weighed.
    """
    soft = recipe.soft
    with mixed_precision(batch.input_ids.device, bfloat16=recipe.train.bfloat16):
        out = tagger.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            output_hidden_states=guide is not None,
        )
    logits = out.logits.float()
    if tagger.crf is None:
        labels, log_p, followed, learn = _tokens(logits, batch)
    else:
        units = _Units(batch, first_pieces=tagger.first_pieces)
        labels, log_p, followed, learn = _chain(tagger.crf, logits, batch, units)
    if followed is None:
        return labels
    loss = (1 - soft.weight) * labels
    loss = loss + soft.weight * soft_nll(log_p, followed, learn, soft.temperature)
    if guide is not None:
        hidden = out.hidden_states[-1]
        theirs = guide.hidden(batch.input_ids, batch.attention_mask)
        distance = hidden_mse(hidden, theirs, batch.learn, tagger.projection)
        loss = loss + soft.hidden_weight * distance
    return loss


_Parts = tuple[Tensor, Tensor, Tensor | None, Tensor]


def _tokens(logits: Tensor, batch: TrainBatch) -> _Parts:
    known = batch.learn & ~batch.allowed.all(dim=-1)
    labels = partial_nll(logits, batch.allowed, known) if known.any() else 0.0 * logits.sum()
    return labels, logits, batch.soft, batch.learn


class _Units:
    """Where the chain's units (B, U) lie among a batch's tokens (B, T)."""

    def __init__(self, batch: TrainBatch, *, first_pieces: bool) -> None:
        chosen = batch.learn & batch.opens_word if first_pieces else batch.learn
        counts = chosen.sum(dim=1)
        # Chosen places first, in their order.
        order = torch.argsort((~chosen).to(torch.int8), dim=1, stable=True)
        self._places = order[:, : max(int(counts.max()), 1)]
        n_units = self._places.shape[1]
        self.mask = torch.arange(n_units, device=chosen.device)[None] < counts[:, None]

    def take(self, values: Tensor) -> Tensor:
        """Give the rows of ``values`` (B, T, …) that are units: (B, U, …)."""
        if values.ndim == 2:
            return values.gather(1, self._places)
        places = self._places[..., None].expand(-1, -1, values.shape[-1])
        return values.gather(1, places)


def _chain(crf: Crf, logits: Tensor, batch: TrainBatch, units: _Units) -> _Parts:
    emissions, allowed = units.take(logits), units.take(batch.allowed)
    opens_word = units.take(batch.opens_word)
    chains = Chains(units.mask, opens_word, batch.at_start, batch.at_end)
    known = (units.mask & ~allowed.all(dim=-1)).sum().clamp(min=1)
    labels = crf.nll(emissions, allowed, chains).sum() / known
    if batch.soft is None:
        return labels, emissions, None, units.mask
    return labels, crf.log_marginals(emissions, chains), units.take(batch.soft), units.mask
