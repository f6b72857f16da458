"""transformers' token-classification pipeline: as it is, in INT8 by torch, in INT8 by optimum."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from clin_edge.export.peers.reading import Found, Peer
from clin_edge.runtime.processor import processor


def random_model(order: dict[str, Any]) -> tuple[Any, Any]:
    """Give a BERT tagger of the shape ordered, with random weights, and its tokenizer.

    The feed-forward width is four times the model's; there are 12 heads, or one for 64 of the width
    where 12 do not fit: as published BERTs, MiniLMs and TinyBERTs have it.
    """
    from tokenizers import Tokenizer

    raw = Tokenizer.from_file(order["tokenizer"])
    raw.no_truncation()
    raw.no_padding()
    build: Any = transformers.PreTrainedTokenizerFast
    tokenizer = build(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=order["max_tokens"],
    )
    hidden, tags = order["hidden"], order["tags"]
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=order["layers"],
        num_attention_heads=12 if hidden % 12 == 0 else hidden // 64,
        intermediate_size=4 * hidden,
        max_position_embeddings=order["max_tokens"],
        id2label=dict(enumerate(tags)),
        label2id={tag: i for i, tag in enumerate(tags)},
    )
    torch.set_num_threads(order["threads"])
    torch.manual_seed(0)
    model: Any = transformers.BertForTokenClassification(config)
    model.eval()
    with torch.no_grad():
        model.classifier.bias[tags.index("O")] = 100.0
    return model, tokenizer


def transformers_pipeline(order: dict[str, Any], *, batch_size: int, int8: bool = False) -> Peer:
    """Load the pipeline in float32, or with linear layers quantised by torch, dynamically."""
    model, tokenizer = random_model(order)
    if int8:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather have torchao used
            quantize: Any = torch.ao.quantization.quantize_dynamic
            model = quantize(model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return Peer(_finder(model, tokenizer, order, batch_size), versions, _shape(order))


def optimum_pipeline(order: dict[str, Any]) -> Peer:
    """Load the pipeline on onnxruntime, exported and dynamically quantised by optimum."""
    import onnxruntime
    from optimum.onnxruntime import ORTModelForTokenClassification, ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    model, tokenizer = random_model(order)
    folders = {name: Path(order["folder"], "optimum", name) for name in ("torch", "onnx", "int8")}
    model.save_pretrained(folders["torch"])
    tokenizer.save_pretrained(folders["torch"])
    ORTModelForTokenClassification.from_pretrained(folders["torch"], export=True).save_pretrained(
        folders["onnx"]
    )
    has_vnni = processor().instructions.get("AVX512-VNNI")
    settings = AutoQuantizationConfig.avx512_vnni if has_vnni else AutoQuantizationConfig.avx2
    ORTQuantizer.from_pretrained(folders["onnx"]).quantize(
        save_dir=folders["int8"], quantization_config=settings(is_static=False, per_channel=False)
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = order["threads"]
    options.inter_op_num_threads = 1
    quantised = ORTModelForTokenClassification.from_pretrained(
        folders["int8"], file_name="model_quantized.onnx", session_options=options
    )
    from importlib.metadata import version

    versions = {
        "optimum-onnx": version("optimum-onnx"),
        "onnxruntime": onnxruntime.__version__,
        "transformers": transformers.__version__,
    }
    return Peer(_finder(quantised, tokenizer, order, 1), versions, _shape(order))


def _finder(model: Any, tokenizer: Any, order: dict[str, Any], batch_size: int) -> Any:
    pipeline = transformers.pipeline(
        "token-classification",
        model=model,
        tokenizer=tokenizer,
        aggregation_strategy="simple",
        stride=order["overlap"],
        device="cpu",
    )

    def find(texts: Sequence[str]) -> Iterable[Found]:
        found: Iterable[Found] = pipeline(list(texts), batch_size=batch_size)
        return found

    return find


def _shape(order: dict[str, Any]) -> str:
    return f"{order['layers']}x{order['hidden']}"
