"""Teachers by the word a user types: ``rxnorm:FOLDER``, ``snomed:FOLDER``, ``terms:FILE.tsv``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.distill.teachers import Teacher
from clin_edge.distill.teachers.rxnorm import rxnorm_teacher
from clin_edge.distill.teachers.snomed import snomed_teacher
from clin_edge.distill.teachers.terms import terms_teacher

Maker = Callable[[str, str], Teacher]
"""Makes a teacher of what stands after the colon, with a name."""

_MAKERS: Mapping[str, Maker] = {
    "rxnorm": lambda place, name: rxnorm_teacher(Path(place), name),
    "snomed": lambda place, name: snomed_teacher(Path(place), name),
    "terms": lambda place, name: terms_teacher(Path(place), name),
}
_FORMS = "rxnorm:FOLDER, snomed:FOLDER or terms:FILE.tsv"


def make_teachers(specs: Sequence[str]) -> list[Teacher]:
    """Make every teacher, in order, each with a name of its own.

    A name is the kind, and for ``terms`` the file's too (``terms-allergens``); a name that came
    before gets ``-2``, ``-3`` and so on.

    Raises:
        InputError: If none is given, one is of no known kind, or its files cannot be read.
        TeacherError: If one has nothing to teach.
    """
    if not specs:
        raise InputError(f"no teacher given; expected {_FORMS}")
    # All words are looked at before the first, perhaps large, terminology is read.
    parsed = [_parse(spec) for spec in specs]
    taken: set[str] = set()
    teachers = []
    for kind, place in parsed:
        wanted = f"terms-{_safe(Path(place).stem)}" if kind == "terms" else kind
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}-{number}"
        taken.add(name)
        teachers.append(_MAKERS[kind](place, name))
    return teachers


def _parse(spec: str) -> tuple[str, str]:
    kind, _, place = spec.partition(":")
    if kind not in _MAKERS or not place:
        raise InputError(f"{spec}: not a teacher; expected {_FORMS}")
    return kind, place


def _safe(stem: str) -> str:
    """Keep what every file system can name a file."""
    return re.sub(r"[^a-z0-9._]+", "-", stem.lower()).strip("-.") or "table"
