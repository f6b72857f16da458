"""A note's text as HTML: every character escaped, every entity a ``<mark>``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from html import escape
from itertools import chain, count, cycle

from clin_edge.core.records import Record
from clin_edge.core.spans import Entity, alternatives

N_COLOURS = 12  # page.css has .k0 to .k11
_KNOWN = {
    "MEDICATION": "MED",
    "DISEASE": "DIS",
    "SYMPTOM": "SYM",
    "STRENGTH": "STR",
    "FORM": "FORM",
    "DOSAGE": "DOS",
    "ROUTE": "ROUTE",
    "FREQUENCY": "FREQ",
    "DURATION": "DUR",
    "REASON": "REAS",
    "ADE": "ADE",
}
_PLAIN = ("", "present")  # assertions that go without saying
# A parser would drop or change CR and NUL, a browser would show nothing of other controls, and
# those that turn the direction of writing would show "10 mg" as "gm 01".
_SPECIAL = re.compile(
    "[&<>]|\r\n?|([\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069])\\1*"
)
_PIECE_CHARS = 1 << 16


def label_styles(labels: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Give each label an abbreviation of its own, and a colour from 0 to ``N_COLOURS - 1``.

    Labels of ours come first and have fixed ones; others follow by name and take what is free.

    >>> label_styles(["Drug", "Drum", "ADE"])
    {'ADE': ('ADE', 10), 'Drug': ('DRU', 0), 'Drum': ('DRUM', 1)}
    """
    names = set(labels)
    styles = {
        name: (short, colour)
        for colour, (name, short) in enumerate(_KNOWN.items())
        if name in names
    }
    colours = {colour for _, colour in styles.values()}
    free = cycle([n for n in range(N_COLOURS) if n not in colours])
    taken = {short for short, _ in styles.values()}
    for name in sorted(names - _KNOWN.keys()):
        start = "|".join(_KNOWN.get(one, one[:3].upper()) for one in alternatives(name))
        longer = (name[:n].upper() for n in range(4, 9))
        tries = chain([start], longer, (f"{start}{n}" for n in count(2)))
        short = next(one for one in tries if one not in taken)
        taken.add(short)
        styles[name] = (short, next(free))
    return styles


def shown(text: str) -> str:
    """Write ``text`` so that a browser's text content is ``text`` again, and every sign is seen.

    A control character stands in an element that shows its number and keeps its effect inside.
    NUL alone has no place in HTML: U+2400 stands for it, so that offsets hold.
    """
    return _SPECIAL.sub(_write_special, text)


@lru_cache(maxsize=1024)  # labels and assertions, again and again
def attribute(text: str) -> str:
    """Write ``text`` for use between double quotes."""
    return escape(text).replace("\r", "&#13;").replace("\0", "\u2400")


def marked_text(record: Record, styles: Mapping[str, tuple[str, int]]) -> Iterator[str]:
    """Yield the note's text with its entities marked, piece by piece.

    Of two that overlap, one lies in the other's mark; where they cross, the later one is cut in
    parts, of which all but the first bear the class ``more``.
    """
    text = record.note.text
    waiting = sorted(record.entities, key=lambda e: (e.span.start, -e.span.end, e.label))
    waiting.reverse()
    open_marks: list[Entity] = []
    at = 0
    while waiting or open_marks:
        edge = min([e.span.end for e in open_marks] + [e.span.start for e in waiting[-1:]])
        if edge > at:
            yield from _pieces(text, at, edge)
            at = edge
        cut: list[Entity] = []
        while any(e.span.end == at for e in open_marks):
            last = open_marks.pop()
            yield "</mark>"
            if last.span.end > at:
                cut.append(last)
        for entity in sorted(cut, key=lambda e: -e.span.end):
            yield _open_mark(entity, styles, part=True)
            open_marks.append(entity)
        while waiting and waiting[-1].span.start == at:
            open_marks.append(waiting.pop())
            yield _open_mark(open_marks[-1], styles, part=False)
    yield from _pieces(text, at, len(text))


def _pieces(text: str, start: int, end: int) -> Iterator[str]:
    """Show a stretch of text a little at a time: a sign can take fifty on the page."""
    while start < end:
        stop = min(end, start + _PIECE_CHARS)
        if text[stop - 1] == "\r":  # the line feed that may follow belongs to it
            stop = min(end, stop + 1)
        yield shown(text[start:stop])
        start = stop


def _open_mark(entity: Entity, styles: Mapping[str, tuple[str, int]], *, part: bool) -> str:
    colour = styles[entity.label][1]
    short, label, said = map(attribute, (styles[entity.label][0], entity.label, entity.assertion))
    classes = f"k{colour}{' more' if part else ''}{'' if entity.assertion in _PLAIN else ' said'}"
    claim = f' data-a="{said}"' if said else ""
    about = f"{label}, {said}, " if said else f"{label}, "
    score, span = f"{entity.score:.4f}", entity.span
    return (
        f'<mark class="{classes}" data-l="{short}" data-s="{score}"{claim} '
        f'title="{about}score {score}, characters {span.start} to {span.end}">'
    )


def _write_special(match: re.Match[str]) -> str:
    run = match[0]
    if run == "\r\n":
        return "&#13;\n"
    if run == "\r":
        return '<i class="c" data-c="U+000D">&#13;</i><br>'
    if match[1] is None:
        return escape(run)
    times = f" ×{len(run):,}" if len(run) > 1 else ""
    kept = run.replace("\0", "\u2400")
    return f'<i class="c" data-c="U+{ord(run[0]):04X}{times}">{kept}</i>'
