"""Mutated files for every reader of a bundle: each must give an object or a refusal, and soon.

    python tests/fuzzing.py --inputs 1000000 --seed 1 -o benchmarks/results/fuzz.json
    python tests/fuzzing.py --reader manifest --seed 1 --only 4711     # one input again

An input follows from seed, reader and number alone. A reader that hangs, runs out of memory or
takes the interpreter with it ends the run; the file named by ``--trace`` then holds the number.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from clin_edge.core.bundle import Bundle
from clin_edge.core.crf import CrfTables
from clin_edge.core.encode import Encoder
from clin_edge.core.errors import BundleError, ClinEdgeError
from clin_edge.core.labelled import labelled_json, read_labelled
from clin_edge.core.manifest import FileFact, parse_manifest
from clin_edge.core.notes import Note
from clin_edge.core.onnx_scan import has_external_data
from clin_edge.core.signing import check_signature, sign
from mutations import mutated
from toy import TYPES, toy_crf, toy_manifest, toy_onnx

SLOW_S = 1.0  # of the processor, which others may share
HANGS_S = 30
LONG_CHARS = 6000  # the longest text among EXTREMES, as an id that a message names
MEMORY_BYTES = 4_000_000_000
NOTE = Note(
    "n", "Started metformin 500 mg; caf\u0065\u0301, naïve 心 \U0001f600\r\n[SEP] no fever.\x00"
)


@dataclass
class Reader:
    """What reads, and files it takes as they are."""

    read: Callable[[bytes], object]
    seeds: list[bytes]
    structured: bool  # JSON, whose values can be exchanged for others

    def changed(self, seed: int, name: str, number: int) -> bytes:
        """Give the input of that number."""
        rng = random.Random(f"{seed} {name} {number}")
        return mutated(rng, self.seeds, structured=self.structured)


@dataclass
class Outcome:
    """What became of a reader's inputs."""

    counts: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    longest: int = -1
    findings: list[dict[str, object]] = field(default_factory=list)


# --- readers -------------------------------------------------------------------------------------


def readers(folder: Path) -> dict[str, Reader]:
    """Every reader, by name; files that need a place are written into ``folder``."""
    facts = {name: FileFact(3, "0" * 64) for name in ("model.bin", "model.xml", "tokenizer.json")}
    manifest = toy_manifest(
        "openvino",
        files=facts,
        scores={"a test": {"int8": {"micro": {"f1": 0.8463, "tp": 8428}}}},
        gate={"notes": 200, "golden_agreement": 0.9931},
        sources=({"name": "invented", "licence": "CC0-1.0"},),
    )
    bundle = Bundle(Path("b"), manifest, {}, "1" * 64)
    secret, public = _key_pair()
    lines = "".join(f"{labelled_json(item)}\n" for item in _labelled(folder)).encode()
    place = folder / "golden.jsonl"

    def golden(raw: bytes) -> object:
        place.write_bytes(raw)
        return read_labelled(place)

    def tokenizer(raw: bytes) -> object:
        encoder = Encoder(raw, max_tokens=16, overlap=4)
        encoded = encoder.encode(NOTE)
        return [encoder.window_ids(encoded, window) for window in encoded.windows]

    def onnx(raw: bytes) -> object:
        if has_external_data(raw):
            raise BundleError("refused")  # as open_bundle does
        return raw

    return {
        "manifest": Reader(
            lambda raw: parse_manifest("m", raw), [manifest.to_json().encode()], True
        ),
        "tokenizer": Reader(tokenizer, tokenizers_json(), True),
        "crf": Reader(
            lambda raw: CrfTables.from_npz(raw, 2 * len(TYPES) + 1), [toy_crf().to_npz()], False
        ),
        "golden": Reader(golden, [lines], True),
        "onnx": Reader(onnx, [toy_onnx()["model.onnx"]], False),
        "signature": Reader(
            lambda raw: check_signature(bundle, raw, public), [sign(bundle, secret)], True
        ),
    }


def _key_pair() -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    return secret, public


def _labelled(folder: Path) -> list[Any]:
    seed = folder / "seed.jsonl"
    entity = {"start": 6, "end": 15, "label": "MEDICATION", "score": 0.9987}
    notes = [
        {"id": "a", "text": "Takes metformin.", "entities": [entity], "marked": list(TYPES)},
        {"id": "b", "text": "Fever, café \U0001f600", "entities": [], "marked": []},
    ]
    seed.write_text("".join(json.dumps(note) + "\n" for note in notes), encoding="utf-8")
    return read_labelled(seed)


def tokenizers_json() -> list[bytes]:
    """Small tokenizers of every kind of model, and of many kinds of other parts."""
    words = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "no", "##ne", "fever", "a", "##a", "é", ".", "5"]
    vocab = {word: i for i, word in enumerate(words)}
    merges = [("n", "o"), ("a", "a")]
    pieces = ["[UNK]", "a", "n", "o", "no", "aa", "Ġ", "<0x00>"]
    letters = {piece: i for i, piece in enumerate(pieces)}
    kinds = [
        models.WordPiece(vocab, unk_token="[UNK]"),
        models.WordLevel(vocab, unk_token="[UNK]"),
        models.BPE(vocab=letters, merges=merges, unk_token="[UNK]", byte_fallback=True),
        models.Unigram([("[UNK]", 0.0), ("▁no", -1.5), ("▁", -2.0), ("a", -3.0)], unk_id=0),
    ]
    cleaners = [
        normalizers.BertNormalizer(),
        normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("a", "b")]),
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.StripAccents()]),
        normalizers.Strip(),
    ]
    splitters = [
        pre_tokenizers.BertPreTokenizer(),
        pre_tokenizers.Split("\\d", "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Metaspace(),
    ]
    framed = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    frames = [framed, framed, processors.ByteLevel(), processors.BertProcessing(("a", 1), ("b", 2))]
    made = []
    for kind, cleaner, splitter, frame in zip(kinds, cleaners, splitters, frames, strict=True):
        tokenizer = Tokenizer(kind)
        tokenizer.normalizer = cleaner
        tokenizer.pre_tokenizer = splitter
        tokenizer.post_processor = frame
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
        tokenizer.enable_padding(length=8)
        tokenizer.enable_truncation(8)
        made.append(tokenizer.to_str().encode())
    return made


# --- runs ----------------------------------------------------------------------------------------


def fuzz(
    reader: Reader,
    name: str,
    numbers: Iterable[int],
    *,
    seed: int,
    before: Callable[[int], object] = lambda _: None,
) -> Outcome:
    """Read the inputs with these numbers; ``before`` is told each number first."""
    outcome = Outcome()
    for number in numbers:
        before(number)
        raw = reader.changed(seed, name, number)
        started = time.process_time()
        try:
            reader.read(raw)
            kind = "read"
        except ClinEdgeError as error:
            kind = "refused"
            if "\n" in str(error) or len(str(error)) > LONG_CHARS:
                kind = "a message of more than a short line"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of tokenizers is no Exception
            kind = type(error).__name__
        took = time.process_time() - started
        if took > outcome.longest_s:
            outcome.longest_s, outcome.longest = took, number
        if took > SLOW_S:
            kind = "slow"
        outcome.counts[kind] += 1
        if kind not in ("read", "refused"):
            outcome.findings.append({"number": number, "kind": kind})
    return outcome


def _guard(trace: Path) -> Callable[[int], object]:
    """Bound memory; give what writes a number to ``trace`` and gives its input ``HANGS_S``."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    trace.write_bytes(bytes(8))
    stream = trace.open("r+b")
    shared = mmap.mmap(stream.fileno(), 8)

    def before(number: int) -> None:
        shared[:] = number.to_bytes(8, "little")
        signal.setitimer(signal.ITIMER_REAL, HANGS_S)  # whose signal ends the process

    return before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=60_000, help="for all readers together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", help="one reader only")
    parser.add_argument("--start", type=int, default=0, help="the first number")
    parser.add_argument("--only", type=int, help="show one input and what becomes of it")
    parser.add_argument("--trace", type=Path, default=Path("fuzz.trace"))
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    args = parser.parse_args()
    import resource  # which Windows lacks; the tests of a slice need it not

    os.environ["RUST_BACKTRACE"] = "0"  # a panic of tokenizers would print a second's worth of it
    in_memory = Path("/dev/shm")
    with TemporaryDirectory(dir=in_memory if in_memory.exists() else None) as folder:
        chosen = {
            name: reader
            for name, reader in readers(Path(folder)).items()
            if args.reader in (None, name)
        }
        if args.only is not None:
            for name, reader in chosen.items():
                raw = reader.changed(args.seed, name, args.only)
                print(raw)
                print(reader.read(raw))
            return
        before = _guard(args.trace)
        each = -(-args.inputs // len(chosen))
        results = {}
        for name, reader in chosen.items():
            started = time.process_time()
            numbers = range(args.start, args.start + each)
            outcome = fuzz(reader, name, numbers, seed=args.seed, before=before)
            signal.setitimer(signal.ITIMER_REAL, 0)
            results[name] = {
                "inputs": each,
                "outcomes": dict(sorted(outcome.counts.items())),
                "findings": outcome.findings[:100],
                "longest_s": round(outcome.longest_s, 4),
                "longest_input": outcome.longest,
                "cpu_s": round(time.process_time() - started, 1),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
            }
            print(name, json.dumps(results[name]), flush=True)
        args.trace.unlink()
    if args.out:
        sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
        from throughput import machine

        told = {
            "machine": {**machine(), "cryptography": version("cryptography")},
            "seed": args.seed,
            "inputs": each * len(results),
            "readers": results,
        }
        args.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    sys.exit(any(result["findings"] for result in results.values()))


if __name__ == "__main__":
    main()
