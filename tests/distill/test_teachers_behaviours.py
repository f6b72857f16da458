"""Every way a server can misbehave: the note is labelled or set aside, and the run goes on."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from pathlib import Path

import pytest

from clin_edge.core.errors import TeacherError
from llm_protocols import Request
from llm_runs import KEY, NAMES, SPECS, answers, marked, places, quick, rows, run, truth
from llm_server import BEHAVIOURS, LlmServer

pytestmark = pytest.mark.usefixtures("llm_env")

ONCE = marked("once", "Zebulon took [aspirin|MEDICATION] once.")
ALWAYS = marked("always", "Quackenbush has [gout|DISEASE].")
NEVER = marked("never", "Miller is well on [zinc|MEDICATION].")
ITEMS = [ONCE, ALWAYS, NEVER]
TRIES = 2
# Of notes, of the key and of the server's own words.
PRIVATE = (
    *("Zebulon", "Quackenbush", "Miller", KEY, "Incorrect API key", "Rate limit", "slow down"),
    *("Overloaded", "quota exceeded", "exceeded your", "Log in, guest", "upstream", "Gateway"),
    *("banana", "BANANA", "xyzzy", "I cannot help", "Sure!", "Not allowed from", "elsewhere/"),
)
STALLS = "silence head_then_silence silence_in_body drip"

# What becomes of a note that is always answered so: "labelled", "nothing" (an answer without an
# entity that can be placed), "stop" and words of the run's error, or the reason it is set aside.
GROUPS = {
    "labelled": (
        "no_json_schema/openai plain_text_only/openai no_temperature no_max_tokens "
        "no_max_completion_tokens no_usage usage_null usage_words usage_negative usage_huge "
        "usage_impossible usage_without_details usage_empty usage_too_large usage_text "
        "finish_unknown finish_null parts_split fenced fenced_in_prose prose_around thought "
        "byte_order_mark two_answers"
    ),
    "nothing": (
        "raw_newline_in_string unknown_keys empty_quote invented_quote lone_surrogate "
        "raw_surrogate null_char"
    ),
    "stop: does not take the API key": "unauthorized",
    "stop: does not allow this account": "forbidden",
    "stop: no such model or address": "not_found",
    "stop: points elsewhere": "redirect",
    "stop: asks to wait 1,000,000,000 s": "rate_limit_huge",
    "stop: quota is used up": "no_quota/openai",
    "too long for the model": "context_length/openai too_large",
    "cut off": "cut_short",
    "refused with status 400": (
        "content_filter bad_request error_is_a_list no_json_schema/gemini plain_text_only/gemini "
        "context_length/gemini"
    ),
    "no answer: status 408": "request_timeout",
    "no answer: status 409": "conflict",
    "no answer: status 429": (
        "rate_limit rate_limit_second rate_limit_ms rate_limit_date rate_limit_past "
        "rate_limit_negative rate_limit_nan rate_limit_garbage rate_limit_info no_quota/gemini"
    ),
    "no answer: status 500": "server_error error_empty_body",
    "no answer: status 502": "bad_gateway_html",
    "no answer: status 503": "unavailable unavailable_second",
    "no answer: status 504": "gateway_timeout",
    "no answer: status 529": "overloaded",
    "no answer: no answer in time": STALLS,
    "no answer: a torn or oversized reply": (
        "closed reset torn_head torn_body reset_body not_http nonsense_10mb"
    ),
    "not a reply of the protocol": (
        "bad_gzip not_json html_page empty_body body_null body_list body_string "
        "body_empty_object torn_json not_utf8/openai error_with_200 choices_missing choices_null "
        "choices_empty choices_object choice_null message_missing message_null message_string "
        "content_missing content_null content_list content_number tool_call candidates_missing "
        "candidates_empty candidate_without_content parts_empty parts_missing parts_call "
        "parts_thought_only parts_wrong_type"
    ),
    "refused": (
        "refusal finish_filtered prompt_blocked finish_safety finish_recitation finish_new "
        "not_utf8/gemini"
    ),
    "cut off or broken JSON": (
        "truncated control_chars encoded_twice python_dict trailing_comma deep deep_closed "
        "huge_number"
    ),
    "thought without an answer": "thought_unclosed",
    "no entry with a quote and a label asked for": (
        "wrong_labels wrong_types top_list duplicate_keys not_a_number"
    ),
    "JSON without a list of entities": "answer_null answer_string missing_keys",
    "no JSON": "top_number top_null prose",
    "empty answer": "empty blank",
    "answer too long": "endless_entities long_quote",
}
EXPECTED = {name: outcome for outcome, names in GROUPS.items() for name in names.split()}
CASES = [(name, protocol) for name, b in BEHAVIOURS.items() for protocol in b.protocols]
# Asked once and no more: the same question would fail in the same way.
FINAL = ("too long for the model", "cut off", "refused with status 400")


def expected(name: str, protocol: str) -> str:
    return EXPECTED.get(f"{name}/{protocol}") or EXPECTED[name]


def test_every_behaviour_has_an_outcome_and_they_are_many() -> None:
    assert {name.partition("/")[0] for name in EXPECTED} == set(BEHAVIOURS)
    assert sum(map(len, (names.split() for names in GROUPS.values()))) == len(EXPECTED)
    assert len(BEHAVIOURS) >= 40


class Behaving:
    """Misbehaves at the first request about one note and at all about another; counts them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: Counter[str] = Counter()

    def __call__(self, request: Request) -> str | None:
        (who,) = (i.note.id for i in ITEMS if i.note.text == request.note)
        self.asked[who] += 1
        bad = who == "always" or (who == "once" and self.asked[who] == 1)
        return self.name if bad else None


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_a_note_is_labelled_or_set_aside_and_the_run_goes_on(
    name: str, protocol: str, tmp_path: Path, caplog, capfd
) -> None:
    caplog.set_level(logging.DEBUG)
    outcome = expected(name, protocol)
    out, teacher = tmp_path / "out", NAMES[protocol]
    behaving = Behaving(name)
    said = ""
    with LlmServer(answers(ITEMS)) as server:
        server.misbehave(behaving)
        asking = quick(server, tmp_path / "replies")
        if name in STALLS.split():
            asking = quick(server, tmp_path / "replies", timeout_s=0.2)
        if outcome.startswith("stop: "):
            with pytest.raises(TeacherError, match=outcome.removeprefix("stop: ")) as caught:
                run(ITEMS, [SPECS[protocol]], out, asking)
            said = "".join(traceback.format_exception(caught.value))
            assert "\n" not in str(caught.value)
            assert rows(out / f"{teacher}.jsonl") == []
        else:
            tally = run(ITEMS, [SPECS[protocol]], out, asking)[teacher]
            said = repr(tally)
    if not outcome.startswith("stop: "):
        labelled = {row["id"]: places(row) for row in rows(out / f"{teacher}.jsonl")}
        aside = {row["id"]: row["reason"] for row in rows(out / "quarantine" / f"{teacher}.jsonl")}
        assert labelled["never"] == truth(NEVER)
        assert behaving.asked["never"] == 1
        if outcome == "labelled":
            assert (labelled["once"], labelled["always"]) == (truth(ONCE), truth(ALWAYS))
            assert not aside
        elif outcome == "nothing":
            assert (labelled["once"], labelled["always"]) == ([], [])
            assert tally.dropped.total() == (0 if name == "unknown_keys" else 2)
        else:
            assert aside.pop("always") == outcome
            # OpenAI's client is not done with a 400: the server may want a plainer request.
            tried_plainer = outcome == "refused with status 400" and protocol == "openai"
            if outcome in FINAL and not (tried_plainer and name != "content_filter"):
                assert aside == {"once": outcome}
                assert behaving.asked == {"once": 1, "always": 1, "never": 1}
            else:
                assert (aside, labelled["once"]) == ({}, truth(ONCE))
                if name not in STALLS.split():  # a good reply may be late too
                    assert behaving.asked["once"] == 2
                    assert tried_plainer or behaving.asked["always"] == TRIES
    written = [p.read_text(encoding="utf-8") for p in out.rglob("*.jsonl") if p.parent != out]
    written += [p.read_text(encoding="utf-8") for p in out.glob("*.report.json")]
    logged = [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    for door in (said, *capfd.readouterr(), *logged, *written):
        assert not [word for word in PRIVATE if word in door]
    for path in (tmp_path / "replies").iterdir():
        assert KEY.encode() not in path.read_bytes()
    assert not list(tmp_path.rglob("*.part"))
