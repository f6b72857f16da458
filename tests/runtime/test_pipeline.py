"""The pipeline: a bundle in, entities out; the right engine, or a message that helps."""

from __future__ import annotations

import itertools
import os
import random
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from clin_edge.core.batching import Batch, Session
from clin_edge.core.crf import CRF_FILE
from clin_edge.core.errors import BundleError, MissingInstallError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.predict import Coverage, Predictor
from clin_edge.runtime import Pipeline, pipeline
from clin_edge.runtime.pipeline import open_default_or, open_session
from toy import TYPES, toy_bundle, toy_crf, toy_encoder, toy_logits, toy_scheme

BOTH = ("openvino", "onnxruntime")
TEXTS = (
    "patient takes Metformin for diabetes; denies fever.",
    "chest\r\npain",
    "",
    "no pain",
    " \r\n\t",
    "metformin " * 60,
    "éé fever 🙂 COUGH",
    "Patient with asthma has had cough, rash and chest pain on admission. " * 9,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for both engines."""
    return toy_bundle(tmp_path_factory.mktemp("pipeline") / "b", *BOTH).path


@pytest.fixture(scope="module")
def with_crf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a CRF."""
    files = {CRF_FILE: toy_crf().to_npz()}
    return toy_bundle(tmp_path_factory.mktemp("pipeline") / "crf", *BOTH, files=files).path


@pytest.fixture(scope="module", params=BOTH)
def made(request: pytest.FixtureRequest, folder: Path) -> Pipeline:
    """A pipeline on each engine."""
    return Pipeline.from_bundle(folder, engine=request.param, threads=1)


class Numpy(Session):
    """The toy network without an engine."""

    def run(self, batch: Batch):
        """Logits (B, T, C)."""
        return toy_logits(batch)


def expected(texts: tuple[str, ...], crf=None) -> list[list]:
    predictor = Predictor(toy_encoder(), toy_scheme(), Numpy(), batch_tokens=1, crf=crf)
    return [r.entities for r in predictor.read(Note(str(i), t) for i, t in enumerate(texts))]


def quotes(note: Note, entities: list) -> list[tuple[str, str]]:
    return [(note.text[e.span.start : e.span.end], e.label) for e in entities]


# --- annotate and records ------------------------------------------------------------------------


def test_strings_become_notes_named_by_their_place(made: Pipeline) -> None:
    found = list(made.annotate(TEXTS))
    assert [(note.id, note.text) for note, _ in found] == [(str(i), t) for i, t in enumerate(TEXTS)]
    assert [quotes(*pair) for pair in found[:5]] == [
        [("Metformin", "MEDICATION"), ("diabetes", "DISEASE"), ("fever", "SYMPTOM")],
        [("chest\r\npain", "SYMPTOM")],
        [],
        [("pain", "SYMPTOM")],
        [],
    ]


def test_entities_are_those_of_the_network_run_by_hand(made: Pipeline) -> None:
    assert [entities for _, entities in made.annotate(TEXTS)] == expected(TEXTS)


@pytest.mark.parametrize("engine", BOTH)
def test_a_bundle_s_crf_is_asked(with_crf: Path, engine: str) -> None:
    read = Pipeline.from_bundle(with_crf, engine=engine, threads=1)
    found = [entities for _, entities in read.annotate(TEXTS)]
    assert found == expected(TEXTS, toy_crf())
    assert sum(map(len, found)) > 20
    assert found != expected(TEXTS)


def test_notes_and_strings_may_be_mixed(made: Pipeline) -> None:
    mixed = [Note("a", "fever"), "cough", Note("b", "")]
    assert [note.id for note, _ in made.annotate(mixed)] == ["a", "1", "b"]


@pytest.mark.parametrize("method", ["annotate", "records"])
def test_notes_are_pulled_as_they_are_needed(folder: Path, method: str) -> None:
    pulled = 0

    def endless() -> Iterator[Note]:
        nonlocal pulled
        for i in itertools.count():
            pulled += 1
            yield Note(f"n{i}", "fever")

    lazy = getattr(Pipeline.from_bundle(folder, threads=1, batch_tokens=16), method)(endless())
    assert pulled == 0
    next(lazy)
    assert 0 < pulled < 2000


@pytest.mark.parametrize("head", ["folder", "with_crf"])
def test_answers_do_not_depend_on_batch_size_order_engine_or_threads(head, request) -> None:
    folder = request.getfixturevalue(head)
    notes = [Note(f"n{i}", text) for i, text in enumerate(TEXTS * 3)]
    shuffled = random.Random(1).sample(notes, len(notes))
    settings = [
        {"engine": "openvino", "threads": 1, "batch_tokens": 4096},
        {"engine": "openvino", "threads": 2, "batch_tokens": 1},
        {"engine": "openvino", "threads": 1, "batch_tokens": 37},
        {"engine": "onnxruntime", "threads": 2, "batch_tokens": 4096},
        {"engine": "onnxruntime", "threads": 1, "batch_tokens": 64},
    ]
    answers = set()
    for options, order in zip(settings, [notes, shuffled, notes, shuffled, notes], strict=True):
        read = Pipeline.from_bundle(folder, **options)
        records = {r.note.id: (r.entities, r.coverage) for r in read.records(order)}
        answers.add(tuple(records[note.id] for note in notes))
    assert len(answers) == 1


def test_records_say_what_was_read_and_by_which_bundle(made: Pipeline, folder: Path) -> None:
    notes = [Note(f"n{i}", text) for i, text in enumerate(TEXTS)]
    records = list(made.records(notes))
    assert [record.note for record in records] == notes
    assert {record.bundle for record in records} == {open_default_or(folder).id}
    for record in records:
        n_chars = len(record.note.text)
        n_windows = len(toy_encoder().encode(record.note).windows)
        assert record.coverage == Coverage(n_chars, n_chars, n_windows)
    assert max(record.coverage.windows for record in records) > 5


def test_entities_below_the_score_wanted_go_and_the_others_stay(made: Pipeline) -> None:
    notes = [Note(f"n{i}", text) for i, text in enumerate(TEXTS)]
    everything = [record.entities for record in made.records(notes)]
    assert list(made.records(notes, min_score=0.0)) == list(made.records(notes))
    scores = sorted({e.score for entities in everything for e in entities})
    assert scores[0] < 0.2 < 0.8 < scores[-1] < 1
    for limit in (scores[1], scores[-1], 0.5, 1.0):
        kept = [record.entities for record in made.records(notes, min_score=limit)]
        assert kept == [tuple(e for e in es if e.score >= limit) for es in everything]


def test_a_note_that_is_no_unicode_is_refused(made: Pipeline) -> None:
    with pytest.raises(ValueError, match="lone surrogate") as caught:
        list(made.annotate(["Zebulon \ud800"]))
    assert "Zebulon" not in str(caught.value)


# --- which bundle --------------------------------------------------------------------------------


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place for the default bundle, where none is."""
    monkeypatch.delenv("CLIN_EDGE_BUNDLE", raising=False)
    monkeypatch.setattr(pipeline, "DEFAULT_BUNDLE", tmp_path / "default")
    return tmp_path / "default"


def test_the_path_comes_before_the_environment_and_that_before_the_package(nowhere, monkeypatch):
    place = nowhere.parent
    bundles = {name: toy_bundle(place / name, name=name) for name in ("default", "env", "path")}
    monkeypatch.setenv("CLIN_EDGE_BUNDLE", str(place / "env"))
    assert open_default_or(place / "path").id == bundles["path"].id
    assert open_default_or(str(place / "path")).id == bundles["path"].id
    assert open_default_or(None).id == bundles["env"].id
    monkeypatch.setenv("CLIN_EDGE_BUNDLE", "")
    assert open_default_or(None).id == bundles["default"].id


def test_fast_is_a_name_and_a_folder_called_so_is_a_folder(nowhere, monkeypatch):
    monkeypatch.setattr(pipeline, "FAST_BUNDLE", nowhere.parent / "inside")
    monkeypatch.chdir(nowhere.parent)
    inside, beside = (
        toy_bundle(nowhere.parent / name, name=name).id for name in ("inside", "fast")
    )
    assert open_default_or("fast").id == inside
    assert open_default_or("./fast").id == open_default_or(Path("fast")).id == beside
    monkeypatch.setenv("CLIN_EDGE_BUNDLE", "fast")
    assert open_default_or(None).id == inside


def test_a_default_bundle_that_is_not_there_is_told(nowhere: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle") as caught:
        Pipeline.from_bundle()
    assert str(caught.value).startswith(f"{nowhere}: ")


def test_only_the_packages_own_bundle_may_have_hard_links(nowhere: Path) -> None:
    """Installers link a package's files from their cache."""
    for name in ("default", "other"):
        opened = toy_bundle(nowhere.parent / name)
        os.link(opened.path / "model.bin", nowhere.parent / f"{name}.cache")
    assert open_default_or(None).files
    assert open_default_or(nowhere).files
    with pytest.raises(BundleError, match="hard link"):
        open_default_or(nowhere.parent / "other")


# --- which engine --------------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """A function that makes packages look as if they were not installed."""

    def remove(*packages: str) -> None:
        for name in ("clin_edge.runtime.ov", "clin_edge.runtime.ort"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return remove


def kind(session: object) -> str:
    return {"OpenVinoSession": "openvino", "OrtSession": "onnxruntime"}[type(session).__name__]


@pytest.mark.parametrize("offered", [BOTH, BOTH[::-1], BOTH[:1], BOTH[1:]])
def test_auto_takes_openvino_for_a_float_model_that_offers_it(tmp_path, offered) -> None:
    bundle = toy_bundle(tmp_path / "b", *offered)
    first = BOTH[0] if BOTH[0] in offered else offered[0]
    assert kind(open_session(bundle, engine="auto", threads=1)) == first
    for engine in offered:
        assert kind(open_session(bundle, engine=engine, threads=1)) == engine


@pytest.mark.parametrize("gone", BOTH)
def test_auto_takes_the_other_engine_where_one_is_not_installed(folder, without, gone) -> None:
    without(gone)
    bundle = open_default_or(folder)
    assert kind(open_session(bundle, engine="auto", threads=1)) != gone


@pytest.mark.parametrize(("offered", "asked"), [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])])
def test_an_engine_without_a_model_is_told_with_the_one_to_choose(tmp_path, offered, asked) -> None:
    bundle = toy_bundle(tmp_path / "b", offered)
    with pytest.raises(BundleError) as caught:
        open_session(bundle, engine=asked, threads=1)
    assert str(caught.value) == (
        f"{tmp_path / 'b'}: has no model for {asked}, only for {offered}; choose --engine {offered}"
    )


@pytest.mark.parametrize("engine", ["auto", *BOTH])
def test_engines_that_are_not_installed_are_told_as_the_line_that_cures_it(
    folder, without, engine
) -> None:
    without(*BOTH)
    wanted = BOTH[0] if engine == "auto" else engine
    with pytest.raises(MissingInstallError) as caught:
        open_session(open_default_or(folder), engine=engine, threads=1)
    assert caught.value.exit_code == 5
    message = str(caught.value)
    assert message.startswith(f"{wanted} is not installed; run: pip install ")
    assert "clin-edge" in message


def test_the_line_that_cures_it_names_an_extra_that_there_is(folder, without) -> None:
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if not project.exists():
        pytest.skip("an installed wheel, no project beside it")
    known = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    without(*BOTH)
    for engine in BOTH:
        with pytest.raises(MissingInstallError) as caught:
            open_session(open_default_or(folder), engine=engine, threads=1)
        _, bracket, rest = str(caught.value).partition("clin-edge[")
        assert not bracket or rest.partition("]")[0] in known


# --- a bundle that opens and yet does not fit together -------------------------------------------


@pytest.mark.parametrize("content", [b"", b"{}", b"not JSON", b"\xff"])
def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    toy_bundle(tmp_path / "b", files={"tokenizer.json": content})
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot be read"):
        Pipeline.from_bundle(tmp_path / "b", threads=1)


@pytest.mark.parametrize("content", [b"", b"not a zip", toy_crf().to_npz()[:-1]])
def test_tables_of_a_crf_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    toy_bundle(tmp_path / "b", files={CRF_FILE: content})
    with pytest.raises(BundleError, match=r"crf\.npz: not the tables of a CRF over 7 tags"):
        Pipeline.from_bundle(tmp_path / "b", threads=1)


def test_tables_of_a_crf_that_were_altered_are_refused(tmp_path: Path) -> None:
    opened = toy_bundle(tmp_path / "b", files={CRF_FILE: toy_crf().to_npz()})
    (opened.path / CRF_FILE).write_bytes(toy_crf(constrained=False).to_npz())
    with pytest.raises(BundleError, match=r"crf\.npz: altered"):
        Pipeline.from_bundle(tmp_path / "b", threads=1)


@pytest.mark.parametrize(("max_tokens", "overlap"), [(2, 0), (0, 0), (-1, 0), (16, 14), (16, -1)])
def test_windows_without_room_are_refused(tmp_path: Path, max_tokens, overlap) -> None:
    def make_and_open() -> None:
        toy_bundle(tmp_path / "b", max_tokens=max_tokens, overlap=overlap)
        Pipeline.from_bundle(tmp_path / "b", threads=1)

    with pytest.raises(BundleError, match="have no room"):
        make_and_open()


def test_a_model_with_another_number_of_tags_is_told(tmp_path: Path) -> None:
    toy_bundle(tmp_path / "b", scheme=LabelScheme((*TYPES, "ROUTE")))
    read = Pipeline.from_bundle(tmp_path / "b", threads=1)
    with pytest.raises(
        Exception, match=r"the model gave logits .* expected \(1, 16, 9\)"
    ) as caught:
        list(read.annotate(["Zebulon"]))
    assert "Zebulon" not in str(caught.value)


def test_pipeline_is_all_the_runtime_shows() -> None:
    import clin_edge.runtime as runtime

    assert runtime.__all__ == ["Pipeline"]
    assert runtime.Pipeline is pipeline.Pipeline
    with pytest.raises(AttributeError, match="no attribute 'Pipe'"):
        _ = runtime.Pipe
