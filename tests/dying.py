"""Runs that die at a chosen moment, and what they leave."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file


class Killed(BaseException):
    """Stands for the power cut."""


def dying_at(nth: int, act: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """Do ``act`` as ever, but die at its n-th call, before or after it."""
    calls = itertools.count(1)

    def run(*args: Any, **kwargs: Any) -> Any:
        call = next(calls)
        if call == nth and not after:
            raise Killed
        done = act(*args, **kwargs)
        if call == nth:
            raise Killed
        return done

    return run


def weights(folder: Path) -> list[bytes]:
    """All that a student folder has learnt."""
    tensors = load_file(folder / "model.safetensors")
    crf = folder / "crf.npz"
    learnt = [tensors[name].numpy().tobytes() for name in sorted(tensors)]
    return [*learnt, crf.read_bytes()] if crf.exists() else learnt
