"""What a bundle was made of comes out of it again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from clin_edge.cli import clin_edge
from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import InputError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.manifest import Manifest
from clin_edge.distill.student import Student, TorchSession, load_student
from clin_edge.export.calibrate import calibration_batches
from clin_edge.export.openvino import Int8Settings, model_files, quantize_int8, to_openvino
from clin_edge.export.unpack import unpack
from clin_edge.runtime.pipeline import DEFAULT_BUNDLE
from tiny import KINDS, MAX_TOKENS, TYPES, invented_set, tiny_encoder, tiny_student

SOURCES = [{"name": "bert", "licence": "Apache-2.0"}, {"name": "their notes", "licence": "CC0"}]


def learnt_student(folder: Path, kind: str = "bert") -> Student:
    """A student none of whose weights is 0 or 1 any more."""
    student = tiny_student(folder, kind)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return student


def bundle_of(student: Student, model: object, **changes: object) -> Bundle:
    manifest = Manifest("m", "0", LabelScheme(TYPES), MAX_TOKENS, 8, ("openvino",), "fp32", {})
    manifest = replace(manifest, passage_tokens=12, sources=tuple(SOURCES), **changes)
    files = {**model_files(model), "tokenizer.json": student.tokenizer_json}
    return Bundle(Path("box"), manifest, files, "0" * 64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_float_bundle_gives_its_weights_as_they_went_in(kind: str, tmp_path: Path) -> None:
    student = learnt_student(tmp_path / "old", kind)
    again = unpack(bundle_of(student, to_openvino(student)), str(tmp_path / "old"))
    learnt = student.model.state_dict()
    assert again.model.state_dict().keys() == learnt.keys()
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, learnt[name]), name
    assert again.tokenizer_json == student.tokenizer_json
    assert (again.max_tokens, again.overlap, again.passage_tokens) == (MAX_TOKENS, 8, 12)
    assert again.facts == {"unpacked_from": "sha256:000000000000", "learnt_from": SOURCES}


def test_an_int8_bundle_gives_them_but_for_the_rounding(tmp_path: Path) -> None:
    """Undoing SmoothQuant on the way: a forgotten factor would be off by more."""
    student = learnt_student(tmp_path / "old")
    notes = [item.note for item in invented_set(40)]
    batches = calibration_batches(notes, student.encoder)
    model = quantize_int8(to_openvino(student), batches, Int8Settings())
    again = unpack(bundle_of(student, model), str(tmp_path / "old"))
    for name, tensor in student.model.state_dict().items():
        if name.endswith("weight") and tensor.ndim == 2:
            off = (again.model.state_dict()[name] - tensor).abs().max() / tensor.abs().max()
            assert 0 < float(off) < 0.02, name
    for batch in batches[:3]:
        ours, theirs = (TorchSession(s.model).run(batch) for s in (again, student))
        assert np.abs(ours - theirs)[batch.attention_mask == 1].max() < 0.1


def test_an_encoder_of_another_shape_is_refused(tmp_path: Path) -> None:
    student = learnt_student(tmp_path / "old")
    bundle = bundle_of(student, to_openvino(student))
    other = tiny_encoder(tmp_path / "other", "roberta")
    with pytest.raises(InputError, match=r"^box: .* in the bundle; name an encoder of its shape$"):
        unpack(bundle, str(other))
    onnx = replace(bundle, manifest=replace(bundle.manifest, engines=("onnxruntime",)))
    with pytest.raises(InputError, match="has no model for OpenVINO"):
        unpack(onnx, str(tmp_path / "old"))


def test_the_command_says_what_is_wrong_and_writes_nothing(tmp_path: Path) -> None:
    encoder, out = tiny_encoder(tmp_path / "tiny"), tmp_path / "out"
    args = ["unpack", str(DEFAULT_BUNDLE), "--encoder", str(encoder), "-o", str(out)]
    done = CliRunner().invoke(clin_edge, args)
    assert str(done.exception) == f"{encoder}: reads 48 tokens at most, 256 are asked for"
    assert not out.exists()


def test_the_command_writes_a_student_that_can_be_opened(tmp_path: Path, monkeypatch) -> None:
    student = learnt_student(tmp_path / "old")
    bundle = bundle_of(student, to_openvino(student))
    monkeypatch.setattr("clin_edge.runtime.pipeline.open_default_or", lambda _: bundle)
    out = tmp_path / "out"
    args = ["unpack", "--encoder", str(tmp_path / "old"), "-o", str(out)]
    assert CliRunner().invoke(clin_edge, args).exit_code == 0
    assert load_student(out).scheme == LabelScheme(TYPES)
    assert "exists already" in str(CliRunner().invoke(clin_edge, args).exception)
