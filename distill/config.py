"""Recipes: what a student is trained on and how, as a TOML file that refuses unknown keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled, keep_labels, read_labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.spans import alternatives
from clin_edge.distill.invent import InventSpec
from clin_edge.distill.names import NameSettings
from clin_edge.distill.tables import build_table, read_toml

N_SPECIAL = 2  # tokens that frame a window; every encoder of the family has at most these
LABELS = (
    "MEDICATION",
    "DISEASE",
    "SYMPTOM",
    "STRENGTH",
    "FORM",
    "DOSAGE",
    "ROUTE",
    "FREQUENCY",
    "DURATION",
    "REASON",
    "ADE",
)


@dataclass(frozen=True, slots=True)
class SetSpec:
    """One labelled set: where it is, how its labels are renamed, what it marks.

    ``path`` is relative to the data folder. ``map`` renames labels; ``"DISEASE|SYMPTOM"`` on the
    right means one of these. ``only`` leaves out all other labels. ``marked`` overrides the labels
    the set marks at all (after ``map``): without some label, entities of it are learnt but its
    absence is not. Notes with fewer than ``least`` entities are left out; the others are learnt
    ``times`` over in each epoch.
    """

    path: str
    name: str = ""
    map: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] | None = None
    marked: tuple[str, ...] | None = None
    least: int = 0
    times: int = 1
    licence: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if self.times < 1 or self.least < 0:
            raise ValueError("times is at least 1, least not below 0")

    @property
    def title(self) -> str:
        """The set's name in reports."""
        return self.name or self.path

    def read(self, data: Path) -> list[Labelled]:
        """Read the set's notes; raises ``InputError`` as ``read_labelled`` does."""
        items = read_labelled(data / self.path, self.map)
        if self.only is not None:
            items = keep_labels(items, self.only)
        items = [item for item in items if len(item.entities) >= self.least]
        if self.marked is None:
            return items
        marked = frozenset(self.marked)
        return [dataclasses.replace(item, marked=marked) for item in items]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How the student is trained: AdamW, linear warm-up, linear decay to zero.

    ``attention_dropout`` 0 makes a step on a CPU a quarter shorter; ``dropout`` is that of all
    else, ``false`` for what the encoder brings. ``hide`` is the share of word pieces shown as the
    mask token, others in each epoch. ``clip_norm`` may be ``false``. ``bfloat16`` computes in half
    the bits on a CPU too, as on a GPU it always does. ``rounded`` lets linear layers compute with
    inputs and weights rounded as INT8 rounds them, so that the student learns to bear it.
    ``layer_decay`` multiplies the rate from each layer to the one below it.
    ``patience``: stop after so many epochs without a better dev score; ``stop_after`` so many in
    any case, with the rates of all ``epochs``.

    What is learnt from: a ``share`` of the notes; of their sentences without an entity,
    ``keep_empty`` (SamBD; Belkadi et al. 2023 keep 0.08), or as many as make ``empty_share`` of all
    sentences.
    """

    epochs: int = 5
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    layer_decay: float = 1.0
    attention_dropout: float = 0.0
    dropout: float | None = None
    hide: float = 0.0
    bfloat16: bool = False
    rounded: bool = False
    batch_tokens: int = 2048
    patience: int | None = None
    stop_after: int | None = None
    share: float = 1.0
    keep_empty: float | None = None
    empty_share: float | None = None
    seed: int = 0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if self.epochs < 1 or self.batch_tokens < 1 or self.learning_rate <= 0 or self.seed < 0:
            raise ValueError(
                "epochs, batch_tokens and learning_rate are above 0, seed is not below"
            )
        shares = (self.attention_dropout, self.hide)
        if not 0 <= self.warmup <= 1 or not all(0 <= share < 1 for share in shares):
            raise ValueError("warmup, attention_dropout and hide lie between 0 and 1")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError("dropout lies between 0 and 1, or is false")
        if not 0 < self.layer_decay <= 1 or not 0 < self.share <= 1:
            raise ValueError("layer_decay and share lie above 0, and at 1 at most")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError("clip_norm is above 0, or false")
        for name in ("patience", "stop_after"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is at least 1 epoch, or false")
        for name in ("keep_empty", "empty_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} lies between 0 and 1, or is false")
        if self.keep_empty is not None and self.empty_share is not None:
            raise ValueError("keep_empty and empty_share exclude each other")


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What reads tags off the encoder: ``linear``, token by token, or a linear-chain ``crf``.

    A CRF's chain runs over every word piece, or with ``first_pieces`` over words, read at their
    first piece. ``constrained`` forbids what BIO forbids and cuts no word; otherwise both are left
    to the learned scores, as in Belkadi et al. 2023. ``rate`` multiplies the learning rate of the
    CRF's tables: at an encoder's rate they would hardly leave where they began.
    """

    kind: str = "linear"
    first_pieces: bool = False
    constrained: bool = True
    rate: float = 50.0

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if self.kind not in ("linear", "crf"):
            raise ValueError(f"kind is 'linear' or 'crf', got {self.kind!r}")
        if self.kind == "linear" and (self.first_pieces or not self.constrained):
            raise ValueError("first_pieces and constrained belong to kind = 'crf'")
        if self.rate <= 0:
            raise ValueError("rate is above 0")


@dataclass(frozen=True, slots=True)
class SoftSettings:
    """How a student follows a bigger one, where there is one (``--soft-from``).

    The loss is ``weight`` times the divergence from the bigger student's probabilities at
    ``temperature``, and ``1 - weight`` times the loss on labels; ``hidden_weight`` times the
    distance between the last hidden states comes on top. ``named`` are labelled files of the notes
    without labels, by term tables: where one knows a name, the odds of its tag are multiplied by e
    to the ``named_weight`` before they are followed. ``marked`` are likewise files of rules,
    which are believed where they mark something, instead of what the bigger student gives there to
    O and to the labels these rules mark at all.

    Source: Hinton et al. 2015; hidden states, TinyBERT (Jiao et al. 2020).
    """

    temperature: float = 2.0
    weight: float = 0.5
    hidden_weight: float = 0.0
    named: tuple[str, ...] = ()
    named_weight: float = 0.5
    marked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if self.temperature <= 0 or not 0 <= self.weight <= 1:
            raise ValueError("temperature is above 0, weight between 0 and 1")
        if self.hidden_weight < 0 or self.named_weight < 0:
            raise ValueError("hidden_weight and named_weight are not below 0")


@dataclass(frozen=True, slots=True)
class ScratchSettings:
    """The shape and vocabulary of an encoder with random weights.

    The numbers are those of Belkadi et al. (2023). ``vocabulary`` names a ``tokenizer.json``, a
    ``vocab.txt``, or a folder or hub id with a tokenizer; if it is empty, a vocabulary of at most
    ``vocabulary_size`` pieces is learnt. ``lowercase`` is for a learnt one and a ``vocab.txt``.
    """

    layers: int = 6
    hidden: int = 768
    heads: int = 12
    feed_forward: int = 3072
    vocabulary: str = ""
    vocabulary_size: int = 28_996
    lowercase: bool = False

    def __post_init__(self) -> None:
        """Refuse what could not be built."""
        if min(self.layers, self.hidden, self.heads, self.feed_forward, self.vocabulary_size) < 1:
            raise ValueError("layers, hidden, heads, feed_forward, vocabulary_size are above 0")
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} cannot be shared out among {self.heads} heads")


@dataclass(frozen=True, slots=True)
class WidthSettings:
    """How wide the encoder is to be: ``heads`` of attention and ``feed_forward`` neurons a layer.

    A head keeps its width, so the hidden states have ``heads`` times that. 0 is as it was.
    """

    heads: int = 0
    feed_forward: int = 0

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if self.heads < 0 or self.feed_forward < 0:
            raise ValueError("heads and feed_forward are not below 0")


@dataclass(frozen=True, slots=True)
class Card:
    """What a model card says beyond the figures; ``also`` is learnt from beside the sets."""

    name: str = "student"
    version: str = "0"
    encoder: str = ""
    encoder_licence: str = ""
    also: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a student, but for the encoder's weights.

    ``encoder`` is a folder, a hub id, or ``scratch``: then ``[scratch]`` gives the shape.
    ``keep_layers`` takes only these layers of it, counted from 0; ``width`` makes them narrower.
    Up to ``words`` words that what is learnt from uses often and the tokenizer cuts up get a piece
    of their own, see ``distill.words``.
    ``names`` and ``invented`` say how term tables and our grammars add to what ``sets`` teach.
    """

    labels: tuple[str, ...]
    encoder: str = ""
    scratch: ScratchSettings = field(default_factory=ScratchSettings)
    keep_layers: tuple[int, ...] | None = None
    width: WidthSettings = field(default_factory=WidthSettings)
    words: int = 0
    head: HeadSettings = field(default_factory=HeadSettings)
    soft: SoftSettings = field(default_factory=SoftSettings)
    max_tokens: int = 256
    overlap: int = 32
    passage_tokens: int = 32
    train: TrainSettings = field(default_factory=TrainSettings)
    names: NameSettings = field(default_factory=NameSettings)
    invented: tuple[InventSpec, ...] = ()
    sets: tuple[SetSpec, ...] = ()
    dev: tuple[SetSpec, ...] = ()
    tests: tuple[SetSpec, ...] = ()
    card: Card = field(default_factory=Card)

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        LabelScheme(self.labels)
        if not 0 <= self.overlap < self.max_tokens - N_SPECIAL:
            raise ValueError(f"max_tokens {self.max_tokens} has no room for overlap {self.overlap}")
        if self.passage_tokens < 0 or self.words < 0:
            raise ValueError("passage_tokens and words are not below 0")
        check_distinct("dev", [spec.title for spec in self.dev])
        check_distinct("test", [spec.title for spec in self.tests])


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; with ``extends = "other.toml"`` it says only what differs from that one.

    The other's path is relative to this one's folder. Of ``[train]``, ``[card]`` and other tables
    the keys said here replace the other's; a list replaces the whole list.

    Raises:
        InputError: With file and key, if it is not TOML, a key is unknown (the nearest known one is
            named), missing, or of the wrong type; or recipes extend each other in a circle.
    """
    recipe: Recipe = build_table(Recipe, _extended(path, ()), str(path))
    return recipe


def _extended(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Read a recipe's table, what it extends filled in; ``above`` are those that extend it."""
    table = read_toml(path)
    other = table.pop("extends", None)
    if other is None:
        return table
    if not isinstance(other, str):
        raise InputError(f"{path}: extends: expected the path of a recipe, found {other!r}")
    above = (*above, path.resolve())
    base_path = path.parent / other
    if base_path.resolve() in above:
        raise InputError(f"{path}: extends {other}, which extends it again")
    base = _extended(base_path, above)
    for key, value in table.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = {**base[key], **value} if both else value
    return base


def check_distinct(kind: str, names: Sequence[str]) -> None:
    """Refuse sets that share a name in reports; raises ``InputError``."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two {kind} sets are called {twice!r}; rename one")


def labels_of(items: Iterable[Labelled]) -> tuple[str, ...]:
    """Give every single label some set marks, ours first in their usual order, then by name."""
    found = {one for item in items for label in item.marked for one in alternatives(label)}
    return (*(label for label in LABELS if label in found), *sorted(found - set(LABELS)))
