"""What a user says of language models becomes teachers, or one line that tells what is wrong."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from clin_edge.core.errors import ClinEdgeError, InputError
from clin_edge.distill.teachers.llm.asking import Asking, LlmMaker
from clin_edge.distill.teachers.llm.teacher import LlmTeacher
from llm_runs import KEY, LABELS, marked, quick, write_labelled

pytestmark = pytest.mark.usefixtures("llm_env")

LOCAL = "http://127.0.0.1:9/v1"


def make(asking: Asking, kind: str = "openai", model: str = "toy") -> LlmTeacher:
    teacher = LlmMaker(asking).make(kind, model, "t")
    teacher.close()
    return teacher


@pytest.mark.parametrize(
    ("kind", "model", "base", "env", "host", "called"),
    [
        ("openai", "toy", LOCAL, "", "127.0.0.1", "toy"),
        ("openai", "toy", "", LOCAL, "127.0.0.1", "toy"),
        ("openai", "toy@http://[::1]:9/v1", LOCAL, "", "::1", "toy"),
        ("openai", "a@b@https://localhost", LOCAL, "", "localhost", "a@b"),
        ("gemini", "toy", LOCAL, "http://10.0.0.1", "127.0.0.1", "toy"),
    ],
)
def test_the_server_is_the_nearest_one_named(
    tmp_path: Path, monkeypatch, kind: str, model: str, base: str, env: str, host: str, called: str
) -> None:
    if env:
        monkeypatch.setenv("OPENAI_BASE_URL", env)
    teacher = make(quick(base, tmp_path / "r"), kind, model)
    assert (teacher.host, teacher.model, teacher.marked) == (host, called, frozenset(LABELS))


def test_one_address_serves_both_protocols(tmp_path: Path) -> None:
    maker = LlmMaker(quick("http://127.0.0.1:9/llm/v1/", tmp_path / "r"))
    for kind in ("openai", "gemini"):
        teacher = maker.make(kind, "toy", kind)
        client = teacher.sender._client
        base = {
            "openai": lambda c=client: str(c._client.base_url),
            "gemini": lambda c=client: c._client._api_client._http_options.base_url,
        }[kind]()
        expected = {"openai": "http://127.0.0.1:9/llm/v1/", "gemini": "http://127.0.0.1:9/llm"}
        assert base.rstrip("/") == expected[kind].rstrip("/")
        teacher.close()


@pytest.mark.parametrize("model", ["@http://127.0.0.1", "@https://x"])
def test_a_server_without_a_model(tmp_path: Path, model: str) -> None:
    with pytest.raises(InputError, match="openai: needs the name of a model"):
        make(quick(LOCAL, tmp_path / "r"), model=model)


def test_a_price_is_needed_outside_only(tmp_path: Path) -> None:
    assert make(quick(LOCAL, tmp_path / "r"), model="nobodys").sender.price.output == 0
    outside = quick("", tmp_path / "r", external_ok=True)
    with pytest.raises(InputError, match=r"^openai:nobodys: no price is known .*--prices FILE"):
        make(outside, model="nobodys")
    prices = tmp_path / "p.toml"
    prices.write_text("[models.nobodys]\ninput = 1.0\ncached = 1.0\noutput = 3.0\n")
    known = quick("", tmp_path / "r", external_ok=True, prices=prices)
    assert make(known, model="nobodys").sender.price.output == 3


def test_no_key_is_needed_in_ones_own_rooms(tmp_path: Path, monkeypatch) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name)
    for kind in ("openai", "gemini"):
        assert make(quick(LOCAL, tmp_path / "r"), kind).host == "127.0.0.1"


def test_googles_other_name_of_the_key_will_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    make(quick("", tmp_path / "r", external_ok=True), "gemini", "gemini-2.0-flash")


def test_examples_must_mark_all_labels(tmp_path: Path) -> None:
    shown = write_labelled(tmp_path / "x.jsonl", [marked("x", "Has [gout|DISEASE].")])
    teacher = make(quick(LOCAL, tmp_path / "r", examples=shown, n_examples=1))
    assert "Has gout." in teacher.prompt.system
    with pytest.raises(InputError, match=r"x\.jsonl: no short note there marks all of ADE"):
        make(quick(LOCAL, tmp_path / "r", examples=shown, labels=("ADE",)))


@pytest.mark.parametrize(
    "changes", [{"max_cost": math.nan}, {"max_cost": -1.0}, {"max_cost": math.inf}]
    + [{"timeout_s": value} for value in (0.0, -1.0, math.nan, math.inf)],
)  # fmt: skip
def test_what_is_no_number_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected a number of"):
        Asking(**changes)  # type: ignore[arg-type]


def test_a_dry_run_opens_nothing_and_cannot_send(tmp_path: Path) -> None:
    teacher = make(quick(LOCAL, tmp_path / "r", dry_run=True))
    assert not (tmp_path / "r").exists()
    with pytest.raises(ClinEdgeError, match="sends nothing"):
        teacher.ask(marked("a", "Took aspirin.").note)
