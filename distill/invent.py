"""Invented notes: a grammar that writes labelled text in the layouts no open corpus has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.tables import parse_toml

_SLOT = re.compile(r"\{(?:(?P<label>[A-Z]+):)?(?P<rule>[a-z_0-9]+)\}|\{@(?P<name>[A-Z]+)\}")
_TOO_DEEP = 30
START = "note"


@dataclass(frozen=True, slots=True)
class InventSpec:
    """So many ``notes`` of one of our grammars, by name."""

    grammar: str
    notes: int
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if self.notes < 1 or self.seed < 0:
            raise ValueError("notes is above 0, seed is not below")


@dataclass(frozen=True, slots=True)
class Grammar:
    """Rules, each a choice among texts with slots.

    ``{rule}`` is written out by that rule, ``{LABEL:rule}`` likewise and is an entity, and
    ``{@LABEL}`` is a name of that label from the term tables.

    Raises:
        InputError: If a slot names no rule.
    """

    rules: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        """Refuse slots that lead nowhere."""
        if START not in self.rules:
            raise InputError(f"a grammar needs the rule {START!r}")
        for name, texts in self.rules.items():
            if not texts:
                raise InputError(f"rule {name!r} has nothing to choose from")
            for slot in (s for text in texts for s in _SLOT.finditer(text)):
                if slot["rule"] and slot["rule"] not in self.rules:
                    raise InputError(f"rule {name!r} uses {slot['rule']!r}, which is no rule")

    @property
    def marked(self) -> frozenset[str]:
        """Every label that some rule marks."""
        texts = (text for some in self.rules.values() for text in some)
        return frozenset(s["label"] for t in texts for s in _SLOT.finditer(t) if s["label"])

    def write(self, number: int, names: Mapping[str, Sequence[str]], seed: int = 0) -> Labelled:
        """Write one note, drawn from seed and number alone.

        Raises:
            InputError: If a rule leads to itself without end, or names of a label are missing.
        """
        writer = _Writer(self.rules, names, np.random.default_rng([seed, number]))
        writer.expand(START, 0)
        note = Note(f"invented-{seed}-{number}", "".join(writer.parts))
        return Labelled(note, tuple(writer.entities), self.marked)


def load_grammar(name: str) -> Grammar:
    """Read the grammar ``name`` that comes with the package.

    Raises:
        InputError: If there is none of that name, or it is not what it should be.
    """
    place = resources.files("clin_edge.distill") / "grammars" / f"{name}.toml"
    if not place.is_file():
        raise InputError(f"{name}: no grammar of that name")
    table: dict[str, Any] = parse_toml(place.read_text(encoding="utf-8"), f"grammar {name}")
    return Grammar(table)


class _Writer:
    """One note while it is written."""

    def __init__(
        self,
        rules: Mapping[str, Sequence[str]],
        names: Mapping[str, Sequence[str]],
        rng: np.random.Generator,
    ) -> None:
        self.parts: list[str] = []
        self.entities: list[Entity] = []
        self._rules, self._names, self._rng = rules, names, rng
        self._length = 0

    def expand(self, rule: str, depth: int) -> None:
        if depth > _TOO_DEEP:
            raise InputError(f"rule {rule!r} leads to itself without end")
        text, at = self._draw(self._rules[rule]), 0
        for slot in _SLOT.finditer(text):
            self._add(text[at : slot.start()])
            at, start = slot.end(), self._length
            if slot["name"]:
                self._add(self._draw(self._names.get(slot["name"], ())))
            else:
                self.expand(slot["rule"], depth + 1)
            if slot["label"] and self._length > start:
                self.entities.append(Entity(Span(start, self._length), slot["label"]))
        self._add(text[at:])

    def _draw(self, some: Sequence[str]) -> str:
        if not some:
            raise InputError("a grammar asks for names of a label that the term tables lack")
        return some[int(self._rng.integers(len(some)))]

    def _add(self, text: str) -> None:
        self.parts.append(text)
        self._length += len(text)
