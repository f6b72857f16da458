"""The ``clin-edge`` command: thin. It adds each side's commands and turns errors into one line."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clin_edge import __version__
from clin_edge.core.errors import ClinEdgeError
from clin_edge.distill.adapt_cli import adapt
from clin_edge.distill.cli import distill
from clin_edge.distill.labelling.cli import label
from clin_edge.distill.merging.cli import merge, why
from clin_edge.distill.mix_cli import mix
from clin_edge.export.cli import evaluate, export
from clin_edge.export.unpack_cli import unpack
from clin_edge.runtime.bench.cli import bench
from clin_edge.runtime.cli import demo, verify
from clin_edge.runtime.diff_cli import diff
from clin_edge.runtime.doctor_cli import doctor
from clin_edge.runtime.extract_cli import extract
from clin_edge.runtime.selftest_cli import selftest

if TYPE_CHECKING:
    from clin_edge.distill.soft import SoftTeacher

INTERRUPTED = 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    commands=[
        *(extract, demo, verify, selftest, diff, doctor, bench),
        *(label, merge, why, adapt, distill, mix, export, unpack, evaluate),
    ],
)
@click.version_option(__version__, prog_name="clin-edge")
def clin_edge() -> None:
    """Find medications, diseases and symptoms in clinical notes, on this machine's CPU.

    \b
    Example:
      clin-edge extract notes/ -o found.jsonl
    """
    # Warnings go to stderr as plain lines; nothing below ever logs a note's text.
    logging.basicConfig(level=logging.WARNING, format="clin-edge: %(message)s", force=True)


def main(args: list[str] | None = None) -> None:
    """Run the command and leave the process with its exit code; see ``core.errors``."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a Windows console may speak cp1252; notes are UTF-8
            reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = clin_edge.main(
            args, prog_name="clin-edge", standalone_mode=False, obj=_open_bundle_to_teach
        )
    except ClinEdgeError as error:
        _drop_stdout_if_full()
        _leave(str(error), error.exit_code)
    except click.exceptions.Abort:
        _leave("stopped", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to say, and nobody to say it to.
        _drop_stdout()
        sys.exit(1)
    except Exception as error:
        if os.environ.get("CLIN_EDGE_DEBUG"):
            raise
        # The message of a foreign exception may quote a note: only its kind and place are shown.
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        _leave(
            f"unexpected {type(error).__name__} at {place}; this is a defect, please report it "
            "(CLIN_EDGE_DEBUG=1 shows more, and may show note text)",
            ClinEdgeError.exit_code,
        )
    sys.exit(code if isinstance(code, int) else 0)


def _open_bundle_to_teach(folder: Path) -> SoftTeacher:
    """Let ``distill`` follow bundles, though its side knows nothing of the runtime."""
    from clin_edge.export.bundle_teacher import bundle_teacher

    return bundle_teacher(folder)


def _drop_stdout_if_full() -> None:
    """Keep Python from complaining, on leaving, about output that stdout cannot take."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()


def _drop_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(message: str, code: int) -> None:
    click.echo(f"clin-edge: {message}", err=True)
    sys.exit(code)
