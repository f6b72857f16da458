"""A TOML table made a dataclass; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

from clin_edge.core.errors import InputError


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; raises ``InputError`` if it is none."""
    try:
        return parse_toml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({error})") from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse the text of a TOML file; raises ``InputError`` that names ``where`` if it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: cannot be read as TOML ({error})") from None


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
