"""What is measured runs in a process of its own: an order, then questions and answers.

Each is a line of JSON. The first line in is the order; the first answer is ``{"ready": …}``,
``{"skipped": why}`` or ``{"failed": kind, "message": …}``; then each question gets one answer.
Only the standard library is needed, so that a subject may live in another installation.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import clin_edge
from clin_edge.core.errors import ClinEdgeError
from clin_edge.runtime.memory import resident_bytes

ANSWER_LIMIT_S = 900.0

Answerer = Callable[[dict[str, Any]], dict[str, Any]]

# Makes this package, and nothing else of this installation, known to another interpreter.
_START = """
import importlib.util, pathlib, runpy, sys
folder, module, *rest = sys.argv[1:]
init = str(pathlib.Path(folder, "__init__.py"))
places = {"submodule_search_locations": [folder]}
spec = importlib.util.spec_from_file_location("clin_edge", init, **places)
sys.modules["clin_edge"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
sys.argv[1:] = rest
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class SubjectError(ClinEdgeError):
    """A subject cannot be measured; the message says why in a few words."""


def subject_command(module: str, *args: str, python: Path | None = None) -> list[str]:
    """Give the command that runs a module of this package, in another interpreter if named."""
    folder = str(Path(clin_edge.__file__).parent)
    return [str(python or sys.executable), "-P", "-c", _START, folder, module, *args]


class Subject:
    """A process that was given its order and is ready for questions; ``ready`` is what it said."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        order: Mapping[str, Any],
        *,
        limit_s: float = ANSWER_LIMIT_S,
    ) -> None:
        """Start it, and wait until it is ready.

        Raises:
            SubjectError: If it cannot start, says that something is missing, or fails.
        """
        self.name = name
        self._limit_s = limit_s
        self._answers: queue.Queue[bytes] = queue.Queue()
        debug = bool(os.environ.get("CLIN_EDGE_DEBUG"))
        environment = {**os.environ, "OMP_NUM_THREADS": str(order["threads"])}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if debug else subprocess.DEVNULL,
                env={**environment, "HF_HUB_OFFLINE": "1"},
            )
        except OSError:
            raise SubjectError(f"{name}: {command[0]} cannot be started") from None
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self.ready: dict[str, Any] = self.ask(order)["ready"]
        except BaseException:
            self.close()
            raise

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Give its answer.

        Raises:
            SubjectError: If it fails, ends, or does not answer in time.
        """
        given = self._process.stdin
        try:
            if given is not None:
                given.write(json.dumps(question).encode() + b"\n")
                given.flush()
            answer = json.loads(self._answers.get(timeout=self._limit_s))
        except queue.Empty:
            raise SubjectError(f"{self.name}: no answer within {self._limit_s:g} s") from None
        except (OSError, ValueError):
            raise SubjectError(f"{self.name}: it ended without an answer") from None
        if "skipped" in answer:
            raise SubjectError(f"{self.name}: {answer['skipped']}")
        if "failed" in answer:
            why = answer.get("message") or f"it stopped ({answer['failed']})"
            raise SubjectError(f"{self.name}: {why}")
        return dict(answer)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # a question that nobody read
                    continue

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        try:
            for line in self._process.stdout or ():
                self._answers.put(line)
        except ValueError:  # closed by us
            return
        self._answers.put(b"")


def serve(start: Callable[[dict[str, Any]], tuple[dict[str, Any], Answerer]]) -> None:
    """Answer the process at the other end of stdin and stdout until it is gone.

    ``start`` makes of an order what to say when ready, and what answers questions. What libraries
    print goes to stderr. Each answer gets the time and memory of this process with it.
    """
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        ready, answer = start(json.loads(sys.stdin.readline()))
    except ModuleNotFoundError as error:
        _say(told, {"skipped": f"{str(error.name).partition('.')[0]} is not installed"})
        return
    except Exception as error:
        _say(told, _failure(error))
        return
    _say(told, {"ready": {**ready, "peak_memory_bytes": peak_bytes()}})
    for line in sys.stdin:
        try:
            cpu_s = time.process_time()
            said = answer(json.loads(line))
            used = {"cpu_s": time.process_time() - cpu_s, "peak_memory_bytes": peak_bytes()}
            _say(told, {**used, **said})
        except Exception as error:
            _say(told, _failure(error))


def peak_bytes() -> int | None:
    """Give the most memory this process has held; on Windows what it holds now."""
    if sys.platform == "win32":
        return resident_bytes(os.getpid())
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _failure(error: Exception) -> dict[str, Any]:
    """Say what went wrong; a foreign exception's message may quote a note, and is left out."""
    message = str(error) if isinstance(error, ClinEdgeError) else ""
    if os.environ.get("CLIN_EDGE_DEBUG"):
        import traceback

        traceback.print_exc()
    return {"failed": type(error).__name__, "message": message}


def _say(told: IO[str], answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), file=told, flush=True)
