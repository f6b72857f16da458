"""An encoder with some of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from clin_edge.core.errors import InputError

# Where BERT, RoBERTa, ELECTRA and MPNet keep their layers, and where DistilBERT does.
STACKS = ("encoder", "transformer")


def keep_layers(model: Any, layers: Sequence[int]) -> None:
    """Leave ``model`` with the encoder layers numbered ``layers``, from 0, and no others.

    Embeddings and head stay as they are. The config follows, so that the model saves and loads.

    Args:
        model: A token classifier or a bare encoder of transformers; it is changed.
        layers: Numbers of layers, ascending.

    Raises:
        InputError: If a layer does not exist, ``layers`` does not ascend or is empty, or the
            model is not built as BERT, DistilBERT, RoBERTa, ELECTRA or MPNet are.

    Source: DistilBERT starts from every other layer of its teacher (Sanh et al., 2019); that the
    top layers may go at little loss is in Sajjad et al. (Computer Speech & Language, 2023).
    """
    base = model.base_model
    holder: Any = next((getattr(base, name) for name in STACKS if hasattr(base, name)), None)
    stack = getattr(holder, "layer", None)
    if not isinstance(stack, torch.nn.ModuleList):
        raise InputError(
            f"{model.config.model_type} encoders: which are their layers is not known here"
        )
    absent = [layer for layer in layers if not 0 <= layer < len(stack)]
    if absent:
        raise InputError(
            f"layer {absent[0]} cannot be kept: the encoder has {len(stack)}, "
            f"numbered 0 to {len(stack) - 1}"
        )
    if not layers or list(layers) != sorted(set(layers)):
        raise InputError(
            f"layers {list(layers)} cannot be kept: name at least one, each once, ascending"
        )
    holder.layer = torch.nn.ModuleList(stack[layer] for layer in layers)
    model.config.num_hidden_layers = len(layers)  # DistilBERT's config calls it n_layers
