"""How labels look on the HTML page: told apart by words, and readable in light and dark."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.runtime.writers import html_marks
from clin_edge.runtime.writers.html_marks import N_COLOURS, label_styles

STYLES = Path(html_marks.__file__).with_name("page.css").read_text(encoding="utf-8")


@given(st.sets(st.text(min_size=1, max_size=6).filter(lambda x: all(x.split("|"))), max_size=20))
def test_each_label_has_an_abbreviation_of_its_own(labels: set[str]) -> None:
    styles = label_styles(labels)
    assert set(styles) == labels
    assert len({short for short, _ in styles.values()}) == len(labels)
    colours = Counter(colour for _, colour in styles.values())
    assert set(colours) <= set(range(N_COLOURS))
    assert len(colours) == min(len(labels), N_COLOURS)


def test_labels_of_ours_look_the_same_on_every_page() -> None:
    assert label_styles(["MEDICATION", "DISEASE", "DISEASE|SYMPTOM", "MED"]) == {
        "MEDICATION": ("MED", 0),
        "DISEASE": ("DIS", 1),
        "DISEASE|SYMPTOM": ("DIS|SYM", 2),
        "MED": ("MED2", 3),
    }


def luminance(colour: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    digits = colour.lstrip("#")
    wide = digits if len(digits) == 6 else "".join(2 * d for d in digits)
    channels = [int(wide[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_all_words_stand_out_from_what_is_behind_them(dark: bool) -> None:
    light_part, _, rest = STYLES.partition("@media (prefers-color-scheme: dark)")
    part = rest.split("\n}\n")[0] if dark else light_part
    base = dict(re.findall(r"--(\w+): (#\w+)", part.split("}")[0]))
    classes = re.findall(r"\.k(\d+) \{ --tint: (#\w+); --ink: (#\w+); \}", part)
    assert [int(number) for number, _, _ in classes] == list(range(N_COLOURS))
    pairs = [(base[ink], base[behind]) for ink in ("text", "soft") for behind in ("page", "card")]
    for _, tint, ink in classes:
        pairs += [(ink, tint), (base["text"], tint)]
    assert min(contrast(*pair) for pair in pairs) >= 4.5
    assert contrast(base["go"], base["page"]) >= 3  # the ring around what has the focus
