"""Terminology files: where they lie, and their lines with the numbers to blame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clin_edge.core.errors import InputError

_BOM = b"\xef\xbb\xbf"


def rows(path: Path, separator: str) -> Iterator[tuple[str, list[str]]]:
    """Yield ``file:line`` and the fields of every line that is not blank.

    Fields are split at every separator: none of these formats quotes, so a ``"`` is a character
    like any other. CRLF and LF both end a line.

    Raises:
        InputError: With file and line, if the file cannot be read or is not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if number == 1 and line.startswith(_BOM):
                    line = line[len(_BOM) :]
                try:
                    text = line.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"{path}:{number}: not UTF-8 (byte 0x{line[error.start]:02x}); "
                        "convert the file to UTF-8"
                    ) from None
                if text:
                    yield f"{path}:{number}", text.split(separator)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def check_width(where: str, row: list[str], width: int, what: str) -> None:
    """Refuse a row that has not ``width`` fields.

    Raises:
        InputError: Naming the layout expected.
    """
    if len(row) != width:
        raise InputError(f"{where}: {len(row)} fields, {what} has {width}; is the file whole?")


def check_folder(folder: Path, what: str) -> None:
    """Refuse a place that is no folder.

    Raises:
        InputError: Saying what was expected there.
    """
    if not folder.is_dir():
        problem = "not a folder" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {problem}; expected {what}")
