"""What a run that asks language models is given, and the teachers made of it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from clin_edge.core.errors import InputError, MissingInstallError, TeacherError
from clin_edge.core.labelled import read_labelled
from clin_edge.distill.prompts import Prompt, choose_examples, load_prompt
from clin_edge.distill.teachers.llm.budget import Budget
from clin_edge.distill.teachers.llm.client import Client, Reply, Request
from clin_edge.distill.teachers.llm.prices import Price, Prices
from clin_edge.distill.teachers.llm.replies import ReplyStore
from clin_edge.distill.teachers.llm.sender import Patience, Sender
from clin_edge.distill.teachers.llm.teacher import LlmSettings, LlmTeacher

KINDS = ("openai", "gemini")
_HOMES = {
    "openai": "https://api.openai.com/v1",
    "gemini": "https://generativelanguage.googleapis.com",
}
_KEYS = {"openai": ("OPENAI_API_KEY",), "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY")}
_FREE = Price(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Asking:
    """How language models are asked in one run.

    Attributes:
        labels: What they are asked for; the prompt's default if ``None``.
        base_url: The server of every teacher whose word names none; the vendor's if empty.
        external_ok: Whether notes may leave this network.
        max_cost: The most US dollars the run may take, over all teachers.
        max_tokens: The most tokens it may take, in both directions.
        cache: The folder where replies are kept.
        prices: A price table that goes before ours.
        prompt: A prompt file instead of ours.
        examples: Labelled notes to show in the prompt, and how many of them.
        n_examples: How many of them.
        dry_run: Nothing is sent.
        timeout_s: The longest a reply may take.
        patience: With a server that is busy.
        settings: How a note is asked about.
    """

    labels: Sequence[str] | None = None
    base_url: str = ""
    external_ok: bool = False
    max_cost: float | None = None
    max_tokens: int | None = None
    cache: Path = Path("replies")
    prices: Path | None = None
    prompt: Path | None = None
    examples: Path | None = None
    n_examples: int = 3
    dry_run: bool = False
    timeout_s: float = 180.0
    patience: Patience = field(default_factory=Patience)
    settings: LlmSettings = field(default_factory=LlmSettings)

    def __post_init__(self) -> None:
        """Refuse what is no number of dollars or seconds."""
        if self.max_cost is not None and not 0 <= self.max_cost < math.inf:
            raise InputError(f"--max-cost {self.max_cost}: expected a number of US dollars")
        if not 0 < self.timeout_s < math.inf:
            raise InputError(f"--timeout {self.timeout_s}: expected a number of seconds")


class LlmMaker:
    """Makes the language-model teachers of one run, which share a budget and a store."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._budget = Budget(asking.max_cost, asking.max_tokens)
        self._prices: Prices | None = None
        self._prompt: Prompt | None = None
        self._store: ReplyStore | None = None

    def make(self, kind: str, model: str, name: str) -> LlmTeacher:
        """Make the teacher ``kind:model``; the model may go on with ``@URL``, its server.

        Raises:
            ExternalHostError: If notes would leave this network without leave.
            InputError: If a file or address is not what it should be, or a price is missing.
            MissingInstallError: If the client is not installed.
            TeacherError: If a key is missing.
        """
        asking = self._asking
        try:
            from clin_edge.distill.teachers.llm.http import check_way, host_of, is_outside
        except ModuleNotFoundError as error:
            raise MissingInstallError("teachers", str(error.name)) from None
        spec = f"{kind}:{model}"
        model, url = _model_and_url(kind, model, asking.base_url)
        at_home = host_of(url) == host_of(_HOMES[kind])
        outside = at_home or is_outside(host_of(url))
        price = self._price(spec, model, outside=outside)
        if not asking.dry_run:
            check_way(spec, url, outside=outside, external_ok=asking.external_ok)
        client = _silent if asking.dry_run else self._client(kind, spec, model, url, outside)
        sender = Sender(name, client, self._budget, price, asking.patience)
        return LlmTeacher(
            name, model, sender, self._asked(), self._kept(), asking.settings, host_of(url)
        )

    def _client(self, kind: str, spec: str, model: str, url: str, outside: bool) -> Client:
        key = next((os.environ[k] for k in _KEYS[kind] if os.environ.get(k)), "")
        if not key and outside:
            raise TeacherError(f"{spec}: needs the environment variable {_KEYS[kind][0]}")
        key = key or "none"  # servers in one's own rooms often take any
        timeout_s = self._asking.timeout_s
        try:
            if kind == "openai":
                from clin_edge.distill.teachers.llm.openai import OpenAIClient

                return OpenAIClient(spec, model, url, key, outside=outside, timeout_s=timeout_s)
            from clin_edge.distill.teachers.llm.gemini import GeminiClient

            return GeminiClient(spec, model, url, key, outside=outside, timeout_s=timeout_s)
        except ModuleNotFoundError as error:
            raise MissingInstallError("teachers", str(error.name)) from None

    def _price(self, spec: str, model: str, *, outside: bool) -> Price:
        if self._prices is None:
            self._prices = Prices.load(self._asking.prices)
        price = self._prices.of(model)
        if price is None and outside:
            raise InputError(
                f"{spec}: no price is known for {model}; give one with --prices FILE.toml"
            )
        return price or _FREE

    def _asked(self) -> Prompt:
        if self._prompt is None:
            asking = self._asking
            prompt = load_prompt(asking.labels, asking.prompt)
            if asking.examples is not None:
                items = read_labelled(asking.examples)
                chosen = choose_examples(items, prompt.labels, asking.n_examples)
                if not chosen:
                    raise InputError(
                        f"{asking.examples}: no short note there marks all of "
                        f"{', '.join(prompt.labels)}; name its labels with --labels"
                    )
                prompt = load_prompt(asking.labels, asking.prompt, chosen)
            self._prompt = prompt
        return self._prompt

    def _kept(self) -> ReplyStore | None:
        if self._store is None and (not self._asking.dry_run or self._asking.cache.exists()):
            self._store = ReplyStore(self._asking.cache)
        return self._store


class _Silent:
    """Stands in for a client where nothing may be sent."""

    def send(self, request: Request) -> Reply:  # noqa: ARG002
        raise TeacherError("a dry run sends nothing")

    def close(self) -> None:
        """There is nothing to close."""


_silent = _Silent()


def _model_and_url(kind: str, model: str, base_url: str) -> tuple[str, str]:
    """Split ``MODEL@URL``; give the model and the address its client wants."""
    at = max(model.find("@http://"), model.find("@https://"))
    if at >= 0:
        model, base_url = model[:at], model[at + 1 :]
    elif kind == "openai":
        base_url = base_url or os.environ.get("OPENAI_BASE_URL", "")
    if not model:
        raise InputError(f"{kind}: needs the name of a model, such as {kind}:MODEL")
    url = base_url or _HOMES[kind]
    if kind == "gemini":
        # Its client adds the version to the path; one server may speak both protocols.
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        for version in ("/v1beta", "/v1"):
            path = path.removesuffix(version)
        url = urlunsplit(parts._replace(path=path))
    return model, url
