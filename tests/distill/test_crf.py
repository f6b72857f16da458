"""The chain in training, against sums over every sequence of tags there is."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clin_edge.core.labels import LabelScheme
from clin_edge.distill.crf import LOG_P_FORBIDDEN, Chains, Crf

SCHEME = LabelScheme(("A", "B"))
C = len(SCHEME.tags)
B, U = 3, 3
SEEDS = st.integers(0, 10_000)
few = settings(max_examples=15)


def drawn(seed: int, constrained: bool) -> tuple[Crf, torch.Tensor, Chains]:
    """A CRF of large weights, emissions (B, U, C) in float64, and chains of any length and kind."""
    torch.manual_seed(seed)
    crf = Crf(SCHEME, constrained=constrained).double()
    for p in crf.parameters():
        p.data.normal_()
    emissions = 2 * torch.randn(B, U, C, dtype=torch.double)
    lengths = torch.randint(0, U + 1, (B, 1))
    opens = torch.rand(B, U) < 0.6
    at_start = torch.rand(B) < 0.6
    opens[:, 0] |= at_start  # a note's first unit goes on with nothing
    mask = torch.arange(U).expand(B, U) < lengths
    return crf, emissions.requires_grad_(), Chains(mask, opens, at_start, torch.rand(B) < 0.6)


def some_tags(seed: int, share: float = 0.7) -> torch.Tensor:
    """A set of tags for each unit (B, U, C), O among them, so that a path is left."""
    allowed = torch.rand(B, U, C, generator=torch.Generator().manual_seed(seed)) < share
    allowed[..., 0] = True
    return allowed


def breaks_a_rule(path: tuple[int, ...], row: int, chains: Chains) -> bool:
    """Tell if a constrained path is not to be: the rules, as the design words them."""
    tags = [SCHEME.tags[i] for i in path]
    for t, tag in enumerate(tags):
        before = tags[t - 1] if t else None
        goes_on = tag[0] == "I" and before in (f"B-{tag[2:]}", tag)
        if before is None:
            goes_on = tag[0] == "I" and not chains.at_start[row]
        if tag[0] == "I" and not goes_on:
            return True
        if not chains.opens_word[row, t] and not goes_on and (tag, before or "O") != ("O", "O"):
            return True
    return False


def paths(
    crf: Crf, emissions: torch.Tensor, row: int, chains: Chains
) -> dict[tuple[int, ...], float]:
    """Every legal path of a row and its score, one after the other."""
    found = {}
    transitions, start, end = (p.tolist() for p in (crf.transitions, crf.start, crf.end))
    given = emissions[row].tolist()
    for path in itertools.product(range(C), repeat=int(chains.mask[row].sum())):
        if crf.constrained and breaks_a_rule(path, row, chains):
            continue
        score = sum(given[t][tag] for t, tag in enumerate(path))
        score += sum(transitions[a][b] for a, b in itertools.pairwise(path))
        if path and chains.at_start[row]:
            score += start[path[0]]
        if path and chains.at_end[row]:
            score += end[path[-1]]
        found[path] = score
    return found


def chosen(chains: Chains, rows: torch.Tensor) -> Chains:
    """The chains of the given rows, in their order."""
    parts = (chains.mask, chains.opens_word, chains.at_start, chains.at_end)
    return Chains(*(part[rows] for part in parts))


def log_sum(scores: list[float]) -> float:
    """The log of the summed exponentials, ``-inf`` of none."""
    return math.log(sum(map(math.exp, scores))) if scores else -math.inf


@few
@given(SEEDS, st.booleans())
def test_log_partition_sums_over_every_legal_path(seed: int, constrained: bool) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    log_z = crf.log_partition(emissions, chains)
    expected = [log_sum([*paths(crf, emissions, b, chains).values()]) for b in range(B)]
    assert log_z.tolist() == pytest.approx(expected)


@few
@given(SEEDS, st.booleans())
def test_score_of_every_path_is_its_sum_and_minus_inf_if_illegal(
    seed: int, constrained: bool
) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    every = list(itertools.product(range(C), repeat=U))
    for row in range(B):
        legal = paths(crf, emissions, row, chains)
        index = torch.full((len(every),), row)
        scores = crf.score(emissions[index], torch.tensor(every), chosen(chains, index))
        n_units = int(chains.mask[row].sum())
        expected = [legal.get(path[:n_units], -math.inf) for path in every]
        assert scores.tolist() == pytest.approx(expected)


@few
@given(SEEDS, st.booleans())
def test_marginals_are_the_shares_of_the_paths_that_bear_a_tag(
    seed: int, constrained: bool
) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    log_p = crf.log_marginals(emissions, chains)
    for row in range(B):
        found = paths(crf, emissions, row, chains)
        log_z = log_sum([*found.values()])
        for t, tag in itertools.product(range(int(chains.mask[row].sum())), range(C)):
            share = log_sum([score for path, score in found.items() if path[t] == tag]) - log_z
            expected = max(share, LOG_P_FORBIDDEN)
            assert log_p[row, t, tag].item() == pytest.approx(expected, abs=1e-9)


@few
@given(SEEDS, st.booleans(), st.sampled_from((0.0, 0.5, 1.0)))
def test_nll_is_minus_the_log_of_the_allowed_paths_share(
    seed: int, constrained: bool, share: float
) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    allowed = some_tags(seed, share)
    may = allowed.tolist()
    expected = []
    for row in range(B):
        found = paths(crf, emissions, row, chains)
        kept = [
            score
            for path, score in found.items()
            if all(may[row][t][tag] for t, tag in enumerate(path))
        ]
        expected.append(log_sum([*found.values()]) - log_sum(kept))
    assert crf.nll(emissions, allowed, chains).tolist() == pytest.approx(expected, abs=1e-9)


@few
@given(SEEDS, st.booleans())
def test_with_one_tag_a_unit_nll_is_the_usual_loss(seed: int, constrained: bool) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    tags = torch.randint(0, C, (B, U))
    allowed = torch.nn.functional.one_hot(tags, C).bool()
    usual = crf.log_partition(emissions, chains) - crf.score(emissions, tags, chains)
    torch.testing.assert_close(crf.nll(emissions, allowed, chains), usual)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("constrained", [False, True])
def test_gradients_are_those_of_finite_differences(seed: int, constrained: bool) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    allowed = some_tags(seed)
    legal = crf.log_marginals(emissions, chains).detach() > LOG_P_FORBIDDEN
    inputs = (emissions, crf.transitions, crf.start, crf.end)
    assert torch.autograd.gradcheck(
        lambda e, *_: (
            crf.nll(e, allowed, chains),
            crf.log_partition(e, chains),
            crf.log_marginals(e, chains)[legal],
        ),
        inputs,
    )


@few
@given(SEEDS, st.booleans())
def test_the_gradient_of_log_partition_is_the_marginals(seed: int, constrained: bool) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    (gradient,) = torch.autograd.grad(crf.log_partition(emissions, chains).sum(), emissions)
    marginals = crf.log_marginals(emissions, chains).exp() * chains.mask[..., None]
    torch.testing.assert_close(gradient, marginals)


@few
@given(SEEDS, st.booleans())
def test_huge_logits_give_finite_losses_and_gradients(seed: int, constrained: bool) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    crf.float()
    huge = (1e4 * emissions.detach().sign()).float().requires_grad_()
    log_p = crf.log_marginals(huge, chains)
    loss = crf.nll(huge, some_tags(seed), chains)
    assert log_p.isfinite().all()
    assert loss.isfinite().all()
    (loss.sum() + torch.log_softmax(log_p / 2, -1).exp().square().sum()).backward()
    assert all(p.grad.isfinite().all() for p in (huge, *crf.parameters()))


def test_a_sure_and_wrong_student_is_told_so_exactly() -> None:
    crf = Crf(SCHEME, constrained=True)
    emissions = torch.zeros(1, 3, C)
    emissions[..., 0] = 1e4  # O, and nothing like it
    emissions.requires_grad_()
    tags = torch.tensor([[1, 2, 2]])
    allowed = torch.nn.functional.one_hot(tags, C).bool()
    whole = torch.ones(1, dtype=torch.bool)
    chains = Chains(torch.ones(1, 3).bool(), torch.ones(1, 3).bool(), whole, whole)
    loss = crf.nll(emissions, allowed, chains)
    loss.sum().backward()
    assert loss.item() == pytest.approx(3e4, rel=1e-4)
    expected = torch.zeros(1, 3, C)
    expected[..., 0] = 1
    torch.testing.assert_close(emissions.grad, expected - allowed.float())


# --- what must not matter, and what must be seen -------------------------------------------------


@few
@given(SEEDS, st.booleans())
def test_a_row_alone_or_padded_or_elsewhere_is_the_same(seed: int, constrained: bool) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    crf.float()
    logits, allowed = emissions.detach().float(), some_tags(seed)
    losses = crf.nll(logits, allowed, chains)
    log_p = crf.log_marginals(logits, chains)
    order = torch.randperm(B)
    turned = chosen(chains, order)
    torch.testing.assert_close(crf.nll(logits[order], allowed[order], turned), losses[order])
    torch.testing.assert_close(crf.log_marginals(logits[order], turned), log_p[order])
    for row in range(B):
        n = max(int(chains.mask[row].sum()), 1)
        here = torch.tensor([row])
        whole = chosen(chains, here)
        alone = Chains(whole.mask[:, :n], whole.opens_word[:, :n], whole.at_start, whole.at_end)
        loss = crf.nll(logits[here, :n], allowed[here, :n], alone)
        torch.testing.assert_close(loss, losses[here], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            crf.log_marginals(logits[here, :n], alone)[alone.mask],
            log_p[row][chains.mask[row]],
            rtol=1e-5,
            atol=1e-5,
        )


@few
@given(SEEDS, st.booleans())
def test_what_stands_at_padding_has_no_say_and_no_gradient(seed: int, constrained: bool) -> None:
    crf, emissions, chains = drawn(seed, constrained)
    allowed = some_tags(seed)
    losses = crf.nll(emissions, allowed, chains)
    (gradient,) = torch.autograd.grad(losses.sum(), emissions)
    assert (gradient[~chains.mask] == 0).all()
    real = chains.mask[..., None]
    other = torch.where(real, emissions, 50.0)
    torch.testing.assert_close(crf.nll(other, allowed & real, chains), losses)


def test_a_row_without_a_legal_path_is_inf_and_teaches_nothing() -> None:
    torch.manual_seed(0)
    crf = Crf(SCHEME, constrained=True)
    emissions = torch.randn(2, 2, C, requires_grad=True)
    tags = torch.tensor([[0, 2], [0, 0]])  # an I after an O; a path of O
    yes = torch.ones(2, dtype=torch.bool)
    chains = Chains(torch.ones(2, 2).bool(), torch.ones(2, 2).bool(), yes, yes)
    losses = crf.nll(emissions, torch.nn.functional.one_hot(tags, C).bool(), chains)
    assert losses.isfinite().tolist() == [False, True]
    assert losses[0] == math.inf
    losses[losses.isfinite()].mean().backward()
    assert (emissions.grad[0] == 0).all()
    assert emissions.grad[1].isfinite().all()
    assert emissions.grad[1].abs().max() > 0
    free = Crf(SCHEME, constrained=False)
    assert free.nll(emissions, torch.nn.functional.one_hot(tags, C).bool(), chains).isfinite().all()


def test_logits_that_are_no_numbers_do_not_pass_for_an_illegal_row() -> None:
    crf, emissions, chains = drawn(0, True)
    losses = crf.nll(torch.full_like(emissions, math.nan), some_tags(0), chains)
    assert losses[chains.mask[:, 0]].isnan().all()
    assert chains.mask[:, 0].any()


def test_a_word_cut_by_the_window_may_go_on_but_not_open() -> None:
    crf = Crf(SCHEME, constrained=True)
    no = torch.zeros(1, dtype=torch.bool)
    for opens, barred in ((False, [1, 3]), (True, [])):
        chains = Chains(torch.ones(1, 1).bool(), torch.full((1, 1), opens), no, no)
        log_p = crf.log_marginals(torch.zeros(1, 1, C), chains)[0, 0]
        assert (log_p == LOG_P_FORBIDDEN).nonzero().flatten().tolist() == barred


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_half_precision_around_it_changes_nothing(dtype: torch.dtype) -> None:
    crf, emissions, chains = drawn(1, True)
    crf.float()
    logits = emissions.detach().to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        loss, log_p = crf.nll(logits, some_tags(1), chains), crf.log_marginals(logits, chains)
        loss.sum().backward()
    assert loss.dtype == log_p.dtype == torch.float32
    torch.testing.assert_close(loss, crf.nll(logits.float(), some_tags(1), chains))
    torch.testing.assert_close(log_p, crf.log_marginals(logits.float(), chains))
