"""A verified bundle made ready to read notes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from clin_edge.core.batching import BATCH_TOKENS, Session
from clin_edge.core.bundle import Bundle, open_bundle
from clin_edge.core.crf import CRF_FILE, CrfTables
from clin_edge.core.encode import Encoder
from clin_edge.core.errors import BundleError, ClinEdgeError, MissingInstallError
from clin_edge.core.manifest import MODEL_FILES, Manifest
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.core.records import Record
from clin_edge.core.repeats import Repeats
from clin_edge.core.spans import Entity
from clin_edge.runtime.compiled import cache_folder
from clin_edge.runtime.ports import EngineSession
from clin_edge.runtime.processor import Processor, processor
from clin_edge.runtime.threads import usable_threads

DEFAULT_BUNDLE = Path(__file__).parent / "model"
FAST_BUNDLE = Path(__file__).parent / "fast"
FAST = "fast"  # the name by which the second one is asked for
_SMALL_BYTES = 16_000_000  # of a model that reads larger batches


class Pipeline:
    """Finds entities in notes with one bundle.

    ```python
    pipeline = Pipeline.from_bundle()
    for note, entities in pipeline.annotate(["Started metformin 500 mg."]):
        ...
    ```
    """

    def __init__(
        self,
        bundle: Bundle,
        session: Session,
        *,
        batch_tokens: int | None = None,
        reuse: bool = False,
    ) -> None:
        """Join a bundle and a session that runs its model; see ``from_bundle``.

        Raises:
            BundleError: If the tokenizer or the CRF's tables cannot be read.
        """
        manifest = bundle.manifest
        tables = bundle.files.get(CRF_FILE)
        crf = None if tables is None else CrfTables.from_npz(tables, len(manifest.scheme.tags))
        encoder = Encoder(
            bundle.files["tokenizer.json"],
            max_tokens=manifest.max_tokens,
            overlap=manifest.overlap,
            passage_tokens=manifest.passage_tokens,
        )
        self.bundle = bundle
        self.predictor = Predictor(
            encoder,
            manifest.scheme,
            session,
            batch_tokens=batch_tokens or suitable_batch_tokens(manifest),
            crf=crf,
            repeats=Repeats() if reuse else None,
        )

    @classmethod
    def from_bundle(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        engine: str = "auto",
        threads: int | None = None,
        batch_tokens: int | None = None,
        reuse: bool = True,
    ) -> Pipeline:
        """Open and verify a bundle, and load its model.

        Args:
            path: The bundle's folder; by default ``CLIN_EDGE_BUNDLE``, or else the one that comes
                with the package. The string ``fast`` means the smaller one beside that.
            engine: ``openvino``, ``onnxruntime``, or ``auto``: of those the bundle has a model for
                and that are installed, the one that is faster on this processor.
            threads: By default as many as the process may use; see ``usable_threads``.
            batch_tokens: Bounds a batch, padding included; by default as suits the model, see
                ``suitable_batch_tokens``.
            reuse: Remember what was made of the latest passages, for notes that repeat them.

        Raises:
            BundleError: If the bundle does not verify, cannot be read, or has no model for the
                engine.
            MissingInstallError: If the engine is not installed.
        """
        bundle = open_default_or(path)
        threads = threads or usable_threads()
        session = open_session(bundle, engine=engine, threads=threads)
        return cls(bundle, session, batch_tokens=batch_tokens, reuse=reuse)

    def annotate(self, notes: Iterable[Note | str]) -> Iterator[tuple[Note, list[Entity]]]:
        """Yield each note and its entities, lazily and in order.

        A plain string becomes a note whose id is its place, from 0.
        """
        for reading in self.predictor.read(_as_notes(notes)):
            yield reading.note, reading.entities

    def records(
        self, notes: Iterable[Note], *, min_score: float = 0.0, context: bool = False
    ) -> Iterator[Record]:
        """Yield a record for each note, lazily and in order; entities below ``min_score`` go.

        With ``context`` each entity says whether it is present, negated, ...; see
        ``runtime.context``.
        """
        if context:
            from clin_edge.runtime.context import assertions
        for reading in self.predictor.read(notes):
            kept = [e for e in reading.entities if e.score >= min_score]
            if context:
                said = assertions(reading.note.text, [e.span for e in kept])
                kept = [replace(e, assertion=a) for e, a in zip(kept, said, strict=True)]
            yield Record(reading.note, tuple(kept), reading.coverage, self.bundle.id)


def bundle_folder(path: str | os.PathLike[str] | None) -> Path:
    """Give the folder that is meant: ``path``, or else ``CLIN_EDGE_BUNDLE``, or the default one.

    The string ``fast`` is the name of the smaller bundle in the package; a ``Path`` is a path.
    """
    chosen = path or os.environ.get("CLIN_EDGE_BUNDLE") or DEFAULT_BUNDLE
    return FAST_BUNDLE if chosen == FAST else Path(chosen)


def open_default_or(path: str | os.PathLike[str] | None) -> Bundle:
    """Verify the bundle that ``bundle_folder`` gives; raises ``BundleError``."""
    folder = bundle_folder(path)
    ours = folder.resolve() in (DEFAULT_BUNDLE.resolve(), FAST_BUNDLE.resolve())
    return open_bundle(folder, allow_hard_links=ours)


def open_session(bundle: Bundle, *, engine: str, threads: int, keep: bool = False) -> EngineSession:
    """Load the bundle's model into an engine.

    With ``keep`` what OpenVINO compiles of it is kept for the next start, see
    ``runtime.compiled``.

    Raises:
        BundleError: If the bundle has no model for it, or the engine refuses the model.
        MissingInstallError: If the engine is not installed.
        ClinEdgeError: If it is installed and cannot be loaded.
    """
    offered = engines_by_speed(bundle.manifest, processor())
    if engine != "auto" and engine not in offered:
        raise BundleError(
            f"{bundle.path}: has no model for {engine}, only for {', '.join(offered)}; "
            f"choose --engine {offered[0]}"
        )
    missing: dict[str, ImportError] = {}
    for name in offered if engine == "auto" else (engine,):
        try:
            if name == "openvino":
                from clin_edge.runtime.ov import OpenVinoSession

                kept_in = cache_folder() if keep else None
                return OpenVinoSession(bundle, threads=threads, kept_in=kept_in)
            from clin_edge.runtime.ort import OrtSession

            return OrtSession(bundle, threads=threads)
        except ImportError as error:  # not installed, or installed and broken
            missing[name] = error
    name, reason = next(iter(missing.items()))
    if isinstance(reason, ModuleNotFoundError):
        raise MissingInstallError("onnxruntime" if name == "onnxruntime" else None, name)
    raise ClinEdgeError(f"{name} is installed but cannot be loaded ({reason}); install it again")


def suitable_batch_tokens(manifest: Manifest) -> int:
    """Say how large batches are to be: twice as large for a small model.

    What a batch costs beside its arithmetic is the same for every model, and so more of a small
    one's time; a larger model gains next to nothing, and takes more memory.
    """
    models = {name for names in MODEL_FILES.values() for name in names}
    size = sum(fact.size_bytes for name, fact in manifest.files.items() if name in models)
    return 2 * BATCH_TOKENS if size < _SMALL_BYTES else BATCH_TOKENS


def engines_by_speed(manifest: Manifest, here: Processor) -> tuple[str, ...]:
    """Order a bundle's engines: OpenVINO first, but not for INT8 without instructions made for it.

    A rule, and no race: two nights on one machine take the same engine, and find the same.
    """
    slow = manifest.precision == "int8" and here.prefers_float
    first = "onnxruntime" if slow else "openvino"
    return tuple(sorted(manifest.engines, key=lambda engine: engine != first))


def _as_notes(notes: Iterable[Note | str]) -> Iterator[Note]:
    for place, note in enumerate(notes):
        yield Note(str(place), note) if isinstance(note, str) else note
