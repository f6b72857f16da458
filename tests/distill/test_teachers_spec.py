"""Words a user types become teachers, each with a name that can name a file."""

from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.distill.teachers.spec import make_teachers
from llm_runs import quick, some, write_labelled

TABLE = "id\tname\tsynonyms\tlabel\n1\taspirin\t\tMEDICATION\n"
CONSO = "1|ENG||||||1|1|1||RXNORM|IN|1|aspirin||N||\n"


def table(folder: Path, name: str) -> str:
    (folder / name).write_text(TABLE)
    return f"terms:{folder / name}"


def test_each_teacher_has_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "RXNCONSO.RRF").write_text(CONSO)
    rxnorm = f"rxnorm:{tmp_path}"
    specs = [
        rxnorm,
        table(tmp_path, "My Drugs (new).tsv"),
        rxnorm,
        table(tmp_path, "my-drugs-new-2.tsv"),
        table(tmp_path, "Größe.tsv"),
        table(tmp_path, "MY drugs new.tsv"),
        rxnorm,
        table(tmp_path, "..tsv"),
    ]
    assert [teacher.name for teacher in make_teachers(specs)] == [
        "rxnorm",
        "terms-my-drugs-new",
        "rxnorm-2",
        "terms-my-drugs-new-2",
        "terms-gr-e",
        "terms-my-drugs-new-3",
        "rxnorm-3",
        "terms-table",
    ]


@pytest.mark.parametrize(
    "spec",
    ["", "rxnorm", "rxnorm:", "oracle:x", "RXNORM:x", ":x", "openai", "gemini:", "sig:x", "gold:"],
)
def test_what_is_no_teacher_is_named(spec: str) -> None:
    with pytest.raises(InputError, match=f"^{spec}: not a teacher; expected openai:MODEL, gemini:"):
        make_teachers([spec])


def test_language_models_and_gold_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    gold = write_labelled(tmp_path / "Dev set.jsonl", some(1))
    specs = [
        "openai:org/Model-1.5:latest",
        "openai:toy@http://127.0.0.1:9/v1",
        "openai:toy@http://127.0.0.1:8/v1",
        "gemini:../toy",
        f"gold:{gold}",
        "sig",
        "sig",
    ]
    asking = quick("http://127.0.0.1:9", tmp_path / "replies", dry_run=True)
    assert [teacher.name for teacher in make_teachers(specs, asking)] == [
        "openai-org-model-1.5-latest",
        "openai-toy",
        "openai-toy-2",
        "gemini-toy",
        "gold-dev-set",
        "sig",
        "sig-2",
    ]


def test_a_bad_word_is_known_before_any_file_is_read() -> None:
    with pytest.raises(InputError, match="oracle:x: not a teacher"):
        make_teachers(["rxnorm:nowhere", "oracle:x"])


def test_no_teacher_at_all() -> None:
    with pytest.raises(InputError, match="no teacher given"):
        make_teachers([])
