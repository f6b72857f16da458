"""All that a recipe has to teach: its sets, invented notes, and what term tables add."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clin_edge.core.labelled import Labelled
from clin_edge.distill.config import Recipe
from clin_edge.distill.dataset import join_sources
from clin_edge.distill.invent import load_grammar
from clin_edge.distill.names import Vary, exchanger, narrower, read_names


def gather(
    recipe: Recipe, data: Path, silver: Sequence[Sequence[Labelled]] = ()
) -> tuple[list[Labelled], Vary | None]:
    """Give the notes to learn from, and what tells them anew in each epoch, if anything does.

    Args:
        recipe: Names sets and term tables, relative to ``data``, and grammars.
        data: Where its paths begin.
        silver: Further labelled notes, a source each.

    Raises:
        InputError: If something it names cannot be read, or is not what it should be.
    """
    settings = recipe.names
    tables = [data / name for name in settings.tables]
    sources = [spec.read(data) * spec.times for spec in recipe.sets]
    items = join_sources([*sources, *silver])
    if settings.narrow:
        items = list(map(narrower(tables, settings.stop), items))
    if not (recipe.invented or settings.exchange):
        return items, None
    names = read_names(tables, recipe.labels, max_words=settings.max_words)
    for spec in recipe.invented:
        grammar = load_grammar(spec.grammar)
        items += (grammar.write(number, names, spec.seed) for number in range(spec.notes))
    if not settings.exchange:
        return items, None
    return items, exchanger(names, settings.exchange, recipe.train.seed)
