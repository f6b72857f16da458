"""The whole walk through the commands: a list of terms and some notes become found entities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiny import DRUGS, ILLNESSES, cli, invented_set, n_threads, tiny_encoder, write_labelled

RECIPE = """
labels = ["MEDICATION", "DISEASE"]
max_tokens = 48
overlap = 8

[train]
epochs = 8
learning_rate = 1e-2
batch_tokens = 256

[[tests]]
name = "held out"
path = "gold.jsonl"

[card]
name = "walked"
limits = ["It has seen sixty invented notes."]
"""


def test_from_terms_to_entities(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [(word, "MEDICATION") for word in DRUGS] + [(word, "DISEASE") for word in ILLNESSES]
    table = [f"{code}\t{word}\t\t{label}" for code, (word, label) in enumerate(rows)]
    Path("terms.tsv").write_text("\n".join(["id\tname\tsynonyms\tlabel", *table]) + "\n")
    Path("recipe.toml").write_text(RECIPE)
    for item in invented_set(60):
        place = Path("notes", f"{item.note.id}.txt")
        place.parent.mkdir(exist_ok=True)
        place.write_text(item.note.text)
    gold = invented_set(20, seed=9, prefix="g")
    write_labelled(Path("gold.jsonl"), gold)
    new = {
        "id": "new 🙂",
        "text": "🙂 the patient takes Metformin\r\ndaily for acute stroke.\n" * 5,
    }
    lines = [json.dumps({"id": i.note.id, "text": i.note.text}) for i in gold]
    Path("new.jsonl").write_text("\n".join([json.dumps(new), *lines]) + "\n")
    tiny_encoder(Path("encoder"))

    def run(*args: str) -> str:
        done = cli(monkeypatch, capsys, *args)
        assert done.code == 0, done.err
        assert not any(word in done.err for word in (*DRUGS, *ILLNESSES))
        return done.out

    with n_threads(1):
        assert run("label", "notes", "-o", "silver", "--teacher", "terms:terms.tsv") == ""
        silver = "silver/terms-terms.jsonl"
        made = ("distill", silver, "--student", "encoder", "-o", "student")
        assert run(*made, "--recipe", "recipe.toml", "--dev", "gold.jsonl") == ""
        made = ("export", "student", "-o", "bundle", "--int8", "--calibrate", "notes")
        assert run(*made, "--recipe", "recipe.toml") == ""
        manifest = json.loads(run("verify", "bundle"))
        run("extract", "new.jsonl", "--bundle", "bundle", "-o", "found.jsonl")
        scores = {
            what: json.loads(run("evaluate", what, "gold.jsonl", "--json"))
            for what in ("student", "bundle", "found.jsonl")
        }

    assert (manifest["name"], manifest["precision"]) == ("walked", "int8")
    assert manifest["scores"]["held out"]["int8"] == scores["bundle"]["strict"]
    assert manifest["scores"]["held out"]["float"] == scores["student"]["strict"]
    assert scores["found.jsonl"] == scores["bundle"]
    assert scores["bundle"]["strict"]["micro"]["f1"] > 0.9

    records = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    assert [record["id"] for record in records] == [new["id"], *(i.note.id for i in gold)]
    record, text = records[0], new["text"]
    assert record["coverage"]["chars"] == record["coverage"]["read"] == len(text)
    assert record["coverage"]["windows"] > 1
    found = [(e["start"], e["end"], e["label"], e["text"]) for e in record["entities"]]
    at = text.index("Metformin")
    assert found[0] == (at, at + len("Metformin"), "MEDICATION", "Metformin")
    assert [what[2:] for what in found] == [
        ("MEDICATION", "Metformin"),
        ("DISEASE", "acute stroke"),
    ] * 5
    assert all(text[start:end] == quote for start, end, _, quote in found)


@pytest.mark.parametrize("command", ["label", "distill", "export", "evaluate"])
def test_each_step_says_in_its_help_how_it_is_used(command: str, monkeypatch, capsys) -> None:
    done = cli(monkeypatch, capsys, command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"clin-edge {command} " in done.out.split("Example:")[1]
