"""How far the work is, on stderr: a line that renews itself for people, JSON lines for monitors."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from clin_edge.runtime.extract import Tally

_EVERY_S = 1.0


class Progress:
    """Shows tallies; quiet until the end where nobody watches."""

    def __init__(self, *, live: bool | None, as_json: bool) -> None:
        """Begin now; by default (``live`` None) a terminal is shown progress, nothing else is."""
        self._live = sys.stderr.isatty() if live is None else live
        self._as_json = as_json
        if as_json:
            for handler in logging.root.handlers:
                handler.setFormatter(_JsonLines())
        self._started = self._said = time.monotonic()

    def tell(self, tally: Tally) -> None:
        """Show how far the work is, at most once a second."""
        now = time.monotonic()
        if now - self._said < _EVERY_S or not (self._live or self._as_json):
            return
        self._said = now
        facts = self._facts(tally)
        if self._as_json:
            self._put({"event": "progress", **facts})
            return
        of = f" of {tally.total:,}" if tally.total else ""
        left = f", {_duration(facts['left_s'])} left" if "left_s" in facts else ""
        click.echo(
            f"\r{tally.notes:,}{of} notes, {facts['notes_per_s']:,.1f} notes/s, "
            f"{facts['words_per_s']:,.0f} words/s{left}   ",
            err=True,
            nl=False,
        )

    def end(self, tally: Tally) -> None:
        """Say what it came to."""
        facts = self._facts(tally)
        if self._as_json:
            self._put({"event": "done", "every_character_read": True, **facts})
            return
        before = f" ({tally.before:,} of them by an earlier run)" if tally.before else ""
        aside = f"; {tally.aside:,} set aside" if tally.aside else ""
        click.echo(
            f"{chr(13) if self._live else ''}{tally.notes:,} notes{before}, {tally.words:,} words, "
            f"{tally.entities:,} entities in {facts['took_s']:.1f} s "
            f"({facts['words_per_s']:,.0f} words/s); every character was read{aside}",
            err=True,
        )

    def fail(self, message: str, exit_code: int) -> None:
        """Say as JSON that the work ended with an error."""
        self._put({"event": "error", "message": message, "exit_code": exit_code})

    def _facts(self, tally: Tally) -> dict[str, Any]:
        took_s = max(time.monotonic() - self._started, 1e-9)
        n_new = tally.notes - tally.before
        new_words = tally.words - tally.words_before
        facts = {
            "notes": tally.notes,
            "notes_before": tally.before,
            "words": tally.words,
            "entities": tally.entities,
            "set_aside": tally.aside,
            "took_s": round(took_s, 3),
            "notes_per_s": round(n_new / took_s, 2),
            "words_per_s": round(new_words / took_s, 1),
        }
        if tally.total:
            facts["of"] = tally.total
            if n_new:
                facts["left_s"] = round(took_s / n_new * (tally.total - tally.notes), 1)
        return facts

    def _put(self, event: Mapping[str, Any]) -> None:
        click.echo(json.dumps(dict(event)), err=True)


class _JsonLines(logging.Formatter):
    """Warnings, none of which holds a note's text, as JSON lines."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"event": "warning", "message": record.getMessage()})


def _duration(seconds: float) -> str:
    """Write a time as people say it.

    >>> _duration(42), _duration(60 * 7), _duration(3600 * 26 + 60 * 5)
    ('42 s', '7 min', '26 h 5 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
