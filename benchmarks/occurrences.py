"""What a quote's other places are worth: `--occurrences claimed` against `all`.

    python benchmarks/occurrences.py ../shared/data/labelled/bc5cdr/train.jsonl …

Gold entities are quoted as a language model might, three ways (each mention with the four words
before it; each distinct string and label once, with the words before its first mention; the same
without those words), and placed again. Writes strict scores against gold as JSON to stdout.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.score import score
from clin_edge.distill.grounding.ground import Mention, Occurrences, ground

N_NEAR_WORDS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labelled", nargs="+", type=Path, help="labelled notes, as JSONL")
    args = parser.parse_args()
    results = {
        f"{path.parent.name}/{path.stem}": {
            name: {way: measure(gold, quote, way) for way in get_args(Occurrences)}
            for name, quote in QUOTED.items()
        }
        for path in args.labelled
        for gold in [list(read_labelled(path))]
    }
    print(json.dumps(results, indent=2))


def measure(
    gold: Sequence[Labelled],
    quote: Callable[[Labelled], list[Mention]],
    occurrences: Occurrences,
) -> dict[str, Any]:
    """Quote every note's gold, place the quotes again and score the places."""
    placed: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    predicted = {}
    for item in gold:
        found = ground(item.note.text, quote(item), occurrences=occurrences)
        predicted[item.note.id] = found.entities
        placed += found.placed
        dropped += found.dropped
    scores = score(gold, predicted, n_resamples=1).as_dict()
    rows = {"micro": scores["micro"], **scores["labels"]}  # type: ignore[dict-item]
    kept = ("precision", "recall", "f1", "tp", "fp", "fn")
    return {
        "placed": dict(placed),
        "dropped": dict(dropped),
        **{label: {key: row[key] for key in kept} for label, row in rows.items()},  # type: ignore[index]
    }


def every_mention(item: Labelled) -> list[Mention]:
    """Quote each entity with the words before it."""
    text = item.note.text
    mentions = []
    for entity in sorted(item.entities):
        near = " ".join(text[: entity.span.start].split()[-N_NEAR_WORDS:])
        mentions.append(Mention(text[entity.span.start : entity.span.end], entity.label, near))
    return mentions


def once(item: Labelled) -> list[Mention]:
    """Quote each string and label once, where it stands first."""
    first: dict[tuple[str, str], Mention] = {}
    for mention in every_mention(item):
        first.setdefault((mention.quote, mention.label), mention)
    return list(first.values())


def once_alone(item: Labelled) -> list[Mention]:
    """Quote each string and label once, without the words before it."""
    return [Mention(mention.quote, mention.label) for mention in once(item)]


QUOTED = {"every mention": every_mention, "once": once, "once, without near": once_alone}


if __name__ == "__main__":
    main()
