"""An output that outlives its process: kill, power cut, full disk. Run again, it goes on.

While it grows there are two files beside the place it is for: ``OUT.partial``, to which the bytes
of each chunk of notes are added, and ``OUT.journal``, which tells what of them holds. First the
bytes are made durable, then the journal's line: so whatever the journal tells is there, and what
it does not tell is cut off by the next run and made again. At the end ``OUT.partial``, or what is
made of it, takes the name ``OUT`` in one step.
"""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from clin_edge.core.errors import InputError
from clin_edge.core.logs import log
from clin_edge.runtime.disk import Disk, lock, open_to_all_allowed
from clin_edge.runtime.journal import (
    Chunk,
    Journal,
    chunk_line,
    digest_of,
    end_line,
    placed_line,
    read_journal,
    terms_line,
)
from clin_edge.runtime.outputs import Done
from clin_edge.runtime.writers.partial import cannot_write, partial_name


class DurableOutput:
    """One output on its way.

    Attributes:
        notes: How many notes an earlier run, or this one, made durable.
        words: How many words these have.
        entities: How many entities were written.
        aside: Id and reason code of each note that was set aside, in order.
        finished: Whether the output already has its name.
    """

    def __init__(
        self,
        out: Path,
        terms: Mapping[str, Any],
        *,
        resume: bool,
        header: bytes = b"",
        advice: str = "; the same command with --resume goes on",
        disk: Disk | None = None,
    ) -> None:
        """Begin ``out``, or with ``resume`` go on where an earlier run stopped.

        Args:
            out: The file or folder to make.
            terms: What the output depends on, as JSON values: bundle, input, options. They must
                be as before.
            resume: Keep what an earlier run made durable; without it, begin anew.
            header: What comes before the first chunk.
            advice: What to do about an output that was not finished.
            disk: Stands in for the file system in tests.

        Raises:
            InputError: If the place cannot be written, another run is writing it, or what lies
                there was begun on other terms.
        """
        self._disk = disk or Disk()
        self._advice = advice
        self._out = out
        self._spool = partial_name(out)
        self._journal = out.with_name(out.name + ".journal")
        self._open: list[int] = []
        self.notes = self.words = self.entities = 0
        self.aside: list[tuple[str, str]] = []
        self.finished = False
        try:
            with cannot_write(out):
                out.parent.mkdir(parents=True, exist_ok=True)
                self._journal_fd = self._opened(self._journal)
                lock(self._journal_fd, out)
                found = read_journal(self._journal.read_bytes())
                if resume and found is not None:
                    self._go_on(found, terms, header)
                else:
                    self._begin(found, terms, header)
        except BaseException:
            self._let_go()
            raise

    def _begin(self, found: Journal | None, terms: Mapping[str, Any], header: bytes) -> None:
        if found is not None and found.chunks:
            n_notes = sum(chunk.notes for chunk in found.chunks)
            log.warning(
                "%s: begun anew; %s notes of a run that was stopped are dropped (--resume would "
                "have gone on after them)",
                self._out,
                f"{n_notes:,}",
            )
        self._disk.cut(self._journal_fd, 0)
        self._disk.sync(self._journal_fd)  # or the old journal might tell of the new spool
        self._spool_fd = self._opened(self._spool)
        self._disk.cut(self._spool_fd, 0)
        self._disk.write(self._spool_fd, header)
        self._disk.sync(self._spool_fd)
        self._disk.write(self._journal_fd, terms_line(terms))
        self._disk.sync(self._journal_fd)
        self._disk.sync_folder(self._out.parent)

    def _go_on(self, found: Journal, terms: Mapping[str, Any], header: bytes) -> None:
        other = sorted(
            key for key in {*terms, *found.terms} if terms.get(key) != found.terms.get(key)
        )
        if other:
            raise InputError(
                f"{self._spool}: was begun with another {' and another '.join(other)}; run the "
                "same command as then, or begin anew without --resume"
            )
        if self._placed(found, header):  # stopped between its last steps
            self._count(found.chunks)
            self.finished = True
            return
        self._spool_fd = self._opened(self._spool)
        holding = _holding(self._spool, found, header)
        self._count(holding)
        if len(holding) < len(found.chunks):
            log.warning(
                "%s: does not hold all that its journal tells; going on after %s notes",
                self._spool,
                f"{self.notes:,}",
            )
        if holding:
            size = len(header) + sum(chunk.size_bytes for chunk in holding)
            self._disk.cut(self._spool_fd, size)
        else:
            self._disk.cut(self._spool_fd, 0)
            self._disk.write(self._spool_fd, header)
        lines = [terms_line(found.terms), *map(chunk_line, holding)]
        self._disk.cut(self._journal_fd, sum(map(len, lines)))
        self._disk.sync(self._spool_fd)
        self._disk.sync(self._journal_fd)

    def add(self, done: Done) -> None:
        """Make a chunk durable: once this returns, no power cut takes it away.

        Raises:
            InputError: If the disk is full or fails; what came before holds.
        """
        digest = digest_of(done.lines)
        chunk = Chunk(done.notes, done.words, done.entities, len(done.lines), digest, done.aside)
        with cannot_write(self._out):
            self._disk.write(self._spool_fd, done.lines)
            self._disk.sync(self._spool_fd)
            self._disk.write(self._journal_fd, chunk_line(chunk))
            self._disk.sync(self._journal_fd)
        self._count([chunk])

    def finish(self, make: Callable[[Path, Path], None] | None = None) -> None:
        """Give the output its name. ``make(spool, place)`` makes what the spool is not itself.

        Raises:
            InputError: If the place cannot be written; the same run, resumed, finishes then.
        """
        with cannot_write(self._out):
            if not self.finished:
                self._disk.write(self._journal_fd, end_line())
                self._disk.sync(self._journal_fd)
                self._close(self._spool_fd)  # some systems rename no open file
                if make is None:
                    self._place(self._spool)
                else:
                    making = self._out.with_name(self._out.name + ".making")
                    self._disk.remove(making)
                    make(self._spool, making)
                    self._disk.sync_all(making)
                    self._place(making)
                self._disk.sync_folder(self._out.parent)
                self._disk.write(self._journal_fd, placed_line())
                self._disk.sync(self._journal_fd)
            self._disk.remove(self._spool)
            self._close(self._journal_fd)
            self._disk.remove(self._journal)
        self.finished = True

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the files; of an output that is not finished say how to go on."""
        self._let_go()
        if self.notes and not self.finished:
            log.warning(
                "%s made before the failure %s in %s%s",
                "the one record" if self.notes == 1 else f"the {self.notes:,} records",
                "is" if self.notes == 1 else "are",
                self._spool,
                self._advice,
            )

    def _opened(self, path: Path) -> int:
        fd = self._disk.open(path)
        self._open.append(fd)
        return fd

    def _close(self, fd: int) -> None:
        self._open.remove(fd)
        self._disk.close(fd)

    def _let_go(self) -> None:
        while self._open:
            self._disk.close(self._open.pop())

    def _count(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            self.notes += chunk.notes
            self.words += chunk.words
            self.entities += chunk.entities
            self.aside.extend(chunk.aside)

    def _placed(self, found: Journal, header: bytes) -> bool:
        """Tell whether the output has its name, said so or not."""
        if found.placed:
            return self._out.exists()
        if not found.ended or self._spool.exists() or not self._out.is_file():
            return False
        return len(_holding(self._out, found, header)) == len(found.chunks)

    def _place(self, made: Path) -> None:
        """Rename; a folder that an earlier run placed, before it could say so, stays."""
        if made.is_dir() and self._out.is_dir() and any(self._out.iterdir()):
            if not _same(made, self._out):
                raise InputError(f"{self._out}: exists and is not empty; choose another folder")
            self._disk.remove(made)
            return
        open_to_all_allowed(made)
        self._disk.replace(made, self._out)


def terms_of(out: Path) -> Mapping[str, Any] | None:
    """Give the terms on which an unfinished output was begun; None if there is none."""
    journal = out.with_name(out.name + ".journal")
    with cannot_write(journal):
        found = read_journal(journal.read_bytes()) if journal.is_file() else None
    return None if found is None else found.terms


def _holding(spool: Path, found: Journal, header: bytes) -> list[Chunk]:
    """Give the journal's chunks, up to the first that the file does not hold as told."""
    holding: list[Chunk] = []
    with spool.open("rb") as stream:
        if stream.read(len(header)) == header:
            for chunk in found.chunks:
                if digest_of(stream.read(chunk.size_bytes)) != chunk.digest:
                    break
                holding.append(chunk)
    return holding


def _same(a: Path, b: Path) -> bool:
    """Tell whether two folders hold the same files with the same bytes."""
    names = [sorted(p.relative_to(root) for p in root.rglob("*")) for root in (a, b)]
    return names[0] == names[1] and all(
        filecmp.cmp(a / name, b / name, shallow=False) for name in names[0] if (a / name).is_file()
    )
