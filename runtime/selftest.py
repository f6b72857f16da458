"""Whether a bundle gives the right answers on this machine, and always the same ones."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clin_edge.core.batching import BATCH_TOKENS, BUCKET_TOKENS, Batch, Logits, Session
from clin_edge.core.bundle import Bundle
from clin_edge.core.encode import Encoder
from clin_edge.core.errors import BundleError, ClinEdgeError, InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.lines import read_json_lines
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor, Reading
from clin_edge.core.score import score
from clin_edge.core.spans import Entity, Span
from clin_edge.runtime.pipeline import Pipeline, open_session
from clin_edge.runtime.threads import usable_threads

GOLDEN = "golden.jsonl"
MAX_LOGIT_CHANGE = 1e-4
GOLDEN_DROP = 0.01
GOLDEN_AT_LEAST = 0.90  # of a bundle that does not say how well it agreed where it was made
BATCHES = (256, 2 * BATCH_TOKENS, 8 * BATCH_TOKENS)
_CUTS = (100, 200, 400, 800, 1600)


@dataclass(frozen=True, slots=True)
class Change:
    """What one change of circumstances (``what``) did to answers that should not notice it.

    ``max_logit_change`` is over tokens that were kept. ``spans_changed`` counts notes in which a
    span or label differs, ``records_changed`` also those with another score in four decimals.
    """

    what: str
    max_logit_change: float
    spans_changed: int
    records_changed: int

    @property
    def passed(self) -> bool:
        """Tell whether every span stayed and no logit moved by more than the limit."""
        return self.max_logit_change <= MAX_LOGIT_CHANGE and not self.spans_changed


@dataclass(frozen=True, slots=True)
class Invariance:
    """Every change that was tried on the same notes, each against windows run alone."""

    notes: int
    windows: int
    changes: tuple[Change, ...]

    @property
    def passed(self) -> bool:
        """Tell whether no change mattered."""
        return all(change.passed for change in self.changes)

    @property
    def max_logit_change(self) -> float:
        """Give the worst of all changes."""
        return max(change.max_logit_change for change in self.changes)


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """Spans found in the golden notes beside those the float model found there.

    ``agreement`` is strict span F1, label included; ``needed`` is the least that passes.
    """

    notes: int
    expected: int
    found: int
    shared: int
    agreement: float
    needed: float

    @property
    def passed(self) -> bool:
        """Tell whether enough spans are the float model's."""
        return self.agreement >= self.needed


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What one engine made of a bundle; ``stopped`` says why it could not read to the end."""

    engine: str
    golden: GoldenResult | None
    invariance: Invariance | None
    stopped: str = ""

    @property
    def passed(self) -> bool:
        """Tell whether it read everything, rightly and always the same."""
        checks = (self.golden, self.invariance)
        return all(check is not None and check.passed for check in checks)


@dataclass(frozen=True, slots=True)
class Report:
    """A result for each engine that could be tried; ``not_tried``: why the others were not."""

    bundle: str
    engines: tuple[EngineResult, ...]
    not_tried: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """Tell whether every engine that was tried passed; at least one was."""
        return all(result.passed for result in self.engines)


def selftest(bundle: Bundle, engine: str = "auto", *, threads: int | None = None) -> Report:
    """Read the bundle's golden notes on this machine, with every engine it has a model for.

    Args:
        bundle: What to test.
        engine: One engine, or ``auto``: all that the bundle has a model for and that are there.
        threads: The number tested first, and against 1 and 2; by default ``usable_threads``.

    Raises:
        BundleError: If an engine cannot use its model, or the golden notes are missing or
            malformed.
        MissingInstallError: If no engine, or not the one named, is installed.
    """
    gold = golden_notes(bundle)
    threads = threads or usable_threads()
    results, not_tried = [], {}
    failure: ClinEdgeError | None = None
    for name in bundle.manifest.engines if engine == "auto" else (engine,):
        try:
            session = open_session(bundle, engine=name, threads=threads, keep=True)
        except BundleError:
            raise
        except ClinEdgeError as error:
            failure = failure or error
            not_tried[name] = str(error)
            continue
        others = {
            f"with {n} thread{'s' if n > 1 else ''}": open_session(bundle, engine=name, threads=n)
            for n in (1, 2)
            if n != threads
        }
        results.append(_try_engine(name, bundle, session, others, gold))
    if failure and not results:
        raise failure
    return Report(bundle.id, tuple(results), not_tried)


def check_golden(bundle: Bundle, predictor: Predictor) -> GoldenResult:
    """Compare what ``predictor`` finds in the bundle's golden notes with what stands there.

    Enough is the agreement that the manifest's gate says was reached where the bundle was made,
    less ``GOLDEN_DROP``.

    Raises:
        BundleError: If the golden notes are missing or malformed, or the gate's figure is none.
    """
    return _compare_golden(bundle, predictor, golden_notes(bundle))


def check_invariance(
    bundle: Bundle,
    session: Session,
    notes: Sequence[Note],
    *,
    others: Mapping[str, Session] | None = None,
) -> Invariance:
    """Read notes one window at a time, then in batches, in other orders and with more padding.

    Less padding than to a window's bucket is not tried: the runtime never gives less.

    Args:
        bundle: Whose tokenizer, labels and CRF are used.
        session: What runs the model.
        notes: At least one; ids differ.
        others: More sessions that should answer alike, by what differs (``with 2 threads``).

    Raises:
        ClinEdgeError: If the model answers with something that is not a number.
    """
    encoder = Pipeline(bundle, session).predictor.encoder

    def read(session: Session, order: Sequence[Note], batch_tokens: int) -> dict[str, Reading]:
        predictor = Pipeline(bundle, session, batch_tokens=batch_tokens).predictor
        return {reading.note.id: reading for reading in predictor.read(order)}

    shuffled = [notes[i] for i in np.random.default_rng(0).permutation(len(notes))]
    tries: list[tuple[str, Session, Sequence[Note], int]]
    tries = [(f"in batches of up to {n:,} tokens", session, notes, n) for n in BATCHES]
    tries += [
        ("in reverse order", session, notes[::-1], BATCH_TOKENS),
        ("in mixed order", session, shuffled, BATCH_TOKENS),
        ("with some padding", _Padded(session, BUCKET_TOKENS, encoder), notes, BATCH_TOKENS),
        ("with most padding", _Padded(session, encoder.max_tokens, encoder), notes, BATCH_TOKENS),
    ]
    tries += [(what, other, notes, BATCH_TOKENS) for what, other in (others or {}).items()]
    alone = read(session, notes, 1)
    changes = [_change(what, alone, read(by, order, n)) for what, by, order, n in tries]
    n_windows = sum(reading.coverage.windows for reading in alone.values())
    return Invariance(len(alone), n_windows, tuple(changes))


def cut_notes(items: Sequence[Labelled]) -> list[Note]:
    """Give the beginnings of notes, 100 to 1,600 characters: windows of all lengths, soon read."""
    return [
        replace(item.note, text=item.note.text[: _CUTS[i % len(_CUTS)]])
        for i, item in enumerate(items)
    ]


def golden_notes(bundle: Bundle) -> list[Labelled]:
    """Give the notes of ``golden.jsonl`` and the entities the float model found in them.

    Raises:
        BundleError: If there are none, or a line is not such a note.
    """
    where = str(bundle.path / GOLDEN)
    if GOLDEN not in bundle.files:
        raise BundleError(
            f"{where}: missing, so nothing says what is right; ask for a whole bundle"
        )
    types = frozenset(bundle.manifest.scheme.types)
    items: dict[str, Labelled] = {}
    try:
        for line, row in read_json_lines(where, io.BytesIO(bundle.files[GOLDEN])):
            where = line
            item = _golden_note(row, types)
            if items.setdefault(item.note.id, item) is not item:
                raise ValueError
    except InputError as error:
        raise BundleError(str(error)) from None
    except (KeyError, TypeError, ValueError):
        raise BundleError(
            f"{where}: no golden note; each needs an id of its own, a text, and entities with "
            "start, end and one of the bundle's labels"
        ) from None
    if not items:
        raise BundleError(f"{where}: holds no notes")
    return list(items.values())


class _Padded(Session):
    """A session that sees each batch with up to ``more`` columns of padding added."""

    def __init__(self, session: Session, more: int, encoder: Encoder) -> None:
        self._session, self._more, self._encoder = session, more, encoder

    def run(self, batch: Batch) -> Logits:
        """Give the logits (B, T, C) without the added columns."""
        length = batch.input_ids.shape[1]
        more = ((0, 0), (0, min(self._more, self._encoder.max_tokens - length)))
        ids = np.pad(batch.input_ids, more, constant_values=self._encoder.pad_id)
        wider = Batch(ids, np.pad(batch.attention_mask, more), batch.rows)
        return self._session.run(wider)[:, :length]


def _try_engine(
    name: str,
    bundle: Bundle,
    session: Session,
    others: Mapping[str, Session],
    gold: Sequence[Labelled],
) -> EngineResult:
    golden = None
    try:
        golden = _compare_golden(bundle, Pipeline(bundle, session).predictor, gold)
        invariance = check_invariance(bundle, session, cut_notes(gold), others=others)
    except BundleError:
        raise
    except ClinEdgeError as error:
        return EngineResult(name, golden, None, str(error))
    return EngineResult(name, golden, invariance)


def _compare_golden(bundle: Bundle, predictor: Predictor, gold: Sequence[Labelled]) -> GoldenResult:
    reached = bundle.manifest.gate.get("golden_agreement", GOLDEN_AT_LEAST + GOLDEN_DROP)
    if type(reached) not in (int, float) or not 0 <= reached <= 1:
        raise BundleError(f"{bundle.path}: its gate's golden_agreement is no number from 0 to 1")
    found = {r.note.id: r.entities for r in predictor.read(item.note for item in gold)}
    counts = score(gold, found, n_resamples=1).micro.counts
    return GoldenResult(
        notes=len(gold),
        expected=counts.gold,
        found=counts.found,
        shared=counts.tp,
        agreement=counts.f1 if counts.gold or counts.found else 1.0,
        needed=round(reached - GOLDEN_DROP, 6),
    )


def _change(what: str, before: Mapping[str, Reading], after: Mapping[str, Reading]) -> Change:
    pairs = [(reading, after[note_id]) for note_id, reading in before.items()]
    largest = max(float(np.abs(a.logits - b.logits).max(initial=0.0)) for a, b in pairs)
    spans = sum(_found(a) != _found(b) for a, b in pairs)
    records = sum(_found(a, scores=True) != _found(b, scores=True) for a, b in pairs)
    return Change(what, largest, spans, records)


def _found(reading: Reading, *, scores: bool = False) -> list[tuple[Span, str, float]]:
    return [(e.span, e.label, round(e.score, 4) if scores else 0.0) for e in reading.entities]


def _golden_note(row: Mapping[str, object], types: frozenset[str]) -> Labelled:
    """Read one line; raises KeyError, TypeError or ValueError if it is no golden note."""
    note_id, text, listed = row["id"], row["text"], row["entities"]
    if not (isinstance(note_id, str) and isinstance(text, str) and isinstance(listed, list)):
        raise TypeError
    entities = []
    for fields in listed:
        start, end, label = fields["start"], fields["end"], fields["label"]
        if type(start) is not int or type(end) is not int or label not in types:
            raise TypeError
        if end > len(text):
            raise ValueError
        entities.append(Entity(Span(start, end), label))
    return Labelled(Note(note_id, text), tuple(entities), types)
