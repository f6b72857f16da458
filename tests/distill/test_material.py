"""What a recipe has to teach, and how it comes together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.distill import train as training
from clin_edge.distill.config import Recipe, SetSpec
from clin_edge.distill.invent import InventSpec
from clin_edge.distill.lessons import Lessons
from clin_edge.distill.material import gather
from clin_edge.distill.names import NameSettings
from clin_edge.distill.student import Student, load_student
from clin_edge.distill.train import train
from dying import Killed, dying_at, weights
from tiny import (
    invented_set,
    n_threads,
    tiny_encoder,
    tiny_recipe,
    tiny_student,
    write_labelled,
)

TABLE = """id\tname\tsynonyms\tlabel
1\tzulifen\ttromexal\tMEDICATION
2\tgrey fever\t\tDISEASE
3\tblue ache\t\tSYMPTOM
"""
ITEMS = invented_set(12)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "terms.tsv").write_text(TABLE, encoding="utf-8")
    write_labelled(tmp_path / "gold.jsonl", ITEMS)
    return tmp_path


def names(**settings: object) -> NameSettings:
    return NameSettings(tables=("terms.tsv",), **settings)  # type: ignore[arg-type]


def test_sets_are_learnt_so_many_times_and_notes_with_too_little_are_left_out(data: Path) -> None:
    once, vary = gather(Recipe(("MEDICATION",), sets=(SetSpec("gold.jsonl"),)), data)
    assert once == ITEMS
    assert vary is None
    thrice, _ = gather(Recipe(("MEDICATION",), sets=(SetSpec("gold.jsonl", times=3),)), data)
    assert sorted(item.note.id for item in thrice) == sorted(3 * [i.note.id for i in ITEMS])
    rich, _ = gather(Recipe(("MEDICATION",), sets=(SetSpec("gold.jsonl", least=3),)), data)
    assert rich == [item for item in ITEMS if len(item.entities) >= 3]
    assert 0 < len(rich) < len(ITEMS)


def test_a_set_may_teach_only_some_of_its_labels(data: Path) -> None:
    sets = (SetSpec("gold.jsonl", only=("DISEASE",)),)
    items, _ = gather(Recipe(("MEDICATION", "DISEASE"), sets=sets), data)
    assert {item.marked for item in items} == {frozenset({"DISEASE"})}
    assert {e.label for item in items for e in item.entities} == {"DISEASE"}


def test_silver_comes_beside_the_sets(data: Path) -> None:
    silver = invented_set(3, seed=9, prefix="s")
    items, _ = gather(Recipe(("MEDICATION",), sets=(SetSpec("gold.jsonl"),)), data, [silver])
    assert items == [*ITEMS, *silver]


def test_what_a_set_does_not_tell_apart_the_tables_do(data: Path) -> None:
    either = [("grey fever", "DISEASE|SYMPTOM"), ("rash", "DISEASE|SYMPTOM")]
    text = "grey fever and rash"
    rows = "".join(
        f'{{"start": {text.index(q)}, "end": {text.index(q) + len(q)}, "label": "{label}"}}, '
        for q, label in either
    )
    line = f'{{"id": "1", "text": "{text}", "entities": [{rows.rstrip(", ")}]}}\n'
    (data / "either.jsonl").write_text(line)
    sets = (SetSpec("either.jsonl"),)
    (item,), _ = gather(Recipe(("DISEASE", "SYMPTOM"), sets=sets, names=names(narrow=True)), data)
    assert [e.label for e in item.entities] == ["DISEASE", "DISEASE|SYMPTOM"]


def test_invented_notes_come_last_and_use_the_tables_names(data: Path) -> None:
    recipe = Recipe(
        ("MEDICATION", "DISEASE", "SYMPTOM"),
        sets=(SetSpec("gold.jsonl"),),
        invented=(InventSpec("notes", 40, seed=4),),
        names=names(),
    )
    items, vary = gather(recipe, data)
    assert items[: len(ITEMS)] == ITEMS
    written = items[len(ITEMS) :]
    assert len({item.note.id for item in written}) == 40
    assert any("zulifen" in item.note.text for item in written)
    assert vary is None


def test_an_exchange_tells_every_note_anew(data: Path) -> None:
    recipe = Recipe(
        ("MEDICATION", "DISEASE"), sets=(SetSpec("gold.jsonl"),), names=names(exchange=1.0)
    )
    items, vary = gather(recipe, data)
    assert vary is not None
    told = [vary(item, 0, number) for number, item in enumerate(items)]
    for item in told:
        for e in item.entities:
            words = item.note.text[e.span.start : e.span.end].lower()
            assert words in ("zulifen", "tromexal", "grey fever")


# --- learning from notes that are told anew ------------------------------------------------------

SHORT = {"epochs": 2, "batch_tokens": 100, "learning_rate": 3e-2, "warmup": 0.0}


def test_a_run_with_exchanged_names_dies_and_ends_with_the_same_weights(
    data: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch
) -> None:
    encoder = str(tiny_encoder(tmp_path_factory.mktemp("material") / "tiny"))
    recipe = tiny_recipe(
        **SHORT,
        sets=(SetSpec("gold.jsonl"),),
        names=names(exchange=0.5),
        hide=0.2,
        checkpoint_minutes=0.0,
    )
    items, vary = gather(recipe, data)
    dev = {"dev": ITEMS}

    def run(out: Path) -> None:
        train(recipe, items, dev, encoder, out, vary=vary)

    with n_threads(1):
        run(data / "whole")
        for nth in (2, 5):
            out = data / f"died-{nth}"
            with monkeypatch.context() as patch:
                patch.setattr(training, "take_step", dying_at(nth, training.take_step, after=True))
                with pytest.raises(Killed):
                    run(out)
            run(out)
            assert weights(out) == weights(data / "whole")
        train(recipe, items, dev, encoder, data / "as-they-are")
    assert weights(data / "as-they-are") != weights(data / "whole")


def test_stopping_after_some_epochs_keeps_the_rates_of_all(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    encoder = str(tiny_encoder(tmp_path_factory.mktemp("stop") / "tiny"))
    with n_threads(1):
        for epochs, stop, out in ((3, 2, "stopped"), (3, None, "whole"), (2, None, "short")):
            recipe = tiny_recipe(**{**SHORT, "epochs": epochs}, stop_after=stop)
            train(recipe, ITEMS, {}, encoder, data / out)
    facts = load_student(data / "stopped").facts
    assert [epoch["epoch"] for epoch in facts["dev"]] == [1, 2]
    assert weights(data / "stopped") != weights(data / "short")
    assert weights(data / "stopped") != weights(data / "whole")


# --- hidden pieces -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return tiny_student(tmp_path_factory.mktemp("hide") / "tiny")


def test_a_share_of_what_is_taught_is_hidden_and_other_pieces_in_each_epoch(
    student: Student,
) -> None:
    whole = Lessons(tiny_recipe(), invented_set(60), student)
    lessons = Lessons(tiny_recipe(hide=0.2), invented_set(60), student)
    mask_id, n_hidden, n_taught, hidden = student.encoder.mask_id, 0, 0, []
    for number, example in enumerate(lessons.examples(0)):
        assert (whole.shown(0, number).ids == example.ids).all()
        for epoch in (0, 1):
            shown = lessons.shown(epoch, number)
            assert (shown.ids == lessons.shown(epoch, number).ids).all()
            changed = shown.ids != example.ids
            assert (shown.ids[changed] == mask_id).all()
            assert not (changed & ~example.learn).any()
            assert (shown.allowed == example.allowed).all()
            n_hidden, n_taught = n_hidden + changed.sum(), n_taught + example.learn.sum()
            hidden.append(tuple(changed))
    assert n_hidden / n_taught == pytest.approx(0.2, abs=0.03)
    assert hidden[::2] != hidden[1::2]


def test_nothing_is_hidden_where_there_is_nothing_to_hide_it_behind(student: Student) -> None:
    pieces = student.tokenizer_json.replace(b"[MASK]", b"[DUSK]")
    dark = replace(student, tokenizer_json=pieces)
    assert Lessons(tiny_recipe(), ITEMS, dark).examples(0)
    with pytest.raises(InputError, match="leave hide 0"):
        Lessons(tiny_recipe(hide=0.1), ITEMS, dark)


# --- a bigger student ----------------------------------------------------------------------------


def test_a_bigger_student_is_not_followed_on_notes_told_anew(data: Path) -> None:
    recipe = tiny_recipe(sets=(SetSpec("gold.jsonl"),), names=names(exchange=0.5))
    items, vary = gather(recipe, data)
    nobody: Student = None  # type: ignore[assignment]  # neither is looked at
    with pytest.raises(InputError, match="leave exchange 0"):
        Lessons(recipe, items, nobody, teachers=[object()], vary=vary)  # type: ignore[arg-type]
