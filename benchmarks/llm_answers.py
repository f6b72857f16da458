"""Answers of a language model that does not exist: gold entities, quoted with planted errors.

    python benchmarks/llm_answers.py GOLD.jsonl… --seed 1 --omit 0.12 --confuse 0.05 >answers.jsonl

tests/llm_server.py serves them. What was planted is counted on stderr, as JSON, so that it can be
set beside what grounding made of it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path

from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.spans import Entity

CONFUSED = {"DISEASE": "SYMPTOM", "SYMPTOM": "DISEASE", "ROUTE": "DOSAGE", "DOSAGE": "FREQUENCY"}
INVENTED = ("acute idiopathic grumbling", "zorvalastin", "left third elbow pain", "q27h", "9.99 mg")


def answer(item: Labelled, rates: argparse.Namespace, planted: Counter[str]) -> dict[str, object]:
    """Give one line of the server's table; the same note and seed give the same line."""
    rng = random.Random(f"{rates.seed}/{item.note.id}")
    text = item.note.text
    rows: list[dict[str, object]] = []
    once: set[tuple[str, str]] = set()
    for entity in sorted(item.entities):
        start, end, label = entity.span.start, entity.span.end, entity.label
        if rng.random() < rates.omit:
            planted["omitted"] += 1
            continue
        if (text[start:end].casefold(), label) in once and rng.random() < rates.once:
            planted["listed once for all"] += 1
            continue
        once.add((text[start:end].casefold(), label))
        if rng.random() < rates.confuse and label in CONFUSED:
            planted["wrong label"] += 1
            label = CONFUSED[label]
        if rng.random() < rates.shift:
            start, end = shifted(text, entity, rng)
            planted["wrong boundary"] += (start, end) != (entity.span.start, entity.span.end)
        quote = text[start:end]
        if rng.random() < rates.misspell:
            quote, kind = misspelt(quote, rng)
            planted[kind] += 1
        near = " ".join(text[max(start - 40, 0) : start].split()[1:][-4:])
        if rng.random() < rates.unclear:
            planted["no or wrong words before"] += 1
            near = rng.choice(["", "the patient with"])
        fields = {"near": near, "quote": quote, "label": label}
        rows.append({"start": start, "end": end, "item": fields})
        if rng.random() < rates.invent:
            planted["invented"] += 1
            made_up = {"near": near, "quote": rng.choice(INVENTED), "label": label}
            rows.append({"start": start, "end": end, "item": made_up})
    planted["quoted"] += len(rows)
    return {"text": text, "items": rows}


def shifted(text: str, entity: Entity, rng: random.Random) -> tuple[int, int]:
    """Take a word in on the left, or drop the first word."""
    start, end = entity.span.start, entity.span.end
    first, _, rest = text[start:end].partition(" ")
    if rest.strip() and rng.random() < 0.5:
        return start + len(first) + 1, end
    before = text[:start].rstrip()
    word = before.rpartition(" ")[2]
    return (len(before) - len(word), end) if word.isalpha() else (start, end)


def misspelt(quote: str, rng: random.Random) -> tuple[str, str]:
    """Change a quote within or beyond what grounding allows."""
    kind = rng.choice(["case or blanks", "misspelt", "paraphrased"])
    if kind == "case or blanks":
        return quote.upper().replace(" ", "  "), kind
    long_words = [word for word in quote.split() if len(word) > 6 and word.isalpha()]
    if kind == "misspelt" and long_words:
        word = rng.choice(long_words)
        at = rng.randrange(2, len(word) - 1)
        return quote.replace(word, word[:at] + word[at + 1 :], 1), kind
    return f"{quote} of the patient", "paraphrased"


def main() -> None:
    """Write the answers to stdout."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("gold", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    for name in ("omit", "once", "confuse", "shift", "misspell", "unclear", "invent"):
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="RATE")
    rates = parser.parse_args()
    planted: Counter[str] = Counter()
    for path in rates.gold:
        for item in read_labelled(path):
            print(json.dumps(answer(item, rates, planted), ensure_ascii=False))
    print(json.dumps(dict(planted)), file=sys.stderr)


if __name__ == "__main__":
    main()
