"""Where the notes go: no way out of the house unasked, no way round, no endless reply."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import httpx2
import pytest

from clin_edge.cli import main
from clin_edge.core.errors import ExternalHostError, InputError
from clin_edge.distill.teachers.llm import http
from clin_edge.distill.teachers.llm.http import (
    check_way,
    host_of,
    http_client,
    is_outside,
    retry_after_s,
)
from llm_protocols import Reply
from llm_runs import KEY, SPECS, answers, quick, run, some, write_notes
from llm_server import BEHAVIOURS, Behaviour, LlmServer

pytestmark = pytest.mark.usefixtures("llm_env")

HOMES = {"openai": "api.openai.com", "gemini": "generativelanguage.googleapis.com"}


def resolve(monkeypatch: pytest.MonkeyPatch, **names: str) -> list[str]:
    """Let names resolve to addresses; gives the list of names asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        if host not in names:
            raise socket.gaierror(-2, "Name or service not known")
        sort = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*sort, (address, 0)) for address in names[host].split()]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://llm:8000/v1", "llm"),
        ("https://API.example.com", "api.example.com"),
        ("http://[::1]:8000/v1", "::1"),
        ("http://user:word@10.0.0.1/", "10.0.0.1"),
    ],
)
def test_the_host_of_a_url(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    "url", ["llm:8000", "ftp://llm", "http://", "http://[::1", "http://llm:99999", "http:///v1", ""]
)
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(InputError, match="expected http://HOST"):
        host_of(url)


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("169.254.3.4", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fd12:3456::1", False),
        ("::ffff:10.0.0.1", False),
        ("8.8.8.8", True),
        ("172.32.0.1", True),
        ("172.15.255.255", True),
        ("192.169.0.1", True),
        ("11.0.0.1", True),
        ("100.64.0.1", True),
        ("::ffff:8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("2001:0:4136:e378::1", True),  # Teredo, which Python 3.11 calls private
        ("64:ff9b::a00:1", True),
        ("2002:a00:1::", True),
    ],
)
def test_an_address_is_inside_or_outside(monkeypatch, address: str, outside: bool) -> None:
    resolve(monkeypatch, llm=address)
    assert is_outside("llm") is outside


def test_a_literal_address_and_localhost_need_no_name_server() -> None:
    assert not is_outside("127.0.0.1")
    assert not is_outside("::1")
    assert not is_outside("localhost")
    assert is_outside("8.8.8.8")


def test_one_address_outside_is_enough(monkeypatch) -> None:
    resolve(monkeypatch, llm="10.0.0.1 8.8.8.8", inside="10.0.0.1 fd00::1")
    assert is_outside("llm")
    assert not is_outside("inside")


def test_a_name_that_nobody_knows(monkeypatch) -> None:
    resolve(monkeypatch)
    with pytest.raises(InputError, match=r"^nowhere: no such host; check --base-url"):
        is_outside("nowhere")
    monkeypatch.undo()
    with pytest.raises(InputError, match="no such host"):
        is_outside("a" * 70)  # no label of a name is so long


def test_the_way_out_needs_leave_and_encryption() -> None:
    check_way("t", "http://llm/v1", outside=False, external_ok=False)
    check_way("t", "https://x.org/v1", outside=True, external_ok=True)
    with pytest.raises(ExternalHostError, match=r"^t: would send the notes to x\.org, .*--ext"):
        check_way("t", "https://x.org/v1", outside=True, external_ok=False)
    with pytest.raises(ExternalHostError, match=r"^t: x\.org is outside .* needs https://"):
        check_way("t", "http://x.org/v1", outside=True, external_ok=True)


def leave(*args: str) -> int:
    """The exit code of ``clin-edge``."""
    with pytest.raises(SystemExit) as left:
        main(list(args))
    return int(left.value.code or 0)


@pytest.fixture
def notes(tmp_path: Path) -> str:
    return write_notes(tmp_path / "notes.jsonl", some(1))


@pytest.mark.parametrize("kind", HOMES)
def test_the_vendors_home_is_outside_and_nobody_is_asked(
    kind: str, notes: str, tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(socket, "socket", None)
    asked = resolve(monkeypatch)
    code = leave("label", notes, "-o", str(tmp_path / "o"), "--teacher", f"{kind}:gpt-4o")
    (line,) = capfd.readouterr().err.splitlines()
    assert code == 2
    assert line.startswith(f"clin-edge: {kind}:gpt-4o: would send the notes to {HOMES[kind]},")
    assert "--external-ok" in line
    assert asked == []
    assert not (tmp_path / "o").exists()


def test_an_address_outside_is_refused_in_the_same_way(notes: str, tmp_path: Path, capfd) -> None:
    base = ("label", notes, "-o", str(tmp_path / "o"), "--teacher", "openai:gpt-4o", "--base-url")
    assert leave(*base, "https://8.8.8.8/v1") == 2
    assert "8.8.8.8, outside this network; add --external-ok" in capfd.readouterr().err
    assert leave(*base, "http://8.8.8.8/v1", "--external-ok") == 2
    assert "8.8.8.8 is outside this network; it needs https://" in capfd.readouterr().err


@pytest.mark.parametrize(("kind", "key"), [("openai", "OPENAI"), ("gemini", "GEMINI")])
def test_a_missing_key_is_one_line(
    kind: str, key: str, notes: str, tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.delenv(f"{key}_API_KEY")
    spec = f"{kind}:{'gpt-4o' if kind == 'openai' else 'gemini-2.0-flash'}"
    args = ("label", notes, "-o", str(tmp_path / "o"), "--teacher", spec, "--external-ok")
    assert leave(*args) == 6
    expected = f"clin-edge: {spec}: needs the environment variable {key}_API_KEY\n"
    assert capfd.readouterr().err == expected


@pytest.mark.parametrize("kind", SPECS)
def test_what_is_meant_for_this_network_takes_no_way_round(
    kind: str, tmp_path: Path, monkeypatch
) -> None:
    items = some(2)
    with LlmServer(answers(items)) as server, LlmServer(answers(items)) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        run(items, [SPECS[kind]], tmp_path / "out", quick(server, tmp_path / "r"))
        assert len(server.requests) == 2
        assert not proxy.requests
        assert not proxy.failures


def test_nor_does_what_is_encrypted(monkeypatch) -> None:
    with LlmServer(lambda _: "") as server, LlmServer(lambda _: "") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        url = server.url.replace("http:", "https:")
        with http_client(outside=False, timeout_s=5) as client, pytest.raises(httpx2.ConnectError):
            client.get(url)  # the server knows no TLS; by way of the proxy it is a ProxyError


def test_the_way_outside_takes_the_proxy_for_https(monkeypatch) -> None:
    with LlmServer(lambda _: "") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with http_client(outside=True, timeout_s=5) as client, pytest.raises(httpx2.ProxyError):
            client.get("https://192.0.2.1/")  # the server knows no CONNECT and says so
    monkeypatch.setenv("HTTPS_PROXY", "gopher://x")
    with pytest.raises(InputError, match="HTTPS_PROXY"):
        http_client(outside=True, timeout_s=5)


@pytest.mark.parametrize("kind", SPECS)
def test_a_redirect_is_not_followed_and_the_key_goes_to_nobody_else(
    kind: str, tmp_path: Path
) -> None:
    items = some(1)
    with LlmServer(answers(items)) as server:
        server.misbehave("redirect")
        with pytest.raises(Exception, match="points elsewhere"):
            run(items, [SPECS[kind]], tmp_path / "out", quick(server, tmp_path / "r"))
        (request,) = server.requests
    assert request.path.startswith("/v1")
    assert KEY in json.dumps(dict(request.headers))  # the right one got it


@pytest.fixture
def served(monkeypatch) -> Iterator[object]:
    """Give the client's view of any reply."""

    def get(reply: Reply, timeout_s: float = 5.0) -> bytes:
        monkeypatch.setitem(BEHAVIOURS, "mine", Behaviour("wire", lambda _: reply))
        with LlmServer(lambda _: "") as server:
            server.misbehave("mine")
            with http_client(outside=False, timeout_s=timeout_s) as client:
                body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
                return client.post(f"{server.openai_url}/chat/completions", json=body).content

    return get


def test_a_reply_is_bounded_in_bytes(served) -> None:
    fits = b"x" * http.MAX_REPLY_BYTES
    assert served(Reply(fits)) == fits
    with pytest.raises(httpx2.DecodingError, match="more than 4,000,000 bytes"):
        served(Reply(fits + b"x"))


def test_nothing_is_unfolded(served) -> None:
    packed = gzip.compress(bytes(50_000_000))
    assert served(Reply(packed, headers={"Content-Encoding": "gzip"})) == packed


@pytest.mark.parametrize("ending", ["silence", "drip"])
def test_a_reply_is_bounded_in_seconds(served, ending: str) -> None:
    begin = time.monotonic()
    with pytest.raises(httpx2.ReadTimeout):
        served(Reply(b"x", body_share=0, ending=ending), timeout_s=0.2)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-7"}, 0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Mon, 99 Foo 2000"}, None),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0),
    ],
)
def test_what_a_server_asks_to_wait(monkeypatch, headers: dict[str, str], seconds) -> None:
    monkeypatch.setattr(http.time, "time", lambda: 1_000_000.0)
    assert retry_after_s(headers) == seconds
