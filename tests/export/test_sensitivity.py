"""Layers are ranked by what INT8 does to them, and the student is left as it was."""

from __future__ import annotations

import pytest
import torch

from clin_edge.core.errors import InputError
from clin_edge.export.calibrate import calibration_batches
from clin_edge.export.openvino import Int8Settings, quantize_int8, quantized_share, to_openvino
from clin_edge.export.sensitivity import quantised, rank_layers

SETTINGS = Int8Settings()


def test_every_linear_layer_is_ranked_and_nothing_of_the_student_changes(student, notes) -> None:
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    batches = calibration_batches(notes, student.encoder)
    ranked = rank_layers(student, batches, SETTINGS)
    linear = {n for n, m in student.model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert {one.layer for one in ranked} == linear
    changes = [one.mean_logit_change for one in ranked]
    assert changes == sorted(changes, reverse=True)
    assert 0 < changes[-1] < changes[0] < 1
    after = student.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(not m._forward_pre_hooks for m in student.model.modules())
    assert rank_layers(student, batches, SETTINGS) == ranked


def test_an_outlier_costs_the_other_channels_their_steps_and_smoothing_gives_them_back() -> None:
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(32, 16), torch.randn(200, 32)
    outlying = inputs.clone()
    outlying[:, 3] *= 100

    def off(given: torch.Tensor, smooth_quant: float, fix: str = "enable") -> float:
        with torch.inference_mode():
            exact = layer(given)
            settings = Int8Settings(smooth_quant=smooth_quant, overflow_fix=fix)
            with quantised(layer, given, settings):
                return float((layer(given) - exact).abs().mean())

    assert off(outlying, 0.0) > 10 * off(inputs, 0.0)
    assert off(outlying, 0.5) < off(outlying, 0.0) / 3
    assert off(inputs, 0.5, "disable") < off(inputs, 0.5)  # 8 bits of weight, not 7


def test_what_is_named_stays_in_float(student, notes) -> None:
    batches = calibration_batches(notes, student.encoder)
    shares = []
    for n in (0, 1, 3):
        names = tuple(one.layer for one in rank_layers(student, batches, SETTINGS)[:n])
        model = quantize_int8(to_openvino(student), batches, Int8Settings(float_layers=names))
        shares.append(quantized_share(model))
    assert shares[0] > shares[1] > shares[2]


def test_one_window_is_too_little(student, notes) -> None:
    with pytest.raises(InputError, match="too little text"):
        rank_layers(student, calibration_batches(notes[:1], student.encoder), SETTINGS)
