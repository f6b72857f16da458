"""``clin-edge selftest``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clin_edge.core.errors import GateError
from clin_edge.runtime.cli import bundle_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clin_edge.core.bundle import Bundle
    from clin_edge.runtime.selftest import EngineResult, Report

_NAMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


@click.command()
@bundle_argument
@click.option(
    "--engine",
    type=click.Choice(["auto", "openvino", "onnxruntime"]),
    default="auto",
    show_default=True,
    help="What runs the model; auto: everything installed that the bundle is made for.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
def selftest(bundle: Path | None, engine: str, as_json: bool) -> None:
    """Find out whether this machine gives a bundle's right answers, and always the same ones.

    The bundle carries invented notes with the answers that are right. Without BUNDLE, the one that
    comes with the package. Exit code 7 if anything is wrong: do not use the bundle here then.

    \b
    Example:
      clin-edge selftest ./bundle
    """
    from clin_edge.runtime.pipeline import open_default_or
    from clin_edge.runtime.selftest import selftest as run

    opened = open_default_or(bundle)
    report = run(opened, engine)
    if as_json:
        click.echo(json.dumps(_plain(report), indent=2))
    else:
        for line in _screen(report, opened):
            click.echo(line)
    if not report.passed:
        raise GateError(f"{opened.path}: do not use this bundle on this machine{_cure(report)}")


def _screen(report: Report, bundle: Bundle) -> Iterator[str]:
    manifest = bundle.manifest
    yield f"Bundle  {manifest.name} {manifest.version} ({report.bundle}), {manifest.precision}"
    for result in report.engines:
        yield f"Engine  {_NAMES[result.engine]}"
        yield from _lines(result)
    for engine, why in report.not_tried.items():
        yield f"Engine  {_NAMES[engine]}: not tried; {why}"
    said = "reads notes rightly" if report.passed else "does NOT read notes rightly"
    yield f"Result  This machine {said} with this bundle."


def _lines(result: EngineResult) -> Iterator[str]:
    if result.golden:
        golden = result.golden
        yield (
            f"{_word(golden.passed)}  Right answers: {golden.shared:,} of {golden.expected:,} "
            f"in {golden.notes} notes, {golden.found - golden.shared:,} others; agreement "
            f"{golden.agreement:.3f}, needs {golden.needed:.3f}"
        )
    if result.invariance:
        for change in result.invariance.changes:
            line = f"{_word(change.passed)}  Same answers {change.what}"
            if not change.passed:
                line += f": {change.spans_changed} of {result.invariance.notes} notes differ"
            elif change.records_changed:
                line += f"; scores differ in the last decimal in {change.records_changed} notes"
            if change.max_logit_change:
                line += f" (largest change {change.max_logit_change:.2g}, limit 0.0001)"
            yield line
    if result.stopped:
        yield f"{_word(False)}  It stopped: {result.stopped}"


def _word(passed: bool) -> str:
    return "    ok" if passed else "FAILED"


def _cure(report: Report) -> str:
    """Say what is wrong with the first engine that failed, and what to do."""
    failed = next(result for result in report.engines if not result.passed)
    if failed.golden and not failed.golden.passed:
        cure = (
            "; its answers are wrong here, as 8-bit arithmetic can be on a CPU without VNNI. Ask "
            "for a bundle exported with --fp32, or with the overflow fix"
        )
    elif failed.invariance and not failed.invariance.passed:
        cure = (
            "; an answer changes with what else is read beside it, or with the number of threads. "
            "Ask for one exported anew with --int8 or --fp32"
        )
    else:
        cure = "; its model gives no usable answer here. Ask for a bundle exported with --fp32"
    passing = [result.engine for result in report.engines if result.passed]
    return cure + (f", or use --engine {passing[0]}, which passed" if passing else "")


def _plain(value: Any) -> Any:
    """Give the report as JSON values, each verdict with the figures it rests on."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if not hasattr(value, "passed"):
        return value
    fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {"passed": value.passed, **fields}
