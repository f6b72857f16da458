"""Runs the behavioural suite of tests/behaviour on a bundle: pass rates by kind and capability.

    python benchmarks/behaviour.py BUNDLE -o benchmarks/results/behaviour.json
    python benchmarks/behaviour.py --floors      # the default bundle's floors, for the tests
    python benchmarks/behaviour.py BUNDLE --card # the rates go into its model card

What is tested and how it is judged: docs/behaviour.md. `--floors` sets the rates that the tests
demand of the default bundle: 0.02 or two snippets under those measured, whichever is more, since an
INT8 model may answer a little otherwise on another CPU.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from throughput import machine

from clin_edge.core.bundle import Bundle, open_bundle, write_bundle
from clin_edge.runtime.pipeline import DEFAULT_BUNDLE, Pipeline

# First, since this script and the suite's package bear one name.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from behaviour.checks import FLOORS, MATCHES, run
from behaviour.suite import read_news, read_snippets

CARD = "MODEL_CARD.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", help="a bundle's folder (default: the package's)")
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    parser.add_argument("--labels", nargs="+", help="judge these labels only")
    parser.add_argument("--floors", action="store_true", help=f"write {FLOORS.name} for the tests")
    parser.add_argument("--card", action="store_true", help="add the rates to the bundle's card")
    args = parser.parse_args()
    if args.floors and (args.bundle or args.labels):
        parser.error("--floors are those of the default bundle, with all its labels")
    here = machine()
    pipeline = Pipeline.from_bundle(DEFAULT_BUNDLE if args.floors else args.bundle, threads=1)
    known = pipeline.bundle.manifest.scheme.types
    if not set(args.labels or known) <= set(known):
        parser.error(f"--labels: the bundle has {', '.join(known)}")
    types = [label for label in known if not args.labels or label in args.labels]
    results = run(pipeline, read_snippets(), read_news(), types)
    show(results)
    if args.card:
        add_to_card(open_bundle(pipeline.bundle.path), results)
    if args.out:
        whole = {"machine": here, "bundle": pipeline.bundle.id, **results}
        args.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    if args.floors:
        FLOORS.write_text(json.dumps(floors(results), indent=1) + "\n", encoding="utf-8")


def floors(results: dict[str, Any]) -> dict[str, Any]:
    """Give what is demanded: rates by kind a little lower, false alarms a little higher."""
    return {
        "labels": results["labels"],
        "kinds": {
            kind: {match: round(row[match] - max(0.02, 2 / row["n"]), 3) for match in MATCHES}
            for kind, row in results["kinds"].items()
        },
        "alarms_per_1000_words": round(results["news"]["per_1000_words"] + 1, 2),
    }


def add_to_card(bundle: Bundle, results: dict[str, Any]) -> None:
    """Seal the bundle again, with what it does in the suite in its card, before its limits."""
    card = bundle.files[CARD].decode()
    card = re.sub(r"## Behaviour\n.*?(?=^## )", "", card, flags=re.DOTALL | re.MULTILINE)
    card = card.replace("## Limits\n", f"{behaviour_section(results)}## Limits\n")
    write_bundle(bundle.path, bundle.manifest, {**bundle.files, CARD: card.encode()})


def behaviour_section(results: dict[str, Any]) -> str:
    """Give the section of a model card that says how a bundle behaves."""
    kinds, news, absent = results["kinds"], results["news"], results["absent"]
    rows = [
        f"| {name} | {rates['n']} | {rates['strict']:.2f} | {rates['either']:.2f} |"
        for name, rates in {**kinds, **results["capabilities"]}.items()
    ]
    return "\n".join(
        [
            "## Behaviour",
            "",
            "Shares of short invented snippets that it reads right, each a test of one thing; "
            "first the three kinds of",
            "test, then what is tested. Either: the same with DISEASE and SYMPTOM taken as one.",
            "",
            "| | snippets | right | either |",
            "|---|---:|---:|---:|",
            *rows,
            "",
            f"In {news['words']:,} words of invented news, which name no disease and no drug, it "
            f"marks {news['per_1000_words']} in 1,000 words;",
            f"of {absent['n']} words in snippets that are no entity, {absent['marked']}.",
            "",
            "",
        ]
    )


def show(results: dict[str, Any]) -> None:
    """Print the results as Markdown tables."""
    print(f"Labels judged: {', '.join(results['labels'])}")
    for group, heading in (
        ("kinds", "kind"),
        ("capabilities", "capability"),
        ("spans", "expected span"),
    ):
        print(f"\n| {heading} | n | {' | '.join(MATCHES)} |\n|---|---:|{'---:|' * len(MATCHES)}")
        for name, rates in results[group].items():
            # A bar within a cell would end it.
            cells = [name.replace("|", " or "), f"{rates['n']}"]
            cells += [f"{rates[match]:.3f}" for match in MATCHES]
            print(f"| {' | '.join(cells)} |")
    absent, news = results["absent"], results["news"]
    n_alarms = sum(n for _, _, n in news["alarms"])
    print(f"\nMarked though no entity: {absent['marked']} of {absent['n']}")
    print(
        f"False alarms in non-clinical text: {n_alarms} in {news['words']:,} words, "
        f"{news['per_1000_words']} per 1,000"
    )


if __name__ == "__main__":
    main()
