"""What each epoch teaches: windows of the notes, the same ones or told anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.distill.config import Recipe
from clin_edge.distill.dataset import Example, epoch_batches, make_examples, marks_all
from clin_edge.distill.kept_soft import kept_soft_labels
from clin_edge.distill.names import Vary
from clin_edge.distill.soft import SoftTeacher, soft_labels
from clin_edge.distill.student import Student
from clin_edge.distill.votes import Votes, believe, lean_on


class Lessons:
    """The examples of every epoch, and the batches they come in.

    Epochs differ in more than order if ``vary`` tells the notes anew; their examples are then made
    when they are asked for, and only one epoch's are kept.

    Raises:
        InputError: If the notes hold no text; other students are to be followed on notes that are
            told anew, which they read only once; or pieces are to be hidden, and the tokenizer has
            nothing to hide them behind.
    """

    def __init__(
        self,
        recipe: Recipe,
        notes: Sequence[Labelled],
        student: Student,
        teachers: Sequence[SoftTeacher] = (),
        vary: Vary | None = None,
        *,
        keep_in: Path | None = None,
        votes: Votes | None = None,
        marks: Votes | None = None,
    ) -> None:
        """Make the first epoch's examples; what teachers say is kept in the folder ``keep_in``.

        ``votes`` are what term tables say of the notes, see ``lean_on``, ``marks`` what rules do,
        see ``believe``.
        """
        if teachers and vary is not None:
            raise InputError("other students are followed on notes as they are: leave exchange 0")
        self._recipe, self._notes, self._student = recipe, notes, student
        self._teachers, self._vary = teachers, vary
        self._mask_id = student.encoder.mask_id if recipe.train.hide else None
        if recipe.train.hide and self._mask_id is None:
            raise InputError("the encoder's tokenizer has no mask token: leave hide 0")
        self._keep_in, self._votes, self._marks = keep_in, votes or {}, marks or {}
        self._epoch = 0
        self._examples = self._make(0)
        if not self._examples:
            raise InputError("the labelled notes hold no text to learn from")

    def examples(self, epoch: int) -> list[Example]:
        """Give an epoch's examples."""
        if self._vary is not None and epoch != self._epoch:
            self._examples, self._epoch = self._make(epoch), epoch
        return self._examples

    def shown(self, epoch: int, number: int) -> Example:
        """Give one of an epoch's examples as it is shown: some of what it teaches is hidden.

        Which pieces are is drawn from seed, epoch and number alone, so that a resumed run repeats
        it.
        """
        example = self.examples(epoch)[number]
        settings = self._recipe.train
        if self._mask_id is None:
            return example
        drawn = np.random.default_rng([settings.seed, epoch, number, 1]).random(len(example.ids))
        hidden = (drawn < settings.hide) & example.learn
        return replace(example, ids=np.where(hidden, self._mask_id, example.ids))

    def batches(self, epoch: int) -> list[list[int]]:
        """Give the batches of an epoch, by the numbers of its examples."""
        settings = self._recipe.train
        lengths = [len(example.ids) for example in self.examples(epoch)]
        return epoch_batches(
            lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=epoch
        )

    def _make(self, epoch: int) -> list[Example]:
        notes, head, vary = self._notes, self._recipe.head, self._vary
        if vary is not None:
            notes = [vary(note, epoch, number) for number, note in enumerate(notes)]
        encoder, scheme = self._student.encoder, self._student.scheme
        soft = None
        if self._teachers:
            asked = [item.note for item in notes if not marks_all(item, scheme)]
            if self._keep_in is None:
                soft = soft_labels(asked, encoder, scheme, self._teachers)
            else:
                soft = kept_soft_labels(asked, encoder, scheme, self._teachers, self._keep_in)
            weight = self._recipe.soft.named_weight
            soft = lean_on(soft, asked, encoder, scheme, self._votes, weight)
            soft = believe(soft, asked, encoder, scheme, self._marks)
        whole = head.kind == "crf" and head.constrained
        return list(make_examples(notes, encoder, scheme, keep_words_whole=whole, soft=soft))
