"""Records as one HTML page: the notes with coloured entities, a legend, counts and a filter.

The page needs nothing but itself. Its Content-Security-Policy lets run only the script and style
that were put in here, so no markup in a note could, even if it were not escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clin_edge import __version__
from clin_edge.core.records import Record
from clin_edge.runtime.writers.html_marks import attribute, label_styles, marked_text, shown
from clin_edge.runtime.writers.private import private_file
from clin_edge.runtime.writers.spool import spooled

OPEN_NOTES = 100
"""The first notes stand open; those after them are folded, and open with a click or a key."""

OPEN_CHARS = 100_000
"""A longer note is always folded: a million combining marks hold up a browser for minutes."""

_Styles = Mapping[str, tuple[str, int]]


@dataclass(slots=True)
class _Totals:
    """What the head of the page says of all notes together."""

    notes: int = 0
    chars: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    assertions: Counter[str] = field(default_factory=Counter)
    bundles: set[str] = field(default_factory=set)


def write_html(spool: Path, out: Path) -> None:
    """Make a page of a spool's records in the new file ``out``, readable by its owner alone.

    The spool is read twice, one record at a time. The same spool gives the same bytes.

    Raises:
        InputError: If ``out`` exists, or the disk does not take it.
    """
    totals = _Totals()
    for record in spooled(spool):
        totals.notes += 1
        totals.chars += record.coverage.read
        totals.labels.update(e.label for e in record.entities)
        totals.assertions.update(e.assertion for e in record.entities)
        totals.bundles.add(record.bundle)
    styles = label_styles(totals.labels)
    with private_file(out) as stream:
        stream.write(_head(totals).encode())
        stream.write(_panel(totals, styles).encode())
        for number, record in enumerate(spooled(spool), start=1):
            for piece in _note(record, styles, number):
                stream.write(piece.encode())
        stream.write(_FOOT.encode())


def _head(totals: _Totals) -> str:
    title = f"Entities in {_number(totals.notes, 'note')}"
    said = [
        _number(totals.labels.total(), "entity", "entities"),
        f"{_number(totals.chars, 'character')} read",
        *(f"bundle <code>{shown(bundle)}</code>" for bundle in sorted(totals.bundles)),
    ]
    style, script = _beside("page.css"), _beside("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f'<meta name="generator" content="clin-edge {__version__}">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n<script>{script}</script>\n"
        '</head>\n<body>\n<a class="skip" href="#notes">Skip to the notes</a>\n'
        f"<header>\n<h1>{title}</h1>\n<p>{' · '.join(said)}</p>\n</header>\n"
    )


def _panel(totals: _Totals, styles: _Styles) -> str:
    labels = "".join(
        _choice(
            "label",
            short,
            f'<span class="chip k{colour}">{shown(short)}</span> {shown(label)}',
            totals.labels[label],
        )
        for label, (short, colour) in styles.items()
    )
    assertions = "".join(
        _choice("assertion", said, shown(said) or "not judged", count)
        for said, count in totals.assertions.most_common()
    )
    return (
        '<div class="columns">\n<aside aria-label="Legend and filter">\n'
        '<details id="panel" open>\n<summary>Legend and filter</summary>\n'
        '<form id="filter" autocomplete="off">\n'
        + _group("label", "Labels", labels or "<p>No entity was found.</p>")
        + (_group("assertion", "Assertion", assertions) if any(totals.assertions) else "")
        + _CONTROLS
        + '</form>\n</details>\n</aside>\n<main id="notes" tabindex="-1" aria-label="Notes">\n'
    )


def _group(name: str, title: str, choices: str) -> str:
    return (
        f'<fieldset>\n<legend>{title}</legend>\n<p class="js">'
        f'<button type="button" data-check="{name}">all</button> '
        f'<button type="button" data-clear="{name}">none</button></p>\n{choices}</fieldset>\n'
    )


def _choice(name: str, value: str, told: str, count: int) -> str:
    return (
        f'<label class="choice"><input type="checkbox" class="js" name="{name}" '
        f'value="{attribute(value)}" checked> <span>{told}</span> '
        f'<span class="count">{count:,}</span></label>\n'
    )


def _note(record: Record, styles: _Styles, number: int) -> Iterator[str]:
    coverage = record.coverage
    facts = (
        f"{_number(len(record.entities), 'entity', 'entities')} · {coverage.read:,} of "
        f"{_number(coverage.chars, 'character')} read in {_number(coverage.windows, 'window')}"
    )
    long = len(record.note.text) > OPEN_CHARS
    if long:
        facts += " · long: may open slowly"
    start = f'class="note{" long" if long else ""}" id="n{number}"'
    yield (
        f"<details {start}{'' if long or number > OPEN_NOTES else ' open'}>\n<summary>"
        f'<h2>{shown(record.note.id)}</h2> <span class="facts">{facts}</span></summary>\n'
        '<div class="text">'
    )
    yield from marked_text(record, styles)
    yield "</div>\n</details>\n"


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _beside(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


_CONTROLS = """\
<fieldset class="js">
<legend>Show</legend>
<label for="score">Minimum score <output id="at">0.00</output></label>
<input type="range" id="score" min="0" max="1" step="0.01" value="0">
<label for="find">Note id contains</label>
<input type="search" id="find" spellcheck="false">
<label class="choice"><input type="checkbox" id="hide"> <span>Hide notes with nothing shown</span>
</label>
<p id="shown" role="status"></p>
<p><button type="button" id="previous">Previous</button> <button type="button" id="next">Next
entity</button></p>
<p><button type="button" id="unfold">Open all</button> <button type="button" id="fold">Close
all</button> <button type="reset">Reset</button></p>
<p class="hint">Among the notes, the keys <kbd>n</kbd> and <kbd>p</kbd> go to the next and the
previous entity.</p>
</fieldset>
"""

_FOOT = '</main>\n</div>\n<p id="picked" class="js" role="status" hidden></p>\n</body>\n</html>\n'
