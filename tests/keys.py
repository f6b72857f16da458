"""Keys for signing in tests; none of them guards anything."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# RFC 8032, 7.1, TEST 1; and one more.
_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
_OTHER_SEED = bytes(range(32))


def secret_pem(seed: bytes, password: bytes | None = None) -> bytes:
    """The private key of a seed, PEM of PKCS #8."""
    lock = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)


def ed25519(secret: bytes) -> Ed25519PrivateKey:
    """The key in a PEM of ``secret_pem``."""
    key = form.load_pem_private_key(secret, None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def public_pem(secret: bytes) -> bytes:
    """The public half of a key."""
    return (
        ed25519(secret)
        .public_key()
        .public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )


SECRET, OTHER_SECRET = secret_pem(_SEED), secret_pem(_OTHER_SEED)
PUBLIC, OTHER_PUBLIC = public_pem(SECRET), public_pem(OTHER_SECRET)
LOCKED = secret_pem(_SEED, b"a password")
