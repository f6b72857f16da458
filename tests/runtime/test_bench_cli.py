"""``clin-edge bench`` as a whole, on a toy bundle, against peers that are played."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clin_edge.core.errors import BundleError, InputError, MissingInstallError
from clin_edge.distill.teachers.llm.prices import Prices
from clin_edge.runtime.bench import notes as bench_notes
from clin_edge.runtime.bench import process as bench_process
from clin_edge.runtime.bench import rounds as bench_rounds
from clin_edge.runtime.bench.cli import bench
from clin_edge.runtime.bench.cost import LLM_PRICES, PRICES_DATE, costs
from clin_edge.runtime.bench.run import PEERS, BenchOrder
from toy import toy_bundle

PYTHON_WORDS = ("Error", "Traceback", "None", "True", "False", "{", "nan")
PLAYED = """#!{python}
import json, sys
order = json.loads(sys.stdin.readline())
print(json.dumps({{"ready": {{"versions": {{"fake": "1"}}, "network": "%sx%s" % (
    order["layers"], order["hidden"])}}}}), flush=True)
for line in sys.stdin:
    n = len(json.loads(line)["read"])
    answer = {{"seconds": 2.0 * n, "cpu_s": 2.0 * n, "peak_memory_bytes": 10**9}}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy bundle that says how well it does."""
    scores = {"gold": {"fp32": {"micro": {"f1": 0.75}}}}
    return toy_bundle(tmp_path_factory.mktemp("bench") / "b", scores=scores).path


@pytest.fixture(scope="module")
def measured(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What is said as JSON of a run with as little of everything as makes a report.

    One peer is played: it says that each portion takes it two seconds.
    """
    folder = tmp_path_factory.mktemp("measured")
    played = folder / "played"
    played.write_text(PLAYED.format(python=sys.executable))
    played.chmod(0o755)
    mine = folder / "mine.txt"
    mine.write_text("patient takes secretivir daily for diabetes. " * 8)
    with pytest.MonkeyPatch.context() as patch:
        few = dict.fromkeys(bench_notes.LATENCY_WORDS, 1)
        patch.setattr(bench_notes, "LATENCY_WORDS", few)
        patch.setattr(bench_process, "STARTS", 1)
        patch.setattr(bench_process, "EXTRACTS", 1)
        patch.setattr(bench_rounds, "_PROBE_S", 0.01)
        pythons = ["--python", f"spacy={played}", "--python", "openvino=/nowhere/python"]
        against = ["--against", "spacy,openvino", *pythons]
        return run(bundle, "--notes", mine, "--json", *against)


def run(*args: object) -> Result:
    return CliRunner().invoke(bench, ["--threads", "1", "--rounds", "2", *map(str, args)])


def test_json_has_every_figure_with_its_unit_and_no_path_and_no_text(
    measured: Result, bundle: Path
) -> None:
    assert measured.exception is None
    report = json.loads(measured.stdout)
    figures = report["figures"]
    assert {
        "words_per_s",
        "tokens_per_s",
        "notes_per_s",
        "cpu_s_per_1000_notes",
        "outside_engine_fraction",
        "fraction_of_limit",
        "fraction_of_int8_products",
        "latency_2000_words_p99_s",
        "cold_start_s",
        "cold_start_no_worker_s",
        "extract_words_per_s",
        "extract_peak_memory_bytes",
    } <= set(figures)
    for name, said in figures.items():
        assert 0 <= said["lowest"] <= said["median"] <= said["highest"], name
    assert report["bundle"]["macs_per_token"] == 2 * 8 * 7
    assert report["peers"]["spacy"]["network"] == "12x768"
    times = report["peers"]["spacy"]["figures"]["clin_edge_times_faster"]["median"]
    assert times > 1
    assert report["notes"]["invented"] is False
    assert report["notes"]["words_per_note"] == 48
    for secret in ("secretivir", str(bundle), "mine.txt"):
        assert secret not in measured.output


def test_the_screen_is_for_people(measured: Result, bundle: Path, monkeypatch) -> None:
    report = json.loads(measured.stdout)
    monkeypatch.setattr("clin_edge.runtime.bench.run.run_bench", lambda *_, **__: report)
    result = run(bundle)
    assert result.exception is None
    lines = result.stdout.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 110
    assert not any(word in result.stdout for word in PYTHON_WORDS)
    assert "words/s" in result.stdout
    assert any(line.startswith("openvino") and "cannot be started" in line for line in lines)
    assert any(line.startswith("spacy") and "12x768" in line for line in lines)


@pytest.mark.parametrize(
    "args",
    [
        ["--against", "everything"],
        ["--python", "spacy"],
        ["--python", "other=/x"],
        ["--peer-shape", "12"],
        ["--peer-shape", "12x100"],
        ["--price-per-core-hour", "nan"],
        ["--rounds", "0"],
    ],
)
def test_wrong_usage_is_told_before_anything_is_measured(args: list[str], bundle: Path) -> None:
    result = run(bundle, *args)
    assert result.exit_code == 2


def test_what_cannot_be_read_is_told(bundle: Path, tmp_path: Path) -> None:
    assert isinstance(run(tmp_path / "nowhere").exception, BundleError)
    assert isinstance(run(bundle, "--notes", tmp_path / "nowhere").exception, InputError)
    wrong = tmp_path / "scores.json"
    for content in ("[]", '{"spacy": 2}', '{"spacy": "good"}', "{"):
        wrong.write_text(content)
        assert isinstance(run(bundle, "--scores", wrong).exception, InputError)


def test_a_picture_without_what_draws_it_is_refused_at_once(
    bundle: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(bundle, "--plot", tmp_path / "speed.png")
    assert isinstance(result.exception, MissingInstallError)
    assert "clin-edge[plot]" in str(result.exception)
    assert "preparing notes" not in result.stderr


@pytest.mark.parametrize(
    "wrong", [{"against": ("all",)}, {"pythons": {"all": Path("x")}}, {"rounds": 0}]
)
def test_an_order_that_makes_no_sense_is_refused(wrong) -> None:
    assert BenchOrder(against=PEERS).against == PEERS
    with pytest.raises(ValueError, match=r"expected|is not among"):
        BenchOrder(**wrong)


def test_prices_are_those_the_teachers_know() -> None:
    known = Prices.load()
    assert known.date.isoformat() == PRICES_DATE
    for name, price in LLM_PRICES.items():
        assert (price.read, price.written) == (known.models[name].input, known.models[name].output)


def test_cost_is_time_at_a_price() -> None:
    said = costs(core_s_per_note=3.6, tokens_per_note=1000, price_per_core_hour=0.05)
    assert said["currency_per_million_notes"] == pytest.approx(50)
    models = said["language_models"]
    assert models["gpt-4o"]["usd_per_million_notes_at_least"] == pytest.approx(2500)
