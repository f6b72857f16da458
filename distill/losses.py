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


def soft_nll(
    log_p: torch.Tensor, soft_log_p: torch.Tensor, learn: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Mean divergence of the student's softened tag probabilities from the teacher's, times T².

    Both are softened alike: the softmax of ``log_p / T``. For a linear head that is the softmax of
    its logits over T; a CRF gives its log-marginals. T² keeps the gradient's size whatever T.

    Args:
        log_p: (B, T, C) float, the student's log-probabilities or logits.
        soft_log_p: (B, T, C) float, the teacher's.
        learn: (B, T) bool, the tokens that count; at least one.
        temperature: T, above 0; 1 leaves the probabilities as they are.

    Returns:
        A scalar, 0 where both agree.

    Source: Hinton et al. 2015, section 2.
    """
    student = torch.log_softmax(log_p[learn].float() / temperature, dim=-1)
    teacher = torch.log_softmax(soft_log_p[learn].float() / temperature, dim=-1)
    divergence = torch.nn.functional.kl_div(
        student, teacher, reduction="batchmean", log_target=True
    )
    return temperature**2 * divergence


def hidden_mse(
    student: torch.Tensor,
    teacher: torch.Tensor,
    learn: torch.Tensor,
    projection: torch.nn.Linear | None,
) -> torch.Tensor:
    """Mean squared difference between a student's hidden states and its teacher's.

    Args:
        student: (B, T, H1) float.
        teacher: (B, T, H2) float.
        learn: (B, T) bool, the tokens that count; at least one.
        projection: Learned along, H1 to H2; None where both are as wide.

    Returns:
        A scalar.

    Source: the hidden-state loss of TinyBERT (Jiao et al., Findings of EMNLP 2020, eq. 8).
    """
    kept = student[learn] if projection is None else projection(student[learn])
    return (kept.float() - teacher[learn].float()).square().mean()
