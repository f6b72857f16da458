"""Teachers by the word a user types, such as ``rxnorm:FOLDER`` or ``openai:MODEL``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.distill.teachers import Teacher
from clin_edge.distill.teachers.gold import gold_teacher
from clin_edge.distill.teachers.llm.asking import KINDS, Asking, LlmMaker
from clin_edge.distill.teachers.sig.teacher import SigTeacher
from clin_edge.distill.teachers.terminology.rxnorm import rxnorm_teacher
from clin_edge.distill.teachers.terminology.settings import TeacherSettings
from clin_edge.distill.teachers.terminology.snomed import snomed_teacher
from clin_edge.distill.teachers.terminology.terms import terms_teacher

Maker = Callable[[str, str, TeacherSettings], Teacher]
"""Makes a teacher of what stands after the colon, with a name."""

_MAKERS: Mapping[str, Maker] = {
    "rxnorm": lambda place, name, s: rxnorm_teacher(Path(place), name, s.rxnorm),
    "snomed": lambda place, name, s: snomed_teacher(Path(place), name, s.snomed),
    "terms": lambda place, name, s: terms_teacher(_tables(place), name, s.terms),
    "gold": lambda place, name, _: gold_teacher(Path(place), name),
}
_FORMS = (
    "openai:MODEL, gemini:MODEL, rxnorm:FOLDER, snomed:FOLDER, terms:FILE.tsv,…, sig or gold:FILE"
)


def make_teachers(
    specs: Sequence[str],
    asking: Asking | None = None,
    settings: TeacherSettings | None = None,
) -> list[Teacher]:
    """Make every teacher, in order, each with a name of its own.

    A name is the kind, and the model's or file's too where there may be several
    (``openai-gpt-4o``, ``terms-allergens``); a name that came before gets ``-2``, ``-3`` and so on.

    Raises:
        ExternalHostError: If notes would leave this network without leave.
        InputError: If none is given, one is of no known kind, or its files cannot be read.
        MissingInstallError: If a client is not installed.
        TeacherError: If one has nothing to teach, or its key is missing.
    """
    if not specs:
        raise InputError(f"no teacher given; expected {_FORMS}")
    # All words are looked at before the first, perhaps large, terminology is read.
    parsed = [_parse(spec) for spec in specs]
    llms = LlmMaker(asking or Asking())
    taken: set[str] = set()
    teachers: list[Teacher] = []
    for kind, place in parsed:
        wanted = _name(kind, place)
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}-{number}"
        taken.add(name)
        if kind == "sig":
            teachers.append(SigTeacher(name))
        elif kind in KINDS:
            teachers.append(llms.make(kind, place, name))
        else:
            teachers.append(_MAKERS[kind](place, name, settings or TeacherSettings()))
    return teachers


def _parse(spec: str) -> tuple[str, str]:
    kind, _, place = spec.partition(":")
    if spec != "sig" and (kind not in (*_MAKERS, *KINDS) or not place):
        raise InputError(f"{spec}: not a teacher; expected {_FORMS}")
    return kind, place


def _name(kind: str, place: str) -> str:
    if kind in KINDS:
        return f"{kind}-{_safe(re.split('@https?://', place)[0], kind)}"
    if kind in ("terms", "gold"):
        return f"{kind}-{_safe('-'.join(path.stem for path in _tables(place)), 'table')}"
    return kind


def _tables(place: str) -> list[Path]:
    """Give the files that a comma parts, unless a file has that very name."""
    whole = Path(place)
    return [whole] if whole.exists() else [Path(part) for part in place.split(",") if part]


def _safe(word: str, otherwise: str) -> str:
    """Keep what every file system can name a file."""
    return re.sub(r"[^a-z0-9._]+", "-", word.lower()).strip("-.") or otherwise
