"""Replies kept on disk by what was asked, so that nothing is paid for twice.

The folder holds patient text: replies quote the note. It holds no requests, headers or keys.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from clin_edge.core.errors import InputError
from clin_edge.distill.teachers.llm.usage import Usage

FILE = "replies.sqlite"
SCHEMA = 1
BUSY_S = 60.0
_APPLICATION = 0x434C4544  # "CLED": whose file this is, in SQLite's own header
# SQLITE_ERROR: the table asked for is not there.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")
_COLUMNS = "text, finish, model, verdict, input, cached, output, reasoning"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One reply of a model, good or not.

    ``finish`` is why the model stopped, in its server's word; ``model`` the model that answered, in
    its server's word; ``verdict`` empty for a good reply, else the reason why it was of no use.
    """

    text: str = field(repr=False)
    finish: str
    model: str
    usage: Usage
    verdict: str = ""


class ReplyStore:
    """All attempts at each question, in the order they were made; a row is never changed.

    What ``add`` returned from survives the end of the process and of the machine. Threads of one
    process may share a store; several processes may open the same folder.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder, or make it, so that only its owner can read it.

        Raises:
            InputError: If it cannot be made private or written, or what lies there is damaged,
                newer or somebody else's.
        """
        self.path = folder / FILE
        self._lock = threading.Lock()
        _make_private(folder)
        with self._told():
            self._db = sqlite3.connect(
                self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self._told():
                self._prepare_patiently()
        except BaseException:
            self._db.close()
            raise

    @staticmethod
    def key(parts: Mapping[str, Any]) -> str:
        """Name a question by everything that decides its answer: SHA-256 of canonical JSON."""
        canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def get(self, key: str) -> tuple[Attempt, ...]:
        """Give the attempts at this question, oldest first; raises ``InputError``."""
        with self._lock, self._told():
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM attempt WHERE key = ? ORDER BY id", (key,)
            ).fetchall()
        try:
            return tuple(_attempt(row) for row in rows)
        except (AttributeError, TypeError, ValueError):
            raise self._damaged() from None

    def add(self, key: str, attempt: Attempt) -> None:
        """Put an attempt on disk for good before returning; raises ``InputError``."""
        used = attempt.usage
        words = (attempt.text, attempt.finish, attempt.model, attempt.verdict)
        counts = (used.input, used.cached, used.output, used.reasoning)
        with self._lock, self._told():
            self._db.execute(
                f"INSERT INTO attempt (key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (key, *map(_written, words), *counts),
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> ReplyStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare_patiently(self) -> None:
        # SQLite waits for a writer, but not for another's switch to WAL.
        patience = time.monotonic() + BUSY_S
        while True:
            try:
                return self._prepare()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > patience:
                    raise
                time.sleep(0.01)

    def _prepare(self) -> None:
        execute = self._db.execute
        # One lock around the look and the making: another run may be making it just now.
        execute("BEGIN IMMEDIATE")
        try:
            application = execute("PRAGMA application_id").fetchone()[0]
            version = execute("PRAGMA user_version").fetchone()[0]
            if not application and not execute("SELECT 1 FROM sqlite_master").fetchone():
                execute(
                    "CREATE TABLE attempt (id INTEGER PRIMARY KEY, key TEXT NOT NULL, "
                    "text BLOB NOT NULL, finish BLOB NOT NULL, model BLOB NOT NULL, "
                    "verdict BLOB NOT NULL, input INTEGER NOT NULL, cached INTEGER NOT NULL, "
                    "output INTEGER NOT NULL, reasoning INTEGER NOT NULL)"
                )
                execute("CREATE INDEX attempt_key ON attempt (key)")
                execute(f"PRAGMA application_id = {_APPLICATION}")
                execute(f"PRAGMA user_version = {SCHEMA}")
            elif application != _APPLICATION:
                raise self._damaged()
            elif version != SCHEMA:
                raise InputError(
                    f"{self.path}: written by another version of clin-edge; update clin-edge, "
                    "or name another folder with --cache"
                )
            execute("COMMIT")
        finally:
            if self._db.in_transaction:
                execute("ROLLBACK")
        execute("PRAGMA journal_mode = WAL").fetchone()
        execute("PRAGMA synchronous = FULL")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell SQLite's errors as ours, by their code: their words may quote what was stored."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", type(error).__name__)
            if code.startswith(_DAMAGED):
                raise self._damaged() from None
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                cure = "another run has held it for a minute; wait for its end"
            else:
                cure = "make room and see that the folder is writable, then run again"
            raise InputError(f"{self.path}: cannot be read or written ({code}); {cure}") from None

    def _damaged(self) -> InputError:
        return InputError(
            f"{self.path}: damaged, or not made by clin-edge; delete the folder {self.path.parent} "
            "(it holds patient text) to ask again, or name another with --cache"
        )


def _make_private(folder: Path) -> None:
    """Leave a folder and a file in it that only their owner can open."""
    path = folder / FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix":
            facts = folder.stat()
            if facts.st_uid != os.geteuid():
                raise InputError(f"{folder}: belongs to another user; name a folder of your own")
            if facts.st_mode & 0o077:
                # A folder with other things in it may be open for a reason.
                if not path.exists() and any(folder.iterdir()):
                    raise InputError(
                        f"{folder}: open to other users and holds other files; replies hold "
                        "patient text: name a folder of its own"
                    )
                folder.chmod(0o700)
        # SQLite gives its side files the mode of the file they belong to.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be made ({error.strerror}); name another folder with --cache"
        ) from None


def _attempt(row: Sequence[Any]) -> Attempt:
    text, finish, model, verdict = map(_read, row[:4])
    return Attempt(text, finish, model, Usage(*row[4:]), verdict)


def _written(text: str) -> bytes:
    """UTF-8 that also holds lone surrogates, which models do write."""
    return text.encode("utf-8", "surrogatepass")


def _read(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
