"""What the tests of export share: a student that has learnt the invented notes, and its bundles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clin_edge.core.bundle import Bundle
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.distill.config import Card, SetSpec
from clin_edge.distill.student import Student
from tiny import either, invented_set, n_threads, tiny_encoder, tiny_recipe

CARD = Card(
    name="invented",
    version="7",
    encoder="nobody/tiny",
    encoder_licence="MIT",
    limits=("It knows seven drugs.", "It knows six illnesses."),
)
SETS = (
    SetSpec("invented/train.jsonl", name="invented train", licence="CC0"),
    SetSpec("invented/more.jsonl"),
)


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle, and what ``pack`` said while it was made."""

    bundle: Bundle
    said: list[str]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    with n_threads(1):
        yield


@pytest.fixture(scope="session")
def gold() -> list[Labelled]:
    return invented_set(20, seed=9, prefix="g")


@pytest.fixture(scope="session")
def notes() -> list[Note]:
    """Invented notes; the last one needs several windows."""
    notes = [item.note for item in invented_set(30, seed=4, prefix="c")]
    return [*notes, Note("long", "\r\n".join(note.text for note in notes[:8]) + " 🙂")]


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    """A student that has learnt the invented notes."""
    from clin_edge.distill.train import train

    folder = tmp_path_factory.mktemp("export-student")
    encoder = str(tiny_encoder(folder / "tiny"))
    items = invented_set(60)
    recipe = tiny_recipe(epochs=8, sets=SETS)
    return train(recipe, items, {"dev": items[:20]}, encoder, folder / "student")


@pytest.fixture(scope="session")
def student_folder(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export-folder") / "student"
    student.save(folder)
    return folder


@pytest.fixture(scope="session")
def int8(student, notes, gold, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return packed(student, notes, gold, tmp_path_factory, "int8")


@pytest.fixture(scope="session")
def fp32(student, notes, gold, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return packed(student, notes, gold, tmp_path_factory, "fp32")


def ordered(notes, gold, precision: str):
    """Give the order of both bundles."""
    from clin_edge.export.pack import Order

    return Order(
        precision=precision,
        calibration=notes,
        compared=notes,
        golden=notes[-3:],
        tests={"gold set": gold, "either set": either(gold)},
        card=CARD,
    )


def packed(student, notes, gold, factory: pytest.TempPathFactory, precision: str) -> Packed:
    from clin_edge.export.pack import pack

    said: list[str] = []
    order = ordered(notes, gold, precision)
    bundle = pack(student, factory.mktemp(precision) / "bundle", order, say=said.append)
    return Packed(bundle, said)


@pytest.fixture(scope="session")
def int8_order(notes, gold):
    return ordered(notes, gold, "int8")
