"""An encoder with fewer layers is the encoder, without those layers, and nothing else changes."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification

from clin_edge.core.errors import InputError
from clin_edge.distill.shrinking.layers import keep_layers
from tiny import KINDS, tiny_encoder

N_LAYERS = 4
OF_ROBERTA_S_KIND = ("camembert", "xlm-roberta")
IDS = torch.tensor([[2, 40, 41, 42, 3], [2, 50, 3, 0, 0]])
MASK = (IDS != 0).long()


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A config of four layers of each kind."""
    folder = tmp_path_factory.mktemp("configs")
    made = {
        kind: AutoConfig.from_pretrained(tiny_encoder(folder / kind, kind), num_labels=5)
        for kind in KINDS
    }
    for kind in OF_ROBERTA_S_KIND:
        fields = made["roberta"].to_dict()
        fields.pop("model_type")
        made[kind] = transformers.CONFIG_MAPPING[kind](**fields)
    for config in made.values():
        config.num_hidden_layers = N_LAYERS
    return made


def model_of(
    configs: dict[str, Any], kind: str, auto: Any = AutoModelForTokenClassification
) -> Any:
    torch.manual_seed(0)
    model = auto.from_config(copy.deepcopy(configs[kind])).eval()
    with torch.no_grad():  # as they are made, the layers hardly differ in what they do
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def answer(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS, attention_mask=MASK)[0]


def built_anew(model: Any, layers: Sequence[int]) -> Any:
    """What ``keep_layers`` should give: a smaller model, filled weight by weight by name."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = len(layers)
    small = type(model)(config).eval()
    weights = model.state_dict()

    def source(name: str) -> str:
        return re.sub(r"\.layer\.(\d+)\.", lambda m: f".layer.{layers[int(m[1])]}.", name)

    small.load_state_dict({name: weights[source(name)] for name in small.state_dict()})
    return small


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        *((kind, (0, 2)) for kind in (*KINDS, *OF_ROBERTA_S_KIND)),
        *(("bert", layers) for layers in ((1,), (0, 2, 3), (0, 1, 2, 3))),
    ],
)
def test_the_layers_kept_answer_as_a_model_of_those_alone(kind, layers, configs, tmp_path: Path):
    model = model_of(configs, kind)
    expected = built_anew(model, layers)
    whole = answer(model)
    keep_layers(model, layers)
    kept = answer(model)
    assert torch.equal(kept, answer(expected))
    assert torch.equal(kept, whole) == (len(layers) == N_LAYERS)
    model.save_pretrained(tmp_path)
    opened, info = AutoModelForTokenClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert opened.config.num_hidden_layers == len(layers)
    assert torch.equal(answer(opened.eval()), kept)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_encoder_stops_where_its_layers_end(kind: str, configs: dict[str, Any]) -> None:
    model = model_of(configs, kind, AutoModel)
    with torch.inference_mode():
        states = model(input_ids=IDS, attention_mask=MASK, output_hidden_states=True).hidden_states
    assert len(states) == N_LAYERS + 1
    keep_layers(model, [0, 1])
    assert torch.equal(answer(model), states[2])


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_with_fewer_layers_can_still_learn(kind: str, configs: dict[str, Any]) -> None:
    model = model_of(configs, kind)
    keep_layers(model, [1, 3])
    model(input_ids=IDS, attention_mask=MASK).logits.sum().backward()
    names = {name for name, p in model.named_parameters() if p.grad is not None}
    assert {m[1] for name in names if (m := re.search(r"\.layer\.(\d+)\.", name))} == {"0", "1"}


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([0, 4], "layer 4 cannot be kept: the encoder has 4, numbered 0 to 3"),
        ([-1], "layer -1 cannot be kept: the encoder has 4, numbered 0 to 3"),
        ([1, 1], "layers [1, 1] cannot be kept: name at least one, each once, ascending"),
        ([2, 0], "layers [2, 0] cannot be kept: name at least one, each once, ascending"),
        ([], "layers [] cannot be kept: name at least one, each once, ascending"),
    ],
)
def test_layers_that_cannot_be_kept_are_refused(layers, said, configs) -> None:
    model = model_of(configs, "bert")
    before = answer(model)
    with pytest.raises(InputError) as caught:
        keep_layers(model, layers)
    assert str(caught.value) == said
    assert torch.equal(answer(model), before)


def test_an_encoder_built_otherwise_is_refused() -> None:
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.AlbertConfig(vocab_size=60, embedding_size=8, **shape)
    model = AutoModelForTokenClassification.from_config(config)
    with pytest.raises(InputError) as caught:
        keep_layers(model, [0])
    assert str(caught.value) == "albert encoders: which are their layers is not known here"
