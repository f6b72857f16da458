"""Keys and signatures in files: where they lie, and what is said of those that are none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from clin_edge.core.bundle import Bundle, open_bundle
from clin_edge.core.errors import BundleError, ClinEdgeError, InputError, MissingInstallError
from clin_edge.core.signing import (
    check_private_key,
    check_signature,
    default_signature,
    sign,
    verify_signature,
    write_signature,
)
from keys import LOCKED, OTHER_PUBLIC, PUBLIC, SECRET
from toy import toy_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A real bundle, with a key beside it."""
    (tmp_path / "key.pem").write_bytes(SECRET)
    (tmp_path / "key.pub").write_bytes(PUBLIC)
    return toy_bundle(tmp_path / "b")


def curve_pem(*, public: bool) -> bytes:
    key = ec.derive_private_key(7, ec.SECP256R1())
    if public:
        return key.public_key().public_bytes(
            form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
        )
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


def refusal(kind: type[ClinEdgeError], act: Callable[[], object]) -> str:
    """What is said of a key: one line that holds nothing of it, and nothing that did is chained."""
    with pytest.raises(kind) as caught:
        act()
    message = str(caught.value)
    assert message.isprintable()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    for pem in (SECRET, PUBLIC, LOCKED):
        assert not any(line in message for line in pem.decode().splitlines()[1:-1])
    return message


# --- files ---------------------------------------------------------------------------------------


def test_a_signature_lies_beside_its_bundle_which_opens_as_before(bundle, tmp_path: Path) -> None:
    place = write_signature(bundle, tmp_path / "key.pem")
    assert place == tmp_path / "b.sig"
    assert place.read_bytes() == sign(bundle, SECRET)
    verify_signature(open_bundle(bundle.path), tmp_path / "key.pub")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "b.sig", "key.pem", "key.pub"]


def test_a_signature_may_lie_anywhere_else(bundle: Bundle, tmp_path: Path) -> None:
    place = write_signature(bundle, tmp_path / "key.pem", tmp_path / "s.json")
    assert place == tmp_path / "s.json"
    verify_signature(bundle, tmp_path / "key.pub", place)
    with pytest.raises(BundleError, match=r"b\.sig: no signature can be read there"):
        verify_signature(bundle, tmp_path / "key.pub")


@pytest.mark.parametrize("name", [".", "../b", "sub/.."])
def test_the_default_place_does_not_depend_on_how_the_bundle_is_named(
    bundle: Bundle, tmp_path: Path, monkeypatch, name: str
) -> None:
    monkeypatch.chdir(bundle.path)
    assert default_signature(Bundle(Path(name), bundle.manifest, {}, "")) == tmp_path / "b.sig"


def test_a_link_to_a_bundle_has_the_signature_of_the_folder_it_leads_to(bundle, tmp_path) -> None:
    write_signature(bundle, tmp_path / "key.pem")
    (tmp_path / "current").symlink_to(bundle.path, target_is_directory=True)
    verify_signature(open_bundle(tmp_path / "current"), tmp_path / "key.pub")


def test_an_older_signature_is_replaced(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "b.sig").write_bytes(b"old")
    write_signature(bundle, tmp_path / "key.pem")
    verify_signature(bundle, tmp_path / "key.pub")


@pytest.mark.parametrize("inside", ["b.sig", "docs/b.sig", "../b/b.sig"])
def test_a_signature_is_not_written_into_the_bundle(bundle, tmp_path: Path, inside: str) -> None:
    with pytest.raises(InputError, match="lies in the bundle"):
        write_signature(bundle, tmp_path / "key.pem", bundle.path / inside)
    open_bundle(bundle.path)


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(bundle, tmp_path) -> None:
    (tmp_path / "taken").mkdir()
    for place in (tmp_path / "none" / "b.sig", tmp_path / "taken"):
        with pytest.raises(InputError, match=f"{place}: cannot be written"):
            write_signature(bundle, tmp_path / "key.pem", place)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "key.pem", "key.pub", "taken"]


def test_a_file_that_cannot_be_read_is_named(bundle: Bundle, tmp_path: Path) -> None:
    none = tmp_path / "none"
    write_signature(bundle, tmp_path / "key.pem")
    assert refusal(InputError, lambda: write_signature(bundle, none)).startswith(f"{none}: cannot")
    assert refusal(InputError, lambda: verify_signature(bundle, none)).startswith(f"{none}: cannot")
    assert refusal(
        BundleError, lambda: verify_signature(bundle, tmp_path / "key.pub", tmp_path / "b")
    ).startswith(f"{tmp_path / 'b'}: no signature can be read there (Is a directory)")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no endless file here")
def test_an_endless_file_is_read_in_part(bundle: Bundle, tmp_path: Path) -> None:
    endless = Path("/dev/zero")
    assert "too large" in refusal(
        BundleError, lambda: verify_signature(bundle, tmp_path / "key.pub", endless)
    )
    refusal(InputError, lambda: write_signature(bundle, endless))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_key_may_come_through_a_pipe(bundle: Bundle, tmp_path: Path) -> None:
    """As from ``--key <(pass show signing-key)``."""
    ends = os.pipe()
    os.write(ends[1], SECRET)
    os.close(ends[1])
    place = Path(f"/dev/fd/{ends[0]}")
    if not place.exists():
        pytest.skip("this system does not list descriptors")
    write_signature(bundle, place)
    os.close(ends[0])
    verify_signature(bundle, tmp_path / "key.pub")


# --- keys ----------------------------------------------------------------------------------------

NO_KEYS = {
    "nothing": b"",
    "words": b"secret",
    "bytes": bytes(range(256)),
    "empty PEM": b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    "cut": SECRET[:-40],
    "a curve's": curve_pem(public=False),
    "a curve's public": curve_pem(public=True),
}


@pytest.mark.parametrize("pem", [*NO_KEYS.values(), PUBLIC], ids=[*NO_KEYS, "public"])
def test_a_private_key_of_another_kind_is_refused(bundle: Bundle, pem: bytes) -> None:
    message = refusal(InputError, lambda: sign(bundle, pem))
    assert message == "the private key is not an Ed25519 key in PEM (PKCS #8)"


def test_a_key_can_be_tried_before_there_is_a_bundle(tmp_path: Path) -> None:
    place = tmp_path / "key.pem"
    place.write_bytes(SECRET)
    check_private_key(place)
    place.write_bytes(PUBLIC)
    assert "not an Ed25519 key" in refusal(InputError, lambda: check_private_key(place))
    place.unlink()
    assert "cannot be read" in refusal(InputError, lambda: check_private_key(place))


def test_a_private_key_with_a_password_is_refused(bundle: Bundle) -> None:
    message = refusal(InputError, lambda: sign(bundle, LOCKED))
    assert message == "the private key has a password; give an Ed25519 key without"


@pytest.mark.parametrize(
    "pem", [*NO_KEYS.values(), SECRET, LOCKED], ids=[*NO_KEYS, "private", "locked"]
)
def test_a_public_key_of_another_kind_is_refused(bundle: Bundle, pem: bytes) -> None:
    message = refusal(InputError, lambda: check_signature(bundle, sign(bundle, SECRET), pem))
    assert message == "the public key is not an Ed25519 public key in PEM"


def test_without_the_library_the_pip_line_is_told(bundle: Bundle, monkeypatch) -> None:
    signature = sign(bundle, SECRET)
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    told = "cryptography is not installed; run: pip install 'clin-edge[sign]'"
    assert refusal(MissingInstallError, lambda: sign(bundle, SECRET)) == told
    check = lambda: check_signature(bundle, signature, OTHER_PUBLIC)  # noqa: E731
    assert refusal(MissingInstallError, check) == told
