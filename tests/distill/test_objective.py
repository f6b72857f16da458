"""What a batch costs: laid out rightly, and never infinite whatever teachers say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.config import HeadSettings, Recipe, SoftSettings
from clin_edge.distill.crf import Crf
from clin_edge.distill.dataset import Example, make_examples, whole_words
from clin_edge.distill.guide import Guide
from clin_edge.distill.objective import batch_loss, collate
from clin_edge.distill.start import start_tagger
from clin_edge.distill.student import Student, Tagger
from strategies import labelled
from tiny import TYPES, invented_set, tiny_recipe, tiny_student
from toy import toy_encoder, toy_scheme

CPU = torch.device("cpu")
SCHEME = toy_scheme()


class Fixed(torch.nn.Module):
    """A model whose logits are looked up by token."""

    device = CPU

    def __init__(self, n_tags: int, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.table = torch.nn.Parameter(3 * torch.randn(400, n_tags, generator=draw))

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        return type("Out", (), {"logits": self.table[input_ids]})


def recipe_of(head: HeadSettings) -> Recipe:
    return replace(tiny_recipe(labels=SCHEME.types), head=head)


def tagger_of(head: HeadSettings, seed: int = 0) -> Tagger:
    torch.manual_seed(seed)
    crf = Crf(SCHEME, constrained=head.constrained) if head.kind == "crf" else None
    return Tagger(Fixed(len(SCHEME.tags), seed), crf, first_pieces=head.first_pieces)


def examples_of(items: list[Labelled], kind: str, *, whole: bool) -> list[Example]:
    encoder = toy_encoder(kind=kind)
    return list(make_examples(items, encoder, SCHEME, keep_words_whole=whole))


HEADS = st.sampled_from(
    [
        HeadSettings(),
        HeadSettings("crf"),
        HeadSettings("crf", first_pieces=True),
        HeadSettings("crf", constrained=False),
        HeadSettings("crf", first_pieces=True, constrained=False),
    ]
)


@given(st.lists(labelled(), min_size=1, max_size=3), HEADS, st.sampled_from(["wordpiece", "bytes"]))
def test_whatever_is_labelled_some_path_is_right(items, head: HeadSettings, kind: str) -> None:
    """Entities may begin and end within words, overlap, and be of labels nobody knows."""
    examples = examples_of(items, kind, whole=head.kind == "crf" and head.constrained)
    if examples:
        batch = collate(examples, pad_id=0, device=CPU)
        loss = batch_loss(tagger_of(head), batch, recipe_of(head), None)
        assert torch.isfinite(loss)
        assert loss >= -1e-6


def test_words_cut_by_an_entity_teach_nothing_and_others_all() -> None:
    """Rows: O, then a word of two pieces that an entity cuts, then one that it covers."""
    tags = {"O": [0], "B": [1], "I": [2], "any": [0, 1, 2]}
    allowed = np.zeros((7, 3), dtype=bool)
    for row, name in enumerate(["O", "O", "B", "I", "I", "any", "any"]):
        allowed[row, tags[name]] = True
    opens_word = np.array([1, 1, 0, 1, 0, 1, 0], dtype=bool)
    known = whole_words(allowed, opens_word)
    assert known[[1, 2]].all()
    assert (known[[0, 3, 4, 5, 6]] == allowed[[0, 3, 4, 5, 6]]).all()


@pytest.mark.parametrize("first_pieces", [False, True])
def test_a_chain_s_units_are_those_that_the_window_keeps(first_pieces: bool) -> None:
    """Against the chain's own loss, its rows picked by hand."""
    head = HeadSettings("crf", first_pieces=first_pieces)
    items = [
        Labelled(
            Note("n", "metforming for severe antibiotics and chest pain in no diabetes " * 3),
            (Entity(Span(0, 10), "MEDICATION"), Entity(Span(35, 45), "SYMPTOM")),
            frozenset(SCHEME.types),
        )
    ]
    examples = examples_of(items, "wordpiece", whole=True)
    assert len(examples) > 2
    tagger = tagger_of(head)
    batch = collate(examples, pad_id=0, device=CPU)
    total, n_known = 0.0, 0
    for example in examples:
        kept = [
            i for i in np.flatnonzero(example.learn) if example.opens_word[i] or not first_pieces
        ]
        alone = Example(
            example.ids[kept],
            example.allowed[kept],
            np.ones(len(kept), dtype=bool),
            example.opens_word[kept],
            example.at_start,
            example.at_end,
        )
        one = collate([alone], pad_id=0, device=CPU)
        n = int((~alone.allowed.all(axis=1)).sum())
        total += batch_loss(tagger, one, recipe_of(head), None).item() * n
        n_known += n
    loss = batch_loss(tagger, batch, recipe_of(head), None).item()
    assert loss == pytest.approx(total / n_known, rel=1e-5)


@given(st.integers(0, 99), HEADS)
def test_padding_costs_nothing(seed: int, head: HeadSettings) -> None:
    items = [Labelled(i.note, i.entities, frozenset(TYPES)) for i in invented_set(4, seed=seed)]
    examples = examples_of(items, "wordpiece", whole=True)
    tagger, recipe = tagger_of(head, seed), recipe_of(head)
    narrow = [collate([e], pad_id=0, device=CPU) for e in examples]
    losses = [batch_loss(tagger, one, recipe, None).item() for one in narrow]

    def n_units(example: Example) -> int:
        chosen = example.learn & (example.opens_word | (not head.first_pieces))
        return int((chosen & ~example.allowed.all(axis=1)).sum())

    counts = [n_units(e) for e in examples]
    wide = batch_loss(tagger, collate(examples, pad_id=0, device=CPU), recipe, None).item()
    assert wide == pytest.approx(np.average(losses, weights=counts), rel=1e-4)


# --- a bigger student ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Student, Student]:
    folder = tmp_path_factory.mktemp("two")
    return tiny_student(folder / "a", seed=1), tiny_student(folder / "b", seed=2)


def soft_examples(small: Student, items: list[Labelled], log_p: np.ndarray) -> list[Example]:
    made = make_examples(items, small.encoder, small.scheme)
    return [replace(e, soft=np.tile(log_p, (len(e.ids), 1)).astype(np.float16)) for e in made]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_weights_share_out_labels_and_soft_labels(weight: float, two) -> None:
    small, _ = two
    small.model.eval()
    log_p = np.log(np.full(5, 0.2))
    examples = soft_examples(small, invented_set(3), log_p)
    batch = collate(examples, pad_id=0, device=CPU)
    without = replace(batch, soft=None)

    def cost(of: Any, weight: float) -> float:
        recipe = replace(tiny_recipe(), soft=SoftSettings(weight=weight))
        return batch_loss(Tagger(small.model), of, recipe, None).item()

    hard, soft = cost(without, 0.5), cost(batch, 1.0)
    assert soft > 0
    assert cost(batch, weight) == pytest.approx((1 - weight) * hard + weight * soft, rel=1e-5)


def test_unlabelled_notes_cost_only_what_a_bigger_student_says(two) -> None:
    small, _ = two
    small.model.eval()
    items = [Labelled(item.note, (), frozenset()) for item in invented_set(3)]
    plain = collate(list(make_examples(items, small.encoder, small.scheme)), pad_id=0, device=CPU)
    assert batch_loss(Tagger(small.model), plain, tiny_recipe(), None).item() == 0
    followed = collate(soft_examples(small, items, np.log(np.full(5, 0.2))), pad_id=0, device=CPU)
    assert batch_loss(Tagger(small.model), followed, tiny_recipe(), None).item() > 0


@pytest.mark.parametrize("head", [HeadSettings(), HeadSettings("crf")], ids=["linear", "crf"])
def test_hidden_states_add_their_distance(head: HeadSettings, two) -> None:
    small, big = two
    small.model.eval()
    examples = soft_examples(small, invented_set(3), np.log(np.full(5, 0.2)))
    batch = collate(examples, pad_id=0, device=CPU)
    guide = Guide(big, small, CPU)
    tagger = start_tagger(replace(tiny_recipe(), head=head), small, guide)

    def cost(hidden_weight: float, guide: Guide) -> float:
        soft = SoftSettings(hidden_weight=hidden_weight)
        recipe = replace(tiny_recipe(), head=head, soft=soft)
        return batch_loss(tagger, batch, recipe, guide).item()

    assert cost(2.0, guide) > cost(1.0, guide) > cost(0.0, guide)
    # A student that is its own guide is at no distance.
    assert cost(2.0, Guide(small, small, CPU)) == pytest.approx(cost(0.0, guide))


def test_hidden_states_want_the_same_pieces(two) -> None:
    from clin_edge.core.errors import InputError

    small, big = two
    other = replace(big, tokenizer_json=big.tokenizer_json + b" ")
    with pytest.raises(InputError, match="same tokenizer"):
        Guide(other, small, CPU)
    assert small.scheme == LabelScheme(TYPES)
