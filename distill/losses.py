"""What a student is told to make small."""

from __future__ import annotations

import torch


def partial_nll(logits: torch.Tensor, allowed: torch.Tensor, learn: torch.Tensor) -> torch.Tensor:
    """Mean negative log of the probability that a token bears one of its allowed tags.

    With one allowed tag a token this is cross-entropy; with more, whichever the student believes
    in is right, so a source teaches nothing about labels it does not mark.

    Args:
        logits: (B, T, C) float.
        allowed: (B, T, C) bool, at least one a token.
        learn: (B, T) bool, the tokens that count; at least one.

    Returns:
        A scalar.

    Source: the marginal likelihood of partially annotated data (Tsuboi et al., COLING 2008), here
    token by token, without a CRF.
    """
    log_p = torch.log_softmax(logits, dim=-1)
    known = torch.logsumexp(log_p.masked_fill(~allowed, float("-inf")), dim=-1)
    return -known[learn].mean()
