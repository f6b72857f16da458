"""How fast a bundle reads notes here, what this machine could do at most, and what others do.

Everything that is compared runs in a process of its own, in turn. Figures are medians over rounds,
with the lowest and the highest; their names end in their unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clin_edge.core.bundle import Bundle
from clin_edge.core.encode import Encoder
from clin_edge.runtime.bench.cost import PRICE_PER_CORE_HOUR, costs
from clin_edge.runtime.bench.facts import bundle_facts, machine_facts, notes_facts
from clin_edge.runtime.bench.notes import (
    LATENCY_WORDS,
    Portion,
    invented_portions,
    latency_notes,
    own_portions,
)
from clin_edge.runtime.bench.probe import Linear, encoder_shape, linear_layers
from clin_edge.runtime.bench.process import figures_from_outside
from clin_edge.runtime.bench.rounds import Rounds, figure, total
from clin_edge.runtime.bench.subjects import Subject, SubjectError, subject_command
from clin_edge.runtime.pipeline import open_default_or
from clin_edge.runtime.sharing import share_out
from clin_edge.runtime.threads import usable_threads

PEERS = (
    "transformers",
    "transformers-batched",
    "optimum-int8",
    "openvino",
    "torch-int8",
    "spacy",
)
PEER_WINDOW = 512  # tokens; what BERT's positions allow, and what a user has without choosing
PRODUCTS = {"int8_products": True, "float32_products": False}
SCHEMA = 1
PEERS_MODULE = "clin_edge.export.peers"  # by name: this side may not import that one


@dataclass(frozen=True, slots=True)
class BenchOrder:
    """What to measure.

    Attributes:
        bundle: A bundle's folder; None: the default one.
        notes: Places of the user's own notes; none: invented ones.
        engine, threads: As for ``Pipeline.from_bundle``.
        against: Names of ``PEERS``.
        pythons: The interpreter of another installation for a peer.
        peer_shape: Layers and width of the peers' networks; None: the bundle's own.
        rounds: How often everything is measured in turn.
        price_per_core_hour: In any currency.
    """

    bundle: Path | None = None
    notes: tuple[str, ...] = ()
    engine: str = "auto"
    threads: int | None = None
    against: tuple[str, ...] = ()
    pythons: Mapping[str, Path] = field(default_factory=dict)
    peer_shape: tuple[int, int] | None = (12, 768)
    rounds: int = 5
    price_per_core_hour: float = PRICE_PER_CORE_HOUR

    def __post_init__(self) -> None:
        """Refuse peers that are not known, and no rounds."""
        for name in (*self.against, *self.pythons):
            if name not in PEERS:
                raise ValueError(f"{name!r} is not among {', '.join(PEERS)}")
        if self.rounds < 1 or not 0 <= self.price_per_core_hour < float("inf"):
            raise ValueError("expected at least one round, and a price that is a number")


def run_bench(order: BenchOrder, *, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure, and give everything as JSON values; ``tell`` hears what is measured now.

    Raises:
        ClinEdgeError: If the bundle cannot be used, notes cannot be read, or clin-edge itself
            fails. A peer that fails is skipped, and the report says why.
    """
    with TemporaryDirectory(prefix="clin-edge-bench-") as place, ExitStack() as stack:
        bundle = open_default_or(order.bundle)
        threads = order.threads or usable_threads()
        workers, _ = share_out(None, threads)
        layers = linear_layers(bundle)
        bench = _Bench(order, bundle, layers, threads, workers, Path(place), stack, tell)
        return bench.report()


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """One run: what was asked for, and where its processes and files end with it."""

    order: BenchOrder
    bundle: Bundle
    layers: Sequence[Linear]
    threads: int
    workers: int
    folder: Path
    stack: ExitStack
    tell: Callable[[str], None]

    def report(self) -> dict[str, Any]:
        self.tell("preparing notes")
        portions, latency = self._notes()
        own = self._start(
            "clin-edge",
            "clin_edge.runtime.bench.reader",
            bundle=str(self.bundle.path),
            engine=self.order.engine,
            workers=self.workers,
            out=str(self.folder / "records.jsonl"),
        )
        shapes = [(layer.wide_in, layer.wide_out) for layer in self.layers]
        probes = {
            name: self._start(name, "clin_edge.runtime.bench.probe", shapes=shapes, int8=int8)
            for name, int8 in PRODUCTS.items()
        }
        rounds = Rounds(own, probes, *self._start_peers(), portions, latency)
        rounds.run(self.order.rounds, self.tell)
        figures = rounds.figures()
        self.tell("extract as a whole")
        outside = self._from_outside(rounds.own_portions, latency[min(latency)])
        return {
            "schema": SCHEMA,
            "machine": machine_facts(self.bundle, self.threads, self.workers),
            "bundle": bundle_facts(self.bundle, own.ready["versions"], self.layers),
            "notes": notes_facts(portions, invented=not self.order.notes),
            "rounds": self.order.rounds,
            "figures": figures | {name: figure(values) for name, values in outside.items()},
            "peers": rounds.peer_facts(),
            "cost": costs(
                core_s_per_note=self.threads / figures["notes_per_s"]["median"],
                tokens_per_note=total(portions, "tokens") / total(portions, "notes"),
                price_per_core_hour=self.order.price_per_core_hour,
            ),
        }

    def _notes(self) -> tuple[list[Portion], dict[int, Portion]]:
        """Write what is read as a stream, and what is read singly."""
        manifest = self.bundle.manifest
        encoder = Encoder(
            self.bundle.files["tokenizer.json"],
            max_tokens=manifest.max_tokens,
            overlap=manifest.overlap,
        )
        if self.order.notes:
            portions = own_portions(self.folder, encoder, self.order.notes)
        else:
            portions = invented_portions(self.folder, encoder)
        return portions, {n: latency_notes(self.folder, n, encoder) for n in LATENCY_WORDS}

    def _start(self, name: str, module: str, *args: str, **asked: Any) -> Subject:
        command = subject_command(module, *args, python=self.order.pythons.get(name))
        return self.stack.enter_context(Subject(name, command, {**asked, "threads": self.threads}))

    def _start_peers(self) -> tuple[dict[str, Subject], dict[str, str]]:
        """Start every peer that can be, and say of the others why they cannot."""
        if not self.order.against:
            return {}, {}
        n_layers, hidden = self.order.peer_shape or encoder_shape(self.layers)
        tokenizer = self.folder / "tokenizer.json"
        tokenizer.write_bytes(self.bundle.files["tokenizer.json"])
        asked = {
            "tokenizer": str(tokenizer),
            "layers": n_layers,
            "hidden": hidden,
            "tags": list(self.bundle.manifest.scheme.tags),
            "max_tokens": PEER_WINDOW,
            "overlap": self.bundle.manifest.overlap,
            "folder": str(self.folder),
        }
        peers, skipped = {}, {}
        for name in self.order.against:
            self.tell(f"starting {name}")
            try:
                peers[name] = self._start(name, PEERS_MODULE, name, **asked)
            except SubjectError as error:
                skipped[name] = str(error).removeprefix(f"{name}: ")
        return peers, skipped

    def _from_outside(self, portions: Sequence[Portion], short: Portion) -> dict[str, list[float]]:
        one = self.folder / "one.jsonl"
        one.write_bytes(short.path.read_bytes().partition(b"\n")[0] + b"\n")
        options = ["--bundle", self.bundle.path, "--engine", self.order.engine]
        options += ["--threads", self.threads]
        return figures_from_outside(portions, one, list(map(str, options)))
