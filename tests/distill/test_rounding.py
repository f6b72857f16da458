"""Layers that round as INT8 does while they learn, and only then."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from clin_edge.core.errors import InputError
from clin_edge.distill.config import TrainSettings
from clin_edge.distill.rounding import ACTIVATION_STEPS, fit_grid, round_while_training
from clin_edge.distill.tables import build_table
from clin_edge.distill.train import train
from dying import weights
from tiny import invented_set, n_threads, tiny_encoder, tiny_recipe, tiny_student

FEW = invented_set(60)[:8]
SHORT = {"epochs": 2, "batch_tokens": 100, "learning_rate": 3e-2, "warmup": 0.0}


@pytest.mark.parametrize("smooth_quant", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("low", "high"), [(-3.0, 1.0), (0.0, 2.0), (-2.0, -1.0), (1.0, 5.0)])
def test_inputs_lie_on_256_levels_with_0_among_them(
    low: float, high: float, smooth_quant: float
) -> None:
    torch.manual_seed(0)
    values = torch.rand(50, 30, 8) * (high - low) + low
    values[..., 3] *= 20
    flat = values.flatten(0, -2)
    grid = fit_grid(flat.amin(0), flat.amax(0), torch.randn(4, 8), smooth_quant=smooth_quant)
    levels = grid.inputs(values) / grid.step
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert levels.amax() - levels.amin() <= ACTIVATION_STEPS + 1e-3
    assert (grid.inputs(torch.zeros(8)) == 0).all()
    # Within half a step; at one end 0 on the grid may cost another half.
    assert ((grid.inputs(values) - values).abs() <= grid.step * 1.01).all()
    assert (grid.inputs(values * 100).abs() <= grid.step * (ACTIVATION_STEPS + 1)).all()


def test_weights_have_7_bits_by_output_channel() -> None:
    torch.manual_seed(0)
    weight, ones = torch.randn(6, 40), torch.ones(40)
    weight[2] *= 100
    rounded = fit_grid(-ones, ones, weight, smooth_quant=1.0).weight
    levels = rounded / weight.abs().amax(1, keepdim=True) * 64
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert levels.abs().amax() == 64
    assert ((rounded - weight).abs() <= weight.abs().amax(1, keepdim=True) / 127).all()


def test_in_training_it_is_rounded_and_gradients_pass(tmp_path: Path) -> None:
    model = tiny_student(tmp_path).model
    plain = copy.deepcopy(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    round_while_training(model)
    ids = torch.arange(5, 25).view(2, 10) % 20 + 5
    model.eval()
    assert torch.equal(model(ids).logits, plain.eval()(ids).logits)
    for each in (model, plain):
        for part in each.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        each.train()
    ours, exact = model(ids).logits, plain(ids).logits
    difference = (ours - exact).abs().mean()
    assert 0 < difference < 0.1 * exact.std()
    ours.square().sum().backward()
    exact.square().sum().backward()
    for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert one.grad is not None, name
        # Attention's keys have a bias that changes nothing: its gradient is rounding alone.
        if other.grad.norm() > 1e-3:
            cosine = torch.nn.functional.cosine_similarity(one.grad.ravel(), other.grad.ravel(), 0)
            assert cosine > 0.95, name
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_recipe_asks_for_it_and_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    encoder = str(tiny_encoder(tmp_path / "tiny"))
    with n_threads(1):
        for name, rounded in (("a", True), ("b", True), ("float", False)):
            recipe = tiny_recipe(**SHORT, rounded=rounded)
            train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "float")


def test_it_is_off_unless_asked_for() -> None:
    assert not TrainSettings().rounded
    with pytest.raises(InputError, match="rounded"):
        build_table(TrainSettings, {"rounded": "yes"}, "recipe")
