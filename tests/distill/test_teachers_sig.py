"""Medication lines: what is marked, what is not, and that no text makes it slow."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.notes import Note
from clin_edge.distill.teachers import Teacher
from clin_edge.distill.teachers.sig.grammar import fold
from clin_edge.distill.teachers.sig.teacher import LABELS, SigTeacher
from strategies import texts

LINES = Path(__file__).with_name("sig_lines.txt")
MARK = re.compile(r"\[([^|\]]+)\|([A-Z]+)\]")
ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|([nrt]))")

Marks = list[tuple[int, int, str]]


def golden() -> Iterator[tuple[str, str]]:
    """Heading and line of every case in the golden file."""
    heading = ""
    for line in LINES.read_text(encoding="utf-8").split("\n"):
        if line.startswith("# --- "):
            heading = line[6:]
        elif line and not line.startswith("# "):
            yield heading, line


def parsed(line: str) -> tuple[str, Marks]:
    """The text of a golden line, and the entities marked in it."""
    plain = ESCAPE.sub(
        lambda m: chr(int(m[1], 16)) if m[1] else {"n": "\n", "r": "\r", "t": "\t"}[m[2]], line
    )
    text, marks, end = "", [], 0
    for match in MARK.finditer(plain):
        text += plain[end : match.start()]
        marks.append((len(text), len(text) + len(match[1]), match[2]))
        text += match[1]
        end = match.end()
    return text + plain[end:], marks


CASES = list(golden())


def found(text: str) -> Marks:
    entities = SigTeacher().read(Note("n", text)).entities
    return [(e.span.start, e.span.end, e.label) for e in entities]


def shown(text: str, marks: Marks) -> list[str]:
    """The marks in words, so that a failure can be read."""
    return [f"{text[start:end]!r} {label} at {start}" for start, end, label in marks]


@pytest.mark.parametrize("line", [line for _, line in CASES])
def test_a_golden_line(line: str) -> None:
    text, marks = parsed(line)
    assert shown(text, found(text)) == shown(text, marks)


def test_the_golden_file_is_large_and_holds_traps() -> None:
    lines = [line for _, line in CASES]
    assert len(lines) == len(set(lines)) >= 200
    traps = [line for heading, line in CASES if heading.startswith("trap")]
    assert len(traps) >= 70
    assert not any(MARK.search(line) for line in traps)
    labels = {label for line in lines for _, label in MARK.findall(line)}
    assert labels == LABELS


@pytest.mark.parametrize("joint", ["\n", "\r\n", "\n\n"])
def test_lines_do_not_reach_into_each_other(joint: str) -> None:
    """All lines in one note: each is marked as if it stood alone."""
    text, marks = "", []
    for _, line in CASES:
        piece, own = parsed(line)
        marks += [(start + len(text), end + len(text), label) for start, end, label in own]
        text += piece + joint
    assert shown(text, found(text)) == shown(text, marks)


def test_it_is_a_teacher() -> None:
    teacher: Teacher = SigTeacher()
    note = Note("n", "Aspirin 81 mg one tablet p.o. q.d. x 7 days, Advair 250/50 two puffs b.i.d.")
    labelled = teacher.read(note)
    assert (teacher.name, teacher.marked, labelled.note) == ("sig", LABELS, note)
    assert labelled.marked == LABELS
    assert {e.score for e in labelled.entities} == {1.0}
    assert {e.source for e in labelled.entities} == {
        f"sig:{rule}"
        for rule in ("strength", "count", "form", "route", "frequency", "duration", "pair")
    } | {"sig:measure"}


def test_rules_are_few() -> None:
    sources = {
        entity.source
        for _, line in CASES
        for entity in SigTeacher().read(Note("n", parsed(line)[0])).entities
    }
    assert len(sources) <= 12


@given(texts())
def test_any_text_gives_true_spans(text: str) -> None:
    marks = found(text)
    assert all(0 <= start < end <= len(text) for start, end, _ in marks)
    assert all(first[1] <= second[0] for first, second in pairwise(marks))
    assert all(text[start:end] == text[start:end].strip() for start, end, _ in marks)


@given(texts())
def test_folding_keeps_every_place(text: str) -> None:
    folded = fold(text)
    assert len(folded) == len(text)
    for one, other in zip(text, folded, strict=True):
        assert one.isspace() == other.isspace()
        assert one.lower() == other or not (one.isascii() and one.isalnum())


@given(st.lists(st.sampled_from([line for _, line in CASES]), min_size=1, max_size=4))
def test_a_note_is_read_alike_whatever_stands_before(lines: list[str]) -> None:
    pieces = [parsed(line) for line in lines]
    before = "".join(text + "\n\n" for text, _ in pieces[:-1])
    text, marks = pieces[-1]
    after = [(s - len(before), e - len(before), la) for s, e, la in found(before + text)]
    assert [mark for mark in after if mark[0] >= 0] == marks


def test_threads_agree() -> None:
    notes = [Note(str(i), parsed(line)[0]) for i, (_, line) in enumerate(CASES)] * 3
    teacher = SigTeacher()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(teacher.read, notes)) == [teacher.read(note) for note in notes]


HOSTILE = [
    "1 ", "1", "1-", "1/", "1.", "1,", "½ ", "(1) ", "1 (1) ", "one ", "mg ", "1 mg/", "25 mg ",
    " ", "\n", "a", "every ", "q ", "q.", "for the a an ", "for 1 ", "x 1 ", "1 tablet ",
    "tablet, ", "extended release ", "p.o. ", "b.i.d. ", "per the a ", "the ", "1 mg - ",
    "x" * 49 + "\n", "1 " * 25 + "\n", "mon, ", "(", "iv ", "\u00a0", "1\u2013",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_length_only(piece: str) -> None:
    """Four times the text takes about four times as long; a quadratic search would take sixteen."""
    short, long = (piece * (n // len(piece)) for n in (8_000, 32_000))
    teacher = SigTeacher()

    def seconds(text: str) -> float:
        before = time.process_time()
        teacher.read(Note("n", text))
        return time.process_time() - before

    assert min(seconds(long) for _ in range(2)) < 9 * seconds(short) + 0.1


def test_a_megabyte_of_digits_blanks_and_units_takes_seconds_at_most() -> None:
    text = ("1 25 mg 12  3 mg/ 7.5 - 1/2  mg 000 " * 30_000)[:1_000_000]
    before = time.process_time()
    SigTeacher().read(Note("n", text))
    assert time.process_time() - before < 10
