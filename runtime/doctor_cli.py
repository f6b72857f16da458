"""``clin-edge doctor``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from clin_edge.runtime.cli import bundle_option

_COLOURS = {"OK": "green", "ATTENTION": "yellow"}


@click.command()
@bundle_option
@click.option("--json", "as_json", is_flag=True, help="Write all facts as JSON, for monitoring.")
@click.pass_context
def doctor(ctx: click.Context, bundle: Path | None, as_json: bool) -> None:
    """Look this machine over: can it do the work, and if not, what is to be done?

    One screen: processor, memory, engines, bundle, network. Nothing is changed, no connection is
    opened. Exit code 0: ready; 4: the bundle is missing or altered; 5: no engine can run it;
    1: something else needs attention.

    \b
    Example:
      clin-edge doctor --json
    """
    from clin_edge.runtime.doctor import diagnose, screen, to_plain
    from clin_edge.runtime.machine import look_up_machine

    diagnosis = diagnose(look_up_machine(bundle))
    if as_json:
        click.echo(json.dumps(to_plain(diagnosis), indent=2))
    else:
        plain = False if os.environ.get("NO_COLOR") else None  # None: colour on a terminal only
        for mark, text in screen(diagnosis):
            said = click.style(mark, fg=_COLOURS.get(mark))
            click.echo(f"{said}{text}" if mark else text, color=plain)
    ctx.exit(diagnosis.exit_code)
