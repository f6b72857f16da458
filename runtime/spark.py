"""Notes read where they lie in a Spark cluster: a function for ``DataFrame.mapInArrow``.

Nothing here imports Spark; the function needs pyarrow and this package on every executor.

```python
from clin_edge.runtime.spark import SCHEMA, MapInArrow

found = notes.select("id", "text").mapInArrow(MapInArrow(), SCHEMA)
```
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clin_edge.core.errors import InputError
from clin_edge.core.lines import MAX_NOTE_CHARS
from clin_edge.core.notes import Note
from clin_edge.runtime.crew import Crew, Limits
from clin_edge.runtime.extract import MEMORY_MB, NOTE_TIMEOUT_S, chunks
from clin_edge.runtime.frames import Order
from clin_edge.runtime.pipeline import open_default_or

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = (
    "id string, "
    "entities array<struct<start: bigint, `end`: bigint, label: string, text: string, "
    "score: double, assertion: string>>, "
    "coverage struct<chars: bigint, read: bigint, windows: bigint>, "
    "bundle string, "
    "error string"
)
"""The columns of the answer: a record's keys, and ``error``. Where a record has no key, null."""

_ENGINES = ("auto", "openvino", "onnxruntime")


@dataclass(frozen=True, slots=True)
class MapInArrow:
    """Reads the notes of Arrow batches and gives a row for each, in order.

    A row holds what ``extract`` writes. A note that fails is a row too, with its id, nothing found,
    and in ``error`` why: ``not-a-note`` (no id or no text), ``not-utf8``, ``too-long``, ``failed``,
    ``crash``, ``time`` or ``memory``. It never holds the note's text, and the notes beside it are
    read: as in ``extract``, a process of its own reads them, and is killed if it must be.

    Made on the driver, it is sent to the executors as its fields alone. Each Python worker of Spark
    starts its reading process once, for all its tasks; that opens and verifies the bundle. Ids are
    not compared across tasks.

    Attributes:
        bundle: The bundle's folder as the executors see it, a relative one from their working
            folder, where Spark unpacks ``--archives``. By default ``CLIN_EDGE_BUNDLE`` there,
            or else the bundle in the package.
        threads: For each task; Spark runs one task a core.
        note_timeout_s: For each 100,000 characters of a note.
        memory_mb: What the reading process of a task may take, its model included.

    Raises:
        ValueError: If an option is none of those allowed.
    """

    bundle: str | None = None
    id_column: str = "id"
    text_column: str = "text"
    engine: str = "auto"
    min_score: float = 0.0
    context: bool = True
    with_text: bool = True
    max_note_chars: int = MAX_NOTE_CHARS
    note_timeout_s: float = NOTE_TIMEOUT_S
    memory_mb: int = MEMORY_MB
    threads: int = 1
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse on the driver what would fail on every executor."""
        if self.engine not in _ENGINES:
            raise ValueError(f"engine must be one of {', '.join(_ENGINES)}, got {self.engine!r}")
        if not 0.0 <= self.min_score <= 1.0:
            raise ValueError(f"min_score lies in [0, 1], got {self.min_score}")
        if not self.note_timeout_s > 0:
            raise ValueError(f"note_timeout_s must be more than 0, got {self.note_timeout_s}")
        for name in ("max_note_chars", "memory_mb", "threads", "batch_tokens"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield a batch of ``SCHEMA`` for each batch.

        Raises:
            InputError: If a column is missing or holds no strings.
            BundleError: If the bundle does not verify or has no model for the engine.
            MissingInstallError: If the engine is not installed.
            CoverageError: If some character of a note was read by no window.
            ClinEdgeError: If no note at all can be read.
        """
        import pyarrow as pa

        schema = arrow_schema()
        for batch in batches:
            columns = (_strings(batch, name) for name in (self.id_column, self.text_column))
            taken = [self._note(*pair) for pair in zip(*columns, strict=True)]
            rows = self._rows([note for note in taken if isinstance(note, Note)])
            whole = [next(rows) if isinstance(item, Note) else item for item in taken]
            yield pa.RecordBatch.from_pylist(whole, schema=schema)

    def _note(self, given_id: pa.Scalar, given_text: pa.Scalar) -> Note | dict[str, Any]:
        """Make a note, or the row that says why there is none."""
        note_id = None
        try:
            note_id = given_id.as_py()
            text = given_text.as_py()
        except UnicodeDecodeError:  # Spark holds bytes, and does not look at them
            return _failed(note_id, "not-utf8")
        if not note_id or text is None:
            return _failed(note_id, "not-a-note")
        if len(text) > self.max_note_chars:
            return _failed(note_id, "too-long")
        return Note(note_id, text)

    def _rows(self, notes: list[Note]) -> Iterator[dict[str, Any]]:
        """Give the row of each note, in order, once all are read."""
        crew = self._crew()
        try:
            done = list(crew.read(chunks(notes)))
        except Exception:
            dismiss()
            raise
        aside = [pair for chunk in done for pair in chunk.aside]
        lines = (line for chunk in done for line in chunk.lines.split(b"\n")[:-1])
        for note in notes:
            if aside and aside[0][0] == note.id:
                yield _failed(*aside.pop(0))
            else:
                yield json.loads(next(lines))

    def _crew(self) -> Crew:
        """Give the reading process; one model is in memory, whatever this worker did before."""
        if self not in _crews:
            dismiss()
            bundle = open_default_or(self.bundle)
            order = Order(
                bundle=str(bundle.path),
                manifest_sha256=bundle.manifest_sha256,
                engine=self.engine,
                threads=self.threads,
                batch_tokens=self.batch_tokens,
                with_text=self.with_text,
                min_score=self.min_score,
                context=self.context,
            )
            limits = Limits(self.note_timeout_s, self.memory_mb * 1_000_000)
            _crews[self] = Crew(order, workers=1, limits=limits)
        return _crews[self]


_crews: dict[MapInArrow, Crew] = {}


def dismiss() -> None:
    """Stop this process's reading process, if there is one; otherwise it ends with this one."""
    while _crews:
        _crews.popitem()[1].stop()


def arrow_schema() -> pa.Schema:
    """Give ``SCHEMA`` as Arrow's."""
    import pyarrow as pa

    entity = {
        "start": pa.int64(),
        "end": pa.int64(),
        "label": pa.string(),
        "text": pa.string(),
        "score": pa.float64(),
        "assertion": pa.string(),
    }
    coverage = dict.fromkeys(("chars", "read", "windows"), pa.int64())
    columns = {
        "id": pa.string(),
        "entities": pa.list_(pa.struct(list(entity.items()))),
        "coverage": pa.struct(list(coverage.items())),
        "bundle": pa.string(),
        "error": pa.string(),
    }
    return pa.schema(list(columns.items()))


def _strings(batch: pa.RecordBatch, name: str) -> pa.Array:
    import pyarrow as pa

    if batch.schema.names.count(name) != 1:
        raise InputError(
            f"mapInArrow: needs one column {name!r}, found {batch.schema.names.count(name)} "
            "among those given; name yours with id_column and text_column"
        )
    column = batch.column(name)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InputError(f"mapInArrow: column {name!r} is {column.type}; cast it to string first")
    return column


def _failed(note_id: str | None, error: str) -> dict[str, Any]:
    return {"id": note_id, "error": error}
