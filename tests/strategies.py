"""Hypothesis strategies: what notes and their labels may look like, at their worst."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span

LABELS = ("MEDICATION", "DISEASE", "SYMPTOM", "DISEASE|SYMPTOM")

PLAIN = (
    *("patient ", "takes ", "metformin ", "500", "mg ", "aspirin", ", ", ". ", "hypertension\n"),
    *("Chest pain; ", "no ", "(", ") ", "b.i.d. ", "NAUSEA/", "-", "\n\n", "a", " "),
)
ODD = (
    "\r\n",
    "\r",
    "\t",
    "\v\f",
    "\x1c\x85\u2028\u2029",  # str.splitlines would break here, a file does not
    "\xa0\u3000",
    "\x00\x07\x1b[0m",
    "🙂",
    "👩🏽\u200d⚕️",  # one sign on screen, five code points
    "👨\u200d👩\u200d👧",
    "🇫🇷",
    "e\u0301",
    "é",
    "a\u0323\u0307",
    "\u0301",
    "met\u00adform\u200bin",
    "\u200d\u2060\ufeff",
    "\u202eabc\u202c",
    "حمى",
    "שלום",
    "糖尿病",
    "각",
    "ẞßİıﬁ½²",
    "µg",
    "[SEP]",
    "[CLS] </s><mask>",
    '"quoted", ""twice""',
    "\\n{}'",
    "\U0010ffff",
    "x" * 130,  # longer than WordPiece tries to spell
    "acetylaminohydroxyphenylarsonic" * 12,
)


def texts(max_pieces: int = 30) -> SearchStrategy[str]:
    """The text of a note: clinical words mixed with all that breaks offsets; may be empty."""
    piece = st.one_of(st.sampled_from(PLAIN), st.sampled_from(ODD), st.text(max_size=5))
    return st.lists(piece, max_size=max_pieces).map("".join)


def notes(max_size: int = 6, max_pieces: int = 30) -> SearchStrategy[list[Note]]:
    """Some notes with different ids."""
    some = st.lists(texts(max_pieces), max_size=max_size)
    return some.map(lambda all_texts: [Note(f"n{i}", text) for i, text in enumerate(all_texts)])


def spans(n_chars: int) -> SearchStrategy[Span]:
    """A span within ``n_chars`` characters."""
    starts = st.integers(0, n_chars - 1)
    return starts.flatmap(lambda start: st.builds(Span, st.just(start), _after(start, n_chars)))


def _after(start: int, n_chars: int) -> SearchStrategy[int]:
    return st.integers(start + 1, n_chars)


@st.composite
def apart(draw: DrawFn, n_chars: int, max_size: int = 8) -> list[Span]:
    """Spans that do not overlap, in text order; they may touch."""
    if n_chars == 0:
        return []
    edges = draw(st.lists(st.integers(0, n_chars), max_size=2 * max_size, unique=True))
    edges.sort()
    keep = draw(st.lists(st.booleans(), min_size=len(edges), max_size=len(edges)))
    pairs = zip(edges, edges[1:], keep, strict=False)
    return [Span(start, end) for start, end, wanted in pairs if wanted]


@st.composite
def labelled(draw: DrawFn, labels: tuple[str, ...] = LABELS) -> Labelled:
    """A labelled note; its entities cover something visible and may overlap."""
    text = draw(texts())
    drawn = draw(st.lists(spans(len(text)), max_size=6)) if text else []
    entities = tuple(
        Entity(span, draw(st.sampled_from(labels)))
        for span in drawn
        if text[span.start : span.end].strip()
    )
    marked = frozenset(draw(st.lists(st.sampled_from(labels)))) | {e.label for e in entities}
    return Labelled(Note(draw(st.text(min_size=1, max_size=8)), text), entities, marked)


@st.composite
def token_offsets(draw: DrawFn, max_size: int = 20) -> list[tuple[int, int]]:
    """Offsets of tokens in text order, each with characters of its own, blanks between some."""
    sizes = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=max_size))
    offsets, at = [], 0
    for blank, size in sizes:
        offsets.append((at + blank, at + blank + size))
        at += blank + size
    return offsets
