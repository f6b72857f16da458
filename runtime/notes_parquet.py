"""Notes from Parquet files, read by batches of rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clin_edge.core.errors import InputError, MissingInstallError
from clin_edge.core.lines import NoteError
from clin_edge.core.notes import Note, NoteFormat

_BATCH_ROWS = 256
_BUFFER_BYTES = 1 << 20  # of a column; a whole column of a row group would be read otherwise


def parquet_notes(path: Path, fmt: NoteFormat) -> Iterator[tuple[str, Note | NoteError]]:
    """Yield where each row stands (``file: row N``, from 1), and its note, or what is wrong.

    The text is a column of strings (also large or dictionary-encoded ones); the id too, or one of
    whole numbers, of which the decimal form is the id.

    Raises:
        InputError: If the file is not Parquet, is damaged, or has not one such column each.
        MissingInstallError: If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise MissingInstallError("parquet", "pyarrow") from None

    n_rows = 0
    with path.open("rb") as stream:
        # Messages of pyarrow are left out: they may quote what the file holds.
        try:
            table = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError, ValueError):
            raise InputError(f"{path}: not a Parquet file, or not all of it is there") from None
        with table:
            columns = [fmt.id_column, fmt.text_column]
            _check_columns(path, table.schema_arrow, columns)
            batches = table.iter_batches(_BATCH_ROWS, columns=columns)
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, OSError, ValueError):
                    raise InputError(
                        f"{path}: damaged; what follows row {n_rows:,} cannot be read"
                    ) from None
                if batch is None:
                    return
                for values in zip(*map(batch.column, columns), strict=True):
                    n_rows += 1
                    where = f"{path}: row {n_rows}"
                    yield where, _note(where, values, columns)


def _check_columns(path: Path, schema: Any, columns: list[str]) -> None:
    from pyarrow import types

    for column in columns:
        found = schema.names.count(column)
        if found != 1:
            raise InputError(
                f"{path}: needs one column {column!r}, found {found} among {len(schema.names)}; "
                "name yours with --id-column and --text-column"
            )
        kind = schema.field(column).type
        if types.is_dictionary(kind):
            kind = kind.value_type
        text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        if not text and not (column == columns[0] and types.is_integer(kind)):
            raise InputError(f"{path}: column {column!r} must hold strings, found {kind}")


def _note(where: str, scalars: tuple[Any, ...], columns: list[str]) -> Note | NoteError:
    values: list[str] = []
    for column, scalar in zip(columns, scalars, strict=True):
        note_id = values[0] if values else ""
        try:
            value = scalar.as_py()
        except UnicodeDecodeError as error:
            what = f"{column!r} is not UTF-8 (offset {error.start})"
            return NoteError(where, what, reason="not-utf8", note_id=note_id)
        if value is None:
            what = f"{column!r} must be a string, found null"
            return NoteError(where, what, reason="not-a-note", note_id=note_id)
        values.append(str(value))
    try:
        return Note(*values)
    except ValueError as error:
        return NoteError(where, str(error), reason="not-a-note")


READERS = {".parquet": parquet_notes}
"""For ``NoteFormat``: core itself knows no table format."""
