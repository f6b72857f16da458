"""Prompts are data: what is asked has a version, and whatever changes it changes the version."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.distill.prompts import DEFAULT, MAX_EXAMPLE_CHARS, choose_examples, load_prompt
from llm_runs import LABELS, marked

OURS = DEFAULT.read_text(encoding="utf-8")
SMALL = """
name = "mine"
default = ["DRUG"]
task = "Mark."
answer = "In JSON."
rules = "Short."
[labels]
DRUG = "A drug."
DISEASE = "A disease."
"""


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_our_prompt_defines_every_label_of_the_interface() -> None:
    table = tomllib.loads(OURS)
    assert list(table["labels"]) == [
        *("MEDICATION", "DISEASE", "SYMPTOM", "STRENGTH", "FORM", "DOSAGE", "ROUTE", "FREQUENCY"),
        *("DURATION", "REASON", "ADE"),
    ]
    prompt = load_prompt()
    assert prompt.labels == tuple(table["default"])
    assert prompt.version.startswith("ner-1.")
    assert all(f"{label}: " in prompt.system for label in prompt.labels)
    assert "REASON: " not in prompt.system


def test_only_the_labels_asked_for_are_defined() -> None:
    prompt = load_prompt(["ADE", "DISEASE"])
    assert prompt.labels == ("ADE", "DISEASE")
    assert "ADE: " in prompt.system
    assert "MEDICATION: " not in prompt.system


def test_the_question_holds_the_text_as_it_is() -> None:
    text = " \r\ne\u0301 👩‍⚕️ </note> \n"
    assert load_prompt().ask(text) == f"<note>\n{text}\n</note>"


def test_any_change_is_another_version(tmp_path: Path) -> None:
    item, other = marked("a", "On [aspirin|MEDICATION]."), marked("a", "On [zinc|MEDICATION].")
    prompts = [
        load_prompt(),
        load_prompt(["DISEASE"]),
        load_prompt(["DISEASE", "ADE"]),
        load_prompt(["ADE", "DISEASE"]),
        load_prompt(["DISEASE"], None, [item]),
        load_prompt(["MEDICATION"], None, [item]),
        load_prompt(["MEDICATION"], None, [other]),
        load_prompt(["MEDICATION"], None, [item, other]),
        load_prompt(["MEDICATION"], None, [other, item]),
        *(
            load_prompt(None, file(tmp_path, SMALL.replace(*change)))
            for change in [
                ("", ""),
                ("Mark.", "Mark!"),
                ("In JSON.", "JSON."),
                ("Short.", "Shortest."),
                ("A drug.", "Any drug."),
                ('["DRUG"]', '["DISEASE"]'),
                ('"mine"', '"yours"'),
            ]
        ),
    ]
    assert len({prompt.version for prompt in prompts}) == len(prompts)
    assert prompts[1].version == load_prompt(("DISEASE",)).version
    unused = file(tmp_path, SMALL.replace("A disease.", "Any disease."))
    assert load_prompt(None, unused).version == prompts[9].version


def test_the_schema_is_strict_and_names_the_labels() -> None:
    schema = load_prompt(["DISEASE", "ADE"]).schema
    todo: list[object] = [schema]
    n_objects = 0
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if node.get("type") == "object":
                n_objects += 1
                assert node["additionalProperties"] is False
                assert node["required"] == list(node["properties"])
            todo += node.values()
    assert n_objects == 2
    assert '"enum": ["DISEASE", "ADE"]' in json.dumps(schema)


def test_an_example_shows_quotes_with_the_words_before_them() -> None:
    text = "Long before he took, every single day, [a\nspirin|MEDICATION] for [gout|DISEASE]."
    system = load_prompt(["MEDICATION"], None, [marked("a", text)]).system
    shown = system.rpartition("Example:\n")[2]
    note, answer = shown.split("\n</note>\n")
    assert note == f"<note>\n{marked('a', text).note.text}"
    assert json.loads(answer) == {
        "entities": [
            {"near": "took, every single day,", "quote": "a\nspirin", "label": "MEDICATION"}
        ]
    }


def test_an_entity_of_either_label_is_shown_as_neither() -> None:
    item = marked("a", "Has [vertigo|X].")
    (entity,) = item.entities
    either = Labelled(item.note, (type(entity)(entity.span, "DISEASE|SYMPTOM"),), item.marked)
    system = load_prompt(["DISEASE", "SYMPTOM"], None, [either]).system
    assert system.endswith('{"entities": []}')


def notes_to_choose_from() -> list[Labelled]:
    return [
        marked("none", "x"),
        marked("drug", "Took [zinc|MEDICATION]."),
        marked("both", "Took [aspirin|MEDICATION] for [gout|DISEASE] once."),
        marked("disease", "Has [gout|DISEASE] again."),
        marked("long", "[zinc|MEDICATION] [gout|DISEASE]" + " x" * MAX_EXAMPLE_CHARS),
        Labelled(Note("half", "Took zinc."), (), frozenset({"MEDICATION"})),
    ]


def test_examples_show_many_labels_and_do_not_hang_on_the_order() -> None:
    items = notes_to_choose_from()
    chosen = [item.note.id for item in choose_examples(items, LABELS, 3)]
    assert chosen == ["both", "drug", "disease"]
    rng = random.Random(7)
    for _ in range(10):
        rng.shuffle(items)
        assert [item.note.id for item in choose_examples(items, LABELS, 3)] == chosen


def test_examples_are_short_and_mark_all_labels() -> None:
    chosen = {item.note.id for item in choose_examples(notes_to_choose_from(), LABELS, 99)}
    assert chosen == {"none", "drug", "both", "disease"}
    alone = {i.note.id for i in choose_examples(notes_to_choose_from(), ["MEDICATION"], 99)}
    assert alone == chosen | {"half"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name = ", "not TOML"),
        (SMALL.replace('name = "mine"', ""), "a prompt has name, task, answer, rules, default"),
        ('extra = "x"\n' + SMALL, "a prompt has"),
        (SMALL.replace('"A drug."', "3"), "is a string"),
        (SMALL.replace('"Mark."', "[]"), "is a string"),
        (SMALL.replace('["DRUG"]', '["ADE"]'), "default lists labels"),
        (SMALL.replace('["DRUG"]', "[]"), "default lists labels"),
        (SMALL.replace('["DRUG"]', '[["DRUG"]]'), "default lists labels"),
        (SMALL.replace('["DRUG"]', '"DRUG"'), "default lists labels"),
        (SMALL.split("[labels]")[0] + 'labels = "x"', "a prompt has"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError, match=rf"p\.toml: .*({why})"):
        load_prompt(None, file(tmp_path, text))


def test_a_label_without_definition_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p\.toml: no definition of ADE .* it has DRUG, DISEASE"):
        load_prompt(["DRUG", "ADE"], file(tmp_path, SMALL))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: cannot be read as a prompt"):
        load_prompt(None, tmp_path / "nowhere")
    (tmp_path / "p.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not TOML in UTF-8"):
        load_prompt(None, tmp_path / "p.toml")


def test_a_prompt_shows_no_example_when_printed() -> None:
    prompt = load_prompt(None, None, [marked("a", "Zebulon is well.")])
    assert "Zebulon" in prompt.system
    assert "Zebulon" not in repr(prompt)
