"""What training needs to go on after a crash. Tensors as safetensors, the rest as JSON."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled, labelled_json
from clin_edge.distill.config import Recipe
from clin_edge.distill.dataset import Example


@dataclass(slots=True)
class Progress:
    """Where training stands, besides tensors."""

    fingerprint: str
    epoch: int = 0  # epochs learnt in full
    step: int = 0  # batches of the next epoch already learnt
    stopped: bool = False  # before its last epoch, since no better score came
    best_f1: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0
    dev: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last_f1(self) -> float | None:
        """The last epoch's mean F1 over the dev sets, if there are any."""
        scores = self.dev[-1]["strict_micro_f1"] if self.dev else {}
        return sum(scores.values()) / len(scores) if scores else None


def fingerprint(
    recipe: Recipe,
    examples: Sequence[Example],
    dev: Mapping[str, Sequence[Labelled]],
    encoder: str,
    soft_from: str,
) -> str:
    """Hash all that decides the weights, but for the machine: settings, models by name, notes."""
    digest = hashlib.sha256()
    decisive = asdict(recipe)
    for told_elsewhere in ("encoder", "sets", "dev", "tests", "card"):
        del decisive[told_elsewhere]
    del decisive["train"]["checkpoint_minutes"]
    digest.update(json.dumps([decisive, encoder, soft_from], sort_keys=True).encode())
    for example in examples:
        for part in (example.ids, example.allowed, example.learn, example.opens_word, example.soft):
            digest.update(b"" if part is None else part.tobytes())
        digest.update(bytes([example.at_start, example.at_end]))
    for name, items in dev.items():
        digest.update(name.encode())
        for item in items:
            digest.update(labelled_json(item).encode())
    return digest.hexdigest()


def save_checkpoint(
    folder: Path, progress: Progress, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Put a checkpoint in ``folder``, replacing the one before only once it is whole."""

    def write(place: Path) -> None:
        place.mkdir(parents=True)
        tensors = {f"model.{name}": t.contiguous() for name, t in model.state_dict().items()}
        for number, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value).contiguous()
        tensors["rng"] = torch.get_rng_state()
        save_file(tensors, place / "tensors.safetensors")
        (place / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")

    replace_folder(folder, write)


def resume(
    folder: Path, fresh: Progress, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Progress:
    """Load the checkpoint into model, optimizer and torch's random state.

    Raises:
        InputError: If it was made with other data, settings or encoder.
    """
    kept = read_progress(folder)
    if kept.fingerprint != fresh.fingerprint:
        raise InputError(
            f"{folder.parent}: holds an unfinished run on other data or settings; "
            "finish that one, or delete the folder to begin anew"
        )
    tensors = load_file(folder / "tensors.safetensors")
    model.load_state_dict(_under("model.", tensors))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    torch.set_rng_state(tensors["rng"])
    return kept


def read_progress(folder: Path) -> Progress:
    """Read where the checkpoint's run stands."""
    return Progress(**json.loads((folder / "progress.json").read_text(encoding="utf-8")))


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a new folder, then put it in the place of ``folder``.

    Killed at any moment, either the old or the new one can be found, whole: see ``settle_folder``.
    """
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    write(fresh)
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def settle_folder(folder: Path) -> None:
    """Bring back the old folder if ``replace_folder`` was killed between its two renames."""
    old = folder.with_name(folder.name + ".old")
    if old.exists() and not folder.exists():
        old.replace(folder)


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
