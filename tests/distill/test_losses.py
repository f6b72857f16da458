"""What a student learns by, against known losses and against sums written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.distill.losses import hidden_mse, partial_nll, soft_nll

B, T, C = 2, 5, 7


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, allowed tags and learnt tokens that agree with what the loss asks of them."""
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(0, 3, (B, T, C)), dtype=torch.float64, requires_grad=True)
    allowed = rng.random((B, T, C)) < rng.random()
    allowed[np.arange(B)[:, None], np.arange(T), rng.integers(0, C, (B, T))] = True
    learn = rng.random((B, T)) < 0.7
    learn[rng.integers(B), rng.integers(T)] = True
    return logits, torch.tensor(allowed), torch.tensor(learn)


SEEDS = st.integers(0, 10_000)


@given(SEEDS)
def test_with_one_allowed_tag_a_token_it_is_cross_entropy(seed: int) -> None:
    logits, _, learn = drawn(seed)
    tags = torch.tensor(np.random.default_rng(seed).integers(0, C, (B, T)))
    loss = partial_nll(logits, torch.nn.functional.one_hot(tags, C).bool(), learn)
    (ours,) = torch.autograd.grad(loss, logits)
    usual = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), tags.masked_fill(~learn, -100).flatten(), ignore_index=-100
    )
    (theirs,) = torch.autograd.grad(usual, logits)
    torch.testing.assert_close(loss, usual)
    torch.testing.assert_close(ours, theirs)


@given(SEEDS)
def test_it_is_the_mean_over_learnt_tokens_of_minus_log_of_the_allowed_share(seed: int) -> None:
    logits, allowed, learn = drawn(seed)
    losses = []
    for b in range(B):
        for t in range(T):
            if learn[b, t]:
                parts = [math.exp(x) for x in logits[b, t].tolist()]
                known = sum(p for p, ok in zip(parts, allowed[b, t].tolist(), strict=True) if ok)
                losses.append(-math.log(known / sum(parts)))
    loss = partial_nll(logits, allowed, learn)
    assert loss.item() == pytest.approx(sum(losses) / len(losses))
    assert loss.ndim == 0


@given(SEEDS)
def test_tokens_that_are_not_learnt_have_no_gradient_and_no_say(seed: int) -> None:
    logits, allowed, learn = drawn(seed)
    loss = partial_nll(logits, allowed, learn)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[~learn] == 0).all()
    other = torch.where(learn[..., None], logits, torch.full_like(logits, 50.0))
    assert partial_nll(other, allowed, learn).item() == loss.item()


@given(SEEDS)
def test_allowed_tags_are_not_set_against_each_other(seed: int) -> None:
    """The gradient keeps the odds between allowed tags, and those between forbidden ones.

    It moves each allowed tag by its share of what is allowed: -(p / known - p), others by p.
    """
    logits, allowed, learn = drawn(seed)
    (gradient,) = torch.autograd.grad(partial_nll(logits, allowed, learn), logits)
    p = torch.softmax(logits.detach(), -1)
    known = (p * allowed).sum(-1, keepdim=True)
    expected = torch.where(allowed, p - p / known, p) / learn.sum()
    expected[~learn] = 0
    torch.testing.assert_close(gradient, expected)
    assert (gradient[learn][allowed[learn]] <= 1e-12).all()
    assert (gradient[learn][~allowed[learn]] >= 0).all()


def test_equal_logits_of_allowed_tags_get_equal_gradients() -> None:
    logits = torch.zeros((1, 1, C), requires_grad=True)
    allowed = torch.tensor([[[True, False, False, True, True, False, False]]])
    loss = partial_nll(logits, allowed, torch.tensor([[True]]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(C / 3))
    assert len(set(logits.grad[0, 0, [0, 3, 4]].tolist())) == 1


def test_where_everything_is_allowed_nothing_is_learnt() -> None:
    logits, _, learn = drawn(0)
    loss = partial_nll(logits, torch.ones((B, T, C), dtype=torch.bool), learn)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-12


def test_a_student_that_is_sure_and_wrong_still_gets_a_finite_gradient() -> None:
    logits = torch.tensor([[[1000.0, 0.0, 0.0]]], requires_grad=True)
    loss = partial_nll(logits, torch.tensor([[[False, True, True]]]), torch.tensor([[True]]))
    loss.backward()
    assert loss.item() == pytest.approx(1000 - math.log(2), rel=1e-4)
    assert logits.grad.flatten().tolist() == pytest.approx([1.0, -0.5, -0.5], rel=1e-4)


# --- soft labels ---------------------------------------------------------------------------------


@given(SEEDS, st.sampled_from((0.5, 1.0, 2.0, 8.0)))
def test_the_soft_loss_is_the_divergence_of_softened_probabilities(seed: int, t: float) -> None:
    student, _, learn = drawn(seed)
    teacher = drawn(seed + 1)[0].detach()
    total = 0.0
    for row in learn.nonzero().tolist():
        theirs = [math.exp(x / t) for x in teacher[tuple(row)].tolist()]
        ours = [math.exp(x / t) for x in student[tuple(row)].tolist()]
        for p, q in zip(theirs, ours, strict=True):
            total += p / sum(theirs) * math.log(p / sum(theirs) / (q / sum(ours)))
    expected = t**2 * total / int(learn.sum())
    assert soft_nll(student, teacher, learn, t).item() == pytest.approx(expected, rel=1e-4)
    shifted = torch.log_softmax(student, dim=-1)
    assert soft_nll(shifted, teacher, learn, t).item() == pytest.approx(expected, rel=1e-4)


@given(SEEDS)
def test_a_student_like_its_teacher_has_no_soft_loss_and_no_gradient(seed: int) -> None:
    student, _, learn = drawn(seed)
    loss = soft_nll(student, student.detach() + 3, learn, 2.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert gradient.abs().max() < 1e-5


@given(SEEDS, st.sampled_from((1.0, 4.0)))
def test_the_soft_gradient_is_t_times_the_difference_of_probabilities(seed: int, t: float) -> None:
    student, _, learn = drawn(seed)
    teacher = drawn(seed + 1)[0].detach()
    (gradient,) = torch.autograd.grad(soft_nll(student, teacher, learn, t), student)
    expected = t * (torch.softmax(student / t, -1) - torch.softmax(teacher / t, -1)) / learn.sum()
    expected[~learn] = 0
    torch.testing.assert_close(gradient, expected.detach(), rtol=1e-4, atol=1e-6)


def test_tags_that_both_forbid_do_not_spoil_the_soft_loss() -> None:
    log_p = torch.tensor([[[0.0, -1e4]]], requires_grad=True)
    loss = soft_nll(log_p, torch.tensor([[[0.0, -1e4]]]), torch.tensor([[True]]), 1.0)
    loss.backward()
    assert loss.item() == 0
    assert log_p.grad.isfinite().all()


# --- hidden states -------------------------------------------------------------------------------


@given(SEEDS)
def test_the_hidden_loss_is_the_mean_squared_difference_over_learnt_tokens(seed: int) -> None:
    student, _, learn = drawn(seed)
    teacher = drawn(seed + 1)[0].detach()
    expected = np.square((student - teacher).detach().numpy()[learn.numpy()]).mean()
    loss = hidden_mse(student, teacher, learn, None)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    (gradient,) = torch.autograd.grad(loss, student)
    assert (gradient[~learn] == 0).all()


def test_a_narrow_student_is_compared_after_a_projection_that_learns() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(B, T, 3), torch.randn(B, T, 4)
    learn = torch.ones((B, T), dtype=torch.bool)
    projection = torch.nn.Linear(3, 4)
    loss = hidden_mse(student, teacher, learn, projection)
    loss.backward()
    widened = student @ projection.weight.T + projection.bias
    assert loss.item() == pytest.approx(((widened - teacher) ** 2).mean().item())
    assert projection.weight.grad.abs().max() > 0
    with pytest.raises(RuntimeError):
        hidden_mse(student, teacher, learn, None)
