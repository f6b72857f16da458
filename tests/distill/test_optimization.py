"""Rates, decay, clipping: how weights move."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clin_edge.core.errors import ClinEdgeError
from clin_edge.distill.optimization import (
    bfloat16_is_slow,
    mixed_precision,
    parameter_groups,
    rate_factor,
    take_step,
)
from tiny import KINDS, tiny_student


def test_bfloat16_is_for_gpus_and_for_whom_asks() -> None:
    ones, cpu = torch.ones(2, 2), torch.device("cpu")
    with mixed_precision(cpu):
        assert (ones @ ones).dtype == torch.float32
    with mixed_precision(cpu, bfloat16=True):
        assert (ones @ ones).dtype == torch.bfloat16
    assert not bfloat16_is_slow(torch.device("cuda"))


def test_the_rate_rises_and_falls_in_straight_lines() -> None:
    rates = [rate_factor(step, 20, 0.25) for step in range(20)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == pytest.approx([n / 15 for n in range(15, 0, -1)])
    for warmup in (0.0, 0.01, 1.0):
        rates = [rate_factor(step, 7, warmup) for step in range(7)]
        assert max(rates) == 1
        assert min(rates) > 0
    assert rate_factor(0, 1, 0.1) == 1


def test_biases_and_the_scales_of_layer_norms_do_not_decay(tmp_path: Path) -> None:
    model = tiny_student(tmp_path).model
    decayed, spared = parameter_groups(model, weight_decay=0.25)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.25, 0.0)
    places = {id(p): name for name, p in model.named_parameters()}
    names = [{places[id(p)] for p in group["params"]} for group in (decayed, spared)]
    assert names[0] | names[1] == set(places.values())
    assert all(n.endswith("bias") or "LayerNorm" in n for n in names[1])
    assert not any(n.endswith("bias") or "LayerNorm" in n for n in names[0])


@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_moves_less_than_the_one_above_it(kind: str, tmp_path: Path) -> None:
    model = tiny_student(tmp_path, kind).model
    groups = parameter_groups(
        model, weight_decay=0.0, layer_decay=0.5, scale=lambda n: 10.0 if "classifier" in n else 1.0
    )
    places = {id(p): name for name, p in model.named_parameters()}
    scales = {places[id(p)]: group["scale"] for group in groups for p in group["params"]}
    assert set(scales) == set(places.values())
    for name, scale in scales.items():
        if "classifier" in name:
            assert scale == 10
        elif ".layer.1." in name:
            assert scale == 0.5
        elif ".layer.0." in name:
            assert scale == 0.25
        elif ".embeddings." in name:
            assert scale == 0.125


def a_step(loss_of, *, clip_norm: float | None = None, scale: float = 1.0) -> float:
    """How far one weight moves in a step of plain descent."""
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([{"params": [weight], "scale": scale}], lr=99.0)
    take_step(loss_of(weight), optimizer, rate=0.1, clip_norm=clip_norm)
    return float(weight.detach())


def test_a_step_is_as_long_as_rate_scale_and_clipping_say() -> None:
    assert a_step(lambda w: -5 * w) == pytest.approx(0.5)
    assert a_step(lambda w: -5 * w, scale=3.0) == pytest.approx(1.5)
    assert a_step(lambda w: -5 * w, clip_norm=1.0) == pytest.approx(0.1, rel=1e-3)
    assert a_step(lambda w: -0.5 * w, clip_norm=1.0) == pytest.approx(0.05)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_moves_nothing(loss: float) -> None:
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([{"params": [weight], "scale": 1.0}], lr=1.0)
    with pytest.raises(ClinEdgeError, match="diverged"):
        take_step(weight + loss, optimizer, rate=0.1, clip_norm=None)
    assert weight.item() == 0
