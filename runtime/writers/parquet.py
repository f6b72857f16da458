"""Records as one Parquet file: a row a note, with the fields of the JSON record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clin_edge.core.errors import MissingInstallError
from clin_edge.runtime.writers.private import private_file
from clin_edge.runtime.writers.spool import spooled

GROUP_NOTES = 5_000
GROUP_ENTITIES = 50_000
"""A row group ends once it has as many of either; so much is held in memory."""


def check_install() -> None:
    """Raise ``MissingInstallError`` if pyarrow is not here."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ModuleNotFoundError:
        raise MissingInstallError("parquet", "pyarrow") from None


def parquet_schema(*, with_text: bool) -> Any:
    """Give the schema of a file of records: those of the JSON record, in its order.

    ``entities`` is a list of structs, empty where none was found. ``text`` is left out of them
    without ``with_text``. ``assertion`` is null where nobody looked; nothing else is ever null.
    """
    import pyarrow as pa

    def must(name: str, kind: Any) -> Any:
        return pa.field(name, kind, nullable=False)

    entity = [must("start", pa.int64()), must("end", pa.int64()), must("label", pa.string())]
    if with_text:
        entity.append(must("text", pa.string()))
    entity += [must("score", pa.float64()), pa.field("assertion", pa.string())]
    covered = [must(name, pa.int64()) for name in ("chars", "read", "windows")]
    return pa.schema(
        [
            must("id", pa.string()),
            must("entities", pa.list_(must("element", pa.struct(entity)))),
            must("coverage", pa.struct(covered)),
            must("bundle", pa.string()),
        ]
    )


def write_parquet(spool: Path, out: Path, *, with_text: bool) -> None:
    """Make a Parquet file of a spool's records in the new file ``out``, its owner's alone to read.

    The same spool gives the same bytes, with the same version of pyarrow.

    Raises:
        MissingInstallError: If pyarrow is not installed.
        InputError: If ``out`` exists, or the disk does not take it.
    """
    check_install()
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = parquet_schema(with_text=with_text)
    # By way of JSON, so that a row cannot say anything else than the JSON record does.
    rows = (json.loads(record.to_json(with_text=with_text)) for record in spooled(spool))
    with private_file(out) as stream, pq.ParquetWriter(stream, schema) as writer:
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    n_entities = 0
    for row in rows:
        group.append(row)
        n_entities += len(row["entities"])
        if len(group) >= GROUP_NOTES or n_entities >= GROUP_ENTITIES:
            yield group
            group, n_entities = [], 0
    if group:
        yield group
