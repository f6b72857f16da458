"""Prices: the package's dated table, the user's own over it, and what a reply costs."""

from __future__ import annotations

import dataclasses
import datetime
import re
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.distill.teachers.llm.prices import TABLE, Price, Prices
from clin_edge.distill.teachers.llm.usage import Usage

PAPER = ("gpt-4o", "gpt-4o-mini", "o1-mini", "gemini-1.5-flash")  # and what followed them
PACKAGE = Prices.load()


def test_the_table_is_dated_and_every_price_has_a_source() -> None:
    assert PACKAGE.date >= datetime.date(2026, 11, 22)
    assert set(PAPER) < set(PACKAGE.models)
    for name, price in PACKAGE.models.items():
        assert re.fullmatch(r"(https|the) ?\S.* \((\d{4}-\d\d-\d\d|undated)\)", price.source), name
        assert 0 < price.cached <= price.input < price.output, name
    assert PACKAGE.models["o1-mini"].reasoning
    assert not PACKAGE.models["gpt-4o"].reasoning
    assert "Prices change" in TABLE.read_text(encoding="utf-8")


MIXED = Price(input=2.0, cached=0.5, output=10.0)


def test_cached_input_is_cheaper_and_reasoning_is_output() -> None:
    usage = Usage(input=1_000_000, cached=400_000, output=100_000, reasoning=90_000)
    assert MIXED.cost(usage) == 0.6 * 2.0 + 0.4 * 0.5 + 0.1 * 10.0
    assert MIXED.cost(dataclasses.replace(usage, reasoning=0)) == MIXED.cost(usage)
    assert MIXED.bound(1_000_000, 100_000) == 3.0
    assert MIXED.cost(Usage()) == 0.0


usd = st.floats(0, 1e4)
count = st.integers(0, 10**9)


@given(usd, usd, usd, count, count, count, count)
def test_no_reply_costs_more_than_its_bound(
    fresh: float, cached: float, output: float, a: int, b: int, n_output: int, spare: int
) -> None:
    price = Price(fresh, cached, output)
    usage = Usage(input=max(a, b), cached=min(a, b), output=n_output)
    cost = price.cost(usage)
    assert cost <= price.bound(usage.input, n_output) <= price.bound(a + b, n_output + spare)
    exact = Fraction(fresh) * (usage.input - usage.cached) + Fraction(cached) * usage.cached
    exact += Fraction(output) * n_output
    assert cost == pytest.approx(float(exact / 10**6), rel=1e-12)


@pytest.mark.parametrize(
    ("model", "entry"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4.1-20250414", "gpt-4.1"),
        ("gemini-1.5-flash-002", "gemini-1.5-flash"),
        ("gpt-4o-audio-preview", None),
        ("gpt-4o-mini-tts", None),
        ("gpt-4o-", None),
        ("gpt-4o-2024", None),
        ("gpt-4", None),
        ("gpt-4o-2024-11-20-custom", None),
        ("ft:gpt-4o-2024-08-06:us", None),
        ("llama-3.1-8b", None),
        ("-2024-11-20", None),
        ("", None),
    ],
)
def test_a_dated_version_has_its_models_price_and_another_model_has_not(
    model: str, entry: str | None
) -> None:
    assert PACKAGE.of(model) is (PACKAGE.models[entry] if entry else None)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_users_entries_lie_over_the_packages(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[models."gpt-4o"]\ninput = 1\ncached = 0.5\noutput = 4\n'
        '[models."ours"]\ninput = 0\ncached = 0\noutput = 0\n'
        'reasoning = true\nsource = "contract"\n',
    )
    prices = Prices.load(path)
    assert prices.of("gpt-4o-2024-11-20") == Price(1.0, 0.5, 4.0)
    assert prices.of("ours") == Price(0.0, 0.0, 0.0, reasoning=True, source="contract")
    assert prices.of("gpt-4o-mini") == PACKAGE.of("gpt-4o-mini")
    assert prices.date == PACKAGE.date
    assert Prices.load(write(tmp_path, "date = 2027-01-01")) == PACKAGE
    assert tomllib.loads(TABLE.read_text(encoding="utf-8"))["date"] == PACKAGE.date


ENTRY = '[models."m"]\ninput = 1\ncached = 1\noutput = 1\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("price = 3", "unknown key 'price'; did you mean 'date'?"),
        ("model = {}", "unknown key 'model'; did you mean 'models'?"),
        ("date = '2026-01-01'", "date: expected a day"),
        ("date = 2026-01-01T00:00:00", "date: expected a day"),
        ("models = 3", "models: expected a table"),
        ("models = { m = 3 }", "m: expected a table"),
        (f"{ENTRY}ouput = 2", "m: unknown key 'ouput'; did you mean 'output'?"),
        ("[models.m]\ninput = 1\noutput = 2", "m: needs the key 'cached'"),
        (ENTRY.replace("output = 1", "output = '1'"), "m: output: expected float"),
        (ENTRY.replace("output = 1", "output = true"), "m: output: expected float"),
        (ENTRY.replace("output = 1", "output = -1"), "m: a price is finite"),
        (ENTRY.replace("input = 1", "input = nan"), "m: a price is finite"),
        (f"{ENTRY}reasoning = 1", "m: reasoning: expected bool"),
        ("models = [", "cannot be read as TOML"),
    ],
)
def test_a_slip_in_the_users_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        Prices.load(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none\\.toml: cannot be read"):
        Prices.load(tmp_path / "none.toml")
