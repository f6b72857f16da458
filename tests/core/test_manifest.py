"""The manifest: read back as written, and refused field by field."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import BundleError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.manifest import (
    MAX_LABELS,
    MAX_TOKENS,
    SCHEMA,
    FileFact,
    Manifest,
    parse_manifest,
)
from manifests import FILES, fields, parse, refusal

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"]), max_size=8)
WHOLE = st.integers(1 - 10**18, 10**18 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)
FACTS = st.builds(
    FileFact, st.integers(0, 500_000_000), st.binary(min_size=32, max_size=32).map(bytes.hex)
)
NAMES = st.from_regex(r"x[a-z0-9_-]{0,8}(/y[a-z0-9_]{1,5}){0,2}\.(json|npz|bin)", fullmatch=True)
SIZES = st.integers(1, MAX_TOKENS).flatmap(
    lambda size: st.tuples(st.just(size), st.integers(0, size - 1))
)


@given(
    name=TEXT,
    extra=st.dictionaries(NAMES, FACTS, max_size=3),
    facts=st.fixed_dictionaries(dict.fromkeys(FILES, FACTS)),
    sizes=SIZES,
    told=st.tuples(OBJECTS, OBJECTS, OBJECTS, OBJECTS),
    sources=st.lists(OBJECTS, max_size=2),
)
def test_a_manifest_comes_back_as_it_was_written(name, extra, facts, sizes, told, sources) -> None:
    written = Manifest(
        name=name,
        version="2026.1",
        scheme=LabelScheme(("A", "ß")),
        max_tokens=sizes[0],
        overlap=sizes[1],
        engines=("openvino",),
        precision="int8",
        files={**extra, **facts},
        quantization=told[0],
        scores=told[1],
        gate=told[2],
        made_with=told[3],
        sources=tuple(sources),
        passage_tokens=sizes[1],
    )
    text = written.to_json()
    again = parse_manifest("m", text.encode())
    assert again == written
    assert again.to_json() == text


def test_a_bundle_older_than_passages_reads_a_note_as_one() -> None:
    assert parse(fields(passage_tokens=None)).passage_tokens == 0


@pytest.mark.parametrize("wrong", [-1, 65_537, "32", True, 3.5])
def test_passages_that_cannot_be_are_refused(wrong: object) -> None:
    assert "passage" in refusal(fields(passage_tokens=wrong))


def test_fields_of_a_later_minor_version_are_passed_over() -> None:
    assert parse(fields(pronunciation={"en": "x"})) == parse(fields())


# --- not a manifest ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"{} {}",
        "{}".encode("utf-16"),
    ],
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "not JSON"


@pytest.mark.parametrize("value", [[], [fields()], "manifest", 1, None])
def test_json_that_is_no_object_is_refused(value: object) -> None:
    assert refusal(value) == "not a JSON object"


@pytest.mark.parametrize("schema", [None, SCHEMA + 1, 0, "1", [1], {}, 1.0, True])
def test_an_unknown_schema_is_refused_with_what_to_do(schema: object) -> None:
    assert refusal(fields(schema=schema)) == (
        f"schema {schema!r} is not known to this version, which reads {SCHEMA}; upgrade clin-edge"
    )


# --- fields --------------------------------------------------------------------------------------

WRONG = {
    "name": (None, 1, [], {}),
    "version": (None, 1, 1.0),
    "scheme": (None, "BIO", []),
    "max_tokens": (None, "16", 16.0, True, []),
    "overlap": (None, "4", 4.5, False),
    "engines": (None, "openvino", {}),
    "precision": (None, 8, []),
    "files": (None, [], list(FILES), "model.xml"),
    "quantization": (None, [], "int8"),
    "scores": (None, [], 0.9),
    "gate": (None, True, "passed"),
    "made_with": (None, [], "torch"),
    "sources": (None, {}, "MIMIC"),
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_a_field_that_is_missing_or_of_another_type_is_named(field: str, value: object) -> None:
    assert re.fullmatch(rf"needs '{field}', a JSON \w+", refusal(fields(**{field: value})))


@pytest.mark.parametrize(
    ("engines", "told"),
    [
        ([], r"engines \[\] are not"),
        (["openvino", "openvino"], "engines .* each once"),
        (["openvino"] * 100_000, "engines .* each once"),
        (["tensorrt"], "engines .* openvino, onnxruntime"),
        (["openvino", "OpenVINO"], "engines .* openvino, onnxruntime"),
        ([1], "engines"),
        ([None], "engines"),
        ([["openvino"]], "engines"),
        ([{"openvino": 1}], "engines"),
    ],
)
def test_engines_that_are_unknown_are_refused(engines: object, told: str) -> None:
    assert re.match(told, refusal(fields(engines=engines)))


@pytest.mark.parametrize("precision", ["int4", "", "INT8"])
def test_an_unknown_precision_is_refused(precision: str) -> None:
    assert refusal(fields(precision=precision)) == f"precision {precision!r} is not known"


@pytest.mark.parametrize(
    "scheme",
    [
        {},
        {"types": ["A"]},
        {"tagging": "BIO"},
        {"types": [], "tagging": "BIO"},
        {"types": ["A", "A"], "tagging": "BIO"},
        {"types": ["A B"], "tagging": "BIO"},
        {"types": ["A|B"], "tagging": "BIO"},
        {"types": [""], "tagging": "BIO"},
        {"types": [1], "tagging": "BIO"},
        {"types": [None], "tagging": "BIO"},
        {"types": [["A"]], "tagging": "BIO"},
        {"types": "AB", "tagging": "BIO"},
        {"types": ["A"], "tagging": "BILOU"},
        {"types": ["A"], "tagging": None},
        {"types": ["A", "\u200b"], "tagging": "BIO"},
        {"types": ["A" * 101], "tagging": "BIO"},
        {"types": [f"L{i}" for i in range(MAX_LABELS + 1)], "tagging": "BIO"},
    ],
)
def test_a_label_scheme_that_is_none_is_refused(scheme: dict[str, object]) -> None:
    assert refusal(fields(scheme=scheme))


@pytest.mark.parametrize(
    ("max_tokens", "overlap"),
    [(0, 0), (-1, -2), (16, 16), (16, 17), (16, -1), (MAX_TOKENS + 1, 0), (10**9, 0)],
)
def test_windows_that_no_model_has_are_refused(max_tokens: int, overlap: int) -> None:
    message = refusal(fields(max_tokens=max_tokens, overlap=overlap))
    assert message.startswith(f"windows of {max_tokens} tokens")
    assert message.endswith(f"have no room for {overlap} shared")


@pytest.mark.parametrize("sources", [["MIMIC"], [None], [{}, []], [{"name": "x"}, 1]])
def test_sources_that_are_no_objects_are_refused(sources: list[object]) -> None:
    assert refusal(fields(sources=sources)) == "every one of 'sources' must be a JSON object"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"schema": 1, "schema": 1}', "the key 'schema' comes twice"),
        (b'{"schema": 1, "scores": {"a": {"f1": 1, "f1": 2}}}', "the key 'f1' comes twice"),
        (b'{"schema": 1, "scores": NaN}', "a number that is not finite"),
        (b'{"schema": ' + b"9" * 10_000 + b"}", "a number out of range"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"schema": 1, "name": "\\u202e"}', "a control character in a string"),
    ],
)
def test_json_that_another_reader_could_take_differently_is_refused(raw: bytes, told: str) -> None:
    """The rest of these rules is tested with ``read_json``."""
    assert refusal(raw) == told


@pytest.mark.parametrize("field", ["schema", "precision", "engines"])
def test_a_long_value_is_shown_in_part(field: str) -> None:
    values = {"schema": "x" * 10_000, "precision": "x" * 10_000, "engines": ["x" * 10_000]}
    assert "…" in refusal(fields(**{field: values[field]}))


# --- whatever stands there -----------------------------------------------------------------------


def mutations() -> st.SearchStrategy[Callable[[dict[str, Any]], dict[str, Any]]]:
    def change(where: tuple[str, ...], value: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def apply(good: dict[str, Any]) -> dict[str, Any]:
            inner = good
            for key in where[:-1]:
                inner = inner[key]
            inner[where[-1]] = value
            return good

        return apply

    deep = [("scheme", "types"), ("scheme", "tagging"), ("files", "model.bin"), ("files", "x")]
    places = st.sampled_from([*((name,) for name in fields()), *deep])
    return st.builds(change, places, JSON | st.lists(JSON | st.lists(JSON), max_size=2))


@given(mutations())
def test_any_value_in_any_field_is_read_or_refused(
    change: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    changed = change(fields())
    try:
        parse(changed)
    except BundleError:
        assert refusal(changed)
