"""A model's words are read whole or not at all."""

from __future__ import annotations

import json
import time
import traceback
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.distill.grounding.ground import Mention
from clin_edge.distill.teachers.llm import answer
from clin_edge.distill.teachers.llm.answer import MAX_ANSWER_CHARS, BrokenAnswer, read_answer

LABELS = ("MEDICATION", "DISEASE")
ENTITY = {"near": "took", "quote": "aspirin", "label": "MEDICATION"}
GOOD = json.dumps({"entities": [ENTITY, {"near": "", "quote": "gout", "label": "DISEASE"}]})
MENTIONS = (Mention("aspirin", "MEDICATION", "took"), Mention("gout", "DISEASE", ""))
TRICKY = st.text(alphabet='{}[]",:\\ abé\n😀<>/', max_size=12)
FRAGMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    "{",
                    "}",
                    "[",
                    "]",
                    '"',
                    "\\",
                    ",",
                    ":",
                    "null",
                    "1e999",
                    "NaN",
                    "\x00",
                    "\ud800",
                ),
                *('{"entities":', '"quote"', '"label"', '"MEDICATION"', "<think>", "</think>"),
                *("</THINKING>", "```json\n", "[]", "{}", GOOD, GOOD[:-7], "\\u12", "\ufeff"),
            ]
        ),
        st.text(max_size=8),
    ),
    max_size=30,
).map("".join)


def reason(text: str) -> str:
    """Why the text is no answer."""
    with pytest.raises(BrokenAnswer) as caught:
        read_answer(text, LABELS)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Sure [see below] {{as asked}}:\n{GOOD}\nAnything {{else}}?",
        f'<think>Is {{"entities": []}} right?</think>{GOOD}',
        f"<Thinking>a <think> b</think></THINKING>\n{GOOD}<reasoning>{{}}</reasoning>",
        f'a thought {{"entities": []}} without its opening</think>{GOOD}',
        json.dumps(json.loads(GOOD)["entities"]),
        f'- [ ] to do\n{{"done": false}}\n{GOOD}\n{{"entities": []}}',
        GOOD.replace('"MEDICATION"', '" medication\\n"'),
        "\ufeff" + GOOD,
    ],
)
def test_what_stands_around_an_answer_is_passed_over(text: str) -> None:
    assert read_answer(text, LABELS) == answer.Answer(MENTIONS, Counter())


def test_entries_that_are_none_are_dropped_and_counted() -> None:
    entries = [
        *(7, None, [], {}, {"quote": "x"}, {"label": "DISEASE"}, {"quote": 3, "label": "DISEASE"}),
        {"quote": "x", "label": "BANANA"},
        {"quote": "gout", "label": "DISEASE", "near": ["no", "text"]},
    ]
    got = read_answer(json.dumps({"entities": entries}), LABELS)
    assert got.mentions == (Mention("gout", "DISEASE", ""),)
    assert got.dropped == {"entry without quote and label": 7, "label not asked for": 1}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty answer"),
        (" \n", "empty answer"),
        ("<think>hm</think>\n", "empty answer"),
        ("I see none.", "no JSON"),
        ("<think>hm " + GOOD, "thought without an answer"),
        ("{}", "JSON without a list of entities"),
        ('{"entities": {"quote": "gout"}}', "JSON without a list of entities"),
        ('{"quote": "gout", "label": "DISEASE"}', "JSON without a list of entities"),
        ("{'entities': []}", "JSON without a list of entities"),
        ('{"entities": [7]}', "no entry with a quote and a label asked for"),
        (" " * (MAX_ANSWER_CHARS + 1), "answer too long"),
        (json.dumps([ENTITY] * 5_001), "too many entities"),
        ('{"entities": ' + "9" * 5_000 + "}", "cut off or broken JSON"),
    ],
)
def test_what_is_no_answer_has_a_reason(text: str, why: str) -> None:
    assert reason(text) == why


def test_nothing_to_mark_is_an_answer() -> None:
    assert read_answer('{"entities": []}', LABELS).mentions == ()
    assert read_answer("[]", LABELS).mentions == ()


@given(FRAGMENTS)
def test_nothing_but_a_broken_answer_is_raised_and_it_quotes_nothing(text: str) -> None:
    why, labels = "", set[str]()
    try:
        labels = {mention.label for mention in read_answer(text, LABELS).mentions}
    except BrokenAnswer as error:
        why = "".join(traceback.format_exception_only(error)).partition(": ")[2].strip()
    assert labels <= set(LABELS)
    assert why in REASONS | {""}


REASONS = {
    *("answer too long", "thought without an answer", "empty answer", "too many entities"),
    *("no JSON", "cut off or broken JSON", "JSON without a list of entities"),
    "no entry with a quote and a label asked for",
}


@given(
    st.lists(st.fixed_dictionaries({"near": TRICKY, "quote": TRICKY, "label": st.just("DISEASE")})),
    st.booleans(),
    st.sampled_from(["", "<think>{x} []</think>", "```json\n", "\ufeff"]),
    st.sampled_from([None, 1]),
)
def test_no_prefix_of_an_answer_is_half_read(entries, bare, before, indent) -> None:
    # A bare list of nothing stands whole in what is about to become one of something.
    value = entries if bare else {"entities": entries}
    whole = before + json.dumps(value, ensure_ascii=False, indent=indent)
    read_answer(whole, LABELS)
    for end in range(len(whole)):
        reason(whole[:end])


@pytest.mark.parametrize("before", ['{"a": []', '{"n": [], "m": ', "[[], tru", '[{"near": "[]'])
def test_what_is_whole_inside_a_torn_answer_is_not_the_answer(before: str) -> None:
    reason(before)


@pytest.mark.parametrize(
    "piece",
    [
        *("{", "[", '{"a":', '"', "\\", '["', '{"', "<think>", "<think></thinking>", "</think>"),
        *("<think></think>", '{"entities":[', "{}", "[1],", '["\\u12', "1", "{ ", "`", "\x00{"),
    ],
)
def test_a_hostile_text_of_full_length_takes_no_time(piece: str) -> None:
    text = piece * (MAX_ANSWER_CHARS // len(piece))
    begin = time.process_time()
    reason(text)
    assert time.process_time() - begin < 1.0  # milliseconds; a square of the length takes minutes


def test_an_answer_shows_no_text_when_printed() -> None:
    assert "aspirin" not in repr(read_answer(GOOD, LABELS))
    assert "took" not in repr(read_answer(GOOD, LABELS))


def test_keys_of_a_model_that_was_not_held_to_the_schema() -> None:
    loose = {"text": "gout", "type": "disease", "context": "has"}
    ours = {"quote": "aspirin", "text": "the note", "label": "MEDICATION", "type": 3}
    got = read_answer(json.dumps({"entities": [loose, ours]}), ["DISEASE", "MEDICATION"])
    assert got.mentions == (
        Mention("gout", "DISEASE", "has"),
        Mention("aspirin", "MEDICATION", ""),
    )
