"""How weights move: which rate and decay each has, how rates change, and on what device."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from clin_edge.core.errors import ClinEdgeError

SLOW_BFLOAT16 = (
    "bfloat16: this processor only imitates it (no AVX512-BF16, no AMX); without, it is faster"
)
_LAYER = re.compile(r"\.layer\.(\d+)\.")


def best_device() -> torch.device:
    """Give the GPU if there is one, or else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision(device: torch.device, *, bfloat16: bool = False) -> AbstractContextManager[Any]:
    """Compute in bfloat16 where the forward pass bears it: on a GPU, elsewhere if asked to."""
    if device.type != "cuda" and not bfloat16:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def bfloat16_is_slow(device: torch.device) -> bool:
    """Tell whether the device only imitates bfloat16: a CPU without AVX512-BF16 or AMX-BF16."""
    if device.type != "cpu":
        return False
    mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return not (mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def use_fast_attention(model: Any, device: torch.device, *, bfloat16: bool) -> None:
    """Let a model of transformers train with plain matrix products where fused attention is slower.

    That is in bfloat16 on a CPU, see benchmarks/training_step.py.
    """
    if device.type == "cpu" and bfloat16:
        model.set_attn_implementation("eager")


def parameter_groups(
    model: torch.nn.Module,
    *,
    weight_decay: float,
    layer_decay: float = 1.0,
    scale: Callable[[str], float] = lambda _: 1.0,
) -> list[dict[str, Any]]:
    """Group parameters by decay and rate; each group's ``scale`` multiplies the learning rate.

    Weights decay, but neither biases nor the scales of layer norms. The rate of an encoder's layer
    is ``layer_decay`` times that of the one above it; embeddings come below the first layer, heads
    above the last. ``scale`` gives a further factor by name.

    Source: layer-wise rate decay of ULMFiT (Howard & Ruder 2018).
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    depths = {name: _depth(name) for name, _ in named}
    top = max((d for d in depths.values() if d is not None), default=0) + 1
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in named:
        depth = depths[name]
        below = top - (top if depth is None else depth)
        factor = layer_decay**below * scale(name)
        decay = weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "scale": factor}
        for (decay, factor), parameters in groups.items()
    ]


def rate_factor(step: int, n_steps: int, warmup: float) -> float:
    """Rise linearly over the first ``warmup`` share of steps, then fall linearly to zero."""
    n_warmup = round(warmup * n_steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    return (n_steps - step) / max(n_steps - n_warmup, 1)


def take_step(
    loss: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    *,
    rate: float,
    clip_norm: float | None,
) -> float:
    """Move the weights one step down the loss; give its value.

    Raises:
        ClinEdgeError: If the loss is not a number.
    """
    value = float(loss.detach())
    if not torch.isfinite(loss):
        raise ClinEdgeError(
            "training diverged: the loss is not a number; lower learning_rate, or raise warmup"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip_norm is not None:
        moved = (p for group in optimizer.param_groups for p in group["params"])
        torch.nn.utils.clip_grad_norm_(moved, clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    optimizer.step()
    return value


def _depth(name: str) -> int | None:
    """Give 0 for embeddings, 1 for the first layer and so on; None for what is above them."""
    layer = _LAYER.search(name)
    if layer:
        return int(layer[1]) + 1
    return 0 if "embedding" in name else None
