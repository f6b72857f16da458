"""Guessing hidden pieces beside tags: what a masked language model learns, learnt on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class Guesser(torch.nn.Module):
    """A head that says which piece stands where one is hidden; it is gone when training is over.

    Its last product is tied to the student's embeddings, so that what it learns of a piece the
    student knows too.

    Source: the head of Devlin et al. 2019, in google-research/bert ``get_masked_lm_output``.
    """

    def __init__(self, model: Any) -> None:
        """Suit a token classifier of transformers."""
        super().__init__()
        n_pieces, width = model.get_input_embeddings().weight.shape
        self.dense = torch.nn.Linear(model.config.hidden_size, width)
        self.norm = torch.nn.LayerNorm(width)
        self.bias = torch.nn.Parameter(torch.zeros(n_pieces))

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """Give scores (K, V) for hidden states (K, H), given the embeddings (V, E)."""
        wanted = self.norm(functional.gelu(self.dense(states)))
        return functional.linear(wanted, table, self.bias)


def guess_loss(guesser: Guesser, model: Any, states: Tensor, guess: Tensor) -> Tensor:
    """Give the mean cross-entropy, in nats, of the pieces that were hidden; 0 if none was.

    Args:
        guesser: The head.
        model: The student it belongs to.
        states: (B, T, H), its last hidden states.
        guess: (B, T) int64, the pieces to guess, -1 where none is.
    """
    at = guess >= 0
    if not at.any():
        return 0.0 * states.sum()
    scores = guesser(states[at], model.get_input_embeddings().weight)
    return functional.cross_entropy(scores.float(), guess[at])
