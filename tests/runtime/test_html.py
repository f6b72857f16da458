"""The HTML page: the notes' text exactly, entities at their places, nothing that runs or loads."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
import tempfile
import tracemalloc
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.core.predict import Coverage
from clin_edge.core.records import Record
from clin_edge.core.spans import Entity, Span
from clin_edge.runtime.writers import html
from clin_edge.runtime.writers.html import OPEN_CHARS, OPEN_NOTES, write_html
from clin_edge.runtime.writers.spool import spool_line
from strategies import LABELS, spans, texts

BUNDLE = "sha256:3f9a0c12d4e5"
STYLES = Path(html.__file__).with_name("page.css").read_text(encoding="utf-8")
HOSTILE = (
    "</script><img src=x onerror=alert(1)><svg onload=alert(1)>",
    "</div></details></main><h1>not ours</h1>",
    "<!-- <style>*{display:none}</style> ]]> &lt;&amp;&#0; &notit;",
    "gave \u202e10 mg\u202c and \u2066so\u2069 on",
    "\0\0\0fever\0",
    "\x1b[31m\x07\x08\x0c\x85\x9f",
    "one\r\ntwo\rthree\n\nfour\r",
    "\n\nstarts and ends with breaks\n",
    "e\u0301" + "\u0301" * 50 + "👩🏽\u200d⚕️ 🙂fever",
    "\ufeff\ufffe\U0010ffff\u2028\u2029",
)


def record(note_id: str, text: str, *entities: Entity) -> Record:
    return Record(Note(note_id, text), entities, Coverage(len(text), len(text), 2), BUNDLE)


def page(*records: Record) -> str:
    with tempfile.TemporaryDirectory() as folder:
        spool, out = Path(folder) / "spool", Path(folder) / "out.html"
        spool.write_bytes("".join(map(spool_line, records)).encode())
        write_html(spool, out)
        return out.read_bytes().decode()


class Seen(HTMLParser):
    """What a browser would make of a page: ids, texts, and what each mark holds."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.entities: list[list[tuple[str, str]]] = []  # title and text, by note
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self._inside: list[str] = []
        self._marks: list[int] = []
        self._was_nul = False
        self.feed(source)
        self.close()
        assert not self._inside, self._inside

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = dict(attrs)
        self.tags.append((tag, fields))
        if tag in ("meta", "br", "input"):
            return
        self._inside.append(tag)
        if tag == "h2":
            self.ids.append("")
        if tag == "div" and fields.get("class") == "text":
            self.texts.append("")
            self.entities.append([])
        if tag == "i":
            self._was_nul = str(fields["data-c"]).startswith("U+0000")
        if tag == "mark":
            self._open_mark(str(fields["title"]), more="more" in str(fields["class"]).split())

    def _open_mark(self, title: str, *, more: bool) -> None:
        here = self.entities[-1]
        if more:  # a part of the last entity of that title
            self._marks.append(max(i for i, (told, _) in enumerate(here) if told == title))
        else:
            self._marks.append(len(here))
            here.append((title, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag
        if tag == "mark":
            self._marks.pop()
        self._was_nul = False

    def handle_data(self, data: str) -> None:
        data = data.replace("\u2400", "\0") if self._was_nul else data
        if self._inside[-1:] in (["script"], ["style"]):
            self.raw[self._inside[-1]] = data
        elif "h2" in self._inside:
            self.ids[-1] += data
        elif "main" in self._inside and "div" in self._inside[self._inside.index("main") :]:
            self.texts[-1] += data
            for place in self._marks:
                title, text = self.entities[-1][place]
                self.entities[-1][place] = (title, text + data)


def title_of(entity: Entity) -> str:
    said = f"{entity.assertion}, " if entity.assertion else ""
    span = f"characters {entity.span.start} to {entity.span.end}"
    return f"{entity.label}, {said}score {entity.score:.4f}, {span}"


@st.composite
def records(draw: st.DrawFn) -> Record:
    text = draw(st.one_of(texts(), st.sampled_from(HOSTILE)))
    found = draw(st.lists(spans(len(text)), max_size=6)) if text else []
    assertions = st.sampled_from(["", "present", "negated"])
    entities = [
        Entity(span, draw(st.sampled_from(LABELS)), draw(st.floats(0, 1)), "", draw(assertions))
        for span in found
    ]
    return record(draw(st.one_of(st.text(min_size=1), st.sampled_from(HOSTILE))), text, *entities)


@given(st.lists(records(), max_size=3))
def test_a_page_holds_each_text_and_each_entity_exactly(some: list[Record]) -> None:
    source = page(*some)
    seen = Seen(source)
    assert seen.ids == [one.note.id for one in some]
    assert seen.texts == [one.note.text for one in some]
    for one, found in zip(some, seen.entities, strict=True):
        assert Counter(found) == Counter((title_of(e), one.quote(e)) for e in one.entities)
    assert "\r" not in source  # a browser would turn it into a line feed
    assert "\0" not in source


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_note_adds_no_element_but_ours(text: str) -> None:
    plain = Counter(tag for tag, _ in Seen(page(record("n", "x"))).tags)
    seen = Seen(page(record(text, text)))
    assert seen.texts == [text]
    more = Counter(tag for tag, _ in seen.tags) - plain
    assert set(more) <= {"i", "br"}


def test_hostile_labels_and_assertions_are_text_too() -> None:
    label, assertion = '"><script>x</script>\r', "\"' onclick=x <b>\r\n"
    source = page(record("n", "fever", Entity(Span(0, 5), label, 0.5, "", assertion)))
    assert "\r" not in source
    seen = Seen(source)
    (mark,) = [fields for tag, fields in seen.tags if tag == "mark"]
    assert mark["data-a"] == assertion
    assert sum(tag == "script" for tag, _ in seen.tags) == 1
    assert not [name for _, fields in seen.tags for name in fields if name.startswith("on")]


def test_a_control_character_is_shown_by_number_and_turns_nothing() -> None:
    source = page(record("n", "a\u202eb\0\0\0c\rd"))
    assert 'a<i class="c" data-c="U+202E">\u202e</i>b' in source
    assert 'b<i class="c" data-c="U+0000 ×3">\u2400\u2400\u2400</i>c' in source
    assert 'c<i class="c" data-c="U+000D">&#13;</i><br>d' in source
    assert re.search(r"\.c \{[^}]*unicode-bidi: isolate", STYLES)


def test_a_long_text_is_shown_in_pieces_and_no_line_end_is_cut() -> None:
    text = "x" + "\r\n" * 40_000 + "\0" * 100_000
    source = page(record("n", text))
    assert Seen(source).texts == [text]
    assert "U+000D" not in source
    assert len(source) < 3 * len(text)


def test_nested_and_crossing_entities_keep_their_places() -> None:
    long, inner, crossing = (
        Entity(Span(0, 10), "SYMPTOM", 0.9),
        Entity(Span(6, 10), "REASON", 0.7),
        Entity(Span(8, 14), "DISEASE", 0.8),
    )
    source = page(record("n", "chest pain on exertion", crossing, inner, long))
    body = re.sub(r'<mark class="(\S+) ?(more)?"[^>]*>', r"<\2\1>", source)
    body = body[body.index('<div class="text">') + 18 :].split("</div>")[0]
    assert body == ("<k2>chest <k9>pa<k1>in</mark></mark></mark><morek1> on </mark>exertion")


def test_no_entity_is_cut_that_need_not_be() -> None:
    def marks(*spans: tuple[int, int]) -> list[bool]:
        seen = Seen(page(record("n", "x" * 20, *(Entity(Span(*span), "ADE") for span in spans))))
        return ["more" in str(fields["class"]) for tag, fields in seen.tags if tag == "mark"]

    assert marks((0, 5), (0, 10)) == [False, False]
    assert marks((0, 10), (1, 4), (2, 8), (3, 9)) == [False] * 4 + [True] * 2


# --- nothing runs, nothing loads ------------------------------------------------------------------


def test_only_our_script_and_style_may_run_and_nothing_may_load() -> None:
    seen = Seen(page(record("n", "fever")))
    (policy,) = [str(fields["content"]) for tag, fields in seen.tags if "http-equiv" in fields]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        digest = base64.b64encode(hashlib.sha256(seen.raw[tag].encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert rules.pop("require-trusted-types-for") == "'script'"
    assert set(rules.values()) == {"'none'"}
    first = [tag for tag, _ in seen.tags].index
    assert first("meta") < first("style") < first("script")


def test_nothing_comes_from_elsewhere() -> None:
    source = page(record("n", "fever", Entity(Span(0, 5), "SYMPTOM")))
    seen = Seen(source)
    assert not re.search(r"(?i)https?:|//[a-z]|url\(|@import|src=|srcset|<link|<base", source)
    assert {str(f["href"]) for _, f in seen.tags if "href" in f} == {"#notes"}
    assert not [f for _, f in seen.tags if "style" in f]
    script = seen.raw["script"]
    assert not re.search(
        r"innerHTML|outerHTML|document\.write|eval|Function\(|fetch|XMLHttp", script
    )


# --- what it tells --------------------------------------------------------------------------------


def test_the_head_counts_labels_and_assertions_over_all_notes() -> None:
    source = page(
        record("a", "x" * 1500, Entity(Span(0, 5), "ADE", 0.5, "", "negated")),
        record("b", "fever", Entity(Span(0, 5), "ADE"), Entity(Span(0, 1), "Drug")),
    )
    assert "<h1>Entities in 2 notes</h1>" in source
    assert f"<p>3 entities · 1,505 characters read · bundle <code>{BUNDLE}</code></p>" in source
    assert '<span class="chip k10">ADE</span> ADE</span> <span class="count">2</span>' in source
    assert '<span class="chip k0">DRU</span> Drug</span> <span class="count">1</span>' in source
    assert '<span>not judged</span> <span class="count">2</span>' in source
    assert '<span>negated</span> <span class="count">1</span>' in source
    assert "1 entity · 1,500 of 1,500 characters read in 2 windows" in source


def test_without_assertions_no_one_is_asked_to_choose_among_them() -> None:
    assert "Assertion" not in page(record("a", "fever", Entity(Span(0, 5), "ADE")))


def test_no_notes_make_a_page_too() -> None:
    seen = Seen(page())
    assert (seen.texts, seen.raw.keys()) == ([], {"style", "script"})


def test_the_first_notes_are_open_and_the_others_and_long_ones_folded() -> None:
    long = record("long", "x" * (OPEN_CHARS + 1))
    seen = Seen(page(long, *(record(f"n{i}", "") for i in range(OPEN_NOTES + 1))))
    notes = [f for tag, f in seen.tags if tag == "details" and f.get("id") != "panel"]
    assert ["open" in f for f in notes] == [False] + [True] * (OPEN_NOTES - 1) + [False] * 2
    assert [f["class"] for f in notes] == ["note long"] + ["note"] * (OPEN_NOTES + 1)


def test_what_needs_a_script_shows_only_where_scripts_run() -> None:
    seen = Seen(page(record("a", "fever", Entity(Span(0, 5), "ADE"))))
    assert ":root:not(.scripted) .js { display: none; }" in STYLES
    boxes = [f for tag, f in seen.tags if tag == "input" and f.get("name")]
    assert boxes
    assert all(fields["class"] == "js" for fields in boxes)


# --- the file -------------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_alone_and_on_the_disk(tmp_path: Path, monkeypatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    (tmp_path / "spool").write_text(spool_line(record("n", "fever")), encoding="utf-8")
    write_html(tmp_path / "spool", tmp_path / "out")
    assert synced == [(tmp_path / "out").stat().st_size]
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("", encoding="utf-8")
    (tmp_path / "out").write_bytes(b"of yesterday")
    with pytest.raises(InputError, match=r"out: cannot be written \(File exists\)"):
        write_html(tmp_path / "spool", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"of yesterday"


def test_memory_does_not_grow_with_the_number_of_notes(tmp_path: Path) -> None:
    line = spool_line(record("@", "fever and chills", Entity(Span(0, 5), "SYMPTOM")))
    with (tmp_path / "spool").open("w", encoding="utf-8") as stream:
        stream.writelines(line.replace("@", str(number)) for number in range(20_000))
    tracemalloc.start()
    try:
        write_html(tmp_path / "spool", tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out").stat().st_size > 5_000_000
    assert peak < 500_000
