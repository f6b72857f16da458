"""What language models cost: a dated table, and the user's own entries over it."""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.distill.tables import build_table, read_toml
from clin_edge.distill.teachers.llm.usage import Usage

TABLE = Path(__file__).with_name("prices.toml")
_PER = 1_000_000
_KEYS = ("date", "models")
# 2024-11-20 and 20241120 are days, 001 is Google's number of a version.
_DATED = re.compile(r"(.+)-(?:\d{4}-\d\d-\d\d|\d{8}|\d{3})")


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens; ``reasoning`` if the model thinks in output tokens it does not show.

    ``cached`` is for input that the server had in its cache; ``source`` says who states the price.
    """

    input: float
    cached: float
    output: float
    reasoning: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        if not all(math.isfinite(p) and p >= 0 for p in (self.input, self.cached, self.output)):
            raise ValueError("a price is finite and not below 0")

    def cost(self, usage: Usage) -> float:
        """USD for one reply."""
        fresh = usage.input - usage.cached
        return _dollars(
            (self.input, fresh), (self.cached, usage.cached), (self.output, usage.output)
        )

    def bound(self, n_input: int, n_output: int) -> float:
        """USD that no reply within these numbers of tokens can pass, whatever was cached."""
        return _dollars((max(self.input, self.cached), n_input), (self.output, n_output))


def _dollars(*terms: tuple[float, int]) -> float:
    # Exact until the end: a cost must not pass its bound by a rounding.
    return float(sum(Fraction(price) * tokens for price, tokens in terms) / _PER)


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by a model's name; ``date`` is the day the package's own were looked up."""

    date: datetime.date
    models: Mapping[str, Price]

    @classmethod
    def load(cls, path: Path | None = None) -> Prices:
        """Read the package's table and put the user's entries over it, each as a whole.

        Raises:
            InputError: With file and entry, if the user's file is not TOML, or a key is unknown
                (the nearest known one is named), missing or of the wrong type.
        """
        date, models = _read(TABLE)
        if path is not None:
            models |= _read(path)[1]
        if date is None:
            raise InputError(f"{TABLE}: needs the key 'date'")
        return cls(date, models)

    def of(self, model: str) -> Price | None:
        """Give the price of a model, else of the one it is a dated version of, else ``None``.

        ``gpt-4o-2024-11-20`` has the price of ``gpt-4o``; ``gpt-4o-mini`` is another model.
        """
        dated = _DATED.fullmatch(model)
        return self.models.get(model) or (self.models.get(dated[1]) if dated else None)


def _read(path: Path) -> tuple[datetime.date | None, dict[str, Price]]:
    table = read_toml(path)
    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.0)[0]
            raise InputError(f"{path}: unknown key {key!r}; did you mean {near!r}?")
    date, models = table.get("date"), table.get("models", {})
    if date is not None and type(date) is not datetime.date:
        raise InputError(f"{path}: date: expected a day such as 2026-01-31, found {date!r}")
    if not isinstance(models, dict):
        raise InputError(f"{path}: models: expected a table, found {models!r}")
    return date, {
        name: build_table(Price, entry, f"{path}: {name}") for name, entry in models.items()
    }
