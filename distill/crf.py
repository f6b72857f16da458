"""The chain over a note's tags, for training: losses and marginals of many windows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from clin_edge.core.crf import CrfTables
from clin_edge.core.labels import LabelScheme

LOG_P_FORBIDDEN = -1e4
"""The log-marginal given for a tag that no legal path bears: finite, so that sums stay finite."""

_FORBIDDEN = -1e30
_IMPOSSIBLE = -1e29  # below it a summed score holds at least one forbidden step
_OPENS, _GOES_ON, _PADDING = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """Which of B x U places hold a unit, and how the B chains lie in their notes.

    ``mask`` (B, U) bool: real units, the first ones of each row; ``opens_word`` (B, U) bool: false
    for a unit that goes on with the word of the one before (with words as units, all true);
    ``at_start``, ``at_end`` (B,) bool: the chain's first unit is its note's first, its last unit
    its note's last. Elsewhere the border is free: what lies beyond is not known.

    Raises:
        ValueError: If shapes or types do not agree, there is no place at all, or padding comes
            before a unit.
    """

    mask: Tensor
    opens_word: Tensor
    at_start: Tensor
    at_end: Tensor

    def __post_init__(self) -> None:
        """Refuse what is not a batch of chains."""
        parts = (self.mask, self.opens_word, self.at_start, self.at_end)
        shapes = (*[self.mask.shape] * 2, *[self.mask.shape[:1]] * 2)
        if self.mask.ndim != 2 or self.mask.numel() == 0:
            raise ValueError(f"mask has shape {tuple(self.mask.shape)}; expected (B, U), U > 0")
        if any(p.shape != s or p.dtype != torch.bool for p, s in zip(parts, shapes, strict=True)):
            raise ValueError(
                "expected bool tensors: (B, U) mask, opens_word; (B,) at_start, at_end"
            )
        if (self.mask[:, 1:] & ~self.mask[:, :-1]).any():
            raise ValueError("mask: a row's real units come first, then padding")

    def to(self, device: torch.device | str) -> Self:
        """Give the same chains on ``device``."""
        parts = (self.mask, self.opens_word, self.at_start, self.at_end)
        return type(self)(*(part.to(device) for part in parts))


class Crf(nn.Module):
    """A linear-chain CRF over the tags of a scheme.

    ``transitions[a, b]`` (C, C) scores tag b after tag a, ``start`` and ``end`` (C,) score a note's
    first and last tag; all begin uniform in (-0.1, 0.1), so 19 tags have 399 parameters. With
    ``constrained``, tags must obey the scheme and a word's pieces must bear one label or none.
    Without, nothing is forbidden.

    All sums run in float64: a note's score is large beside the differences that matter. Results
    have the emissions' type, but at least float32.

    Source: Lafferty et al., ICML 2001; first values as in Belkadi et al. 2023.

    >>> crf = Crf(LabelScheme(tuple("abcdefghi")), constrained=False)
    >>> sum(p.numel() for p in crf.parameters())
    399
    """

    _rules: Tensor
    _may_start: Tensor
    _may_go_on: Tensor

    def __init__(self, scheme: LabelScheme, *, constrained: bool) -> None:
        """Draw first values from torch's generator."""
        super().__init__()
        n_tags = len(scheme.tags)
        self.constrained = constrained
        self.transitions = nn.Parameter(torch.empty(n_tags, n_tags).uniform_(-0.1, 0.1))
        self.start = nn.Parameter(torch.empty(n_tags).uniform_(-0.1, 0.1))
        self.end = nn.Parameter(torch.empty(n_tags).uniform_(-0.1, 0.1))

        follows = torch.ones((n_tags, n_tags), dtype=torch.bool)
        goes_on, may_start, may_go_on = follows, follows[0], follows[0]
        if constrained:
            follows = torch.from_numpy(scheme.allowed)
            goes_on = torch.zeros_like(follows)
            goes_on[0, 0] = True
            inside = torch.arange(2, n_tags, 2)
            goes_on[inside - 1, inside] = goes_on[inside, inside] = True
            may_start = torch.from_numpy(scheme.allowed_first)
            may_go_on = goes_on.any(0)
        rules = torch.stack([follows, goes_on, torch.eye(n_tags, dtype=torch.bool)])
        self.register_buffer("_rules", rules, persistent=False)
        self.register_buffer("_may_start", may_start, persistent=False)
        self.register_buffer("_may_go_on", may_go_on, persistent=False)

    def nll(self, emissions: Tensor, allowed: Tensor, chains: Chains) -> Tensor:
        """Give minus the log-probability (B,) that a chain bears only allowed tags.

        With one allowed tag a unit this is the usual CRF loss; with more, whichever path the
        student believes in is right. It is ``inf``, without any gradient, for a row where no legal
        path keeps to the allowed tags, and 0 for a row without units. Logits that are not numbers
        give a loss that is none.

        Args:
            emissions: (B, U, C) float logits.
            allowed: (B, U, C) bool.
            chains: What the B x U places are.

        Source: the marginal likelihood of partially annotated data (Tsuboi et al., COLING 2008).
        """
        scores = emissions.double()
        both = torch.cat([scores, scores.masked_fill(~allowed, _FORBIDDEN)])
        z_all, z_allowed = self._log_partition(both, _twice(chains)).chunk(2)
        loss = torch.where(z_allowed < _IMPOSSIBLE, torch.inf, z_all - z_allowed)
        return loss.to(_at_least_float32(emissions))

    def log_partition(self, emissions: Tensor, chains: Chains) -> Tensor:
        """Give the log (B,) of the summed exponentials of all legal paths' scores."""
        log_z = self._log_partition(emissions.double(), chains)
        return log_z.to(_at_least_float32(emissions))

    def score(self, emissions: Tensor, tags: Tensor, chains: Chains) -> Tensor:
        """Give the summed score (B,) of one path a row, ``-inf`` if it breaks a rule.

        Args:
            emissions: (B, U, C) float logits.
            tags: (B, U) int64; what stands at padding means nothing.
            chains: What the B x U places are.
        """
        hot = nn.functional.one_hot(tags.masked_fill(~chains.mask, 0), emissions.shape[-1])
        only = emissions.double().masked_fill(~hot.bool(), _FORBIDDEN)
        score = self._log_partition(only, chains)
        score = torch.where(score > _IMPOSSIBLE, score, -torch.inf)
        return score.to(_at_least_float32(emissions))

    def log_marginals(self, emissions: Tensor, chains: Chains) -> Tensor:
        """Give the log-probability (B, U, C) of each tag of each unit, over all legal paths.

        ``LOG_P_FORBIDDEN`` stands for a tag that no legal path bears there, and has no gradient.
        What is given at padding means nothing, but is finite.
        """
        units, kinds = self._units(emissions.double(), chains), _kinds(chains)
        ahead = units[:, -1] + self._end(chains)
        backward = torch.cat([ahead[:, None], units[:, :-1].flip(1)], dim=1)
        # The step from place t + 1 back to t is that from t to t + 1, the other way round.
        kinds_back = kinds.flip(1).roll(1, 1) + 3
        steps = self._steps()
        sums: Tensor = _Sums.apply(  # type: ignore[no-untyped-call]
            torch.cat([units, backward]),
            torch.cat([steps, steps.transpose(1, 2)]),
            torch.cat([kinds, kinds_back]),
        )
        before, after = sums.chunk(2)
        log_p = torch.log_softmax(before + after.flip(1) - units, dim=-1)
        log_p = torch.where(log_p > _IMPOSSIBLE, log_p, LOG_P_FORBIDDEN)
        return log_p.to(_at_least_float32(emissions))

    def tables(self, *, first_pieces: bool) -> CrfTables:
        """Give what was learnt, as the runtime reads it."""
        learnt = (self.transitions, self.start, self.end)
        transitions, start, end = (p.detach().float().cpu().numpy().copy() for p in learnt)
        return CrfTables(transitions, start, end, first_pieces, self.constrained)

    def load(self, tables: CrfTables) -> None:
        """Take over learned tables.

        Raises:
            ValueError: If they are of another number of tags, or constrained otherwise.
        """
        if tables.start.shape != self.start.shape or tables.constrained != self.constrained:
            raise ValueError(
                f"tables of {len(tables.start)} tags, constrained {tables.constrained}; expected "
                f"{len(self.start)}, {self.constrained}"
            )
        with torch.no_grad():
            self.transitions.copy_(torch.from_numpy(tables.transitions))
            self.start.copy_(torch.from_numpy(tables.start))
            self.end.copy_(torch.from_numpy(tables.end))

    def _log_partition(self, scores: Tensor, chains: Chains) -> Tensor:
        sums: Tensor = _Sums.apply(  # type: ignore[no-untyped-call]
            self._units(scores, chains), self._steps(), _kinds(chains)
        )
        log_z = torch.logsumexp(sums[:, -1] + self._end(chains), dim=-1)
        return torch.where(chains.mask[:, 0], log_z, 0.0)  # without units: the empty path alone

    def _units(self, scores: Tensor, chains: Chains) -> Tensor:
        """Give what each unit adds (B, U, C), its note's start included; nothing at padding."""
        units = scores.masked_fill(~chains.mask[..., None], 0.0)
        at_start = chains.at_start[:, None]
        may = torch.where(at_start, self._may_start, self._may_go_on | chains.opens_word[:, :1])
        start = torch.where(at_start, self.start.double(), 0.0).masked_fill(~may, _FORBIDDEN)
        return torch.cat([units[:, :1] + start[:, None], units[:, 1:]], dim=1)

    def _end(self, chains: Chains) -> Tensor:
        return torch.where(chains.at_end[:, None], self.end.double(), 0.0)

    def _steps(self) -> Tensor:
        """Give the score of each step (3, C, C), by what kind of place it leads to."""
        steps = self.transitions.double().expand(3, -1, -1).clone()
        steps[_PADDING] = 0.0
        return steps.masked_fill(~self._rules, _FORBIDDEN)


class _Sums(torch.autograd.Function):
    """Log-sums over all paths up to each place: the forward algorithm, without autograd's tape.

    ``sums[:, t, b] = units[:, t, b] + logsumexp_a(sums[:, t - 1, a] + steps[kinds[:, t], a, b])``.
    The tape of one step after another costs more than the sums; the way back is one loop too.
    """

    @staticmethod
    def forward(ctx: Any, units: Tensor, steps: Tensor, kinds: Tensor) -> Tensor:
        added = units.transpose(0, 1).unbind()
        sums = [added[0]]
        turned = steps.transpose(1, 2).contiguous()
        for unit, kind in zip(added[1:], kinds.T[1:].unbind(), strict=True):
            sums.append(torch.logsumexp(sums[-1][:, None] + turned[kind], dim=2) + unit)
        out = torch.stack(sums, dim=1)
        ctx.save_for_backward(out, steps, kinds)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor, None]:
        sums, steps, kinds = ctx.saved_tensors
        kinds_after = kinds.T[1:]
        # How much of each sum came by which step; a softmax stays finite whatever is forbidden.
        shares = torch.softmax(sums.transpose(0, 1)[:-1, :, :, None] + steps[kinds_after], dim=2)
        grads = list(given.transpose(0, 1)[..., None].unbind())
        for t in range(len(grads) - 1, 0, -1):
            grads[t - 1] = torch.baddbmm(grads[t - 1], shares[t - 1], grads[t])
        units = torch.stack(grads).squeeze(-1)
        taken = (shares * units[1:, :, None, :]).flatten(0, 1).flatten(1)
        hot = nn.functional.one_hot(kinds_after.flatten(), len(steps)).to(taken.dtype)
        return units.transpose(0, 1), (hot.T @ taken).view_as(steps), None


def _kinds(chains: Chains) -> Tensor:
    """Say what kind of place each is (B, U)."""
    kinds = torch.where(chains.opens_word, _OPENS, _GOES_ON)
    return kinds.masked_fill(~chains.mask, _PADDING)


def _twice(chains: Chains) -> Chains:
    parts = (chains.mask, chains.opens_word, chains.at_start, chains.at_end)
    return Chains(*(torch.cat([part, part]) for part in parts))


def _at_least_float32(emissions: Tensor) -> torch.dtype:
    return torch.promote_types(emissions.dtype, torch.float32)
