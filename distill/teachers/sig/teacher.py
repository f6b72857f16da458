"""Medication lines by rule: ``Metoprolol tartrate 25 mg PO BID x 7 days, #60``.

It needs no list of drugs: endings of names, classes such as ``antibiotics`` and a few names that
end like other words (``lasix``) stand in ``items``.

**What bears which label** follows the habits of the n2c2 2018 track 2 corpus, as far as they are
known without it; where they leave a choice, this is ours:

- STRENGTH: amount of drug in a unit of the product, or the amount after a drug's name: ``25 mg``,
  ``10 mg/mL``, ``0.05 %``, ``5/325``, ``25 mcg/hr`` of a patch. A number without unit before a
  route or frequency (``Lasix 40 po bid``) is one if above 10
  or with a decimal point.
- DOSAGE: how much is taken: ``1-2`` of ``1-2 tablets``, ``One (1)``, ``2 puffs``, ``1 drop``,
  ``5 mL``, ``10 units``, ``sliding scale``; an amount by weight, body surface or time
  (``15 mg/kg/dose``, ``100 mg/day``, ``75 mL/hr``); an amount after ``take``, ``give`` or ``sig``
  where a strength came before. Countable forms stand outside, measures inside.
- FORM: ``tablet``, ``capsule, delayed release``, ``eye drops``, ``extended release``; not the
  ``XL`` of a name.
- ROUTE with its preposition: ``PO``, ``by mouth``, ``per G-tube``, ``in both eyes``, ``IV push``.
- FREQUENCY, neighbours joined: ``q6h prn``, ``BID (2 times a day)``, ``daily at bedtime``,
  ``every 6 hours as needed``, ``Mon/Wed/Fri``, ``x1``. The reason after ``as needed for`` is none.
- DURATION with its ``x`` or ``for``: ``x 7 days``, ``for two weeks``, ``10-day course``,
  ``x 3 doses``.
- What is handed out (``#60``, ``Disp: 30 tablets``, refills), litres of oxygen and blood units
  are none of these.

**What is marked.** Some items are *sure* wherever they stand (``items`` says which): an amount
in a drug's unit that is no laboratory value; a count of tablets or puffs; a route or a duration
beside a word that ends like a drug's name; a frequency in code (``b.i.d.``) after a word, unless
the words before it tell of something else done that often. So are some pairs with only a blank
between: route and frequency, drops or cream and frequency, a per cent value and a form.

From there, marking spreads to neighbours in the same sentence and line: over punctuation and
words such as ``of``, ``take`` or ``then`` to any item; over one to three other words only to a
route, frequency, form or course. A duration is reached from the left only, since in
``cough for 3 days, Tylenol 650 mg`` it is the cough's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.teachers.sig.grammar import fold
from clin_edge.distill.teachers.sig.items import Item, items

LABELS = frozenset({"STRENGTH", "DOSAGE", "FORM", "ROUTE", "FREQUENCY", "DURATION"})

_RULES = {
    "amount": "strength",
    "maybe_form": "form",
    "release": "form",
    "maybe_route": "route",
    "maybe_frequency": "frequency",
    "times": "frequency",
    "course": "duration",
    "units": "measure",
    "volume": "measure",
    "counted": "measure",
}
_MAX_GAP = 45
_TIGHT = re.compile(
    r"[ ,:()/*-]{0,4}(?:(?:and|then|or|of|to|sig|takes?|taken|given|use|by|an?|the|in|with|each"
    r"|instill|apply|inhale|inject|as|chew|place|on|be|for|were|was|is)(?: |[,:] ?\(?)){0,3}"
)
_LOOSE = re.compile(r"[ ,:()/*-]{0,4}(?:[a-z][a-z0-9'-]{1,24}[ ,:()]{1,3}){1,3}")
_BREAK = re.compile(
    r"(?<!\w)(?:for|who|which|he|she|has|had|have|because|due|if|but|after|before|until|stage|when"
    r"|while|since|from|no|not|without|denies|his|her|their|within)(?!\w)"
)
_JOINED = re.compile(r" ?\(?|,? (?:and|or|&) | - |/")
_ORDER = re.compile(r"(?<!\w)(?:takes?|give|sig|taking|inject|use):? $")
_BLANK = re.compile(r"[ .]?")
_APART, _LOOSELY, _TIGHTLY = range(3)
_NEVER_ALONE = frozenset({"film", "films", "gum", "liquid", "powder", "foam", "pen", "packets"})


@dataclass(frozen=True, slots=True)
class SigTeacher:
    """Marks the items of medication lines, each with score 1 and source ``name:rule``.

    It holds nothing that changes, and takes time in proportion to the note's length.
    """

    name: str = "sig"
    marked: frozenset[str] = field(default=LABELS, init=False)

    def read(self, note: Note) -> Labelled:
        """Give the note with every item of a medication line found in it."""
        entities = tuple(
            Entity(
                Span(item.start, item.end),
                item.label,
                source=f"{self.name}:{_RULES.get(item.kind, item.kind)}",
            )
            for item in _find(note.text)
        )
        return Labelled(note, entities, self.marked)


def _find(original: str) -> list[Item]:
    text = fold(original)
    found = list(items(original, text))
    links = [_link(original, text, a, b) for a, b in pairwise(found)]
    kept = _kept(found, links, text)
    return _relabelled(
        _joined([i for i, keep in zip(found, kept, strict=True) if keep], text), text
    )


def _link(original: str, text: str, a: Item, b: Item) -> int:
    """Tell how closely two neighbours stand together."""
    if b.start - a.end > _MAX_GAP:
        return _APART
    gap = text[a.end : b.start]
    # A full stop before a small letter ends an abbreviation, not a sentence.
    if gap.startswith(". ") and original[b.start - len(gap[1:].lstrip())].islower():
        gap = gap[1:]
    if _TIGHT.fullmatch(gap):
        return _TIGHTLY
    return _LOOSELY if _LOOSE.fullmatch(gap) and not _BREAK.search(gap) else _APART


def _kept(found: Sequence[Item], links: Sequence[int], text: str) -> list[bool]:
    """Spread from what is sure to what stands beside it, first rightwards, then leftwards."""
    kept = [item.sure for item in found]
    for i, link in enumerate(links):
        if link == _TIGHTLY and _is_pair(found[i], found[i + 1], text):
            kept[i] = kept[i + 1] = True
    for i, link in enumerate(links):
        if kept[i] and not kept[i + 1]:
            kept[i + 1] = _reaches_right(found[i + 1], link)
    for i in range(len(links) - 1, -1, -1):
        if kept[i + 1] and not kept[i]:
            words = text[found[i].end : found[i + 1].start].split()
            kept[i] = _reaches_left(found[i], links[i], len(words))
    return kept


def _is_pair(a: Item, b: Item, text: str) -> bool:
    if not _BLANK.fullmatch(text, a.end, b.start):
        return False
    kinds = (a.kind, b.kind)
    if {a.label, b.label} == {"ROUTE", "FREQUENCY"}:
        return "route" in kinds or "frequency" in kinds
    if a.kind in ("percent", "pair"):
        return b.label in ("FORM", "FREQUENCY", "DOSAGE") or b.kind == "route"
    if b.label == "FREQUENCY":
        if a.label == "FORM":
            return text[a.start : a.end] not in _NEVER_ALONE
        return a.kind in ("counted", "units") or (
            a.kind in ("bare", "volume") and b.kind == "frequency"
        )
    return (a.kind == "volume" and b.kind == "route") or (
        a.kind == "counted" and b.label == "ROUTE"
    )


def _reaches_right(item: Item, link: int) -> bool:
    if link == _TIGHTLY:
        return item.kind != "pair"
    coded = ("route", "frequency", "maybe_frequency", "times", "course", "form")
    return link == _LOOSELY and item.kind in coded


def _reaches_left(item: Item, link: int, n_words: int) -> bool:
    if link == _TIGHTLY:
        return item.kind != "duration"
    if item.kind in ("maybe_frequency", "times"):
        return link == _LOOSELY and n_words == 1
    return link == _LOOSELY and item.kind in ("route", "maybe_route", "frequency", "course")


def _joined(found: Sequence[Item], text: str) -> list[Item]:
    """Make one frequency of neighbours: ``q6h`` and ``prn``."""
    joined: list[Item] = []
    for item in found:
        last = joined[-1] if joined else item
        if (
            joined
            and last.label == item.label == "FREQUENCY"
            and _JOINED.fullmatch(text, last.end, item.start)
        ):
            closes = text[item.end : item.end + 1] == ")" and "(" in text[last.end : item.start]
            joined[-1] = replace(last, end=item.end + closes)
        else:
            joined.append(item)
    return joined


def _relabelled(found: Sequence[Item], text: str) -> list[Item]:
    """Call an amount that is to be taken a dosage where the line has its strength already."""
    out: list[Item] = []
    strength_end = -1
    for item in found:
        if item.label == "STRENGTH":
            told = strength_end >= 0 and "\n" not in text[strength_end : item.start]
            near = item.start - strength_end <= 2 * _MAX_GAP
            if told and near and _ORDER.search(text, max(item.start - 10, 0), item.start):
                item = replace(item, label="DOSAGE")
            strength_end = item.end
        out.append(item)
    return out
