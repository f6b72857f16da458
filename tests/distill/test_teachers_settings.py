"""How a TOML file and a stop list reach every terminology."""

from __future__ import annotations

from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.distill.teachers.spec import make_teachers
from clin_edge.distill.teachers.terminology.settings import TeacherSettings, load_settings

TABLE = "id\tname\tsynonyms\tlabel\n1\tmetformin\tglucophage\tCHEMICAL\n2\tgout\t\tDISEASE\n"
TEXT = "Gout; metformin, once called glucophage."


def settings(tmp_path: Path, toml: str, stop: str | None = None) -> TeacherSettings:
    """What a file of this content says."""
    path = tmp_path / "settings.toml"
    path.write_text(toml)
    if stop is None:
        return load_settings(path)
    (tmp_path / "stop.txt").write_text(stop)
    return load_settings(path, tmp_path / "stop.txt")


def found(tmp_path: Path, loaded: TeacherSettings) -> set[tuple[str, str]]:
    """What a table of two terms marks under these settings."""
    (tmp_path / "t.tsv").write_text(TABLE)
    (teacher,) = make_teachers([f"terms:{tmp_path / 't.tsv'}"], settings=loaded)
    item = teacher.read(Note("n", TEXT))
    return {(TEXT[e.span.start : e.span.end].casefold(), e.label) for e in item.entities}


def test_nothing_said_is_the_default() -> None:
    assert load_settings() == TeacherSettings()


def test_what_holds_for_all_kinds_and_what_for_one(tmp_path: Path) -> None:
    toml = '[match]\nmin_chars = 5\nlocants = ["A"]\n[rxnorm]\nproducts = false\n'
    loaded = settings(tmp_path, toml + "[rxnorm.match]\nmin_chars = 4\n")
    assert loaded.terms.match.min_chars == loaded.snomed.match.min_chars == 5
    assert loaded.terms.match.locants == {"A"}
    assert loaded.rxnorm.match.min_chars == 4
    assert not loaded.rxnorm.products


def test_a_table_keeps_its_labels_unless_they_are_renamed_or_left_out(tmp_path: Path) -> None:
    everything = {("gout", "DISEASE"), ("metformin", "CHEMICAL"), ("glucophage", "CHEMICAL")}
    assert found(tmp_path, load_settings()) == everything
    loaded = settings(tmp_path, '[terms.labels]\nCHEMICAL = "MEDICATION"\nDISEASE = ""\n')
    drugs = {("metformin", "MEDICATION"), ("glucophage", "MEDICATION")}
    assert found(tmp_path, loaded) == drugs


def test_the_stop_list_goes_on_top_of_the_file(tmp_path: Path) -> None:
    loaded = settings(tmp_path, '[match]\nstop = ["gout"]\n', stop="# brands\nGlucophage\n")
    assert found(tmp_path, loaded) == {("metformin", "CHEMICAL")}


def test_false_stands_for_none(tmp_path: Path) -> None:
    assert settings(tmp_path, "[match]\neveryday = false\n").rxnorm.match.everyday is None


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[rxnorm]\nproduct = true", "rxnorm: unknown key 'product'; did you mean 'products'?"),
        ("[match]\nmin_chars = 'x'", "match: min_chars: expected int, found 'x'"),
        ("[match]\nlocants = 'x'", "match: locants: expected a list, found 'x'"),
        ("[terms.labels]\nA = 1", "terms: labels: expected names and values that are strings"),
        ("rxnorm = 1", "rxnorm: expected a table, found 1"),
        ("[match", "cannot be read as TOML"),
    ],
)
def test_what_a_file_gets_wrong_is_named(tmp_path: Path, toml: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        settings(tmp_path, toml)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables_parted_by_a_comma_make_one_teacher(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(TABLE)
    (tmp_path / "b.tsv").write_text(TABLE.replace("metformin", "sulfasalazine"))
    (tmp_path / "c,d.tsv").write_text(TABLE)
    both, one = make_teachers(
        [f"terms:{tmp_path}/a.tsv,{tmp_path}/b.tsv", f"terms:{tmp_path}/c,d.tsv"]
    )
    assert both.name == "terms-a-b"
    assert one.name == "terms-c-d"
    item = both.read(Note("n", "metformin and sulfasalazine"))
    assert len(item.entities) == 2
