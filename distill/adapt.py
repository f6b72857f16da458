"""Masked-language-model adaptation: an encoder reads unlabelled notes before it is trained."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForMaskedLM

from clin_edge import __version__
from clin_edge.core.batching import pad
from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.distill.checkpoint import (
    Progress,
    replace_folder,
    resume,
    save_checkpoint,
    settle_folder,
)
from clin_edge.distill.config import N_SPECIAL
from clin_edge.distill.dataset import epoch_batches
from clin_edge.distill.encoders import (
    check_room,
    load_config,
    load_tokenizer,
    loading,
    quiet_transformers,
)
from clin_edge.distill.masking import Masking, Passage, Passages, read_passages
from clin_edge.distill.memory import keep_freed_memory
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
from clin_edge.distill.words import add_words, frequent_words

ADAPTED_FILE = "adapted.json"
SAY_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class AdaptSettings:
    """How an encoder is adapted: AdamW, linear warm-up, linear decay to zero.

    ``mask`` is the share of pieces to guess, drawn by the word if ``whole_words``. ``held_out`` is
    the share of notes that are not learnt but measure what was learnt. ``bfloat16`` computes in
    half the bits on a CPU too, as on a GPU it always does. Up to ``words`` words that the notes use
    often and the tokenizer cuts up get a piece of their own first, see ``frequent_words``. Nothing
    is dropped out but what is hidden: few epochs do not learn by heart.
    """

    epochs: int = 3
    learning_rate: float = 1e-4
    mask: float = 0.15
    whole_words: bool = True
    words: int = 0
    max_tokens: int = 256
    bfloat16: bool = False
    batch_tokens: int = 4096
    held_out: float = 0.02
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    seed: int = 0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if self.epochs < 1 or self.batch_tokens < 1 or self.learning_rate <= 0:
            raise ValueError("epochs, batch_tokens and learning_rate are above 0")
        if self.seed < 0 or self.words < 0:
            raise ValueError("seed and words are not below 0")
        if not (0 < self.mask < 1 and 0 <= self.held_out < 1 and 0 <= self.warmup <= 1):
            raise ValueError("mask, held_out and warmup are shares, between 0 and 1")
        if self.max_tokens <= N_SPECIAL:
            raise ValueError(f"max_tokens {self.max_tokens} has no room for text")


def adapt(
    encoder: str,
    notes: Iterable[Note],
    out: Path,
    settings: AdaptSettings,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Let an encoder learn the language of notes, and write it to ``out`` as a new encoder.

    ``out`` gets the encoder with the head it learnt by, so that adapting it again goes on from
    there, the tokenizer, and ``adapted.json``, whose facts are also given back: among them, before
    learning and after each epoch, the mean loss (in nats) and the accuracy of the guesses in the
    notes held out. What is needed to go on after a crash lies in ``OUT.training`` until the end;
    the same call made again ends with the same weights as an unbroken run, on a CPU of the same
    kind.

    Args:
        encoder: A folder or hub id; a head it lacks is made new, tied to its embeddings, and
            expects each piece as often as the notes have it.
        notes: Read once, before anything is learnt. A note is held out by its id's hash.
        out: The folder to make.
        settings: How it learns.
        say: Told a line about each step worth a person's attention.

    Raises:
        InputError: If ``out`` exists, ``OUT.training`` belongs to another run, the encoder cannot
            be loaded, or the notes hold too little text.
        ClinEdgeError: If the loss stops being a number.
    """
    if out.exists():
        raise InputError(f"{out}: exists already; choose another name or delete it")
    keep_freed_memory()
    model, tokenizer, given_config, head_is_new = _load(encoder, settings)
    backend, new_words = tokenizer.backend_tokenizer, []
    if settings.words:
        notes = list(notes)
        new_words = frequent_words(backend, (note.text for note in notes), settings.words)
        add_words(model, backend, new_words)
        given_config.vocab_size = model.config.vocab_size
        say(f"{len(new_words):,} words get a piece of their own")
    reader = Encoder(backend.to_str().encode(), max_tokens=settings.max_tokens, overlap=0)
    special = np.array(tokenizer.all_special_ids)
    plain = np.setdiff1d(np.arange(len(tokenizer)), special)
    masking = Masking(settings.mask, tokenizer.mask_token_id, plain, settings.seed)
    learnt, held = read_passages(
        notes, reader, special, whole_words=settings.whole_words, held_out=settings.held_out
    )
    if head_is_new:
        _expect_frequent_pieces(model, learnt)

    work = out.with_name(out.name + ".training")
    checkpoint, adapted = work / "checkpoint", work / "adapted"
    settle_folder(checkpoint)
    progress = Progress(_fingerprint(encoder, settings, learnt, held))
    lengths = learnt.lengths
    plan = [
        epoch_batches(lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=e)
        for e in range(settings.epochs)
    ]
    n_steps = sum(map(len, plan))
    device = best_device()
    if settings.bfloat16 and bfloat16_is_slow(device):
        say(SLOW_BFLOAT16)
    model.to(device)
    use_fast_attention(model, device, bfloat16=settings.bfloat16)
    groups = parameter_groups(model, weight_decay=settings.weight_decay)
    optimizer = torch.optim.AdamW(groups, fused=True)
    # The head shares the embeddings' weights, and safetensors keeps no tensor twice.
    weights = torch.nn.ParameterList(model.parameters())
    if checkpoint.exists():
        progress = resume(checkpoint, progress, weights, optimizer)
        say(f"resumed after epoch {progress.epoch}, step {progress.step}")
    say(
        f"{learnt.n_notes:,} notes, {len(lengths):,} windows, {sum(lengths):,} tokens an epoch; "
        f"{held.n_notes:,} more held out"
    )
    if head_is_new:
        say("the encoder's head for guessing words is missing, or part of it: that begins anew")
    guesser = _Guesser(model, masking, reader.pad_id, settings.bfloat16)

    def measure() -> None:
        result = guesser.measure(held, settings.batch_tokens)
        progress.dev.append({"epoch": progress.epoch, **result})
        when = f"after epoch {progress.epoch}" if progress.epoch else "before"
        say(f"held out, {when}: loss {result['loss']:.4f}, accuracy {result['accuracy']:.4f}")

    if not progress.dev:
        measure()

    done = first = sum(map(len, plan[: progress.epoch])) + progress.step
    started, before = time.monotonic(), progress.seconds
    said = saved = started
    while progress.epoch < settings.epochs:
        model.train()
        losses: list[float] = []
        for batch in plan[progress.epoch][progress.step :]:
            # Epoch 0 of the draws belongs to the notes held out.
            scores, right = guesser.guess(learnt.windows, batch, epoch=progress.epoch + 1)
            rate = settings.learning_rate * rate_factor(done, n_steps, settings.warmup)
            loss = cross_entropy(scores, right)
            losses.append(take_step(loss, optimizer, rate=rate, clip_norm=settings.clip_norm))
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
                save_checkpoint(checkpoint, progress, weights, optimizer)
        progress.epoch, progress.step = progress.epoch + 1, 0
        measure()
        save_checkpoint(checkpoint, progress, weights, optimizer)

    facts = {
        "encoder": Path(encoder).name,
        "settings": asdict(settings),
        "notes": learnt.n_notes,
        "held_out_notes": held.n_notes,
        "tokens": sum(lengths),
        "new_words": len(new_words),
        "head_is_new": head_is_new,
        "held_out": progress.dev,
        "training_minutes": round(progress.seconds / 60, 1),
        "made_with": {
            "clin-edge": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }

    def write(place: Path) -> None:
        model.config = given_config
        model.save_pretrained(place, safe_serialization=True)
        tokenizer.save_pretrained(place)
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        (place / ADAPTED_FILE).write_text(text + "\n", encoding="utf-8")

    replace_folder(adapted, write)
    adapted.replace(out)
    # A checkpoint half cleared away would be in the way of another run: it first loses its name.
    shutil.rmtree(work / "over", ignore_errors=True)
    checkpoint.replace(work / "over")
    shutil.rmtree(work)
    per_s = settings.epochs * sum(lengths) / max(progress.seconds, 1e-9)
    say(f"done after {progress.seconds / 60:.1f} min of training, {per_s:,.0f} tokens/s")
    return facts


def _load(encoder: str, settings: AdaptSettings) -> tuple[Any, Any, Any, bool]:
    """Give model, tokenizer, the encoder's own config, and whether the head is a new one."""
    quiet_transformers()
    torch.manual_seed(settings.seed)
    with loading(encoder, "an encoder transformers can load"):
        given = AutoConfig.from_pretrained(encoder)
        config = load_config(encoder, attention_dropout=0.0, dropout=0.0, tie_word_embeddings=True)
        model, info = AutoModelForMaskedLM.from_pretrained(
            encoder, config=config, dtype=torch.float32, output_loading_info=True
        )
        lost = sorted([*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])])
        of_encoder = [name for name in lost if name.startswith(model.base_model_prefix + ".")]
        if of_encoder:
            raise ValueError(f"{len(of_encoder)} weights are missing, the first is {of_encoder[0]}")
        tokenizer = load_tokenizer(encoder, config)
        if tokenizer.mask_token_id is None:
            raise ValueError("its tokenizer has no mask token")
    check_room(encoder, config, settings.max_tokens)
    return model, tokenizer, given, bool(lost)


def _expect_frequent_pieces(model: Any, learnt: Passages) -> None:
    """Let a new head begin with how often each piece stands in the text: its bias, log odds."""
    bias = model.get_output_embeddings().bias
    if bias is not None:
        counts = np.ones(len(bias))
        for passage in learnt.windows:
            np.add.at(counts, passage.ids, 1)
        with torch.no_grad():
            bias.copy_(torch.from_numpy(np.log(counts / counts.mean())))


@dataclass(frozen=True, slots=True, eq=False)
class _Guesser:
    """A model that is asked for what stands in the places hidden from it."""

    model: Any
    masking: Masking
    pad_id: int
    bfloat16: bool = False

    def guess(
        self, windows: Sequence[Passage], batch: Sequence[int], *, epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the scores (K, V) of the K places hidden in a batch, and what stands there (K,)."""
        width = max(len(windows[i].ids) for i in batch)
        hidden = [self.masking.hide(windows[i], epoch=epoch, number=i) for i in batch]
        padded = pad([shown for shown, _ in hidden], rows=batch, length=width, pad_id=self.pad_id)
        places = np.zeros(padded.input_ids.shape, dtype=bool)
        for b, (_, chosen) in enumerate(hidden):
            places[b, : len(chosen)] = chosen
        right = np.concatenate(
            [windows[i].ids[chosen] for i, (_, chosen) in zip(batch, hidden, strict=True)]
        )
        device = self.model.device
        at = torch.from_numpy(places).to(device)

        def keep_places(_: Any, __: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[at][None]
            return output

        # Heads look at one place at a time: most of their work would be for places not asked.
        keeping = self.model.base_model.register_forward_hook(keep_places)
        with keeping, mixed_precision(device, bfloat16=self.bfloat16):
            logits = self.model(
                input_ids=torch.from_numpy(padded.input_ids).to(device),
                attention_mask=torch.from_numpy(padded.attention_mask).to(device),
            ).logits
        return logits[0].float(), torch.from_numpy(right).to(device)

    def measure(self, held: Passages, batch_tokens: int) -> dict[str, float]:
        """Give mean loss (nats) and accuracy in the notes held out; the same places each time."""
        self.model.eval()
        loss, n_right, n_places = 0.0, 0, 0
        for batch in epoch_batches(held.lengths, batch_tokens=batch_tokens, seed=0, epoch=0):
            with torch.no_grad():
                scores, right = self.guess(held.windows, batch, epoch=0)
                loss += float(cross_entropy(scores, right, reduction="sum"))
            n_right += int((scores.argmax(dim=-1) == right).sum())
            n_places += len(right)
        return {"loss": loss / n_places, "accuracy": n_right / n_places}


def _fingerprint(encoder: str, settings: AdaptSettings, learnt: Passages, held: Passages) -> str:
    """Hash all that decides the weights, but for the machine: settings, encoder name, windows."""
    decisive = {k: v for k, v in asdict(settings).items() if k != "checkpoint_minutes"}
    digest = hashlib.sha256(json.dumps([encoder, decisive, len(learnt.windows)]).encode())
    for passage in (*learnt.windows, *held.windows):
        digest.update(passage.ids.tobytes())
        digest.update(passage.words.tobytes())
    return digest.hexdigest()
