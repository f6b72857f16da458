"""Chains of units: the best path through each, and sums over all its paths.

A *unit* bears one tag: a token, or a word. Chains are walked side by side, all first units, then
all second ones, and so on, longest chain first: so the chains that reach a place stand in front
there, none pays for another's length, and a step along all of them costs Python as much as along
one.

What comes out for a chain is the same in any company, to the last bit: units stand on the last axis
of every array, and sums run over the first, in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_TINY = 1e-200


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """What each of C tags scores at each of U units, and each step from one unit to the next.

    The units of B chains stand one chain after another, ``lengths`` (B,) of them, at least 1 each.
    ``scores`` (C, U) are of one float type; ``steps[a, b, k]`` (C, C, K) scores tag b after tag a
    where the unit that is left is of kind k; ``kinds`` (U,) says of which kind each unit is.
    """

    scores: NDArray[Any]
    lengths: NDArray[np.intp]
    steps: NDArray[Any]
    kinds: NDArray[np.intp]

    def only(self, wanted: NDArray[np.bool_]) -> Self:
        """Give a lattice of the chains that are ``wanted`` (B,)."""
        keep = np.repeat(wanted, self.lengths)
        return type(self)(self.scores[:, keep], self.lengths[wanted], self.steps, self.kinds[keep])

    def best_paths(self) -> NDArray[np.intp]:
        """Find the tags (U,) that score the highest sum along each chain.

        Viterbi's algorithm. Where sums are equal to the last bit, that path is taken whose last tag
        is the lowest, then the tag before it, and so on.
        """
        places, strides = self._side_by_side()
        best, kinds = np.empty_like(self.scores), np.empty_like(self.kinds)
        best[:, places], kinds[places] = self.scores, self.kinds
        for left, here in strides:
            sums = self.steps.take(kinds[left], axis=2)
            sums += best[:, None, left]
            reached = best[:, here]
            reached += np.maximum.reduce(sums)
        tags = best.argmax(axis=0)  # right where a chain ends
        for left, here in reversed(strides):
            onward = self.steps[:, tags[here], kinds[left]]
            tags[left] = (best[:, left] + onward).argmax(axis=0)
        return np.asarray(tags[places], dtype=np.intp)

    def log_sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sum the exponentials of all paths' scores, up to and from each tag of each unit.

        The forward-backward algorithm, for scores and steps in float64. The way back is the way
        there along the chain turned round, and both are gone at once.

        Returns:
            Two arrays (C, U) of logarithms: over all ways from the chain's beginning to the tag,
            and over all ways from it to the chain's end. Its own score is part of both.
        """
        n_units = len(self.kinds)
        ends = np.repeat(np.cumsum(self.lengths), self.lengths)
        turned = 2 * ends - np.repeat(self.lengths, self.lengths) - 1 - np.arange(n_units)
        # A step back leaves, in truth, the unit that it leads to.
        kinds_back = self.kinds[np.maximum(turned - 1, 0)] + self.steps.shape[2]
        both = Lattice(
            np.concatenate([self.scores, self.scores[:, turned]], axis=1),
            np.tile(self.lengths, 2),
            np.concatenate([self.steps, self.steps.transpose(1, 0, 2)], axis=2),
            np.concatenate([self.kinds, kinds_back]),
        )
        sums, lost = both._log_sums_there()
        if lost.any():
            sums[:, np.repeat(lost, both.lengths)] = both.only(lost)._log_sums_with_care()
        return sums[:, :n_units], sums[:, n_units:][:, turned]

    def _log_sums_there(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Sum over all ways to each tag of each unit; tell for which chains (B,) this is not exact.

        Numbers are kept between 0 and 1, the highest of each unit 1, so that in a step nothing need
        be exponentiated. A number too small to be kept does no harm, unless all others are as well.
        """
        places, strides = self._side_by_side()
        shares, kinds = np.empty_like(self.scores), np.empty_like(self.kinds)
        shares[:, places], kinds[places] = self.scores, self.kinds
        peak = self.steps.max()
        weights = np.exp(self.steps - peak)
        scale = shares.max(axis=0)
        np.exp(np.subtract(shares, scale, out=shares), out=shares)
        totals, highest = np.ones_like(shares), np.ones_like(scale)
        with np.errstate(divide="ignore", invalid="ignore"):  # where all is lost
            for left, here in strides:
                terms = weights.take(kinds[left], axis=2)
                terms *= shares[:, None, left]
                reached = shares[:, here]
                reached *= np.add.reduce(terms, out=totals[:, here])
                reached /= np.maximum.reduce(reached, out=highest[here])
            tiny = np.asarray(~(totals >= _TINY).all(axis=0))  # too small, or no number
            del totals
            scale += np.log(highest) + peak
            for left, here in strides:
                scale[here] += scale[left]
            np.add(np.log(shares, out=shares), scale - peak, out=shares)
        starts = np.cumsum(self.lengths) - self.lengths
        lost: NDArray[np.bool_] = np.logical_or.reduceat(tiny[places], starts)
        return shares[:, places], lost

    def _log_sums_with_care(self) -> NDArray[np.float64]:
        """Sum over all ways to each tag of each unit, with scores of any size, slowly."""
        places, strides = self._side_by_side()
        sums, kinds = np.empty_like(self.scores), np.empty_like(self.kinds)
        sums[:, places], kinds[places] = self.scores, self.kinds
        for left, here in strides:
            ways = self.steps.take(kinds[left], axis=2)
            ways += sums[:, None, left]
            sums[:, here] += np.logaddexp.reduce(ways)
        return np.asarray(sums[:, places], dtype=np.float64)

    def _side_by_side(self) -> tuple[NDArray[np.intp], list[tuple[slice, slice]]]:
        """Say where each unit goes (U,), and for each step along the chains what it leaves.

        A step is a pair of slices: units that are left, and those of the same chains it leads to.
        """
        order = np.argsort(-self.lengths, kind="stable")
        lengths = self.lengths[order]
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        reach = np.searchsorted(-lengths, -np.arange(lengths[0]))
        begins = np.cumsum(reach) - reach
        starts = np.cumsum(self.lengths) - self.lengths
        along = np.arange(len(self.kinds)) - np.repeat(starts, self.lengths)
        strides = [
            (slice(before, before + n), slice(begin, begin + n))
            for before, begin, n in zip(
                begins.tolist(), begins[1:].tolist(), reach[1:].tolist(), strict=False
            )
        ]
        return begins[along] + np.repeat(rank, self.lengths), strides
