"""The list of files in a manifest: names that are safe anywhere, sizes and hashes that are some."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import BundleError
from clin_edge.core.manifest import MAX_BUNDLE_BYTES, MAX_FILES
from manifests import FACT, FILES, fields, parse, refusal


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
        "",
        ".",
        "./model.bin",
        "a//b",
        "a/./b",
        "a/",
        # one name here, another there, or none at all
        "über.md",
        "u\u0308ber.md",
        "ﬁle.md",
        "golden notes.jsonl",
        "card.md.",
        "card.md ",
        " card.md",
        "docs./card.md",
        "..a",
        "a..b",
        ".hidden",
        "CON",
        "nul.txt",
        "docs/Aux/card.md",
        "com1.tar.gz",
        "lpt9",
        "con/card.md",
        "COM\u00b9",
        "CONIN$",
        "card~1.md",
        "card?.md",
        "card*.md",
        'card".md',
        "card|.md",
        "a" * 201,
        # not what they look like
        "card\n.md",
        "card.md\n",
        "card\t.md",
        "gpj.\u202fdm.card",
        "card\u200b.md",
        "c\u0430rd.md",
        "card\uff0emd",
        "a\u2215b",
    ],
)
def test_a_file_name_that_is_not_the_same_file_everywhere_is_refused(name: str) -> None:
    assert " is not safe on every system; expected letters, digits," in refusal(listing(name))


@pytest.mark.parametrize(
    "name", ["\0", "model\0.bin", "card\u202e.md", "card\x1b.md", "card\x7f.md", "card\ud800.md"]
)
def test_a_file_name_with_a_control_character_is_refused(name: str) -> None:
    assert refusal(listing(name)) == "a control character in a string"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["Card.md", "card.md"], "'Card.md' and 'card.md' are one file on some systems"),
        (["a/CARD.md", "A/card.md"], "'a/CARD.md' and 'A/card.md' are one file on some systems"),
        (["TOKENIZER.JSON"], "'tokenizer.json' and 'TOKENIZER.JSON' are one file on some systems"),
    ],
)
def test_two_names_of_one_file_are_refused(names: list[str], told: str) -> None:
    listed = {**dict.fromkeys(FILES, FACT), **dict.fromkeys(names, FACT)}
    assert refusal(fields(files=listed)) == told


def test_more_files_than_any_bundle_has_are_refused() -> None:
    names = [*FILES, *(f"f{i}" for i in range(MAX_FILES - len(FILES) + 1))]
    assert refusal(fields(files=dict.fromkeys(names, FACT))) == "lists 101 files, more than 100"
    assert len(parse(fields(files=dict.fromkeys(names[:-1], FACT))).files) == MAX_FILES


def test_more_bytes_than_any_bundle_has_are_refused_one_by_one_or_together() -> None:
    most = {**FACT, "size_bytes": MAX_BUNDLE_BYTES - 3 * len(FILES)}
    assert parse(listing("x", most)).files["x"].size_bytes == most["size_bytes"]
    for facts in ({"x": most, "y": FACT}, {"x": {**FACT, "size_bytes": 10**17}}):
        listed = {**dict.fromkeys(FILES, FACT), **facts}
        assert refusal(fields(files=listed)).endswith(" bytes, more than any bundle has")


@pytest.mark.parametrize("name", ["manifest.json", "MANIFEST.json", "Manifest.JSON"])
def test_a_manifest_that_lists_itself_is_refused(name: str) -> None:
    assert refusal(listing(name)) == "a manifest cannot list itself"


@pytest.mark.parametrize("name", ["a/b/c.bin", "MODEL_CARD.md", "console.md", "a-b.c.d", "a" * 200])
def test_a_file_name_that_stays_inside_is_taken(name: str) -> None:
    assert name in parse(listing(name)).files


@given(st.text(max_size=12) | st.text("aA.:/\\\\~ \\0", max_size=6))
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
        ({**FACT, "size_bytes": 1e3}, "no size in bytes"),
        ({**FACT, "size_bytes": "3"}, "no size in bytes"),
        ({**FACT, "size_bytes": [3]}, "no size in bytes"),
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
