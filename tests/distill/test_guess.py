"""Guessing what is hidden, beside tags: what it costs, what it moves, what is hidden at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clin_edge.distill.config import HeadSettings, TrainSettings
from clin_edge.distill.guess import Guesser, guess_loss
from clin_edge.distill.lessons import Lessons
from clin_edge.distill.objective import batch_loss, collate
from clin_edge.distill.start import start_tagger
from clin_edge.distill.student import load_student
from clin_edge.distill.train import train
from tiny import KINDS, invented_set, n_threads, tiny_encoder, tiny_recipe, tiny_student

CPU = torch.device("cpu")
ITEMS = invented_set(30)


def recipe_of(**settings: Any) -> Any:
    return tiny_recipe(**{"hide": 0.3, "guess": 0.5, **settings})


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_a_tied_head_by_hand(kind: str, tmp_path: Path) -> None:
    model = tiny_student(tmp_path / "e", kind).model
    guesser = Guesser(model)
    table = model.get_input_embeddings().weight
    states = torch.randn(2, 3, model.config.hidden_size)
    guess = torch.tensor([[-1, 7, -1], [9, -1, -1]])
    by_hand = []
    for b, t in ((0, 1), (1, 0)):
        wanted = guesser.norm(torch.nn.functional.gelu(guesser.dense(states[b, t])))
        scores = torch.stack([wanted @ row for row in table]) + guesser.bias
        by_hand.append(-(scores - torch.logsumexp(scores, 0))[guess[b, t]])
    loss = guess_loss(guesser, model, states, guess)
    assert loss.item() == pytest.approx(sum(by_hand).item() / 2, rel=1e-5)
    loss.backward()
    assert table.grad is not None
    assert table.grad.abs().sum() > 0


def test_where_nothing_is_hidden_it_costs_nothing(tmp_path: Path) -> None:
    model = tiny_student(tmp_path / "e").model
    states = torch.randn(1, 2, 32, requires_grad=True)
    loss = guess_loss(Guesser(model), model, states, torch.full((1, 2), -1))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("head", [HeadSettings(), HeadSettings("crf")], ids=["linear", "crf"])
def test_it_is_added_to_the_loss_on_tags(head: HeadSettings, tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "e")
    student.model.eval()
    recipe = recipe_of(head=head)
    lessons = Lessons(recipe, ITEMS, student)
    batch = collate([lessons.shown(0, i) for i in range(4)], pad_id=0, device=CPU)
    tagger = start_tagger(recipe, student, None)

    def cost(guess: float) -> float:
        other = replace(recipe, train=replace(recipe.train, guess=guess))
        return batch_loss(tagger, batch, other, None).item()

    assert tagger.guesser is not None
    assert start_tagger(tiny_recipe(hide=0.3), student, None).guesser is None
    once = cost(1.0) - cost(0.0)
    assert once > 1
    assert cost(3.0) - cost(0.0) == pytest.approx(3 * once, rel=1e-4)


def test_whole_words_are_hidden_and_what_stood_there_is_asked(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "e")
    recipe = recipe_of(hide=0.4)
    lessons = Lessons(recipe, ITEMS, student)
    mask, hidden, shown = student.encoder.mask_id, 0, 0
    for number, example in enumerate(lessons.examples(0)):
        seen = lessons.shown(0, number)
        assert seen.guess is not None
        asked = seen.guess >= 0
        np.testing.assert_array_equal(np.where(asked, seen.guess, seen.ids), example.ids)
        assert (seen.ids[asked] == mask).all()
        assert not asked[~example.learn].any()
        goes_on = np.flatnonzero(~example.opens_word & example.learn)
        assert (asked[goes_on] == asked[goes_on - 1]).all()
        np.testing.assert_array_equal(seen.guess, lessons.shown(0, number).guess)
        hidden, shown = hidden + asked.sum(), shown + example.learn.sum()
    assert 0.25 < hidden / shown < 0.55
    assert any(len(e.opens_word) > e.opens_word.sum() for e in lessons.examples(0))


def test_without_guess_nothing_is_asked(tmp_path: Path) -> None:
    lessons = Lessons(tiny_recipe(hide=0.3), ITEMS, tiny_student(tmp_path / "e"))
    seen = lessons.shown(0, 0)
    assert seen.guess is None
    assert collate([seen], pad_id=0, device=CPU).guess is None


@pytest.mark.parametrize("settings", [{"guess": -0.1, "hide": 0.1}, {"guess": 0.1}])
def test_guess_without_anything_hidden_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="guess is not below 0, and needs hide"):
        TrainSettings(**settings)


def test_a_student_that_guesses_learns_and_leaves_no_head_behind(tmp_path: Path) -> None:
    encoder = str(tiny_encoder(tmp_path / "e"))
    with n_threads(1):
        dev = {"dev": invented_set(10, seed=9)}
        train(recipe_of(hide=0.1, guess=0.1), invented_set(60), dev, encoder, tmp_path / "s")
    student = load_student(tmp_path / "s")
    assert student.facts["dev"][-1]["strict_micro_f1"]["dev"] > 0.8
    assert not any("guesser" in name for name in student.model.state_dict())
