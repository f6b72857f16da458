"""A language model as a teacher: parts of a note out, entities back at their places in the note."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import TeacherError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.distill.prompts import Prompt, load_prompt
from clin_edge.distill.teachers import SetAside
from clin_edge.distill.teachers.llm.budget import Budget
from clin_edge.distill.teachers.llm.client import CUT_OFF, Reply, Request
from clin_edge.distill.teachers.llm.prices import Price
from clin_edge.distill.teachers.llm.replies import ReplyStore
from clin_edge.distill.teachers.llm.sender import Patience, Sender, bounds
from clin_edge.distill.teachers.llm.teacher import LlmSettings, LlmTeacher
from clin_edge.distill.teachers.llm.usage import Usage
from llm_runs import LABELS, answers, marked
from strategies import texts

USED = Usage(50, 0, 5, 0)
SETTINGS = LlmSettings(chunk_chars=60, overlap_chars=30, tries=2)
EMPTY = '{"entities": []}'


class Model:
    """A client that answers what a function of the text says; keeps what it was asked."""

    def __init__(self, answer: Callable[[str], str | Reply]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.requests: list[Request] = []
        self.lock = threading.Lock()

    def send(self, request: Request) -> Reply:
        text = request.user.removeprefix("<note>\n").rpartition("\n</note>")[0]
        with self.lock:
            self.asked.append(text)
            self.requests.append(request)
        got = self.answer(text)
        return got if isinstance(got, Reply) else Reply(got, "", "toy-1", USED)

    def close(self) -> None:
        """Nothing to close."""


def knows(*items: Labelled) -> Model:
    """A model that knows these notes."""
    table = answers(items)
    return Model(lambda text: table(f"<note>\n{text}\n</note>"))


def scripted(*replies: str | Reply) -> Model:
    """A model that gives these replies one after another."""
    left = iter(replies)
    return Model(lambda _: next(left))


def teacher(
    model: Model,
    store: ReplyStore | None = None,
    settings: LlmSettings = SETTINGS,
    *,
    name: str = "toy",
    called: str = "toy",
    prompt: Prompt | None = None,
    price: Price | None = None,
) -> LlmTeacher:
    price = price or Price(1, 1, 4)
    sender = Sender(name, model, Budget(None, None), price, Patience(0, 0.001))
    return LlmTeacher(name, called, sender, prompt or load_prompt(LABELS), store, settings)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReplyStore]:
    with ReplyStore(tmp_path / "replies") as store:
        yield store


LONG = marked(
    "long",
    "HISTORY:\r\nTook [aspirin|MEDICATION] for [gout|DISEASE] 👩🏽\u200d⚕️ again. Cafe\u0301 was "
    "closed.\r\n"
    "\r\nPLAN:\r\nStop [aspirin|MEDICATION] today. Begin [zinc|MEDICATION] now. Review the "
    "[gout|DISEASE] in May. All of [asthma|DISEASE], [eczema|DISEASE] is well. Bye.",
)


def test_a_long_note_is_asked_in_parts_and_joined_on_its_own_offsets() -> None:
    model = knows(LONG)
    labelled = teacher(model).read(LONG.note)
    assert len(model.asked) > 3
    assert all(text in LONG.note.text for text in model.asked)
    assert [(e.span, e.label) for e in labelled.entities] == [
        (e.span, e.label) for e in LONG.entities
    ]
    version = load_prompt(LABELS).version
    assert {e.source for e in labelled.entities} == {f"toy:{version}"}
    assert labelled.marked == frozenset(LABELS)


def test_what_two_parts_share_is_one_entity() -> None:
    text = "One sentence stands here in front. He took [aspirin|MEDICATION]. Then a third one ends."
    item = marked("a", text)
    model = knows(item)
    asked = teacher(model).ask(item.note)
    assert sum("aspirin" in text for text in model.asked) == 2
    assert asked.labelled is not None
    assert len(asked.labelled.entities) == 1
    assert asked.placed == {"exact": 2}


def test_the_better_place_of_a_shared_entity_is_kept() -> None:
    item = marked("a", "Front sentence stands here now. He took [Aspirin|MEDICATION]. Then an end.")
    quotes = iter(["ASPIRIN", "Aspirin"])

    def answer(text: str) -> str:
        if "Aspirin" not in text:
            return EMPTY
        return json.dumps({"entities": [{"quote": next(quotes), "label": "MEDICATION"}]})

    labelled = teacher(Model(answer)).read(item.note)
    (entity,) = labelled.entities
    assert not entity.source.endswith("/normalised")


def test_of_a_note_that_is_set_aside_only_the_cost_is_told() -> None:
    table = answers([LONG])
    model = Model(lambda text: "" if "PLAN" in text else table(f"<note>\n{text}\n</note>"))
    asked = teacher(model).ask(LONG.note)
    assert (asked.labelled, asked.reason, asked.placed) == (None, "empty answer", Counter())
    assert asked.spent.replies == len(model.asked) > 2


@given(texts())
def test_every_word_is_asked_about_and_blank_parts_never(text: str) -> None:
    model = Model(lambda _: EMPTY)
    labelled = teacher(model).read(Note("n", text))
    assert labelled.entities == ()
    assert all(any(c.isalnum() for c in asked) for asked in model.asked)
    covered = [False] * len(text)
    at = 0
    for asked in model.asked:
        at = text.index(asked, max(at - 200, 0))
        covered[at : at + len(asked)] = [True] * len(asked)
    assert not [c for c, seen in zip(text, covered, strict=True) if c.isalnum() and not seen]


@pytest.mark.parametrize("text", ["", " \r\n\t", "-----\n ...", "\u2003" * 500])
def test_a_note_without_a_word_is_labelled_with_nothing_and_not_sent(text: str) -> None:
    model = knows()
    assert teacher(model).read(Note("n", text)).entities == ()
    assert model.asked == []


def test_what_is_cut_off_is_asked_in_smaller_parts(store: ReplyStore) -> None:
    text = "".join(
        f"Line {i} of many: took [aspirin{i}|MEDICATION] for [gout|DISEASE].\n" for i in range(30)
    )
    item = marked("a", text)
    table = answers([item])

    def answer(text: str) -> str | Reply:
        whole = table(f"<note>\n{text}\n</note>")
        return Reply(whole[:99], CUT_OFF, "toy-1", USED) if len(text) > 500 else whole

    settings = LlmSettings(chunk_chars=3_000, overlap_chars=0, tries=2)
    model = Model(answer)
    asked = teacher(model, store, settings).ask(item.note)
    assert asked.labelled is not None
    assert [(e.span, e.label) for e in asked.labelled.entities] == [
        (e.span, e.label) for e in item.entities
    ]
    assert len(model.asked) == len(set(model.asked))
    assert asked.spent.replies == len(model.asked)
    again = Model(answer)
    assert teacher(again, store, settings).ask(item.note) == asked
    assert again.asked == []


def test_what_does_not_fit_in_the_smallest_part_is_set_aside() -> None:
    model = Model(lambda _: Reply("", CUT_OFF, "toy-1", USED))
    with pytest.raises(SetAside, match=r"^cut off$"):
        teacher(model).read(marked("a", "Took aspirin.").note)
    assert len(model.asked) == 1


def test_no_blank_part_of_what_was_cut_off_is_sent() -> None:
    text = "\n" * 2_000 + "Took aspirin.\n\nTook zinc."
    model = Model(lambda text: Reply("", CUT_OFF) if len(text) > 1_000 else EMPTY)
    settings = LlmSettings(chunk_chars=4_000, overlap_chars=0)
    teacher(model, None, settings).read(Note("a", text))
    assert model.asked == [text, "Took aspirin.\n\nTook zinc."]


def test_a_broken_answer_is_asked_for_again_with_the_reason(store: ReplyStore) -> None:
    note = marked("a", "Took aspirin.").note
    model = scripted('{"entities": [', "I see none.", EMPTY)
    asked = teacher(model, store, LlmSettings(tries=3)).ask(note)
    assert asked.labelled is not None
    assert asked.spent.replies == 3
    users = [request.user for request in model.requests]
    assert users[0] == "<note>\nTook aspirin.\n</note>"
    assert "(cut off or broken JSON)" in users[1]
    assert "(no JSON)" in users[2]
    assert all(user.startswith(users[0]) for user in users)


def test_tries_are_counted_over_runs_until_asked_again(store: ReplyStore) -> None:
    note = marked("a", "Took aspirin.").note
    bad = scripted("", "no")
    for expected in (2, 2):  # the second run finds the tries used up
        assert teacher(bad, store).ask(note).reason == "no JSON"
        assert len(bad.asked) == expected
    third = scripted("again no", EMPTY)
    again = LlmSettings(tries=2, ask_again=True)
    asked = teacher(third, store, again).ask(note)
    assert asked.labelled is not None
    assert (len(third.asked), asked.spent.replies) == (2, 4)
    assert teacher(scripted(), store, again).ask(note) == asked  # what is good is not asked again


def test_one_more_try_goes_on_where_the_last_run_ended(store: ReplyStore) -> None:
    note = marked("a", "Took aspirin.").note
    assert teacher(scripted(""), store, LlmSettings(tries=1)).ask(note).reason == "empty answer"
    model = scripted(EMPTY)
    assert teacher(model, store, LlmSettings(tries=2)).ask(note).labelled is not None
    assert "(empty answer)" in model.requests[0].user


def test_what_makes_a_question_another_one(store: ReplyStore) -> None:
    note = marked("a", "Took aspirin.").note
    model = Model(lambda _: EMPTY)
    example = marked("x", "On [zinc|MEDICATION].")
    teacher(model, store).ask(note)
    for changes, new in [
        ({}, 0),
        ({"name": "toy-2"}, 0),
        ({"called": "toy-next"}, 1),
        ({"prompt": load_prompt(["DISEASE"])}, 1),
        ({"prompt": load_prompt(LABELS, None, [example])}, 1),
        ({"price": Price(9, 9, 9)}, 0),
    ]:
        before = len(model.asked)
        teacher(model, store, **changes).ask(note)  # type: ignore[arg-type]
        assert len(model.asked) == before + new
    teacher(model, store).ask(Note("b", note.text))
    teacher(model, store).ask(Note("a", note.text + "!"))
    assert len(model.asked) == 5


@pytest.mark.parametrize("kept", [True, False])
def test_the_same_text_is_asked_once_also_at_the_same_time(store: ReplyStore, kept: bool) -> None:
    begin = threading.Barrier(4, timeout=10)
    model = Model(lambda _: EMPTY)
    asked = teacher(model, store if kept else None)

    def ask(i: int) -> bool:
        begin.wait()
        return asked.ask(Note(f"n{i}", "Took aspirin.")).labelled is not None

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))
    assert len(model.asked) == (1 if kept else 4)


def test_a_failure_of_one_frees_the_others(store: ReplyStore) -> None:
    under_way = threading.Event()

    def answer(_: str) -> str:
        if not under_way.is_set():
            under_way.set()
            raise TeacherError("toy: no")
        return EMPTY

    asked = teacher(Model(answer), store)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(asked.ask, Note("n", "Took aspirin.")) for _ in range(2)]
        errors = [future.exception(10) for future in futures]
    assert sorted(map(str, errors)) == ["None", "toy: no"]


def test_a_plan_counts_what_is_kept_and_sends_nothing(store: ReplyStore) -> None:
    model = knows(LONG)
    asked = teacher(model, store)
    before = asked.plan(LONG.note)
    assert model.asked == []
    asked.ask(LONG.note)
    assert (before.questions, before.kept) == (len(model.asked), 0)
    after = asked.plan(LONG.note)
    assert (after.questions, after.kept, after.tokens, after.most) == (len(model.asked),) * 2 + (
        0,
        0,
    )
    most = [bounds(request) for request in model.requests]
    assert before.most == pytest.approx(sum(Price(1, 1, 4).bound(m.input, m.output) for m in most))
    assert 0 < before.cost < before.most
    assert (before + before).questions == 2 * before.questions


def test_a_model_that_thinks_is_given_room_to() -> None:
    note = marked("a", "Took aspirin.").note
    quick, slow = Model(lambda _: EMPTY), Model(lambda _: EMPTY)
    teacher(quick).ask(note)
    teacher(slow, price=Price(1, 1, 4, reasoning=True)).ask(note)
    assert slow.requests[0].max_output >= quick.requests[0].max_output + 8_000
    assert quick.requests[0].max_output >= len(note.text)


@given(st.text(max_size=40))
def test_nothing_prints_text(text: str) -> None:
    note = Note("n", f"Zebulon {text}")
    asked = teacher(Model(lambda _: EMPTY))
    shown = repr((asked, asked.ask(note), asked.prompt, asked.plan(note)))
    assert "Zebulon" not in shown
