"""An encoder that is narrower: fewer hidden numbers, attention heads and feed-forward neurons."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clin_edge.core.batching import Batch
from clin_edge.core.errors import InputError
from clin_edge.distill.config import WidthSettings

_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")


@dataclass(slots=True, eq=False)
class _Use:
    """How strongly each part is used, summed over what was read.

    ``hidden`` (H,): mean size of a hidden number where layers hand over. By layer, ``heads`` (A,)
    and ``neurons`` (F,): size of what a head, or a neuron, adds to the hidden states.
    """

    hidden: Tensor
    heads: list[Tensor]
    neurons: list[Tensor]


def narrow_encoder(model: Any, settings: WidthSettings, batches: Sequence[Batch]) -> Any:
    """Give ``model`` with only its most used hidden numbers, heads and feed-forward neurons.

    What is left keeps its weights. The smaller model answers a little like the larger at best: it
    is a start for training that follows it.

    Args:
        model: A BERT token classifier of transformers; it is left as it is.
        settings: How wide.
        batches: What it reads to show which parts it uses.

    Raises:
        InputError: If the model is no BERT, or is narrower than what is asked for.

    Source: pruning of width by activations, Minitron (Muralidharan et al. 2024).
    """
    config = copy.deepcopy(model.config)
    if config.model_type != "bert":
        raise InputError(f"{config.model_type} encoders cannot be made narrower here, only BERT's")
    heads = settings.heads or config.num_attention_heads
    neurons = settings.feed_forward or config.intermediate_size
    if heads > config.num_attention_heads or neurons > config.intermediate_size:
        raise InputError(
            f"{heads} heads and {neurons} neurons cannot be kept: a layer has "
            f"{config.num_attention_heads} and {config.intermediate_size}"
        )
    width = config.hidden_size // config.num_attention_heads
    use = _watch(model, batches)
    hidden = _top(use.hidden, heads * width)
    config.hidden_size = heads * width
    config.num_attention_heads, config.intermediate_size = heads, neurons
    small = type(model)(config)
    kept = {}
    for name, weight in model.state_dict().items():
        rows, columns = hidden, hidden
        if ".layer." in name:
            layer = int(name.split(".layer.")[1].split(".")[0])
            chosen = _top(use.heads[layer], heads)
            of_heads = (chosen[:, None] * width + torch.arange(width)).flatten()
            of_neurons = _top(use.neurons[layer], neurons)
            if ".attention.self." in name:
                rows = of_heads
            elif ".attention.output.dense." in name:
                columns = of_heads
            elif ".intermediate." in name:
                rows = of_neurons
            elif ".output.dense." in name:
                columns = of_neurons
        elif any(table in name for table in _EMBEDDINGS) or name.startswith("classifier."):
            rows = torch.arange(len(weight))
        kept[name] = weight[rows] if weight.ndim == 1 else weight[rows][:, columns]
    small.load_state_dict(kept)
    return small


def _top(use: Tensor, n: int) -> Tensor:
    """Give the numbers of the ``n`` most used parts, ascending."""
    return use.argsort(descending=True, stable=True)[:n].sort().values


def _watch(model: Any, batches: Sequence[Batch]) -> _Use:
    """Let ``model`` read, and see what is used."""
    base, config = model.base_model, model.config
    layers = base.encoder.layer
    n_heads, n_neurons = config.num_attention_heads, config.intermediate_size
    use = _Use(
        torch.zeros(config.hidden_size),
        [torch.zeros(n_heads) for _ in layers],
        [torch.zeros(n_neurons) for _ in layers],
    )
    mask = torch.ones(0)

    def hidden(_: Any, __: Any, out: Tensor) -> None:
        use.hidden += (out.abs() * mask).sum((0, 1))

    def heads(layer: int) -> Any:
        dense = layers[layer].attention.output.dense
        parts = dense.weight.view(config.hidden_size, n_heads, -1)

        def see(_: Any, given: tuple[Tensor, ...]) -> None:
            split = given[0].reshape(*given[0].shape[:2], n_heads, -1)
            added = torch.einsum("btad,had->btah", split, parts)
            use.heads[layer] += (added.norm(dim=-1) * mask).sum((0, 1))

        return dense.register_forward_pre_hook(see)

    def neurons(layer: int) -> Any:
        dense = layers[layer].output.dense
        sizes = dense.weight.norm(dim=0)

        def see(_: Any, given: tuple[Tensor, ...]) -> None:
            use.neurons[layer] += (given[0].abs() * sizes * mask).sum((0, 1))

        return dense.register_forward_pre_hook(see)

    model.eval()
    with ExitStack() as hooks, torch.no_grad():
        ends = [base.embeddings.LayerNorm, *(layer.output.LayerNorm for layer in layers)]
        handles = [norm.register_forward_hook(hidden) for norm in ends]
        handles += [make(layer) for layer in range(len(layers)) for make in (heads, neurons)]
        for handle in handles:
            hooks.callback(handle.remove)
        for batch in batches:
            mask = _tensor(batch.attention_mask)[:, :, None].float()
            model(
                input_ids=_tensor(batch.input_ids),
                attention_mask=_tensor(batch.attention_mask),
            )
    return use


def _tensor(values: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(values)
