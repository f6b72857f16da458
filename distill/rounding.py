"""Linear layers that compute with numbers rounded as INT8 rounds them: a student learns to bear it.

Source: quantisation-aware training with a straight-through estimator (Jacob et al. 2018); channels
with outliers hand part of them to the weights (SmoothQuant, Xiao et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

SMOOTH_QUANT = 0.8
ACTIVATION_STEPS = 255
WEIGHT_STEPS = 64  # within 7 bits, so that no CPU's 16-bit sums of two products overflow


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The numbers that one layer's inputs and weights are rounded to.

    Attributes:
        step: The distance of neighbours, by input channel (I,).
        lowest: How many steps below 0 an input can lie; not above 0.
        highest: How many above.
        weight: The weights (O, I), rounded.
    """

    step: Tensor
    lowest: Tensor
    highest: Tensor
    weight: Tensor

    def inputs(self, values: Tensor) -> Tensor:
        """Round inputs (..., I); those beyond the grid become its ends."""
        levels = torch.clamp((values / self.step).round_(), self.lowest, self.highest)
        return levels.mul_(self.step)


@torch.no_grad()
def fit_grid(
    low: Tensor,
    high: Tensor,
    weight: Tensor,
    *,
    smooth_quant: float = SMOOTH_QUANT,
    weight_steps: int = WEIGHT_STEPS,
) -> Grid:
    """Give the grid for inputs from ``low`` to ``high``, by channel (I,), and weights (O, I).

    Inputs have 256 levels over their range once outliers are shifted into the weights, 0 among
    them; weights are symmetric by output channel, ``weight_steps`` to each side.
    """
    large = torch.maximum(low.abs(), high.abs()).clamp(min=1e-5)
    shift = large**smooth_quant / weight.abs().amax(0).clamp(min=1e-5) ** (1 - smooth_quant)
    least, most = (low / shift).amin().clamp(max=0), (high / shift).amax().clamp(min=0)
    step = (most - least).clamp(min=1e-12) / ACTIVATION_STEPS
    lowest = torch.round(least / step)
    scaled = weight * shift
    unit = scaled.abs().amax(1, keepdim=True).clamp(min=1e-12) / weight_steps
    rounded = torch.clamp(torch.round(scaled / unit), -weight_steps, weight_steps) * unit / shift
    return Grid(shift * step, lowest, lowest + ACTIVATION_STEPS, rounded)


def round_while_training(model: torch.nn.Module) -> None:
    """Let a model's linear layers round their inputs and weights whenever it is in training mode.

    Ranges are those of the batch at hand. Gradients pass as if nothing were rounded. Parameters
    keep their names and full precision, and in evaluation mode nothing is rounded.
    """
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.forward = _rounding(layer)  # type: ignore[method-assign]


def _rounding(layer: torch.nn.Linear) -> Any:
    def forward(values: Tensor) -> Tensor:
        if not layer.training:
            return linear(values, layer.weight, layer.bias)
        low, high = values.detach().float().flatten(0, -2).aminmax(dim=0)
        grid = fit_grid(low, high, layer.weight)
        with torch.no_grad():
            rounded = grid.inputs(values.float()).to(values.dtype)
        return linear(_straight(values, rounded), _straight(layer.weight, grid.weight), layer.bias)

    return forward


def _straight(exact: Tensor, rounded: Tensor) -> Tensor:
    shown: Tensor = _Straight.apply(exact, rounded)  # type: ignore[no-untyped-call]
    return shown


class _Straight(torch.autograd.Function):
    """Show ``rounded`` in the place of ``exact``, which gets its gradient."""

    @staticmethod
    def forward(_: Any, exact: Tensor, rounded: Tensor) -> Tensor:
        return rounded.view_as(exact)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
