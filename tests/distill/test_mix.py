"""Two students made one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from clin_edge.core.errors import InputError
from clin_edge.core.labels import LabelScheme
from clin_edge.distill.mix import mix
from clin_edge.distill.start import start_student
from clin_edge.distill.student import Student, load_student, new_student
from tiny import MAX_TOKENS, OVERLAP, Done, cli, tiny_encoder, tiny_recipe


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return tiny_encoder(tmp_path / "tiny")


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Done]:
    return partial(cli, monkeypatch, capsys)


def student(start: Path, folder: Path, *labels: str, seed: int) -> Student:
    """A student whose every weight was moved by chance, kept in ``folder``."""
    made = new_student(
        str(start), LabelScheme(labels), max_tokens=MAX_TOKENS, overlap=OVERLAP, seed=seed
    )
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    made.save(folder)
    return made


def test_every_weight_is_the_mean_and_tags_are_matched_by_name(start: Path, tmp_path: Path) -> None:
    a = student(start, tmp_path / "a", "DISEASE", "MEDICATION", seed=1)
    b = student(start, tmp_path / "b", "MEDICATION", "ROUTE", "DISEASE", seed=2)
    mixed = mix(tmp_path / "a", tmp_path / "b", 0.25)
    assert mixed.scheme == b.scheme
    old, new, got = (s.model.state_dict() for s in (a, b, mixed))
    for name in new:
        if name.startswith("bert."):
            assert torch.allclose(got[name], 0.25 * old[name] + 0.75 * new[name], atol=1e-6)
    for tag, row in b.scheme.index.items():
        for name in ("classifier.weight", "classifier.bias"):
            wanted = new[name][row]
            if tag in a.scheme.index:
                wanted = 0.25 * old[name][a.scheme.index[tag]] + 0.75 * wanted
            assert torch.allclose(got[name][row], wanted, atol=1e-6), tag


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_or_all_of_the_older_is_one_of_the_two(start, tmp_path, share: float) -> None:
    a = student(start, tmp_path / "a", "DISEASE", seed=1)
    b = student(start, tmp_path / "b", "DISEASE", seed=2)
    mixed = mix(tmp_path / "a", tmp_path / "b", share).model.state_dict()
    for name, weight in (a if share else b).model.state_dict().items():
        assert torch.equal(mixed[name], weight)


def test_the_command_writes_a_student_that_says_what_it_is(run, start, tmp_path: Path) -> None:
    student(start, tmp_path / "a", "DISEASE", seed=1)
    student(start, tmp_path / "b", "DISEASE", seed=2)
    command = ("mix", tmp_path / "a", tmp_path / "b", "--share", "0.5", "-o", tmp_path / "out")
    done = run(*command)
    assert (done.code, done.out, done.err) == (0, "", "")
    facts = load_student(tmp_path / "out").facts
    assert (facts["mixed_with"], facts["mixed_share"]) == ("a", 0.5)
    done = run(*command)
    assert done.code == 3
    assert "exists already" in done.err


def test_a_bias_moves_the_logits_of_its_label_and_no_others(run, start, tmp_path: Path) -> None:
    student(start, tmp_path / "a", "DISEASE", "ROUTE", seed=1)
    done = run(
        *("mix", tmp_path / "a", tmp_path / "a", "--share", "0.5", "--bias", "ROUTE", "-1.5"),
        *("-o", tmp_path / "out"),
    )
    assert done.code == 0, done.err
    before, after = load_student(tmp_path / "a"), load_student(tmp_path / "out")
    moved = after.model.classifier.bias - before.model.classifier.bias
    wanted = [-1.5 if tag.endswith("ROUTE") else 0.0 for tag in after.scheme.tags]
    assert moved.tolist() == pytest.approx(wanted, abs=1e-6)
    assert after.facts["bias"] == {"ROUTE": -1.5}
    done = run(
        *("mix", tmp_path / "a", tmp_path / "a", "--share", "0.5", "--bias", "GENE", "1"),
        *("-o", tmp_path / "more"),
    )
    assert done.code == 3
    assert "GENE: the student knows DISEASE, ROUTE" in done.err


def test_words_that_the_newer_one_was_given_the_older_one_gets_too(start, tmp_path: Path) -> None:
    older = student(start, tmp_path / "a", "DISEASE", seed=1)
    texts = ["feverish and coughed"] * 20
    recipe = tiny_recipe(labels=("DISEASE",), words=9)
    begun = start_student(recipe, str(tmp_path / "a"), texts)
    begun.save(tmp_path / "b")
    assert begun.facts["new_words"] == 2
    mixed = mix(tmp_path / "a", tmp_path / "b", 0.5)
    assert mixed.tokenizer_json == begun.tokenizer_json
    # Nothing was learnt since: the older one, given these words, is the newer one.
    for name, weight in begun.model.state_dict().items():
        torch.testing.assert_close(mixed.model.state_dict()[name], weight)
    n_before = older.model.config.vocab_size
    table = mixed.model.get_input_embeddings().weight
    assert torch.equal(table[:n_before], older.model.get_input_embeddings().weight)
    with pytest.raises(InputError, match="other word pieces"):
        mix(tmp_path / "b", tmp_path / "a", 0.5)


def test_students_that_do_not_belong_together_are_refused(start: Path, tmp_path: Path) -> None:
    student(start, tmp_path / "a", "DISEASE", seed=1)
    wide = tiny_encoder(tmp_path / "wide", "distilbert")
    student(wide, tmp_path / "other", "DISEASE", seed=1)
    with pytest.raises(InputError, match=r"differ in shape|other word pieces"):
        mix(tmp_path / "a", tmp_path / "other", 0.5)
    cut = load_student(tmp_path / "a")
    pieces = cut.tokenizer_json.replace(b"##ing", b"##ung", 1) + b" "
    replace(cut, tokenizer_json=pieces).save(tmp_path / "cut")
    with pytest.raises(InputError, match="other word pieces"):
        mix(tmp_path / "a", tmp_path / "cut", 0.5)
    with pytest.raises(InputError):
        mix(tmp_path / "a", tmp_path / "tiny", 0.5)
