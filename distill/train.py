"""The training loop: from top to bottom, resumable at any moment."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from clin_edge import __version__
from clin_edge.core.errors import GateError, InputError
from clin_edge.core.labelled import Labelled, keep_labels
from clin_edge.core.manifest import MANIFEST
from clin_edge.core.notes import Note
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
from clin_edge.distill.config import Recipe, TrainSettings
from clin_edge.distill.guide import Guide
from clin_edge.distill.lessons import Lessons
from clin_edge.distill.memory import keep_freed_memory
from clin_edge.distill.names import Vary
from clin_edge.distill.objective import batch_loss, collate
from clin_edge.distill.optimization import (
    SLOW_BFLOAT16,
    best_device,
    bfloat16_is_slow,
    mixed_precision,
    parameter_groups,
    rate_factor,
    take_step,
    use_fast_attention,
)
from clin_edge.distill.rounding import round_while_training
from clin_edge.distill.sampling import (
    count_sentences,
    drop_empty_sentences,
    keep_for_share,
    take_share,
)
from clin_edge.distill.soft import SoftTeacher, student_teacher
from clin_edge.distill.start import start_student, start_tagger
from clin_edge.distill.student import Student, load_student
from clin_edge.distill.votes import collect_marks, collect_votes

N_CHECKED = 50  # notes learnt from that are looked at for collapse where there is no dev set


@dataclass(frozen=True, slots=True)
class Status:
    """Where training stands after a step; ``dev_f1`` is that of the last epoch, if any."""

    epoch: int
    n_epochs: int
    step: int
    n_steps: int
    loss: float
    dev_f1: float | None
    seconds_left: float


def train(
    recipe: Recipe,
    items: Sequence[Labelled],
    dev: Mapping[str, Sequence[Labelled]],
    encoder: str,
    out: Path,
    *,
    soft_from: Sequence[Path] = (),
    unlabelled: Sequence[Note] = (),
    prune_to: Sequence[Note] | None = None,
    vary: Vary | None = None,
    named: Sequence[Sequence[Labelled]] = (),
    marked: Sequence[Sequence[Labelled]] = (),
    open_bundle: Callable[[Path], SoftTeacher] | None = None,
    say: Callable[[str], None] = lambda _: None,
    watch: Callable[[Status], None] = lambda _: None,
) -> Student:
    """Train a student and write it to ``out``; the epoch with the best dev score is kept.

    What is needed to go on after a crash lies in ``OUT.training`` until the end. The same command
    run again resumes there and, on a CPU, ends with the same weights as an unbroken run on the same
    machine; with other data or settings it is refused.

    Args:
        recipe: Labels, windows and settings.
        items: Labelled notes to learn from.
        dev: Sets scored after each epoch: strict micro F1, averaged over the sets, decides which
            epoch is best. Without any, the last epoch is kept.
        encoder: A folder, a hub id, or ``scratch``.
        out: The student folder to make.
        soft_from: Students or bundles whose probabilities are followed too, in the mean of them.
        unlabelled: Notes on which these alone are followed.
        prune_to: If given, pieces of the vocabulary that neither these notes nor those that are
            learnt from use are left out.
        vary: Tells the labelled notes anew in each epoch.
        named: What term tables say of any of the notes, for ``SoftSettings.named_weight``.
        marked: What rules mark in any of the notes: there they are believed, not ``soft_from``.
        open_bundle: Makes a bundle ready to be followed; without it only students can be.
        say: Told a line about each thing worth a person's attention.
        watch: Told after each step where training stands.

    Raises:
        InputError: If ``out`` exists, ``OUT.training`` belongs to another run, a model cannot be
            loaded, ``marked`` has an entity of several labels, or there is nothing to learn from.
        GateError: If the kept student finds nothing at all where there is something to find.
        ClinEdgeError: If the loss stops being a number.
    """
    if out.exists():
        raise InputError(f"{out}: exists already; choose another name or delete it")
    if recipe.soft.hidden_weight and len(soft_from) > 1:
        raise InputError("hidden_weight follows one student: give one --soft-from, or leave it 0")
    if recipe.soft.hidden_weight and any((folder / MANIFEST).is_file() for folder in soft_from):
        raise InputError(f"{soft_from[0]}: a bundle shows no hidden states: leave hidden_weight 0")
    marks = collect_marks(marked)
    keep_freed_memory()
    settings, device = recipe.train, best_device()
    if settings.bfloat16 and bfloat16_is_slow(device):
        say(SLOW_BFLOAT16)
    items = _sample(keep_labels(items, recipe.labels), settings, say)
    dev = {name: keep_labels(gold, recipe.labels) for name, gold in dev.items()}
    notes = [*items, *(Labelled(note, (), frozenset()) for note in unlabelled)]
    texts = [item.note.text for item in notes]
    pruned_to = None if prune_to is None else (note.text for note in prune_to)
    student = start_student(recipe, encoder, texts, prune_to=pruned_to)
    teachers = [_teacher(folder, open_bundle) for folder in soft_from]
    work = out.with_name(out.name + ".training")
    if teachers:
        say(f"students followed: {len(teachers)}; they read all {len(notes):,} notes first")
    with mixed_precision(torch.device("cpu"), bfloat16=settings.bfloat16):  # teachers read there
        votes = collect_votes(named)
        lessons = Lessons(
            recipe, notes, student, teachers, vary, keep_in=work, votes=votes, marks=marks
        )
    guide = None
    if teachers and recipe.soft.hidden_weight:
        guide = Guide(load_student(soft_from[0]), student, device)
    tagger = start_tagger(recipe, student, guide).to(device)
    use_fast_attention(student.model, device, bfloat16=settings.bfloat16)
    if settings.rounded:
        round_while_training(student.model)
    plan = [lessons.batches(epoch) for epoch in range(settings.epochs)]
    n_steps, pad_id = sum(map(len, plan)), student.encoder.pad_id
    groups = parameter_groups(
        tagger,
        weight_decay=settings.weight_decay,
        layer_decay=settings.layer_decay,
        scale=lambda name: recipe.head.rate if name.startswith("crf.") else 1.0,
    )
    optimizer = torch.optim.AdamW(groups, fused=True)

    checkpoint, best = work / "checkpoint", work / "best"
    settle_folder(checkpoint)
    settle_folder(best)
    # Before the first epoch's end there is no best yet; after the last one's it has become `out`,
    # which the user has since taken away: that run is over.
    if checkpoint.exists() and not best.exists() and read_progress(checkpoint).best_epoch > 0:
        shutil.rmtree(work)
    examples = lessons.examples(0)
    progress = Progress(fingerprint(recipe, examples, dev, encoder, " ".join(map(str, soft_from))))
    if checkpoint.exists():
        progress = resume(checkpoint, progress, tagger, optimizer)
        say(f"resumed after epoch {progress.epoch}, step {progress.step}")
    n_tokens = sum(len(example.ids) for example in examples)
    say(f"{len(notes):,} notes, {len(examples):,} windows, {n_tokens:,} tokens an epoch")

    done = first = sum(map(len, plan[: progress.epoch])) + progress.step
    started, before = time.monotonic(), progress.seconds
    saved = started
    losses: list[float] = []
    while progress.epoch < settings.epochs and not progress.stopped:
        tagger.train()
        for chosen in plan[progress.epoch][progress.step :]:
            shown = [lessons.shown(progress.epoch, i) for i in chosen]
            batch = collate(shown, pad_id=pad_id, device=device)
            rate = settings.learning_rate * rate_factor(done, n_steps, settings.warmup)
            loss = batch_loss(tagger, batch, recipe, guide)
            losses.append(take_step(loss, optimizer, rate=rate, clip_norm=settings.clip_norm))
            done, progress.step = done + 1, progress.step + 1
            now = time.monotonic()
            progress.seconds = before + now - started
            left = (now - started) / (done - first) * (n_steps - done)
            place = (progress.epoch + 1, settings.epochs, done, n_steps)
            watch(Status(*place, float(np.mean(losses[-50:])), progress.last_f1, left))
            if now - saved > 60 * settings.checkpoint_minutes:
                saved = now
                save_checkpoint(checkpoint, progress, tagger, optimizer)
        progress.epoch, progress.step = progress.epoch + 1, 0
        student = replace(student, crf=tagger.tables())
        _score_epoch(student, items, dev, progress)
        say(_epoch_line(progress, losses))
        if progress.last_f1 is None or progress.last_f1 > progress.best_f1:
            progress.best_f1 = -1.0 if progress.last_f1 is None else progress.last_f1
            progress.best_epoch = progress.epoch
            counts = {"notes": len(notes), "unlabelled": len(unlabelled)}
            facts = {**student.facts, **_facts(recipe, encoder, soft_from, progress, counts)}
            replace_folder(best, replace(student, facts=facts).save)
        waited = progress.epoch - progress.best_epoch
        progress.stopped = settings.patience is not None and waited >= settings.patience
        if progress.stopped:
            say(f"stopped: no better dev score for {waited} epochs")
        progress.stopped = progress.stopped or progress.epoch == settings.stop_after
        save_checkpoint(checkpoint, progress, tagger, optimizer)
        losses = []
    kept = progress.dev[progress.best_epoch - 1]
    if kept["wanted"] and not kept["found"]:
        shutil.rmtree(work)
        raise GateError(
            f"{out}: not written, the student finds nothing at all, in any note; it has collapsed "
            "to the tag O. Lower learning_rate, raise warmup, or train for more epochs"
        )
    best.replace(out)
    shutil.rmtree(work)
    say(f"kept epoch {progress.best_epoch}, after {progress.seconds / 60:.1f} min of training")
    return load_student(out)


def _teacher(folder: Path, open_bundle: Callable[[Path], SoftTeacher] | None) -> SoftTeacher:
    if open_bundle is not None and (folder / MANIFEST).is_file():
        return open_bundle(folder)
    return student_teacher(load_student(folder))


def _sample(
    items: Sequence[Labelled], settings: TrainSettings, say: Callable[[str], None]
) -> Sequence[Labelled]:
    """Take the share of notes, and of their empty sentences, that the settings ask for."""
    if settings.share < 1:
        items = take_share(items, settings.share, seed=settings.seed)
    keep = settings.keep_empty
    if settings.empty_share is not None:
        keep = keep_for_share(items, settings.empty_share)
    if keep is None:
        return items
    before = count_sentences(items)
    after = count_sentences(items, keep=keep, seed=settings.seed)
    say(
        f"{before.sentences:,} sentences, {before.empty_share:.1%} without an entity; with "
        f"{keep:.2%} of these kept, {after.sentences:,}, {after.empty_share:.1%} without"
    )
    return drop_empty_sentences(items, keep=keep, seed=settings.seed)


def _score_epoch(
    student: Student,
    items: Sequence[Labelled],
    dev: Mapping[str, Sequence[Labelled]],
    progress: Progress,
) -> None:
    """Add to ``progress`` the strict micro F1 of each dev set, and how much was found at all.

    Without dev sets, what is found in some of the notes that were learnt from is counted: a student
    that finds nothing there has collapsed.
    """
    scores: dict[str, float] = {}
    wanted = found = 0
    learnt = [item for item in items if item.entities][:N_CHECKED]
    for name, gold in (dev or {"": learnt}).items():
        f1, n_found = _strict_micro_f1(student, gold)
        found += n_found
        wanted += sum(len(item.entities) for item in gold)
        if dev:
            scores[name] = f1
    progress.dev.append(
        {"epoch": progress.epoch, "strict_micro_f1": scores, "found": found, "wanted": wanted}
    )


def _strict_micro_f1(student: Student, gold: Sequence[Labelled]) -> tuple[float, int]:
    """Give the score, and how many entities were found, rightly or not."""
    readings = student.predictor.read(item.note for item in gold)
    found = {reading.note.id: reading.entities for reading in readings}
    return score(gold, found, n_resamples=1).micro.counts.f1, sum(map(len, found.values()))


def _epoch_line(progress: Progress, losses: Sequence[float]) -> str:
    last = progress.dev[-1]
    shown = ", ".join(f"{name} {f1:.4f}" for name, f1 in last["strict_micro_f1"].items())
    loss = f"loss {np.mean(losses):.4f}; " if losses else ""
    line = f"epoch {progress.epoch}: {loss}dev F1: {shown or 'no dev set'}"
    if last["wanted"] and not last["found"]:
        line += f"; nothing is found yet where {last['wanted']:,} entities are"
    return line


def _facts(
    recipe: Recipe,
    encoder: str,
    soft_from: Sequence[Path],
    progress: Progress,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    return {
        "encoder": Path(encoder).name,
        **({"soft_from": [folder.name for folder in soft_from]} if soft_from else {}),
        "recipe": asdict(recipe),
        "fingerprint": progress.fingerprint,
        "best_epoch": progress.best_epoch,
        "dev": progress.dev,
        **counts,
        "training_minutes": round(progress.seconds / 60, 1),
        "made_with": {
            "clin-edge": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
