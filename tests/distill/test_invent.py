"""Invented notes: what a grammar writes is what it marks, and it is none of the suite's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.distill.config import LABELS
from clin_edge.distill.invent import Grammar, InventSpec, load_grammar

NAMES = {"MEDICATION": ["zulifen"], "DISEASE": ["grey fever"], "SYMPTOM": ["blue ache"]}
SUITE = Path(__file__).resolve().parents[1] / "behaviour"
NOTES = load_grammar("notes")


def quoted(grammar: Grammar, number: int = 0, seed: int = 0) -> tuple[str, list[tuple[str, str]]]:
    item = grammar.write(number, NAMES, seed)
    return item.note.text, [
        (item.note.text[e.span.start : e.span.end], e.label) for e in item.entities
    ]


# --- any grammar ---------------------------------------------------------------------------------


def test_slots_are_written_out_and_those_with_a_label_are_entities() -> None:
    grammar = Grammar(
        {
            "note": ["{MEDICATION:drug} {dose} for {DISEASE:dx}; {nothing}{SYMPTOM:nothing}ok"],
            "drug": ["{@MEDICATION}"],
            "dose": ["{STRENGTH:n} mg{nothing}"],
            "n": ["5"],
            "dx": ["{@DISEASE}"],
            "nothing": [""],
        }
    )
    text, entities = quoted(grammar)
    assert text == "zulifen 5 mg for grey fever; ok"
    assert entities == [("zulifen", "MEDICATION"), ("5", "STRENGTH"), ("grey fever", "DISEASE")]
    assert grammar.marked == {"MEDICATION", "STRENGTH", "DISEASE", "SYMPTOM"}


def test_number_and_seed_decide_the_note() -> None:
    grammar = Grammar({"note": ["{a}{a}{a}{a}"], "a": list("abcdefgh")})
    told = [grammar.write(number, {}, seed) for seed in range(3) for number in range(9)]
    assert told == [grammar.write(number, {}, seed) for seed in range(3) for number in range(9)]
    assert len({item.note.text for item in told}) > 20
    assert len({item.note.id for item in told}) == len(told)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"other": ["x"]}, "needs the rule 'note'"),
        ({"note": ["{gone}"]}, "rule 'note' uses 'gone', which is no rule"),
        ({"note": ["{a}"], "a": []}, "rule 'a' has nothing to choose from"),
    ],
)
def test_a_grammar_that_leads_nowhere_is_refused(rules, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Grammar(rules)


def test_a_rule_without_end_and_names_that_are_missing_are_told() -> None:
    with pytest.raises(InputError, match="leads to itself without end"):
        Grammar({"note": ["a {note}"]}).write(0, {})
    with pytest.raises(InputError, match="names of a label that the term tables lack"):
        Grammar({"note": ["{@DISEASE}"]}).write(0, {"DISEASE": []})


def test_a_grammar_of_another_name_is_not_there() -> None:
    with pytest.raises(InputError, match="novels: no grammar of that name"):
        load_grammar("novels")


@pytest.mark.parametrize("wrong", [{"notes": 0}, {"notes": 1, "seed": -1}])
def test_too_few_notes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="notes is above 0"):
        InventSpec("notes", **wrong)


# --- ours ----------------------------------------------------------------------------------------


def test_every_rule_of_ours_is_used_and_every_label_known() -> None:
    used = {"note"}
    for texts in NOTES.rules.values():
        for text in texts:
            used |= set(re.findall(r"\{(?:[A-Z]+:)?([a-z_0-9]+)\}", text))
    assert used == set(NOTES.rules)
    assert set(LABELS) - NOTES.marked == {"REASON", "ADE"}


def test_every_brace_of_ours_is_a_slot() -> None:
    for texts in NOTES.rules.values():
        for text in texts:
            rest = re.sub(r"\{(?:[A-Z]+:)?[a-z_0-9]+\}|\{@[A-Z]+\}", "", text)
            assert "{" not in rest, text
            assert "}" not in rest, text


def test_entities_of_ours_are_whole_and_apart() -> None:
    for number in range(600):
        item = NOTES.write(number, NAMES)
        end = 0
        for entity in item.entities:
            assert entity.span.start >= end
            end = entity.span.end
            words = item.note.text[entity.span.start : end]
            assert words == words.strip()
            around = item.note.text[entity.span.start - 1 : entity.span.start]
            assert not (around.isalnum() and words[0].isalnum()) or "x" in around


def test_ours_and_the_behavioural_suite_share_no_sentence() -> None:
    """A suite that was learnt by heart would say nothing."""
    sentences = set()
    for path in (SUITE / "snippets").glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            sentences |= parts(row["text"]) | parts(row.get("variant", ""))
    sentences |= parts((SUITE / "news.txt").read_text(encoding="utf-8"))
    assert len(sentences) > 400
    for texts in NOTES.rules.values():
        for text in texts:
            assert not parts(text) & sentences


def parts(text: str) -> set[str]:
    """The sentences and lines of a text that are four words or longer."""
    pieces = re.split(r"[.;:!?]\s+|\n+", text)
    return {piece.strip(" .").lower() for piece in pieces if len(piece.split()) >= 4}
