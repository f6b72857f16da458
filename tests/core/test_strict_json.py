"""JSON that two readers could take differently is refused; all other is read as ever."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.strict_json import MAX_DEPTH, brief, read_json

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 10**18, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(VALUES)
def test_other_json_is_read_as_ever(value: object) -> None:
    for raw in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=2)):
        assert read_json(raw.encode()) == value


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"1 2", "not JSON"),
        (b"\xff", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ("{}".encode("utf-16"), "not JSON"),
        (b'"\\x"', "not JSON"),
        (b'"a\x00"', "not JSON"),
        (b'{"a": 1, "a": 1}', "the key 'a' comes twice"),
        (b'{"b": {"a": 1, "c": 2, "\\u0061": 3}}', "the key 'a' comes twice"),
        (b'[[{"": 1, "": 2}]]', "the key '' comes twice"),
        (b"NaN", "a number that is not finite"),
        (b"[Infinity]", "a number that is not finite"),
        (b'{"a": -Infinity}', "a number that is not finite"),
        (b"1e999", "a number that is not finite"),
        (b"-1e999", "a number that is not finite"),
        (b"1" + b"0" * 18, "a number out of range"),
        (b"-" + b"9" * 5000, "a number out of range"),
        (b'"\\ud800"', "a control character in a string"),
        (b'"\\u0000"', "a control character in a string"),
        (b'"\\u001b[2J"', "a control character in a string"),
        (b'{"\\r": 1}', "a control character in a string"),
        (b'"\x7f"', "a control character in a string"),
        ('"\x9b"'.encode(), "a control character in a string"),
        ('["a\u202eb"]'.encode(), "a control character in a string"),
        ('["a\u2066b"]'.encode(), "a control character in a string"),
        (b"[" * 500_000, "nested too deep"),
        (b'{"a":' * 500_000, "nested too deep"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested too deep"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "nested too deep"),
    ],
)
def test_json_that_is_not_the_same_everywhere_is_refused(raw: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        read_json(raw)


@pytest.mark.parametrize(
    "raw", [b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b'"a\\tb\\nc"', b"-" + b"9" * 18, b"1.5e300"]
)
def test_what_lies_just_within_the_limits_is_read(raw: bytes) -> None:
    assert read_json(raw) == json.loads(raw)


@given(st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.floats()))
def test_any_value_is_shown_in_one_short_line(value: object) -> None:
    text = brief(value)
    assert len(text) <= 60
    assert text.isprintable()
    assert text == repr(value) or text.endswith("…")
