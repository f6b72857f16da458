"""Every error a user can meet, and the exit code each one ends with.

::

    ClinEdgeError             1  unexpected, or no better class below
    ├── CoverageError         1  some character of a note was read by no window
    ├── ExternalHostError     2  notes would leave the network without leave
    ├── InputError            3  an input cannot be read as promised
    ├── BundleError           4  a bundle is missing, altered or too new
    ├── MissingInstallError   5  the command needs an optional install
    ├── TeacherError          6  a teacher failed or answered nothing usable
    └── GateError             7  a gate said no

A message is one line: where, what, what to do. It never holds a note's text.
(Exit code 2, wrong usage, is otherwise click's; 8, some notes quarantined, is not an error.)
"""

QUARANTINED = 8
"""Exit code of a command that finished but set notes aside."""


class ClinEdgeError(Exception):
    """The base of every error that reaches a user as one line."""

    exit_code = 1


class CoverageError(ClinEdgeError):
    """Some character of a note was read by no window."""


class ExternalHostError(ClinEdgeError):
    """A teacher would send notes outside the network and was not allowed to."""

    exit_code = 2


class InputError(ClinEdgeError):
    """A note, label file, recipe or output place cannot be read or written as promised."""

    exit_code = 3


class BundleError(ClinEdgeError):
    """A bundle is missing, altered, unsafe or newer than this version."""

    exit_code = 4


class MissingInstallError(ClinEdgeError):
    """The command needs an optional install; the message is the pip line that cures it."""

    exit_code = 5

    def __init__(self, extra: str | None, missing: str) -> None:
        """Name the extra to install (None: part of every install) and the package missing."""
        wanted = f"'clin-edge[{extra}]'" if extra else "--force-reinstall clin-edge"
        super().__init__(f"{missing} is not installed; run: pip install {wanted}")


class TeacherError(ClinEdgeError):
    """A teacher failed or answered nothing usable."""

    exit_code = 6


class GateError(ClinEdgeError):
    """A gate (accuracy, parity, acceptance) said no."""

    exit_code = 7
