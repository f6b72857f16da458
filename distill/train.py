"""The training loop: from top to bottom, resumable at any moment."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from clin_edge import __version__
from clin_edge.core.batching import pad
from clin_edge.core.errors import ClinEdgeError, InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.score import score
from clin_edge.distill.checkpoint import (
    Progress,
    fingerprint,
    read_progress,
    replace_folder,
    resume,
    save_checkpoint,
    settle_folder,
)
from clin_edge.distill.config import Recipe
from clin_edge.distill.dataset import Example, epoch_batches, make_examples
from clin_edge.distill.losses import partial_nll
from clin_edge.distill.student import Student, load_student, new_student

SAY_EVERY_S = 15.0


def train(
    recipe: Recipe,
    items: Sequence[Labelled],
    dev: Mapping[str, Sequence[Labelled]],
    encoder: str,
    out: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Student:
    """Train a student and write it to ``out``; the epoch with the best dev score is kept.

    What is needed to go on after a crash lies in ``OUT.training`` until the end. The same command
    run again resumes there and ends with the same weights as an unbroken run on the same machine;
    with other data or settings it is refused.

    Args:
        recipe: Labels, windows and settings.
        items: Labelled notes to learn from.
        dev: Sets scored after each epoch: strict micro F1, averaged over the sets, decides which
            epoch is best. Without any, the last epoch is kept.
        encoder: A folder or hub id.
        out: The student folder to make.
        say: Told a line about each step worth a person's attention.

    Raises:
        InputError: If ``out`` exists, ``OUT.training`` belongs to another run, the encoder cannot
            be loaded, or there is nothing to learn from.
        ClinEdgeError: If the loss stops being a number.
    """
    if out.exists():
        raise InputError(f"{out}: exists already; choose another name or delete it")
    settings, scheme = recipe.train, LabelScheme(recipe.labels)
    student = new_student(
        encoder,
        scheme,
        max_tokens=recipe.max_tokens,
        overlap=recipe.overlap,
        seed=settings.seed,
        attention_dropout=settings.attention_dropout,
    )
    model, pad_id = student.model, student.encoder.pad_id
    examples = list(make_examples(items, student.encoder, scheme))
    if not examples:
        raise InputError("the labelled notes hold no text to learn from")
    lengths = [len(example.ids) for example in examples]
    plan = [
        epoch_batches(lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=e)
        for e in range(settings.epochs)
    ]
    n_steps = sum(map(len, plan))
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay))

    work = out.with_name(out.name + ".training")
    checkpoint, best = work / "checkpoint", work / "best"
    settle_folder(checkpoint)
    settle_folder(best)
    # Before the first epoch's end there is no best yet; after the last one's it has become `out`,
    # which the user has since taken away: that run is over.
    if checkpoint.exists() and not best.exists() and read_progress(checkpoint).best_epoch > 0:
        shutil.rmtree(work)
    progress = Progress(fingerprint(recipe, examples, encoder))
    if checkpoint.exists():
        progress = resume(checkpoint, progress, model, optimizer)
        say(f"resumed after epoch {progress.epoch}, step {progress.step}")
    say(f"{len(items):,} notes, {len(examples):,} windows, {sum(lengths):,} tokens an epoch")

    done = first = sum(map(len, plan[: progress.epoch])) + progress.step
    started, before = time.monotonic(), progress.seconds
    said = saved = started
    while progress.epoch < settings.epochs:
        model.train()
        losses: list[float] = []
        for batch in plan[progress.epoch][progress.step :]:
            rate = settings.learning_rate * _rate_factor(done, n_steps, settings.warmup)
            chosen = [examples[i] for i in batch]
            losses.append(_learn(chosen, model, optimizer, rate, settings.clip_norm, pad_id))
            done, progress.step = done + 1, progress.step + 1
            now = time.monotonic()
            progress.seconds = before + now - started
            if now - said > SAY_EVERY_S:
                said = now
                left = (now - started) / (done - first) * (n_steps - done)
                say(
                    f"epoch {progress.epoch + 1}/{settings.epochs}, step {progress.step}/"
                    f"{len(plan[progress.epoch])}, loss {np.mean(losses[-50:]):.4f}, "
                    f"about {math.ceil(left / 60)} min left"
                )
            if now - saved > 60 * settings.checkpoint_minutes:
                saved = now
                save_checkpoint(checkpoint, progress, model, optimizer)
        progress.epoch, progress.step = progress.epoch + 1, 0
        scores = {name: _strict_micro_f1(student, gold) for name, gold in dev.items()}
        progress.dev.append({"epoch": progress.epoch, "strict_micro_f1": scores})
        shown = ", ".join(f"{name} {f1:.4f}" for name, f1 in scores.items())
        loss = f"loss {np.mean(losses):.4f}; " if losses else ""
        say(f"epoch {progress.epoch}: {loss}dev F1: {shown or 'no dev set'}")
        f1 = float(np.mean(list(scores.values()))) if scores else float(progress.epoch)
        if f1 > progress.best_f1:
            progress.best_f1, progress.best_epoch = f1, progress.epoch
            facts = _facts(recipe, encoder, progress, n_notes=len(items))
            replace_folder(best, replace(student, facts=facts).save)
        save_checkpoint(checkpoint, progress, model, optimizer)
    best.replace(out)
    shutil.rmtree(work)
    say(f"kept epoch {progress.best_epoch}, after {progress.seconds / 60:.1f} min of training")
    return load_student(out)


def _learn(
    examples: Sequence[Example],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    rate: float,
    clip_norm: float,
    pad_id: int,
) -> float:
    """Take one step on a batch; give its loss."""
    width = max(len(example.ids) for example in examples)
    n_tags = examples[0].allowed.shape[1]
    batch = pad(
        [example.ids for example in examples],
        rows=range(len(examples)),
        length=width,
        pad_id=pad_id,
    )
    allowed = np.ones((len(examples), width, n_tags), dtype=bool)
    learn = np.zeros((len(examples), width), dtype=bool)
    for b, example in enumerate(examples):
        allowed[b, : len(example.ids)] = example.allowed
        learn[b, : len(example.ids)] = example.learn
    logits = model(
        input_ids=torch.from_numpy(batch.input_ids),
        attention_mask=torch.from_numpy(batch.attention_mask),
    ).logits
    loss = partial_nll(logits, torch.from_numpy(allowed), torch.from_numpy(learn))
    if not torch.isfinite(loss):
        raise ClinEdgeError("training diverged: the loss is not a number; lower learning_rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return float(loss.detach())


def _parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay weights, but neither biases nor the scales of layer norms."""
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _rate_factor(step: int, n_steps: int, warmup: float) -> float:
    """Rise linearly over the first ``warmup`` share of steps, then fall linearly to zero."""
    n_warmup = max(1, round(warmup * n_steps))
    if step < n_warmup:
        return (step + 1) / n_warmup
    return (n_steps - step) / max(n_steps - n_warmup, 1)


def _strict_micro_f1(student: Student, gold: Sequence[Labelled]) -> float:
    readings = student.predictor.read(item.note for item in gold)
    found = {reading.note.id: reading.entities for reading in readings}
    return score(gold, found, n_resamples=1).micro.counts.f1


def _facts(recipe: Recipe, encoder: str, progress: Progress, *, n_notes: int) -> dict[str, Any]:
    return {
        "encoder": Path(encoder).name,
        "recipe": asdict(recipe),
        "best_epoch": progress.best_epoch,
        "dev": progress.dev,
        "notes": n_notes,
        "training_minutes": round(progress.seconds / 60, 1),
        "made_with": {
            "clin-edge": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
