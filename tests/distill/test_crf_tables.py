"""The chain's weights: how they begin, how they travel, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clin_edge.core.crf import CrfTables, find_entities
from clin_edge.core.encode import Encoded
from clin_edge.core.labels import LabelScheme
from clin_edge.core.spans import Span
from clin_edge.distill.crf import Chains, Crf

SCHEME = LabelScheme(("A", "B"))


def test_a_crf_begins_small_and_by_the_seed() -> None:
    def new() -> Crf:
        torch.manual_seed(5)
        return Crf(LabelScheme(tuple("abcdefghi")), constrained=False)

    first, again = new(), new()
    weights = torch.cat([p.flatten() for p in first.parameters()])
    assert weights.numel() == 399
    assert -0.1 <= weights.min() < -0.08 < 0.08 < weights.max() <= 0.1
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    assert sorted(first.state_dict()) == ["end", "start", "transitions"]


def test_tables_go_round() -> None:
    first, second = Crf(SCHEME, constrained=True), Crf(SCHEME, constrained=True)
    tables = first.tables(first_pieces=True)
    assert (tables.first_pieces, tables.constrained) == (True, True)
    assert {t.dtype for t in (tables.transitions, tables.start, tables.end)} == {np.dtype("f4")}
    second.load(CrfTables.from_npz(tables.to_npz(), len(SCHEME.tags)))
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    first.transitions.data.zero_()
    assert np.any(tables.transitions), "tables are a copy, not a view of weights that still move"


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_the_runtime_finds_what_scores_best_here_with_the_chance_it_has_here(
    seed: int, constrained: bool, first_pieces: bool
) -> None:
    torch.manual_seed(seed)
    crf = Crf(SCHEME, constrained=constrained)
    for p in crf.parameters():
        p.data.normal_()
    n, n_tags = int(torch.randint(1, 4, ())), len(SCHEME.tags)
    logits, opens = 2 * torch.randn(n, n_tags), torch.rand(n) < 0.6
    opens[0] = True
    offsets = np.stack([np.arange(n), np.arange(n) + 1], axis=1)
    note = Encoded("n", n, np.zeros(n, dtype=np.int64), offsets, opens.numpy(), ())

    units = opens if first_pieces else torch.ones(n).bool()
    every = torch.tensor([*itertools.product(range(n_tags), repeat=int(units.sum()))])
    row = torch.ones(len(every)).bool()
    chains = Chains(torch.ones_like(every).bool(), opens[units].expand(len(every), -1), row, row)
    scores = crf.score(logits[units].expand(len(every), -1, -1), every, chains).double()
    chances = torch.softmax(scores, dim=0)
    is_unit = units.numpy()
    total: dict[tuple[Span, str], float] = {}
    found = []
    for path, chance in zip(every.numpy(), chances.tolist(), strict=True):
        tags = path[np.cumsum(is_unit) - 1]
        tags = np.where(~is_unit & (tags % 2 == 1), tags + 1, tags)  # B goes on as I
        spans = [(span, label) for span, label, _ in SCHEME.spans(tags, offsets)]
        for place in spans:
            total[place] = total.get(place, 0.0) + chance
        if chance == chances.max().item():
            found = spans

    tables = crf.tables(first_pieces=first_pieces)
    (entities,) = find_entities([(note, logits.numpy())], tables, SCHEME)
    assert [(e.span, e.label) for e in entities] == found
    assert [e.score for e in entities] == pytest.approx([total[f] for f in found], abs=1e-5)


def test_tables_of_another_kind_are_refused() -> None:
    tables = Crf(SCHEME, constrained=True).tables(first_pieces=False)
    with pytest.raises(ValueError, match="constrained True; expected 5, False"):
        Crf(SCHEME, constrained=False).load(tables)
    with pytest.raises(ValueError, match="tables of 5 tags"):
        Crf(LabelScheme(("A",)), constrained=True).load(tables)


def test_what_is_no_batch_of_chains_is_refused() -> None:
    mask, row = torch.ones(2, 3).bool(), torch.ones(2).bool()
    gap = mask.clone()
    gap[0, 1] = False
    for parts, said in (
        ((gap, mask, row, row), "real units come first"),
        ((mask, mask[:, :2], row, row), "expected bool"),
        ((mask, mask, row.float(), row), "expected bool"),
        ((mask, mask, row, mask), "expected bool"),
        ((mask[:, :0], mask[:, :0], row, row), "U > 0"),
    ):
        with pytest.raises(ValueError, match=said):
            Chains(*parts)
