"""What one reply of a language model used, in tokens."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TOKENS = 1 << 53  # more is no count, and no database or JSON reader holds it exactly


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them.

    ``input`` includes ``cached`` (read from the server's own cache, which is cheaper); ``output``
    includes ``reasoning`` (thought but not shown, billed like the rest).
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        if not (
            0 <= self.cached <= self.input <= MAX_TOKENS
            and 0 <= self.reasoning <= self.output <= MAX_TOKENS
        ):
            raise ValueError("needs 0 <= cached <= input and 0 <= reasoning <= output")

    def __add__(self, other: Usage) -> Usage:
        """Count two replies together."""
        return Usage(
            self.input + other.input,
            self.cached + other.cached,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )

    @property
    def total(self) -> int:
        """Tokens in both directions."""
        return self.input + self.output
