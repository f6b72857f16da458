"""Adapting an encoder to notes: it learns, and stays an encoder."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM

from clin_edge.core.errors import ClinEdgeError, InputError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.distill import adapt as adapting
from clin_edge.distill.adapt import AdaptSettings, adapt
from clin_edge.distill.masking import Masking, Passage, Passages
from clin_edge.distill.student import new_student
from tiny import DRUGS, KINDS, MAX_TOKENS, TYPES, n_threads, tiny_encoder

SENTENCE = "fever and no cough"
SAME = [Note(f"n{i}", SENTENCE) for i in range(48)]
FEW = [Note(f"n{i}", f"{drug} for stroke") for i, drug in enumerate(DRUGS)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On one thread, so that sums are made in one order."""
    with n_threads(1):
        yield


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("adapt")
    return {kind: str(tiny_encoder(place / kind, kind)) for kind in KINDS}


def tiny_settings(**settings: Any) -> AdaptSettings:
    usual = {"learning_rate": 1e-2, "max_tokens": MAX_TOKENS, "batch_tokens": 128, "seed": 1}
    return AdaptSettings(**{**usual, **settings})


def altered(encoder: str, folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> str:
    """A copy of ``encoder`` whose tensors ``change`` has been at."""
    folder.mkdir()
    for path in Path(encoder).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


# --- it learns -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_the_notes_say_and_stays_an_encoder(
    kind: str, encoders: dict[str, str], tmp_path: Path, caplog, capfd
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    encoder, out = encoders[kind], tmp_path / "deep" / "out"
    facts = adapt(encoder, SAME, out, tiny_settings(epochs=6, held_out=0.1), say=said.append)
    assert [path.name for path in out.parent.iterdir()] == ["out"]

    before, *_, after = facts["held_out"]
    assert (before["epoch"], after["epoch"]) == (0, 6)
    # It knows how often the pieces stand, and nothing else: among some hundred by chance, log 100.
    assert 1.5 < before["loss"] < 3.5
    assert after["accuracy"] > 0.6
    assert after["loss"] < before["loss"] / 2
    assert facts["notes"] + facts["held_out_notes"] == len(SAME)
    assert facts["head_is_new"]
    assert json.loads((out / "adapted.json").read_text()) == facts
    for result in (before, after):
        told = f"loss {result['loss']:.4f}, accuracy {result['accuracy']:.4f}"
        assert any(line.endswith(told) for line in said)

    scheme = LabelScheme(TYPES)
    old, new = (
        new_student(place, scheme, max_tokens=MAX_TOKENS, overlap=8, seed=0)
        for place in (encoder, str(out))
    )
    assert new.tokenizer_json == old.tokenizer_json
    assert (out / "tokenizer.json").read_bytes() == Path(encoder, "tokenizer.json").read_bytes()
    configs = [json.loads(Path(p, "config.json").read_text()) for p in (encoder, str(out))]
    for config in configs:
        del config["architectures"]  # with a head and without
    assert configs[0] == configs[1]
    learnt, given = load_file(out / "model.safetensors"), old.model.base_model.state_dict()
    prefix = AutoModelForMaskedLM.from_pretrained(out).base_model_prefix + "."
    of_encoder = {name.removeprefix(prefix) for name in learnt if name.startswith(prefix)}
    assert of_encoder == given.keys()  # nothing of the encoder left out
    for name, tensor in new.model.base_model.state_dict().items():
        assert torch.equal(tensor, learnt[prefix + name])
        assert tensor.shape == given[name].shape
        assert tensor.ndim == 1 or not torch.equal(tensor, given[name])

    captured = capfd.readouterr()
    everything = "\n".join([*said, caplog.text, captured.out, captured.err, json.dumps(facts)])
    assert not any(word in everything for word in ("fever", "cough"))


def test_in_bfloat16_it_learns_something_else_and_as_well(
    encoders: dict[str, str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(adapting, "bfloat16_is_slow", lambda _: True)
    said: list[str] = []
    last = []
    for name, bfloat16 in (("float", False), ("half", True)):
        settings = tiny_settings(epochs=6, held_out=0.1, bfloat16=bfloat16)
        adapt(encoders["bert"], SAME, tmp_path / name, settings, say=said.append)
        last.append(json.loads((tmp_path / name / "adapted.json").read_text())["held_out"][-1])
    assert sum(line.startswith("bfloat16: this processor only imitates") for line in said) == 1
    assert last[0]["loss"] != last[1]["loss"]
    assert last[1]["accuracy"] > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_the_places_asked_get_the_scores_they_get_among_all(
    kind: str, encoders: dict[str, str]
) -> None:
    model = AutoModelForMaskedLM.from_pretrained(encoders[kind]).eval()
    rng = np.random.default_rng(0)
    windows = [
        Passage(rng.integers(5, 100, n), np.arange(n, dtype=np.int32)) for n in (20, 7, 13, 20)
    ]
    guesser = adapting._Guesser(model, Masking(0.3, 4, np.arange(5, 100), 0), pad_id=0)
    with torch.no_grad():
        scores, right = guesser.guess(windows, [3, 1, 2], epoch=1)
        expected, answers = [], []
        for i in (3, 1, 2):
            shown, chosen = guesser.masking.hide(windows[i], epoch=1, number=i)
            expected.append(model(input_ids=torch.from_numpy(shown)[None]).logits[0][chosen])
            answers += windows[i].ids[chosen].tolist()
    assert right.tolist() == answers
    torch.testing.assert_close(scores, torch.cat(expected))


def test_a_head_that_is_there_is_used(encoders: dict[str, str], tmp_path: Path) -> None:
    torch.manual_seed(3)
    whole = AutoModelForMaskedLM.from_pretrained(encoders["bert"])
    whole.cls.predictions.bias.data[7] = 50.0  # a head of strong opinions
    whole.save_pretrained(tmp_path / "whole")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "whole" / name).write_bytes(Path(encoders["bert"], name).read_bytes())
    facts = adapt(str(tmp_path / "whole"), FEW, tmp_path / "out", tiny_settings(epochs=1))
    assert not facts["head_is_new"]
    assert facts["held_out"][0]["loss"] > 40


@pytest.mark.parametrize("kind", KINDS)
def test_adapted_again_it_goes_on_where_it_stopped(
    kind: str, encoders: dict[str, str], tmp_path: Path
) -> None:
    first = adapt(encoders[kind], SAME, tmp_path / "first", tiny_settings(epochs=3, held_out=0.1))
    place = str(tmp_path / "first")
    again = adapt(place, SAME, tmp_path / "again", tiny_settings(epochs=1, held_out=0.1))
    assert not again["head_is_new"]
    assert again["held_out"][0]["loss"] == pytest.approx(first["held_out"][-1]["loss"], abs=1e-5)


def test_a_new_head_knows_how_often_pieces_stand(encoders: dict[str, str]) -> None:
    model = AutoModelForMaskedLM.from_pretrained(encoders["bert"])
    ids = np.array([7, 7, 7, 9])
    adapting._expect_frequent_pieces(
        model, Passages([Passage(ids, np.arange(4, dtype=np.int32))], 1)
    )
    odds = model.cls.predictions.decoder.bias.detach().exp()
    assert model.cls.predictions.bias is model.cls.predictions.decoder.bias
    torch.testing.assert_close(odds[[7, 9]] / odds[5], torch.tensor([4.0, 2.0]))


def test_a_student_is_an_encoder_whose_head_is_left_behind(
    encoders: dict[str, str], tmp_path: Path
) -> None:
    scheme = LabelScheme(TYPES)
    student = new_student(encoders["bert"], scheme, max_tokens=MAX_TOKENS, overlap=8, seed=3)
    student.save(tmp_path / "student")
    adapt(str(tmp_path / "student"), FEW, tmp_path / "out", tiny_settings(epochs=1))
    adapt(encoders["bert"], FEW, tmp_path / "same", tiny_settings(epochs=1))
    ours, same = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "same"))
    assert ours.keys() == same.keys()
    assert all(torch.equal(ours[name], same[name]) for name in same)


def test_progress_is_told_while_an_epoch_lasts(encoders, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(adapting, "SAY_EVERY_S", -1.0)
    said: list[str] = []
    adapt(encoders["bert"], FEW, tmp_path / "out", tiny_settings(epochs=2), say=said.append)
    steps = [line for line in said if ", step " in line]
    assert steps[0].startswith("epoch 1/2, step 1/")
    assert steps[-1].endswith("about 0 min left")


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("embeddings.word_embeddings.weight"), "1 weights are missing"),
        (lambda t: t.pop("encoder.layer.1.output.dense.bias"), "1 weights are missing"),
    ],
    ids=["no embeddings", "a bias less"],
)
def test_an_encoder_that_lacks_weights_is_refused(
    change: Callable[..., Any], says: str, encoders: dict[str, str], tmp_path: Path
) -> None:
    broken = altered(encoders["bert"], tmp_path / "broken", change)
    with pytest.raises(InputError, match=says) as caught:
        adapt(broken, FEW, tmp_path / "out", tiny_settings())
    assert str(caught.value).startswith(f"{broken}: ")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_without_a_mask_is_refused(encoders: dict[str, str], tmp_path: Path) -> None:
    folder = Path(altered(encoders["bert"], tmp_path / "maskless", lambda _: None))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["mask_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="its tokenizer has no mask token"):
        adapt(str(folder), FEW, tmp_path / "out", tiny_settings())


@pytest.mark.parametrize("what", ["folder", "file"])
def test_an_out_that_exists_is_refused_and_left_alone(
    what: str, encoders: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir() if what == "folder" else out.write_text("mine")
    with pytest.raises(InputError, match=r"out: exists already"):
        adapt(encoders["bert"], FEW, out, tiny_settings())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert what == "folder" or out.read_text() == "mine"


def test_what_cannot_be_learnt_is_refused(encoders: dict[str, str], tmp_path: Path) -> None:
    encoder, out = encoders["bert"], tmp_path / "out"
    with pytest.raises(InputError, match="reads 48 tokens at most"):
        adapt(encoder, FEW, out, tiny_settings(max_tokens=49))
    with pytest.raises(InputError, match="too little text"):
        adapt(encoder, FEW[:1], out, tiny_settings())
    with pytest.raises(InputError, match="not an encoder"):
        adapt("no-such-org/no-such-model", FEW, out, tiny_settings())
    with pytest.raises(ClinEdgeError, match="diverged") as caught:
        adapt(encoder, FEW, out, tiny_settings(learning_rate=1e30, warmup=0.0, epochs=5))
    assert caught.value.exit_code == 1
    assert not out.exists()


@pytest.mark.parametrize(
    "settings",
    [
        *({name: 0} for name in ("epochs", "learning_rate", "mask", "batch_tokens")),
        *({name: -1} for name in ("seed", "held_out", "warmup")),
        *({name: 1.5} for name in ("mask", "held_out", "warmup")),
        {"max_tokens": 2},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        AdaptSettings(**settings)  # type: ignore[arg-type]
