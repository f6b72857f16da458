"""Teachers: whoever can say which entities a note holds, be it a terminology or a model."""

from typing import Protocol

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note


class Teacher(Protocol):
    """Labels notes, one at a time; safe to call from several threads.

    ``name`` holds only ``a-z 0-9 . _ -`` and begins with a letter or digit, so that it can name a
    file. ``marked`` are the labels it marks at all: of any other its silence says nothing.
    """

    @property
    def name(self) -> str:
        """What its file and the source of its entities are called."""
        ...

    @property
    def marked(self) -> frozenset[str]:
        """The labels it marks."""
        ...

    def read(self, note: Note) -> Labelled:
        """Give the note with the teacher's entities, whose ``source`` is ``name:code``.

        Raises:
            SetAside: If it has no answer to this note; the run goes on.
            TeacherError: If it failed or answered nothing usable.
        """
        ...


class SetAside(Exception):
    """A teacher has no answer to a note; the message is the reason, without any of its text."""
