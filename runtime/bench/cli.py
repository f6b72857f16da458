"""``clin-edge bench``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from clin_edge.runtime.cli import bundle_argument, engine_option, threads_option


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (value or "").split(","))))


def _pythons(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> dict[str, Path]:
    pairs = [pair.partition("=") for pair in value]
    if any(not name or not path for name, _, path in pairs):
        raise click.BadParameter("expected NAME=PATH, as in optimum-int8=/opt/x/bin/python")
    return {name: Path(path) for name, _, path in pairs}


def _shape(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int] | None:
    if value == "own":
        return None
    match = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,4})", value, re.ASCII)
    if match is None:
        raise click.BadParameter("expected LAYERSxWIDTH, as in 12x768, or own")
    n_layers, width = map(int, match.groups())
    if width % 64 and width % 12:
        raise click.BadParameter("the width must be a multiple of 64 or 12")
    return n_layers, width


@click.command()
@bundle_argument
@click.option(
    "--notes", multiple=True, metavar="NOTES", help="Notes of yours; default: invented ones."
)
@engine_option
@threads_option
@click.option(
    "--against",
    metavar="NAME,…",
    callback=_names,
    help="Others to read the same notes, in turn: transformers, transformers-batched, "
    "optimum-int8, openvino, torch-int8, spacy. What is not installed is skipped.",
)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="NAME=PATH",
    callback=_pythons,
    help="The interpreter of another installation, for one of these.",
)
@click.option(
    "--peer-shape",
    default="12x768",
    show_default=True,
    callback=_shape,
    metavar="LxW|own",
    help="Layers and width of the others' network; own: as the bundle's.",
)
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Write all figures as JSON.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Also draw them: speed, and speed against accuracy.",
)
@click.option(
    "--scores",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="F1 of the others for the picture, as JSON by name.",
)
@click.option(
    "--price-per-core-hour",
    type=click.FloatRange(0, 1e6),
    default=0.05,
    show_default=True,
    help="What a core of this machine costs, in any currency; the default is an assumption.",
)
def bench(
    bundle: Path | None,
    notes: tuple[str, ...],
    engine: str,
    threads: int | None,
    against: tuple[str, ...],
    pythons: dict[str, Path],
    peer_shape: tuple[int, int] | None,
    rounds: int,
    as_json: bool,
    picture: Path | None,
    scores: Path | None,
    price_per_core_hour: float,
) -> None:
    """Measure how fast this machine reads notes with a bundle, in about two minutes.

    Without BUNDLE, the one that comes with the package. Do nothing else on the machine meanwhile.

    \b
    Example:
      clin-edge bench --against transformers,optimum-int8 --json > speed.json
    """
    from clin_edge.runtime.bench.plot import check_plot, known_scores, plot, read_scores
    from clin_edge.runtime.bench.run import BenchOrder, run_bench
    from clin_edge.runtime.bench.screen import screen

    try:
        order = BenchOrder(
            bundle=bundle,
            notes=notes,
            engine=engine,
            threads=threads,
            against=against,
            pythons=pythons,
            peer_shape=peer_shape,
            rounds=rounds,
            price_per_core_hour=price_per_core_hour,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    others = {} if scores is None else read_scores(scores)
    if picture is not None:
        check_plot()
    report = run_bench(order, tell=lambda what: click.echo(f"{what} …", err=True))
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for line in screen(report):
            click.echo(line)
    if picture is not None:
        plot(report, known_scores(report, others), picture)
