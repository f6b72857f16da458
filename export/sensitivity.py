"""Which layers of a student INT8 hurts most, found by quantising each one alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from clin_edge.core.batching import Batch
from clin_edge.core.errors import InputError
from clin_edge.distill.rounding import WEIGHT_STEPS, fit_grid
from clin_edge.distill.student import Student
from clin_edge.export.openvino import Int8Settings

N_WINDOWS = 16
_WEIGHT_STEPS = {"enable": WEIGHT_STEPS, "first_layer_only": 127, "disable": 127}


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How far the logits move, on average over tokens, if only this layer is quantised."""

    layer: str
    mean_logit_change: float


def rank_layers(
    student: Student,
    batches: Sequence[Batch],
    settings: Int8Settings,
    *,
    n_windows: int = N_WINDOWS,
) -> list[Sensitivity]:
    """Rank the student's linear layers by what INT8 does to the logits, the worst first.

    Each layer alone is made to compute as INT8 would: inputs asymmetric in 8 bits over the range
    seen in the batches, weights symmetric by output channel, outliers shifted as SmoothQuant does.
    The change is the largest over the tags, averaged over tokens of every other window; the
    windows between set the ranges.

    Raises:
        InputError: If there are fewer than two windows.
    """
    spread = list(batches)[:: max(1, len(batches) // (2 * n_windows))][: 2 * n_windows]
    ranges, judged = spread[::2], spread[1::2]
    if not judged:
        raise InputError("the calibration notes hold too little text to rank layers; name more")
    model = student.model.eval()
    layers = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    with torch.inference_mode():
        seen = _inputs(model, layers, ranges)
        reference = _logits(model, judged)
        found = []
        for name, layer in layers.items():
            with quantised(layer, seen.pop(name), settings):
                change = (_logits(model, judged) - reference).abs().amax(dim=-1).mean()
            found.append(Sensitivity(name, float(change)))
    return sorted(found, key=lambda one: -one.mean_logit_change)


@contextmanager
def quantised(
    layer: torch.nn.Linear, inputs: torch.Tensor, settings: Int8Settings
) -> Iterator[None]:
    """Let one layer compute with rounded inputs and weights; inputs (N, I) set the range."""
    weight = layer.weight.data
    low, high = inputs.aminmax(dim=0)
    grid = fit_grid(
        low,
        high,
        weight,
        smooth_quant=settings.smooth_quant,
        weight_steps=_WEIGHT_STEPS[settings.overflow_fix],
    )
    hook = layer.register_forward_pre_hook(lambda _, given: (grid.inputs(given[0]),))
    layer.weight.data = grid.weight
    try:
        yield
    finally:
        hook.remove()
        layer.weight.data = weight


def _inputs(
    model: Any, layers: dict[str, torch.nn.Linear], batches: Sequence[Batch]
) -> dict[str, torch.Tensor]:
    """Give what goes into each layer (N, I), padding left out."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in layers}

    def keeper(name: str, kept: list[torch.Tensor]) -> Callable[..., None]:
        return lambda _, given: seen[name].append(given[0][kept[-1]])

    masks: list[torch.Tensor] = []
    hooks = [layer.register_forward_pre_hook(keeper(n, masks)) for n, layer in layers.items()]
    try:
        for batch in batches:
            masks.append(torch.from_numpy(batch.attention_mask).bool())
            _run(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def _logits(model: Any, batches: Sequence[Batch]) -> torch.Tensor:
    """Give the logits of all tokens (N, C)."""
    masks = [torch.from_numpy(batch.attention_mask).bool() for batch in batches]
    return torch.cat([_run(model, b)[m] for b, m in zip(batches, masks, strict=True)])


def _run(model: Any, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(
        input_ids=torch.from_numpy(batch.input_ids),
        attention_mask=torch.from_numpy(batch.attention_mask),
    ).logits
    return logits
