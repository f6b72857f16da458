"""An encoder made narrower keeps the parts it uses, and answers the same if it used no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clin_edge.core.batching import pad
from clin_edge.core.errors import InputError
from clin_edge.distill.config import WidthSettings
from clin_edge.distill.shrinking.width import narrow_encoder
from clin_edge.distill.start import start_student
from clin_edge.distill.student import load_student
from tiny import invented_set, tiny_encoder, tiny_recipe, tiny_student

WINDOWS = [np.array([2, *range(30, 30 + n), 3]) for n in (4, 9, 12)]
BATCHES = [pad(WINDOWS, rows=range(3), length=14, pad_id=0)]


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """A tiny BERT whose weights are large enough to matter."""
    model = tiny_student(tmp_path / "tiny").model.eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def answer(model: Any) -> torch.Tensor:
    ids, mask = torch.from_numpy(BATCHES[0].input_ids), torch.from_numpy(BATCHES[0].attention_mask)
    with torch.inference_mode():
        return model.eval()(input_ids=ids, attention_mask=mask).logits[mask.bool()]


def test_parts_that_add_nothing_can_go_and_nothing_changes(model: Any) -> None:
    config = model.config
    heads, neurons = config.num_attention_heads, config.intermediate_size
    width = config.hidden_size // heads
    idle = [1, 3, 4, 9]
    with torch.no_grad():
        for layer in model.base_model.encoder.layer:
            layer.output.dense.weight[:, idle] = 0
    before = answer(model)
    small = narrow_encoder(model, WidthSettings(feed_forward=neurons - len(idle)), BATCHES)
    assert torch.allclose(answer(small), before, atol=1e-5)
    assert small.config.intermediate_size == neurons - len(idle)
    # A head whose output is not used may go too: then hidden numbers go with it, so only the
    # weights that are left can be compared.
    with torch.no_grad():
        for layer in model.base_model.encoder.layer:
            layer.attention.output.dense.weight[:, :width] = 0
    small = narrow_encoder(model, WidthSettings(heads=heads - 1), BATCHES)
    kept = small.base_model.encoder.layer[0].attention.self.value.bias
    assert torch.equal(kept, model.base_model.encoder.layer[0].attention.self.value.bias[width:])
    assert small.config.hidden_size == width * (heads - 1)


def test_the_hidden_numbers_that_are_used_stay(model: Any) -> None:
    config = model.config
    width = config.hidden_size // config.num_attention_heads
    idle = list(range(3, 3 + width))
    base = model.base_model
    norms = [base.embeddings.LayerNorm]
    norms += [n for layer in base.encoder.layer for n in (layer.attention.output.LayerNorm,)]
    norms += [layer.output.LayerNorm for layer in base.encoder.layer]
    with torch.no_grad():
        for norm in norms:
            norm.weight[idle] = 0
            norm.bias[idle] = 0
    small = narrow_encoder(model, WidthSettings(heads=config.num_attention_heads - 1), BATCHES)
    used = [i for i in range(config.hidden_size) if i not in idle]
    table = base.embeddings.word_embeddings.weight
    assert torch.equal(small.base_model.embeddings.word_embeddings.weight, table[:, used])
    assert torch.equal(small.classifier.weight, model.classifier.weight[:, used])
    assert torch.equal(small.classifier.bias, model.classifier.bias)


def test_the_model_given_stays_and_as_wide_as_it_was_is_the_same(model: Any) -> None:
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    same = narrow_encoder(model, WidthSettings(), BATCHES)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])
        assert torch.equal(same.state_dict()[name], before[name])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_student_can_start_narrower_and_is_kept_and_opened_so(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "tiny")
    texts = [item.note.text for item in invented_set(5)]
    recipe = tiny_recipe(width=WidthSettings(heads=1, feed_forward=7))
    student = start_student(recipe, str(encoder), texts)
    student.save(tmp_path / "student")
    again = load_student(tmp_path / "student")
    config = again.model.config
    assert (config.num_attention_heads, config.intermediate_size) == (1, 7)
    assert torch.equal(answer(again.model), answer(student.model.eval()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (WidthSettings(heads=99), "99 heads and .* cannot be kept: a layer has"),
        (WidthSettings(feed_forward=9999), "9999 neurons cannot be kept"),
    ],
)
def test_what_is_not_there_cannot_be_kept(model: Any, settings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        narrow_encoder(model, settings, BATCHES)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    model = tiny_student(tmp_path / "tiny", "distilbert").model
    with pytest.raises(InputError, match="only BERT's"):
        narrow_encoder(model, WidthSettings(heads=1), BATCHES)


def test_a_width_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="not below 0"):
        WidthSettings(heads=-1)
