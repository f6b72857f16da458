"""A bundle's model keeps its tensor data inside, and is of the kind that its name says."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from bundle_changes import list_as_it_is, refusal
from toy import toy_bundle, toy_onnx_proto


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good bundle for both engines."""
    return toy_bundle(tmp_path / "b", "openvino", "onnxruntime", files={"docs/x.md": b""}).path


@pytest.fixture
def with_data_elsewhere(tmp_path: Path) -> bytes:
    """A model that onnx itself wrote with its weights in a file beside it."""
    path = tmp_path / "saved" / "model.onnx"
    path.parent.mkdir()
    onnx.save(
        toy_onnx_proto(), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    return path.read_bytes()


@pytest.mark.parametrize("beside", [True, False])
def test_an_onnx_model_with_data_in_another_file_is_refused(folder, with_data_elsewhere, beside):
    """Also where that file is listed in the manifest: the engine would read it a second time."""
    if beside:
        (folder / "w.bin").write_bytes(b"0" * 10_000)
        list_as_it_is(folder, "w.bin")
    (folder / "model.onnx").write_bytes(with_data_elsewhere)
    list_as_it_is(folder, "model.onnx")
    assert refusal(folder) == "model.onnx: refers to tensor data in another file, or is no ONNX"


def test_an_onnx_file_that_is_no_model_is_looked_into_too(folder, with_data_elsewhere) -> None:
    (folder / "docs/extra.onnx").write_bytes(with_data_elsewhere)
    list_as_it_is(folder, "docs/extra.onnx")
    assert refusal(folder).startswith("docs/extra.onnx: refers to tensor data")


def test_bytes_that_are_no_onnx_are_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(bytes(range(255, 0, -1)))
    list_as_it_is(folder, "model.onnx")
    assert refusal(folder).endswith("or is no ONNX")


def test_an_onnx_model_under_the_name_of_an_openvino_one_is_refused(folder, with_data_elsewhere):
    """OpenVINO looks at the content: it would read it as ONNX, and the data it refers to."""
    (folder / "model.xml").write_bytes(with_data_elsewhere)
    list_as_it_is(folder, "model.xml")
    assert refusal(folder).startswith("model.xml: ")
