"""The way to a language model's server: who it is, and a connection that keeps to bounds."""

from __future__ import annotations

import email.utils
import ipaddress
import logging
import math
import socket
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import httpx2

from clin_edge.core.errors import ExternalHostError, InputError, TeacherError
from clin_edge.distill.teachers.llm.client import Busy, Rejected

MAX_REPLY_BYTES = 4_000_000
CONNECT_S = 10.0
# This machine, private (RFC 1918, RFC 4193) and of this link alone.
_INSIDE = tuple(
    ipaddress.ip_network(word)
    for word in (
        *("0.0.0.0/32", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        *("169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"),
    )
)
# Their debug logs hold whole requests, note and key included.
_LOGGERS = ("openai", "google_genai", "httpx2", "httpcore2", "httpx", "httpcore")


def host_of(url: str) -> str:
    """Give the host of a base URL.

    Raises:
        InputError: If it is no http or https URL.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        # It may hold a password: it is not shown.
        raise InputError("--base-url: not an address; expected http://HOST or https://HOST")
    return host


def is_outside(host: str) -> bool:
    """Tell whether any address of a host is neither loopback nor private.

    Raises:
        InputError: If the name cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(f"{host}: no such host; check --base-url and the network") from None
    addresses = [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in found]
    return not all(_inside(address) for address in addresses)


def _inside(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in _INSIDE)


def check_way(teacher: str, url: str, *, outside: bool, external_ok: bool) -> None:
    """Refuse to let notes leave the house unasked, or in the clear.

    Raises:
        ExternalHostError: Naming the host.
    """
    if not outside:
        return
    host = host_of(url)
    if not external_ok:
        raise ExternalHostError(
            f"{teacher}: would send the notes to {host}, outside this network; "
            "add --external-ok if they may go there"
        )
    if urlsplit(url).scheme != "https":
        raise ExternalHostError(f"{teacher}: {host} is outside this network; it needs https://")


def http_client(*, outside: bool, timeout_s: float) -> httpx2.Client:
    """Open a client that follows no redirect and bounds every reply in bytes and seconds.

    Proxies named in the environment are used on the way outside only: what is meant for this
    network must not take a way round.
    """
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    transport = httpx2.HTTPTransport(limits=httpx2.Limits(max_connections=None), retries=0)
    mounts = _proxies(timeout_s) if outside else None
    return httpx2.Client(
        transport=_Bounded(transport, timeout_s),
        mounts=mounts,
        follow_redirects=False,
        trust_env=False,
    )


def _proxies(timeout_s: float) -> Mapping[str, httpx2.BaseTransport] | None:
    """Give the way through the proxy that the environment names for https, if any."""
    from urllib.request import getproxies

    proxy = getproxies().get("https")
    if not proxy:
        return None
    try:
        return {"https://": _Bounded(httpx2.HTTPTransport(proxy=proxy), timeout_s)}
    except ValueError:
        raise InputError("HTTPS_PROXY: not the address of a proxy, http://HOST:PORT") from None


class _Bounded(httpx2.BaseTransport):
    """Ends a reply that grows beyond ``MAX_REPLY_BYTES`` or lasts longer than the time-out."""

    def __init__(self, inner: httpx2.BaseTransport, timeout_s: float) -> None:
        self._inner = inner
        self._timeout_s = timeout_s
        self._timeout = httpx2.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)).as_dict()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        # Compressed, a few bytes could unfold to any number: none are unfolded.
        request.headers["Accept-Encoding"] = "identity"
        # Whatever the vendor's client thinks a time-out should be; some have none.
        request.extensions["timeout"] = self._timeout
        until = time.monotonic() + self._timeout_s
        response = self._inner.handle_request(request)
        response.headers.pop("Content-Encoding", None)
        if not isinstance(response.stream, httpx2.SyncByteStream):  # pragma: no cover
            return response
        response.stream = _BoundedStream(response.stream, until)
        return response

    def close(self) -> None:
        self._inner.close()


class _BoundedStream(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream, until: float) -> None:
        self._inner = inner
        self._until = until

    def __iter__(self) -> Iterator[bytes]:
        n_bytes = 0
        for piece in self._inner:
            n_bytes += len(piece)
            if n_bytes > MAX_REPLY_BYTES:
                raise httpx2.DecodingError(f"more than {MAX_REPLY_BYTES:,} bytes")
            if time.monotonic() > self._until:
                raise httpx2.ReadTimeout("the reply took too long")
            yield piece

    def close(self) -> None:
        self._inner.close()


def refusal(
    teacher: str, host: str, status: int, code: str, headers: Mapping[str, str]
) -> Busy | Rejected | TeacherError:
    """Give what an error status means, to be raised ``from None``: the server's words end here.

    Args:
        teacher: Who asked.
        host: Who said no.
        status: The HTTP status.
        code: The server's own short code, if any; compared, never shown.
        headers: Of the reply.

    Returns:
        ``Busy`` if the same request may do better later, ``Rejected`` if it is at fault,
        ``TeacherError`` if every request will end so.
    """
    if code == "insufficient_quota":
        return TeacherError(f"{teacher}: {host} says the account's quota is used up; top it up")
    if status == 401 or code == "API_KEY_INVALID":  # which is Google's, with 400
        return TeacherError(f"{teacher}: {host} does not take the API key ({status}); check it")
    if status in (402, 403):
        return TeacherError(f"{teacher}: {host} does not allow this account to ask ({status})")
    if status in (404, 405):
        return TeacherError(
            f"{teacher}: {host} has no such model or address ({status}); "
            "check the model's name and --base-url"
        )
    if 300 <= status < 400:
        return TeacherError(
            f"{teacher}: {host} points elsewhere ({status}), which is not followed; "
            "give the final address with --base-url"
        )
    if status in (408, 409, 425, 429) or status >= 500:
        return Busy(f"status {status}", after_s=retry_after_s(headers))
    too_long = code == "context_length_exceeded" or status == 413
    return Rejected("too long for the model" if too_long else f"refused with status {status}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Give the seconds a server asks to wait: ``Retry-After`` in seconds or as a date.

    ``retry-after-ms`` goes before. What makes no sense is nothing said.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name)
        if said is None:
            continue
        try:
            seconds = float(said) * unit_s
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
            except (ValueError, TypeError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    return None
