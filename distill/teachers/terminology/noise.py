"""Names that no note means: English function words, and a user's own list."""

from __future__ import annotations

from pathlib import Path

from clin_edge.core.errors import InputError

_FUNCTION_WORDS = """
a about after all also an and any are as at be been before both but by can did do for from had has
have he her him his how i if in into is it its just may me more most my no nor not now of off on
one or other our out over own per said same she so some such than that the their then there they
this to too under up us was we were what when who will with you
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English function words: a term of these and of numbers alone is left out."""


def read_stop_list(path: Path) -> frozenset[str]:
    """Read names to leave out: UTF-8, one a line; blank lines and lines from ``#`` on are none.

    Raises:
        InputError: If the file cannot be read, is not UTF-8 or names nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; convert the file to UTF-8") from None
    names = frozenset(line.partition("#")[0].strip() for line in lines) - {""}
    if not names:
        raise InputError(f"{path}: names nothing; write one name a line")
    return names
