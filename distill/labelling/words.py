"""What labelling did or would do, in lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from clin_edge.distill.labelling.files import Tally
from clin_edge.distill.teachers.llm.teacher import Plan


def tally_words(out: Path, name: str, tally: Tally) -> Iterator[str]:
    """Yield the lines about one teacher."""
    found = ", ".join(f"{n:,} {label}" for label, n in sorted(tally.entities.items()))
    yield f"{out / name}.jsonl: {found or 'nothing'}"
    if tally.placed or tally.dropped:
        line = f"  quotes placed: {_counted(tally.placed)}"
        yield line + (f"; dropped: {_counted(tally.dropped)}" if tally.dropped else "")
    if tally.spent.replies:
        spent, now = tally.spent, tally.now
        yield (
            f"  {spent.replies:,} replies, {spent.usage.total:,} tokens, ${spent.cost:,.4f}; "
            f"of that in this run {now.replies:,} replies, ${now.cost:,.4f}"
        )
        if now.uncounted:
            yield f"  {now.uncounted:,} replies without a count are taken at the most they can be"
    if tally.set_aside:
        listed = out / "quarantine" / f"{name}.jsonl"
        reasons = _counted(tally.set_aside)
        n_aside = tally.set_aside.total()
        n_notes = tally.labelled + n_aside
        yield f"  {n_aside:,} of {n_notes:,} notes set aside, see {listed}: {reasons}"


def plan_words(plans: Mapping[str, tuple[str, Plan]]) -> Iterator[str]:
    """Yield the lines about what would be sent."""
    if not plans:
        yield "nothing would be sent: no teacher is a language model"
    for name, (host, plan) in plans.items():
        yield (
            f"{name}: {plan.questions - plan.kept:,} requests to {host}, "
            f"{plan.kept:,} answered before; "
            f"about {plan.tokens:,} tokens and ${plan.cost:,.4f}, at most ${plan.most:,.4f} "
            "if no answer is broken"
        )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in counts.most_common()) or "none"
