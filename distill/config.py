"""Recipes: what a student is trained on and how, as a TOML file that refuses unknown keys."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.spans import alternatives

N_SPECIAL = 2  # tokens that frame a window; every encoder of the family has at most these
LABELS = (
    "MEDICATION",
    "DISEASE",
    "SYMPTOM",
    "STRENGTH",
    "FORM",
    "DOSAGE",
    "ROUTE",
    "FREQUENCY",
    "DURATION",
    "REASON",
    "ADE",
)


@dataclass(frozen=True, slots=True)
class SetSpec:
    """One labelled set: where it is, how its labels are renamed, what it marks.

    ``path`` is relative to the data folder. ``map`` renames labels; ``"DISEASE|SYMPTOM"`` on the
    right means one of these. ``marked`` overrides the labels the set marks at all (after ``map``).
    """

    path: str
    name: str = ""
    map: Mapping[str, str] = field(default_factory=dict)
    marked: tuple[str, ...] | None = None
    licence: str = ""

    @property
    def title(self) -> str:
        """The set's name in reports."""
        return self.name or self.path

    def read(self, data: Path) -> list[Labelled]:
        """Read the set's notes; raises ``InputError`` as ``read_labelled`` does."""
        items = read_labelled(data / self.path, self.map)
        if self.marked is None:
            return items
        marked = frozenset(self.marked)
        return [dataclasses.replace(item, marked=marked) for item in items]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How the student is trained: AdamW, linear warm-up, linear decay to zero.

    ``attention_dropout`` 0 lets attention run fused, which makes a step on a CPU a quarter shorter.
    """

    epochs: int = 5
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    attention_dropout: float = 0.0
    batch_tokens: int = 2048
    seed: int = 0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if self.epochs < 1 or self.batch_tokens < 1 or self.learning_rate <= 0 or self.seed < 0:
            raise ValueError(
                "epochs, batch_tokens and learning_rate are above 0, seed is not below"
            )
        if not 0 <= self.warmup <= 1 or not 0 <= self.attention_dropout < 1:
            raise ValueError("warmup and attention_dropout lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class Card:
    """What a model card says beyond the figures."""

    name: str = "student"
    version: str = "0"
    encoder: str = ""
    encoder_licence: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a student, but for the encoder's weights."""

    labels: tuple[str, ...]
    max_tokens: int = 256
    overlap: int = 32
    train: TrainSettings = field(default_factory=TrainSettings)
    sets: tuple[SetSpec, ...] = ()
    dev: tuple[SetSpec, ...] = ()
    tests: tuple[SetSpec, ...] = ()
    card: Card = field(default_factory=Card)

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        LabelScheme(self.labels)
        if not 0 <= self.overlap < self.max_tokens - N_SPECIAL:
            raise ValueError(f"max_tokens {self.max_tokens} has no room for overlap {self.overlap}")
        check_distinct("dev", [spec.title for spec in self.dev])
        check_distinct("test", [spec.title for spec in self.tests])


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        InputError: With file and key, if it is not TOML, a key is unknown (the nearest known one is
            named), missing, or of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({error})") from None
    recipe: Recipe = build_table(Recipe, table, str(path))
    return recipe


def check_distinct(kind: str, names: Sequence[str]) -> None:
    """Refuse sets that share a name in reports; raises ``InputError``."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two {kind} sets are called {twice!r}; rename one")


def labels_of(items: Iterable[Labelled]) -> tuple[str, ...]:
    """Give every single label some set marks, ours first in their usual order, then by name."""
    found = {one for item in items for label in item.marked for one in alternatives(label)}
    return (*(label for label in LABELS if label in found), *sorted(found - set(LABELS)))


def build_table(kind: Any, table: Any, where: str) -> Any:
    """Make a dataclass of ``kind`` from a TOML table, refusing what it does not know."""
    if not isinstance(table, dict):
        raise InputError(f"{where}: expected a table, found {table!r}")
    known = typing.get_type_hints(kind)
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise InputError(f"{where}: unknown key {key!r}; did you mean {near!r}?")
    for f in dataclasses.fields(kind):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in table:
            raise InputError(f"{where}: needs the key {f.name!r}")
    values = {key: _value(known[key], value, f"{where}: {key}") for key, value in table.items()}
    try:
        return kind(**values)
    except (ValueError, InputError) as error:
        raise InputError(f"{where}: {error}") from None


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        if value is False and bool not in args:
            return None  # TOML has no word for it
        return _value(next(a for a in args if a is not type(None)), value, where)
    if dataclasses.is_dataclass(kind):
        return build_table(kind, value, where)
    if origin in (tuple, frozenset):
        if not isinstance(value, list):
            raise InputError(f"{where}: expected a list, found {value!r}")
        return origin(_value(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is not None:  # Mapping[str, str]
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise InputError(f"{where}: expected names and values that are strings")
        return dict(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where}: expected {kind.__name__}, found {value!r}")
    return value
