"""Detached Ed25519 signatures of bundles.

A signature is one JSON file in the layout of OpenSSF model signing 1.0: a Sigstore bundle (v0.3)
around a DSSE envelope around an in-toto statement (v1) that lists every file with its SHA-256, the
manifest included. It stands beside the bundle, which takes in no file that it does not list.

The reference tool (``model-signing`` 1.1.1) reads this layout but knows no Ed25519 keys, only
NIST curves, so it cannot check these signatures; nor are its own read here.

Sources: github.com/sigstore/model-transparency; github.com/secure-systems-lab/dsse (protocol);
github.com/in-toto/attestation (statement v1); RFC 8032.
"""

from __future__ import annotations

import base64
import json
import secrets
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import BundleError, InputError, MissingInstallError
from clin_edge.core.manifest import MANIFEST
from clin_edge.core.strict_json import brief, read_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

MAX_SIGNATURE_BYTES = 1_000_000
_MAX_KEY_BYTES = 100_000
_PAYLOAD_TYPE = "application/vnd.in-toto+json"


def sign(bundle: Bundle, private_key_pem: bytes) -> bytes:
    """Sign the bytes that ``open_bundle`` hashed; same bundle and key, same signature.

    Args:
        bundle: What to sign.
        private_key_pem: An Ed25519 key as unencrypted PEM (PKCS #8).

    Raises:
        InputError: If the key is anything else, or needs a password.
        MissingInstallError: If ``cryptography`` is not installed.
    """
    key = _private_key(private_key_pem)
    payload = _json(_statement(bundle))
    envelope = _envelope(payload, key.sign(_dsse(payload)), _hint(key.public_key()))
    return _json(envelope) + b"\n"


def check_signature(bundle: Bundle, signature: bytes, public_key_pem: bytes) -> None:
    """Return only if the owner of the key signed exactly this bundle.

    Args:
        bundle: What ``open_bundle`` verified.
        signature: What ``sign`` wrote; other spacing and order of keys are allowed.
        public_key_pem: An Ed25519 public key as PEM.

    Raises:
        BundleError: If the signature is malformed, altered, by another key, or of another bundle.
        InputError: If the key is not an Ed25519 public key.
        MissingInstallError: If ``cryptography`` is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
    except ModuleNotFoundError:
        raise MissingInstallError("sign", "cryptography") from None
    key = _public_key(public_key_pem)
    where = f"{bundle.path}: its signature"
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise BundleError(f"{where} is too large, {len(signature):,} bytes")
    try:
        outer = read_json(signature)
        envelope = outer["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        signed = base64.b64decode(envelope["signatures"][0]["sig"])
        hint = outer["verificationMaterial"]["publicKey"]["hint"]
        known = outer == _envelope(payload, signed, hint)
    except (ValueError, TypeError, LookupError):
        known = False
    if not known:
        raise BundleError(f"{where} is malformed, or of a kind not known to this version")
    if hint != _hint(key):
        raise BundleError(f"{where} was made with another key than the one given")
    try:
        key.verify(signed, _dsse(payload))
    except InvalidSignature:
        raise BundleError(f"{where} is not by this key, or was altered") from None
    try:
        statement = read_json(payload)
    except ValueError as error:
        raise BundleError(f"{where} holds a statement that cannot be read: {error}") from None
    expected = _statement(bundle)
    if _json(statement) != _json(expected):  # to Python 0 is False
        differs = _digests(statement) ^ _digests(expected)
        names = ", ".join(brief(name) for name in sorted({name for name, _ in differs})[:3])
        raise BundleError(f"{where} is of another bundle; it differs in {names or 'its terms'}")


def check_private_key(key: Path) -> None:
    """Return only if ``write_signature`` could use this key file; to be asked before long work.

    Raises:
        InputError: If it cannot be read or used.
        MissingInstallError: If ``cryptography`` is not installed.
    """
    _private_key(_key_bytes(key))


def write_signature(bundle: Bundle, key: Path, out: Path | None = None) -> Path:
    """Sign with a key file and write the signature to ``out``, by default beside the bundle.

    Raises:
        InputError: If the key cannot be read or used, or ``out`` lies in the bundle or cannot be
            written.
        MissingInstallError: If ``cryptography`` is not installed.
    """
    out = out or default_signature(bundle)
    if bundle.path.resolve() in out.resolve().parents:
        raise InputError(f"{out}: lies in the bundle, which holds no file it does not list")
    signature = sign(bundle, _key_bytes(key))
    fresh = out.with_name(f".{out.name}.{secrets.token_hex(4)}.new")
    try:
        fresh.write_bytes(signature)
        fresh.replace(out)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
    return out


def verify_signature(bundle: Bundle, key: Path, signature: Path | None = None) -> None:
    """Check the signature in a file, by default beside the bundle, as ``check_signature`` does.

    Raises:
        BundleError: If there is no such file, or it is not a signature of this bundle by this key.
        InputError: If the key cannot be read or is not an Ed25519 public key.
        MissingInstallError: If ``cryptography`` is not installed.
    """
    place = signature or default_signature(bundle)
    try:
        with place.open("rb") as stream:
            raw = stream.read(MAX_SIGNATURE_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{place}: no signature can be read there ({error.strerror}); give its place with "
            "--signature"
        ) from None
    check_signature(bundle, raw, _key_bytes(key))


def default_signature(bundle: Bundle) -> Path:
    """Give the place of a bundle's signature: beside its folder, with ``.sig`` after its name."""
    folder = bundle.path.resolve()
    return folder.with_name(f"{folder.name}.sig")


def _statement(bundle: Bundle) -> dict[str, Any]:
    digests = {name: fact.sha256 for name, fact in bundle.manifest.files.items()}
    listed = sorted({**digests, MANIFEST: bundle.manifest_sha256}.items())
    root = sha256(b"".join(bytes.fromhex(digest) for _, digest in listed)).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": bundle.manifest.name, "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest} for name, digest in listed
            ],
        },
    }


def _envelope(payload: bytes, signature: bytes, hint: object) -> dict[str, Any]:
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def _digests(statement: object) -> set[tuple[str, str]]:
    """Give name and digest of the resources a statement lists, as far as it lists any."""
    try:
        resources = statement["predicate"]["resources"]  # type: ignore[index]
        return {(str(one["name"]), str(one["digest"])) for one in resources}
    except (TypeError, LookupError):
        return set()


def _dsse(payload: bytes) -> bytes:
    """Give the bytes that a DSSE signature is of (its "pre-authentication encoding", v1)."""
    return b"DSSEv1 %d %s %d %s" % (
        len(_PAYLOAD_TYPE),
        _PAYLOAD_TYPE.encode(),
        len(payload),
        payload,
    )


def _private_key(pem: bytes) -> Ed25519PrivateKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError:
        raise MissingInstallError("sign", "cryptography") from None
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise InputError("the private key has a password; give an Ed25519 key without") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("the private key is not an Ed25519 key in PEM (PKCS #8)")
    return key


def _public_key(pem: bytes) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("the public key is not an Ed25519 public key in PEM")
    return key


def _hint(key: Ed25519PublicKey) -> str:
    """Name a key as the reference tool does: by the SHA-256 of its PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return sha256(pem).hexdigest()


def _key_bytes(place: Path) -> bytes:
    try:
        with place.open("rb") as stream:
            return stream.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror})") from None


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
