"""Signatures of bundles: their layout, and that none but the owner's for this bundle passes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from clin_edge.core.bundle import Bundle, open_bundle
from clin_edge.core.errors import BundleError
from clin_edge.core.manifest import FileFact
from clin_edge.core.signing import MAX_SIGNATURE_BYTES, check_signature, sign
from keys import OTHER_PUBLIC, OTHER_SECRET, PUBLIC, SECRET, ed25519
from toy import toy_bundle, toy_manifest

FACTS = {name: FileFact(3, digit * 64) for name, digit in (("model.onnx", "1"), ("a/B.md", "2"))}


def bundle(**changes: Any) -> Bundle:
    """A bundle of two files, without their bytes: a signature is of hashes."""
    facts = FACTS | changes.pop("files", {})
    manifest = toy_manifest("onnxruntime", files=facts, **changes.pop("fields", {}))
    return Bundle(Path("b"), manifest, {}, changes.pop("manifest_sha256", "3" * 64))


GOOD = sign(bundle(), SECRET)


def refusal(signature: bytes, of: Bundle | None = None, key: bytes = PUBLIC) -> str:
    """The message a signature is refused with: one line that names the bundle; exit code 4."""
    with pytest.raises(BundleError) as caught:
        check_signature(of or bundle(), signature, key)
    message = str(caught.value)
    assert message.startswith("b: its signature ")
    assert message.isprintable()
    assert len(message) < 300
    return message.removeprefix("b: its signature ")


def statement(signature: bytes = GOOD) -> dict[str, Any]:
    return json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))  # type: ignore[no-any-return]


def with_payload(payload: bytes, secret: bytes | None = None) -> bytes:
    """The signature with another payload, signed anew if there is a key."""
    outer = json.loads(GOOD)
    outer["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    if secret:
        what = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload
        signed = base64.b64encode(ed25519(secret).sign(what)).decode()
        outer["dsseEnvelope"]["signatures"][0]["sig"] = signed
    return json.dumps(outer).encode()


# --- layout --------------------------------------------------------------------------------------


def test_the_statement_lists_every_file_as_model_signing_does() -> None:
    digests = {"a/B.md": "2" * 64, "manifest.json": "3" * 64, "model.onnx": "1" * 64}
    root = sha256(b"".join(bytes.fromhex(digest) for digest in digests.values())).hexdigest()
    assert statement() == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "toy", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest}
                for name, digest in digests.items()
            ],
        },
    }


def test_the_envelope_is_a_sigstore_bundle_and_its_signature_one_of_dsse() -> None:
    outer = json.loads(GOOD)
    payload = outer["dsseEnvelope"]["payload"]
    (signed,) = outer["dsseEnvelope"]["signatures"]
    assert outer == {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": sha256(PUBLIC).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": payload,
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": signed["sig"], "keyid": ""}],
        },
    }
    raw = base64.b64decode(payload)
    what = b" ".join([b"DSSEv1 28 application/vnd.in-toto+json", str(len(raw)).encode(), raw])
    key = load_pem_public_key(PUBLIC)
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(signed["sig"]), what)


def test_the_key_of_the_standard_s_first_example_has_its_public_half() -> None:
    """RFC 8032, 7.1, TEST 1."""
    public = load_pem_public_key(PUBLIC).public_bytes_raw()  # type: ignore[union-attr]
    assert public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_same_bundle_and_key_same_signature() -> None:
    assert sign(bundle(), SECRET) == GOOD
    turned = bundle(files=dict(reversed(FACTS.items())))
    assert sign(turned, SECRET) == GOOD
    assert sign(bundle(), OTHER_SECRET) != GOOD


# --- what passes, what does not ------------------------------------------------------------------


def test_a_real_bundle_signed_passes_wherever_it_lies(tmp_path: Path) -> None:
    signed = toy_bundle(tmp_path / "b")
    signature = sign(signed, SECRET)
    check_signature(signed, signature, PUBLIC)
    copied = toy_bundle(tmp_path / "copy")
    check_signature(copied, signature, PUBLIC)
    changed = toy_bundle(tmp_path / "b", version="2")
    with pytest.raises(BundleError, match=r"of another bundle; it differs in 'manifest\.json'"):
        check_signature(changed, signature, PUBLIC)


def test_what_was_opened_is_signed_though_the_folder_changed_since(tmp_path: Path) -> None:
    opened = toy_bundle(tmp_path / "b")
    before = sign(opened, SECRET)
    toy_bundle(tmp_path / "b", version="2")
    assert sign(opened, SECRET) == before
    with pytest.raises(BundleError):
        check_signature(open_bundle(tmp_path / "b"), before, PUBLIC)


@pytest.mark.parametrize("indent", [None, 2])
def test_spacing_and_order_do_not_matter(indent: int | None) -> None:
    outer = json.loads(GOOD)
    check_signature(bundle(), json.dumps(outer, indent=indent).encode(), PUBLIC)
    turned = json.dumps(dict(reversed(outer.items())), indent=indent).encode()
    check_signature(bundle(), turned, PUBLIC)


def test_another_key_is_told() -> None:
    assert refusal(GOOD, key=OTHER_PUBLIC) == "was made with another key than the one given"
    assert refusal(sign(bundle(), OTHER_SECRET)) == "was made with another key than the one given"
    outer = json.loads(sign(bundle(), OTHER_SECRET))
    outer["verificationMaterial"] = json.loads(GOOD)["verificationMaterial"]
    assert refusal(json.dumps(outer).encode()) == "is not by this key, or was altered"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"files": {"model.onnx": FileFact(3, "4" * 64)}}, "'model.onnx'"),
        ({"files": {"x.md": FileFact(3, "4" * 64)}}, "'x.md'"),
        ({"manifest_sha256": "4" * 64}, "'manifest.json'"),
        ({"fields": {"name": "other"}}, "its terms"),
        (
            {"files": {f"f{i}": FileFact(3, "4" * 64) for i in range(9)}},
            "'f0', 'f1', 'f2'",
        ),
    ],
)
def test_another_bundle_is_told_by_the_files_that_differ(changes: Any, told: str) -> None:
    assert refusal(GOOD, bundle(**deepcopy(changes))) == (
        f"is of another bundle; it differs in {told}"
    )


def test_a_file_the_bundle_no_longer_has_is_told() -> None:
    longer = sign(bundle(files={"x.md": FileFact(3, "4" * 64)}), SECRET)
    assert refusal(longer) == "is of another bundle; it differs in 'x.md'"


# --- mutants -------------------------------------------------------------------------------------

ODD = (None, True, 0, 1, -1, 0.5, "", "x", "\u00e9", [], [[]], {}, {"a": 1}, [None])


def mutants(document: Any) -> Iterator[Any]:
    """Every document with one value exchanged, taken away, wrapped or added."""
    for path in list(paths(document)):
        for change in changes_at(document, path):
            changed = deepcopy(document)
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            change(holder, path[-1])
            if json.dumps(changed, sort_keys=True) != json.dumps(document, sort_keys=True):
                yield changed


def paths(value: Any) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (key,)
            yield from ((key, *rest) for rest in paths(value[key]))


def changes_at(document: Any, path: tuple[Any, ...]) -> Iterator[Callable[[Any, Any], object]]:
    value = document
    for key in path:
        value = value[key]
    for odd in ODD:
        yield lambda holder, key, odd=odd: holder.__setitem__(key, odd)
    yield lambda holder, key: holder.__delitem__(key)
    yield lambda holder, key: holder.__setitem__(key, [holder[key]])
    if isinstance(value, str):
        yield lambda holder, key: holder.__setitem__(key, holder[key] + "x")
        yield lambda holder, key: holder.__setitem__(key, holder[key][:-1])
        yield lambda holder, key: holder.__setitem__(key, holder[key].swapcase() or "y")
    if isinstance(value, dict):
        yield lambda holder, key: holder[key].__setitem__("more", "x")
    if isinstance(value, list):
        yield lambda holder, key: holder[key].append(deepcopy(holder[key][-1:]) or "x")


def test_every_field_of_the_envelope_counts() -> None:
    count = 0
    for changed in mutants(json.loads(GOOD)):
        refusal(json.dumps(changed).encode())
        count += 1
    assert count > 200


def test_every_field_of_the_statement_counts_though_it_is_not_signed_anew() -> None:
    for changed in mutants(statement()):
        raw = with_payload(json.dumps(changed).encode())
        assert refusal(raw) == "is not by this key, or was altered"


def test_every_field_of_the_statement_counts_though_the_owner_signed_it() -> None:
    count = 0
    for changed in mutants(statement()):
        message = refusal(with_payload(json.dumps(changed).encode(), SECRET))
        assert message.startswith("is of another bundle; it differs in ")
        count += 1
    assert count > 300


@pytest.mark.parametrize("payload", [b"", b"{", b'{"_type": 1, "_type": 1}', b"[" * 9999, b"\xff"])
def test_a_statement_that_is_no_json_is_refused_though_the_owner_signed_it(payload: bytes) -> None:
    assert refusal(with_payload(payload, SECRET)).startswith(
        "holds a statement that cannot be read"
    )


def test_every_byte_of_the_file_counts() -> None:
    for at in range(len(GOOD)):
        changed = GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :]
        refusal(changed)


def test_every_cut_of_the_file_is_refused() -> None:
    for at in range(len(GOOD) - 1):
        assert refusal(GOOD[:at]) == "is malformed, or of a kind not known to this version"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"\xef\xbb\xbf" + GOOD,
        GOOD + GOOD,
        GOOD.replace(b'"keyid":""', b'"keyid":"","keyid":""'),
        GOOD.replace(b'"mediaType"', b'"mediaType":"x","mediaType"'),
        GOOD.replace(b'"tlogEntries":[]', b'"tlogEntries":NaN'),
        b"[" * 100_000,
    ],
)
def test_what_two_readers_could_read_differently_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "is malformed, or of a kind not known to this version"


def test_a_signature_of_megabytes_is_not_even_parsed() -> None:
    raw = GOOD + b" " * MAX_SIGNATURE_BYTES
    assert refusal(raw) == f"is too large, {len(raw):,} bytes"


def test_base64_has_one_spelling() -> None:
    sig = json.loads(GOOD)["dsseEnvelope"]["signatures"][0]["sig"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert sig.endswith("==")  # the character before holds four bits that say nothing
    loose = sig[:-3] + alphabet[alphabet.index(sig[-3]) ^ 1] + "=="
    assert base64.b64decode(loose) == base64.b64decode(sig)
    for other in (loose, sig + "=", sig.rstrip("="), sig[:9] + "\\n" + sig[9:], " " + sig):
        raw = GOOD.replace(sig.encode(), other.encode())
        assert refusal(raw) == "is malformed, or of a kind not known to this version"


def test_a_signature_has_one_form() -> None:
    """With the group's order added to S a careless reader takes it too (RFC 8032, 5.1.7)."""
    order = 2**252 + 27742317777372353535851937790883648493
    sig = base64.b64decode(json.loads(GOOD)["dsseEnvelope"]["signatures"][0]["sig"])
    s = int.from_bytes(sig[32:], "little") + order
    outer = json.loads(GOOD)
    outer["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(
        sig[:32] + s.to_bytes(32, "little")
    ).decode()
    assert refusal(json.dumps(outer).encode()) == "is not by this key, or was altered"
