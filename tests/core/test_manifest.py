"""The manifest: read back as written, and refused field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import BundleError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.manifest import SCHEMA, FileFact, Manifest, parse_manifest
from toy import toy_manifest

FACT = {"size_bytes": 3, "sha256": "0" * 64}
FILES = ("model.bin", "model.xml", "tokenizer.json")


def fields(**changes: Any) -> dict[str, Any]:
    """A good manifest as JSON values; a change of None takes a field away."""
    facts = {name: FileFact(3, "0" * 64) for name in FILES}
    good = {**json.loads(toy_manifest("openvino", files=facts).to_json()), **changes}
    return {name: value for name, value in good.items() if value is not None}


def parse(value: object) -> Manifest:
    return parse_manifest("here/manifest.json", json.dumps(value).encode())


def refusal(value: object | bytes) -> str:
    """The message a manifest is refused with: one line that names the file; exit code 4."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(BundleError) as caught:
        parse_manifest("here/manifest.json", raw)
    assert caught.value.exit_code == 4
    message = str(caught.value)
    assert message.startswith("here/manifest.json: ")
    assert "\n" not in message
    return message.removeprefix("here/manifest.json: ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=3)
FACTS = st.builds(
    FileFact, st.integers(0, 2**40), st.binary(min_size=32, max_size=32).map(bytes.hex)
)
NAMES = st.from_regex(
    r"[a-zé_][a-z0-9 _-]{0,8}(/[a-z0-9_]{1,5}){0,2}\.(json|npz|bin)", fullmatch=True
)


@given(
    name=st.text(),
    extra=st.dictionaries(NAMES, FACTS, max_size=3),
    facts=st.fixed_dictionaries(dict.fromkeys(FILES, FACTS)),
    sizes=st.tuples(st.integers(), st.integers()),
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
    )
    raw = written.to_json().encode("utf-8", "backslashreplace")
    assert parse_manifest("m", raw) == written


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
        b"[" * 100_000,
        b'{"schema": ' + b"9" * 10_000 + b"}",
        "{}".encode("utf-16"),
    ],
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "not JSON"


@pytest.mark.parametrize("value", [[], [fields()], "manifest", 1, None])
def test_json_that_is_no_object_is_refused(value: object) -> None:
    assert refusal(value) == "not a JSON object"


@pytest.mark.parametrize("schema", [None, SCHEMA + 1, 0, -1, "1", [1], {}, 1.5])
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
    ],
)
def test_a_label_scheme_that_is_none_is_refused(scheme: dict[str, object]) -> None:
    assert refusal(fields(scheme=scheme))


# --- the list of files ---------------------------------------------------------------------------


def listing(name: str, fact: object = FACT) -> dict[str, Any]:
    return fields(files={**dict.fromkeys(FILES, FACT), name: fact})


@pytest.mark.parametrize(
    "name",
    [
        "../model.bin",
        "a/../../model.bin",
        "a/..",
        "..",
        "..\\model.bin",
        "a\\b",
        "\\model.bin",
        "\\\\server\\share\\model.bin",
        "/etc/passwd",
        "//server/share",
        "C:model.bin",
        "c:/model.bin",
        "C:\\model.bin",
        "model.bin:stream",
        "model.bin::$DATA",
        "model\0.bin",
        "\0",
        "",
        ".",
        "./model.bin",
        "a//b",
        "a/./b",
        "a/",
    ],
)
def test_a_file_name_that_could_mean_another_place_is_refused(name: str) -> None:
    assert refusal(listing(name)) == f"the file name {name!r} leaves the bundle"


@pytest.mark.parametrize("name", ["manifest.json", "MANIFEST.json", "Manifest.JSON"])
def test_a_manifest_that_lists_itself_is_refused(name: str) -> None:
    assert refusal(listing(name)) == "a manifest cannot list itself"


@pytest.mark.parametrize("name", ["a/b/c.bin", "..a", "a..b", "über.md", "golden notes.jsonl"])
def test_a_file_name_that_stays_inside_is_taken(name: str) -> None:
    assert name in parse(listing(name)).files


@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_no_name_that_is_taken_leads_out_of_the_folder(name: str) -> None:
    try:
        parse(listing(name))
    except BundleError:
        return
    for flavour, root in ((PurePosixPath, "/b"), (PureWindowsPath, "X:/b")):
        joined = flavour(root) / name
        assert joined.parts[: len(flavour(root).parts)] == flavour(root).parts
        assert ".." not in joined.parts
        assert joined != flavour(root)


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        (None, "needs size_bytes and sha256"),
        ([3, "0" * 64], "needs size_bytes and sha256"),
        ({}, "no size in bytes"),
        ({**FACT, "size_bytes": -1}, "no size in bytes"),
        ({**FACT, "size_bytes": 3.0}, "no size in bytes"),
        ({**FACT, "size_bytes": True}, "no size in bytes"),
        ({"size_bytes": 3}, "no SHA-256"),
        ({**FACT, "sha256": 0}, "no SHA-256"),
        ({**FACT, "sha256": "0" * 63}, "no SHA-256"),
        ({**FACT, "sha256": "0" * 65}, "no SHA-256"),
        ({**FACT, "sha256": "A" * 64}, "no SHA-256"),
        ({**FACT, "sha256": "0" * 64 + "\n"}, "no SHA-256"),
        ({**FACT, "sha256": "٠" * 64}, "no SHA-256"),
    ],
)
def test_a_file_without_its_size_and_hash_is_refused(fact: object, told: str) -> None:
    message = refusal(listing("card.md", fact))
    assert message.startswith("files: 'card.md' ")
    assert told in message


@pytest.mark.parametrize(
    ("engines", "lost"),
    [
        (("openvino",), "tokenizer.json"),
        (("openvino",), "model.xml"),
        (("openvino",), "model.bin"),
        (("onnxruntime",), "model.onnx"),
        (("openvino", "onnxruntime"), "model.onnx"),
        (("onnxruntime", "openvino"), "model.bin"),
    ],
)
def test_a_model_file_that_is_not_listed_is_named(engines: tuple[str, ...], lost: str) -> None:
    listed = {name: FACT for name in (*FILES, "model.onnx") if name != lost}
    assert refusal(fields(engines=list(engines), files=listed)) == f"lists no {lost}"


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
