"""A language model's server on loopback: two real protocols, and every way to break them.

In a test::

    with LlmServer(lambda message: '{"entities": []}') as server:
        server.misbehave("rate_limit", None, "torn_body")   # the next three requests
        client = openai.OpenAI(base_url=server.openai_url, api_key="test", max_retries=0)

As a process, for a benchmark::

    python tests/llm_server.py --answers FILE.jsonl --port-file F --misbehave-every 7 fenced reset

A line of FILE is ``{"text": NOTE, "answer": …}`` (a string is sent as it is, other values as JSON)
or ``{"text": NOTE, "items": [{"start": 3, "end": 9, "item": {…}}]}``: then each chunk of the note
is answered ``{"entities": [item, …]}`` with the items that lie wholly within it. The chunk asked
about stands in the message between the lines ``<note>`` and ``</note>``. ``GET /stats`` counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from clin_edge.distill.teachers.llm.usage import Usage
from llm_behaviours import BEHAVIOURS, Behaviour
from llm_protocols import Exchange, Reply, Request, error_reply, json_reply, schema_fault

__all__ = ["BEHAVIOURS", "AnswerTable", "Behaviour", "LlmServer", "Request", "closed_port"]

CHARS_PER_TOKEN = 4
DRIP_S = 0.01
Chooser = Callable[[Request], str | None]


def count_tokens(request: Request, content: str) -> Usage:
    """A token for every four characters in both directions."""
    asked = sum(len(text) for _, text in request.messages)
    return Usage(input=-(-asked // CHARS_PER_TOKEN), output=-(-len(content) // CHARS_PER_TOKEN))


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections and that nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


class LlmServer:
    """Serves while it is entered; ``requests`` holds every request, in order of arrival.

    ``answer`` gives the content for the user's message. ``usage`` counts tokens. ``delay_s`` is
    waited before every reply. ``busiest`` is the most requests that were under way at once.
    An error raised by ``answer`` is a defect of the test: it is raised again on leaving.
    """

    def __init__(
        self,
        answer: Callable[[str], str],
        *,
        usage: Callable[[Request, str], Usage] = count_tokens,
        delay_s: float = 0.0,
    ) -> None:
        self.answer = answer
        self.usage = usage
        self.delay_s = delay_s
        self.requests: list[Request] = []
        self.busiest = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.failures: list[BaseException] = []
        self._busy = 0
        self._queue: deque[str | None] = deque()
        self._chooser: Chooser = lambda _: None
        self._http = _Listener(self)
        self.port: int = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.openai_url = f"{self.url}/v1"

    def misbehave(self, *behaviours: str | Chooser | None) -> None:
        """Queue names of ``BEHAVIOURS``, one a request (``None``: answer well).

        A function is asked for the name by every request that finds the queue empty, from now on.
        """
        for behaviour in behaviours:
            if callable(behaviour):
                self._chooser = behaviour
            else:
                assert behaviour is None or behaviour in BEHAVIOURS, behaviour
                with self.lock:
                    self._queue.append(behaviour)

    def __enter__(self) -> LlmServer:
        self._loop = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._loop.join()
        self._http.hang_up()
        self._http.server_close()
        if self.failures:
            raise self.failures[0]

    def reply(self, request: Request) -> Reply:
        """Record the request and give the reply to send; called in the connection's thread."""
        with self.lock:
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
            name = self._queue.popleft() if self._queue else self._chooser(request)
            replaced = {f: getattr(request, f) for f in Request.__slots__} | {
                "behaviour": name or ""
            }
            self.requests.append(Request(**replaced))
        try:
            self.stopping.wait(self.delay_s)
            exchange = Exchange(
                request,
                self.port,
                lambda: self.answer(request.user),
                lambda content: self.usage(request, content),
            )
            bad = BEHAVIOURS[name].reply(exchange) if name else None
            return bad or self._good(exchange)
        finally:
            with self.lock:
                self._busy -= 1

    def _good(self, exchange: Exchange) -> Reply:
        request = exchange.request
        fault = schema_fault(request)
        if fault:
            return error_reply(request.protocol, 400, f"Invalid schema: {fault}", "invalid_schema")
        return json_reply(exchange.envelope())

    def stats(self) -> dict[str, Any]:
        """Requests so far, in all and by behaviour."""
        with self.lock:
            names = [request.behaviour for request in self.requests]
        by_name = {name: names.count(name) for name in sorted(set(names)) if name}
        return {"requests": len(names), "busiest": self.busiest, "misbehaved": by_name}


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: LlmServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner
        self.live: dict[threading.Thread, socket.socket] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        work = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self.live = {thread: sock for thread, sock in self.live.items() if thread.is_alive()}
        self.live[work] = request
        work.start()

    def hang_up(self) -> None:
        """End every connection, also those that say nothing."""
        for work, connection in self.live.items():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            work.join(5)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Keep what went wrong for the test's thread: nothing goes to stderr."""
        error = sys.exc_info()[1]
        # A client that gives up is no defect.
        if error is not None and not isinstance(error, ConnectionError):
            self.owner.failures.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path.endswith("/stats"):
            self._send(json_reply(self.server.owner.stats()))
        elif self.path.rstrip("/").endswith("/models"):
            gemini = "x-goog-api-key" in self.headers
            models = (
                {"models": [{"name": "models/toy"}]}
                if gemini
                else {
                    "object": "list",
                    "data": [{"id": "toy", "object": "model", "created": 1, "owned_by": "tests"}],
                }
            )
            self._send(json_reply(models))
        else:
            self._send(error_reply("openai", 404, "no such page"))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        raw = self.rfile.read(length)
        if len(raw) < length:
            raise ConnectionError("the client died")
        path = self.path.partition("?")[0]
        if path.endswith("/chat/completions"):
            protocol = "openai"
        elif path.endswith(":generateContent") and re.search(r"/v1(beta)?/models/", path):
            protocol = "gemini"
        else:
            self._send(error_reply("openai", 404, "no such page"))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        at = time.monotonic()
        request = Request(protocol, "POST", self.path, headers, json.loads(raw), at)
        self._send(self.server.owner.reply(request))

    def _send(self, reply: Reply) -> None:
        headers = {"Content-Type": "application/json", **reply.headers}
        if reply.ending == "drip":
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(len(reply.body))
        known = {int(status): status.phrase for status in HTTPStatus}
        lines = [f"HTTP/1.1 {reply.status} {known.get(reply.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        sent = head[: int(len(head) * reply.head_share)]
        sent += reply.body[: int(len(reply.body) * reply.body_share)]
        self.connection.sendall(sent if reply.raw is None else reply.raw)
        self.close_connection = reply.ending != "keep"
        if reply.ending == "silence":
            self.connection.recv(1)  # until the client leaves, or this server ends
        elif reply.ending == "drip":
            while not self.server.owner.stopping.wait(DRIP_S):
                self.connection.sendall(b"1\r\n \r\n")
        elif reply.ending == "reset":
            # Closed with data unsent and no lingering, a connection ends in RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.close(self.connection.detach())


class AnswerTable:
    """Answers for known notes; called with a user's message, it finds the note asked about."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.rows = list(rows)

    @classmethod
    def read(cls, path: Path) -> AnswerTable:
        """From JSONL."""
        with path.open(encoding="utf-8") as lines:
            return cls([json.loads(line) for line in lines])

    def find(self, message: str) -> tuple[Mapping[str, Any], int, int]:
        """The row whose note holds the chunk asked about, and where in it the chunk lies."""
        chunk = message.rpartition("<note>\n")[2].rpartition("\n</note>")[0]
        for row in self.rows:
            start = row["text"].find(chunk) if chunk else -1
            if start >= 0:
                return row, start, start + len(chunk)
        raise LookupError("asked about a chunk of no known note")

    def __call__(self, message: str) -> str:
        row, start, end = self.find(message)
        if "answer" in row:
            answer = row["answer"]
            return answer if isinstance(answer, str) else json.dumps(answer)
        inside = [e for e in row["items"] if start <= e["start"] and e["end"] <= end]
        return json.dumps({"entities": [e["item"] for e in inside]})


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=0.0, metavar="S")
    parser.add_argument("--misbehave-every", nargs="+", default=["0"], metavar="N NAME")
    options = parser.parse_args()
    every, names = int(options.misbehave_every[0]), options.misbehave_every[1:]
    if bool(every) != bool(names) or not set(names) <= set(BEHAVIOURS):
        parser.error("--misbehave-every needs a number above 0, then names of BEHAVIOURS")
    count = iter(range(1, 1 << 62))

    def choose(_: Request) -> str | None:
        n = next(count)
        return names[(n // every - 1) % len(names)] if every and n % every == 0 else None

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with LlmServer(AnswerTable.read(options.answers), delay_s=options.delay) as server:
        server.misbehave(choose)
        partial = options.port_file.with_suffix(".partial")
        partial.write_text(str(server.port))
        partial.replace(options.port_file)
        stop.wait()


if __name__ == "__main__":
    main()
