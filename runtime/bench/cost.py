"""What reading notes costs, beside what language models are paid for the same notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PRICE_PER_CORE_HOUR = 0.05  # an assumption, in the currency of the reader's choice

PRICES_DATE = "2026-11-22"
PRICES_SOURCE = "distill/teachers/llm/prices.toml, which names the source of each"


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """USD per million tokens that a model reads, and that it writes."""

    read: float
    written: float


# The same as in PRICES_SOURCE, which this side may not read; a test compares them.
LLM_PRICES = {
    "gpt-4o": TokenPrice(2.5, 10.0),
    "gpt-4o-mini": TokenPrice(0.15, 0.6),
    "o1-mini": TokenPrice(1.1, 4.4),
    "gemini-2.0-flash": TokenPrice(0.1, 0.4),
}

# How many times cheaper than a model its authors found a distilled BioBERT: paper A's own figures,
# of its own notes and machines (PAPERS.md, A5).
PAPER_RATIOS = {"GPT-4o": 85, "o1-mini": 101, "Gemini Flash": 2}
PAPER = "the paper's own ratios, measured on other notes, models and machines"


def costs(
    *, core_s_per_note: float, tokens_per_note: float, price_per_core_hour: float
) -> dict[str, Any]:
    """Give the cost of a million notes here, and the least a language model's reading costs.

    Args:
        core_s_per_note: Seconds a note takes, times the cores that are held for it.
        tokens_per_note: Tokens of a note, as this bundle counts them.
        price_per_core_hour: Of this machine.
    """
    here = core_s_per_note / 3600 * price_per_core_hour * 1e6
    models = {
        # A million notes at a price for a million tokens.
        name: {"usd_per_million_notes_at_least": tokens_per_note * price.read}
        for name, price in LLM_PRICES.items()
    }
    return {
        "price_per_core_hour": price_per_core_hour,
        "currency_per_million_notes": here,
        "language_models": models,
        "language_models_note": (
            "the note's own tokens at the price for reading; the prompt and the answer cost more"
        ),
        "prices_date": PRICES_DATE,
        "prices_source": PRICES_SOURCE,
        "paper_times_cheaper": PAPER_RATIOS,
        "paper_note": PAPER,
    }
