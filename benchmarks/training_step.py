"""Times a step of training on this machine's CPU, with and without what makes it shorter, in turn.

    python benchmarks/training_step.py -o benchmarks/results/training-step.json

Each arm is a process of its own: a BERT of 6 x 384 and 30,522 pieces, drawn at random, is given
4,096 tokens a step in windows of one length, and takes AdamW's step by the project's own code.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

N_TOKENS, N_PIECES, N_TAGS = 4096, 30_522, 19
# Name: attention, dropout of all else, whether freed memory is kept.
ARMS = {
    "fused attention, dropout": ("sdpa", 0.1, False),
    "fused attention": ("sdpa", 0.0, False),
    "plain attention": ("eager", 0.0, False),
    "fused attention, memory kept": ("sdpa", 0.0, True),
    "plain attention, memory kept": ("eager", 0.0, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        attention, dropout, kept, length, precision = args.one
        bfloat16, keep = precision == "bfloat16", kept == "True"
        print(step_seconds(attention, float(dropout), int(length), args.steps, keep, bfloat16))
        return
    from throughput import machine

    here, rows = machine(), []
    for precision in args.precision:
        for length in (64, 256):
            taken: dict[str, list[float]] = {name: [] for name in ARMS}
            for _ in range(args.rounds):
                for name, arm in ARMS.items():
                    taken[name].append(in_its_process(*arm, length, precision, args.steps))
            first = next(iter(taken.values()))
            for name, seconds in taken.items():
                times = statistics.median(a / b for a, b in zip(first, seconds, strict=True))
                rows.append(
                    {
                        "precision": precision,
                        "window": length,
                        "arm": name,
                        "tokens_per_s": round(N_TOKENS / statistics.median(seconds)),
                        "times_as_fast_as_the_first": round(times, 2),
                        "seconds": [round(s, 3) for s in seconds],
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
                if args.out:
                    report = {"machine": here, "tokens": N_TOKENS, "steps": rows}
                    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def in_its_process(
    attention: str, dropout: float, kept: bool, length: int, precision: str, steps: int
) -> float:
    arm = [attention, str(dropout), str(kept), str(length), precision]
    command = [sys.executable, __file__, "--steps", str(steps), "--one", *arm]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def step_seconds(
    attention: str, dropout: float, length: int, n_steps: int, keep: bool, bfloat16: bool
) -> float:
    """Give the median of ``n_steps``, after two that are not counted."""
    import torch
    from transformers import BertConfig, BertForTokenClassification

    from clin_edge.distill.memory import keep_freed_memory
    from clin_edge.distill.optimization import mixed_precision, take_step

    if keep:
        keep_freed_memory()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=N_PIECES, hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
        intermediate_size=1536, hidden_dropout_prob=dropout, attention_probs_dropout_prob=0.0,
        num_labels=N_TAGS, attn_implementation=attention,
    )  # fmt: skip
    model = BertForTokenClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    for group in optimizer.param_groups:
        group["scale"] = 1.0
    shape = (N_TOKENS // length, length)
    ids, tags = torch.randint(1000, N_PIECES, shape), torch.randint(N_TAGS, shape)
    seen = torch.ones(shape, dtype=torch.long)
    seen[::2, -length // 16 :] = 0  # some windows are padded
    taken = []
    for _ in range(n_steps + 2):
        began = time.perf_counter()
        with mixed_precision(torch.device("cpu"), bfloat16=bfloat16):
            loss = model(input_ids=ids, attention_mask=seen, labels=tags).loss
        take_step(loss, optimizer, rate=1e-5, clip_norm=1.0)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[2:])


if __name__ == "__main__":
    main()
