"""One contract for every engine: the same numbers, alone or in company, in memory of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clin_edge.core.batching import Batch, Session, pad
from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import BundleError
from clin_edge.runtime.pipeline import open_session
from saturating import NOTES, SaturatingNumpy, saturating_bundle
from toy import N_HIDDEN, TOY_MODELS, toy_bundle, toy_encoder, toy_logits, toy_weights

ENGINES = tuple(TOY_MODELS)
N_TAGS = N_HIDDEN - 1
VOCAB = len(toy_weights()["table"])
BUCKETS = (16, 32, 48, 64)

Ids = NDArray[np.int64]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a model for each engine."""
    return toy_bundle(tmp_path_factory.mktemp("sessions") / "b", *ENGINES)


@pytest.fixture(scope="module")
def session(bundle: Bundle, engine: str) -> Session:
    """The engine with the toy network."""
    return open_session(bundle, engine=engine, threads=1)


def batch_of(*windows: Ids, length: int) -> Batch:
    return pad(windows, rows=range(len(windows)), length=length, pad_id=0)


def windows(max_tokens: int = 40) -> st.SearchStrategy[Ids]:
    """A window of ids, at least one token long."""
    ids = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=max_tokens)
    return ids.map(lambda drawn: np.array(drawn, dtype=np.int64))


def bucket(*some: Ids) -> int:
    return next(length for length in BUCKETS if length >= max(map(len, some)))


@given(st.lists(windows(), min_size=1, max_size=6))
def test_logits_are_those_of_numpy(session: Session, drawn: list[Ids]) -> None:
    batch = batch_of(*drawn, length=bucket(*drawn))
    logits = session.run(batch)
    assert logits.shape == (*batch.input_ids.shape, N_TAGS)
    assert logits.dtype == np.float32
    real = batch.attention_mask == 1
    assert logits[real].tolist() == toy_logits(batch)[real].tolist()


@given(
    window=windows(),
    others=st.lists(windows(16), max_size=5),
    at=st.integers(0, 5),
    length=st.sampled_from(BUCKETS),
)
def test_a_window_gets_the_same_logits_in_any_company(session, window, others, at, length) -> None:
    """Exactly: alone, in any batch, at any place in it, at any padding."""
    alone = session.run(batch_of(window, length=len(window)))[0]
    place = min(at, len(others))
    company = [*others[:place], window, *others[place:]]
    together = session.run(batch_of(*company, length=max(length, bucket(window))))
    assert together[place, : len(window)].tobytes() == alone.tobytes()


def test_what_ids_stand_in_the_padding_means_nothing(session: Session) -> None:
    window = np.array([5, 60, 7], dtype=np.int64)
    clean = batch_of(window, length=16)
    ids = clean.input_ids.copy()
    ids[clean.attention_mask == 0] = VOCAB - 1
    dirty = Batch(ids, clean.attention_mask, clean.rows)
    assert session.run(dirty)[0, :3].tobytes() == session.run(clean)[0, :3].tobytes()


def test_a_second_answer_leaves_the_first_as_it_was(session: Session) -> None:
    one = batch_of(np.arange(10), np.arange(3), length=16)
    other = batch_of(np.arange(20, 30), np.arange(7), length=16)
    first = session.run(one)
    before = first.copy()
    second = session.run(other)
    assert first.tobytes() == before.tobytes()
    assert not np.shares_memory(first, second)
    first[:] = -1
    assert session.run(one).tobytes() == before.tobytes()


def test_a_run_leaves_its_batch_as_it_was(session: Session) -> None:
    batch = batch_of(np.arange(9), np.arange(4), length=16)
    ids, mask = batch.input_ids.copy(), batch.attention_mask.copy()
    logits = session.run(batch)
    logits[:] = 0
    assert batch.input_ids.tobytes() == ids.tobytes()
    assert batch.attention_mask.tobytes() == mask.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_batches_under_way_together_are_answered_each_for_itself(
    bundle: Bundle, engine: str, threads: int
) -> None:
    session = open_session(bundle, engine=engine, threads=threads)
    rng = np.random.default_rng(threads)
    asked = [
        batch_of(*rng.integers(0, VOCAB, (rows, 48)), length=48) for rows in (4, 1, 2, 4, 1, 7, 4)
    ]
    pending = [session.start(batch) for batch in asked]
    for place in rng.permutation(len(asked)):  # asked for in whatever order
        assert pending[place]().tolist() == toy_logits(asked[place]).tolist()
    assert session.at_once == {"openvino": {1: 1, 3: 5}.get(threads, 4)}.get(engine, 1)


def test_shapes_may_change_from_run_to_run(session: Session) -> None:
    for n_rows, length in [(1, 16), (7, 16), (1, 64), (3, 1), (2, 48), (1, 16)]:
        batch = batch_of(*[np.arange(length)] * n_rows, length=length)
        assert session.run(batch).tolist() == toy_logits(batch).tolist()


def test_ids_need_not_lie_together_in_memory(session: Session) -> None:
    whole = np.arange(64, dtype=np.int64).reshape(4, 16)
    ids = whole[::2, ::2]
    batch = Batch(ids, np.ones_like(whole)[::2, ::2], (0, 1))
    assert session.run(batch).tolist() == toy_logits(batch).tolist()


def test_answers_do_not_depend_on_the_number_of_threads(bundle: Bundle, engine: str) -> None:
    rng = np.random.default_rng(1)
    drawn = [rng.integers(0, VOCAB, rng.integers(1, 65)) for _ in range(40)]
    batch = batch_of(*drawn, length=64)
    sessions = [open_session(bundle, engine=engine, threads=n) for n in (1, 2, 3, 5)]
    assert len({session.run(batch).tobytes() for session in sessions}) == 1


def test_engines_agree_to_the_last_bit(bundle: Bundle) -> None:
    batch = batch_of(np.arange(40), np.arange(5), length=48)
    answers = {open_session(bundle, engine=e, threads=1).run(batch).tobytes() for e in ENGINES}
    assert len(answers) == 1


# --- models that are none ------------------------------------------------------------------------

XML = b'<?xml version="1.0"?>'
MAIN_FILE = {"openvino": "model.xml", "onnxruntime": "model.onnx"}
ENGINE_NAME = {"openvino": "OpenVINO", "onnxruntime": "onnxruntime"}
NO_MODEL = {
    "openvino": {
        "empty": {"model.xml": b""},
        "noise": {"model.xml": bytes(range(256))},
        "no graph": {"model.xml": XML},
        "another format": {"model.xml": XML + b"<html>no model</html>"},
        "no inputs": {"model.xml": XML + b"<net name='x' version='11'></net>"},
        "no weights": {"model.bin": b""},
        "few weights": {"model.bin": b"\0" * 100},
    },
    "onnxruntime": {
        "empty": {"model.onnx": b""},
        "noise": {"model.onnx": bytes(range(256))},
        "no graph": {"model.onnx": b"\x08\x08"},
        "another format": {"model.onnx": XML + b"<html>no model</html>"},
        "no inputs": {"model.onnx": b"\x08\x08\x3a\x00"},
    },
}
ALL_OF_NO_MODEL = [(engine, defect) for engine, defects in NO_MODEL.items() for defect in defects]


def refusal(bundle: Bundle, engine: str, files: dict[str, bytes]) -> str:
    """What is said of a bundle that lists these files: one line, about the bundle."""
    odd = replace(bundle, files={**bundle.files, **files})
    with pytest.raises(BundleError) as caught:
        open_session(odd, engine=engine, threads=1)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    said = str(caught.value)
    assert said.startswith(f"{bundle.path}: ")
    assert "\n" not in said
    return said


@pytest.mark.parametrize(("engine_", "defect"), ALL_OF_NO_MODEL)
def test_a_file_that_is_no_model_is_refused(bundle: Bundle, engine_, defect) -> None:
    """It may be what the manifest lists and still be nothing that an engine can run."""
    said = refusal(bundle, engine_, NO_MODEL[engine_][defect])
    assert f"{ENGINE_NAME[engine_]} cannot use its model" in said or "its model takes []" in said


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_model_cut_short_is_refused(bundle: Bundle, engine: str, share: float) -> None:
    name = MAIN_FILE[engine]
    whole = bundle.files[name]
    said = refusal(bundle, engine, {name: whole[: int(share * len(whole))]})
    assert f"{ENGINE_NAME[engine]} cannot use its model" in said


@pytest.mark.parametrize(
    ("ours", "theirs"), [(b"attention_mask", b"token_type_ids"), (b"logits", b"answer")]
)
def test_a_model_with_other_ports_is_refused_before_any_work(
    bundle: Bundle, engine: str, ours: bytes, theirs: bytes
) -> None:
    """Names of the same length, so that the file stays well-formed in either format."""
    assert len(ours) == len(theirs)
    name = MAIN_FILE[engine]
    renamed = bundle.files[name].replace(ours, theirs)
    said = refusal(bundle, engine, {name: renamed})
    assert theirs.decode() in said
    assert "expected ['attention_mask', 'input_ids'] and 'logits'" in said


# --- CPUs without VNNI ---------------------------------------------------------------------------


def test_onnxruntime_does_not_overflow_even_if_weights_need_all_8_bits(tmp_path: Path) -> None:
    """OpenVINO has no such switch: there, `selftest` is what finds it out."""
    bundle = saturating_bundle(tmp_path / "b", "onnxruntime", "disable")
    encoder = toy_encoder()
    encoded = encoder.encode(NOTES[0])
    ids = [encoder.window_ids(encoded, window) for window in encoded.windows]
    batch = pad(ids, rows=range(len(ids)), length=16, pad_id=0)
    wanted = SaturatingNumpy().run(batch)
    logits = open_session(bundle, engine="onnxruntime", threads=1).run(batch)
    assert wanted.max() == 32
    assert np.abs(logits - wanted).max() < 4
