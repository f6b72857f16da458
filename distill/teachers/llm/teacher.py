"""Language models as teachers: parts of a note out, quotes back, placed in the note."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.grounding.ground import Occurrences, ground
from clin_edge.distill.prompts import Prompt
from clin_edge.distill.teachers import SetAside
from clin_edge.distill.teachers.llm.answer import Answer, BrokenAnswer, read_answer
from clin_edge.distill.teachers.llm.chunks import cut
from clin_edge.distill.teachers.llm.client import CUT_OFF, Reply, Request
from clin_edge.distill.teachers.llm.replies import Attempt, ReplyStore
from clin_edge.distill.teachers.llm.sender import Sender, Spent, bounds
from clin_edge.distill.teachers.llm.usage import Usage

_MIN_CUT_CHARS = 400
_OUTPUT_TOKENS, _REASONING_TOKENS = 512, 8_192
# What a plan guesses with.
_BYTES_A_TOKEN, _OUTPUT_A_CHAR = 4, 0.4


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """How a language model is asked about a note.

    Attributes:
        occurrences: See ``ground``.
        chunk_chars: The longest part of a note asked about at once, in characters.
        overlap_chars: What neighbouring parts share, at most.
        tries: How often a question is asked until its answer can be read.
        ask_again: Ask anew about what was set aside in an earlier run.
    """

    occurrences: Occurrences = "all"
    chunk_chars: int = 3_000
    overlap_chars: int = 200
    tries: int = 3
    ask_again: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a note.

    Attributes:
        labelled: The note with the model's entities, and what was dropped for which reason; or
            ``None`` if there was no usable answer.
        reason: Why there was none.
        placed: Mentions by the way they were placed; see ``ground``.
        spent: What its replies took, in this run and before.
    """

    labelled: Labelled | None
    reason: str = ""
    placed: Counter[str] = field(default_factory=Counter)
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True, slots=True)
class Plan:
    """What asking about notes would take, before anything is sent.

    ``tokens`` and ``cost`` are a guess: four bytes a token, 0.4 tokens out a character in.
    ``most`` is the cost that cannot be passed, if every answer is right at once.
    """

    questions: int = 0
    kept: int = 0
    tokens: int = 0
    cost: float = 0.0
    most: float = 0.0

    def __add__(self, other: Plan) -> Plan:
        """Count two together."""
        return Plan(
            self.questions + other.questions,
            self.kept + other.kept,
            self.tokens + other.tokens,
            self.cost + other.cost,
            self.most + other.most,
        )


class LlmTeacher:
    """Asks a language model; safe to call from several threads.

    No question is paid for twice: replies are kept (see ``ReplyStore``), broken ones too. A broken
    answer is asked for again, ``tries`` times in all; one that was cut off, in smaller parts.
    """

    def __init__(
        self,
        name: str,
        model: str,
        sender: Sender,
        prompt: Prompt,
        store: ReplyStore | None,
        settings: LlmSettings | None = None,
        host: str = "",
    ) -> None:
        """Make a teacher; without a ``store`` nothing is kept. ``host`` is told in reports."""
        self.name = name
        self.model = model
        self.prompt = prompt
        self.sender = sender
        self.host = host
        self.marked = frozenset(prompt.labels)
        self._store = store
        self._settings = settings or LlmSettings()
        self._turn = threading.Condition()
        self._asking: set[str] = set()

    def close(self) -> None:
        """Close the connections and the store."""
        self.sender.close()
        if self._store is not None:
            self._store.close()

    def read(self, note: Note) -> Labelled:
        """Give the note with the model's entities; raises as ``ask`` does, and ``SetAside``."""
        asked = self.ask(note)
        if asked.labelled is None:
            raise SetAside(asked.reason)
        return asked.labelled

    def ask(self, note: Note) -> Asked:
        """Ask about every part of a note and place the answers in it.

        Raises:
            TeacherError: If no note would get an answer.
            InputError: If replies cannot be kept.
        """
        source = f"{self.name}:{self.prompt.version}"
        spent: list[Spent] = []
        entities: set[Entity] = set()
        placed: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        try:
            for part in self._parts(note.text):
                for span, answer in self._answers(note.text, part, spent):
                    found = ground(
                        note.text[span.start : span.end],
                        answer.mentions,
                        source=source,
                        occurrences=self._settings.occurrences,
                    )
                    entities.update(_moved(entity, span.start) for entity in found.entities)
                    placed += found.placed
                    dropped += found.dropped + answer.dropped
        except SetAside as reason:
            return Asked(None, str(reason), spent=sum(spent, Spent()))
        labelled = Labelled(note, _distinct(entities), self.marked, dropped)
        return Asked(labelled, "", placed, sum(spent, Spent()))

    def plan(self, note: Note) -> Plan:
        """Give what asking about a note would take now; sends nothing."""
        plan = Plan()
        for part in self._parts(note.text):
            text = note.text[part.start : part.end]
            if self._store is not None and self._store.get(self._key(text)):
                plan += Plan(questions=1, kept=1)
                continue
            request = self._request(text)
            n_input = len((request.system + request.user).encode()) // _BYTES_A_TOKEN
            guess = Usage(input=n_input, output=int(_OUTPUT_A_CHAR * len(text)))
            price, most = self.sender.price, bounds(request)
            at_most = price.bound(most.input, most.output)
            plan += Plan(1, 0, guess.total, price.cost(guess), at_most)
        return plan

    def _parts(self, text: str) -> list[Span]:
        settings = self._settings
        spans = cut(text, max_chars=settings.chunk_chars, overlap_chars=settings.overlap_chars)
        return [span for span in spans if _has_words(text, span)]

    def _answers(self, text: str, part: Span, spent: list[Spent]) -> Iterator[tuple[Span, Answer]]:
        """Yield the answer about a part of the text; if it does not fit, those about its parts."""
        asked = text[part.start : part.end]
        try:
            yield part, self._answer(asked, spent)
        except _CutOffError:
            pieces = cut(
                asked, max_chars=max(len(asked) * 6 // 10, _MIN_CUT_CHARS), overlap_chars=0
            )
            if len(pieces) < 2:
                raise SetAside(CUT_OFF) from None
            for piece in pieces:
                span = Span(part.start + piece.start, part.start + piece.end)
                if _has_words(text, span):
                    yield from self._answers(text, span, spent)

    def _answer(self, text: str, spent: list[Spent]) -> Answer:
        """Give the answer kept, or ask until there is one.

        Raises:
            SetAside: If the tries are used up.
            _CutOffError: If the answer does not fit.
        """
        key = self._key(text)
        with self._alone(key):
            kept = self._store.get(key) if self._store is not None else ()
            spent += [Spent(a.usage, self.sender.price.cost(a.usage), 1) for a in kept]
            verdict = kept[-1].verdict if kept else ""
            if kept and not verdict:
                answer, verdict = self._judge(Reply(kept[-1].text))
                if answer is not None:
                    return answer
            if verdict == CUT_OFF:
                raise _CutOffError
            before = 0 if self._settings.ask_again else len(kept)
            for _ in range(self._settings.tries - before):
                reply, took = self.sender.send(self._request(text, verdict))
                answer, verdict = self._judge(reply)
                if self._store is not None:
                    attempt = Attempt(reply.text, reply.finish, reply.model, took.usage, verdict)
                    self._store.add(key, attempt)
                spent.append(took)
                if answer is not None:
                    return answer
                if verdict == CUT_OFF:
                    raise _CutOffError
            raise SetAside(verdict)

    def _judge(self, reply: Reply) -> tuple[Answer | None, str]:
        if reply.finish:
            return None, reply.finish
        try:
            return read_answer(reply.text, self.prompt.labels), ""
        except BrokenAnswer as reason:
            return None, str(reason)

    def _request(self, text: str, verdict: str = "") -> Request:
        user = self.prompt.ask(text)
        if verdict:
            user += f"\n\nYour last answer was of no use ({verdict}). Answer with the JSON alone."
        thoughts = _REASONING_TOKENS if self.sender.price.reasoning else 0
        most = _OUTPUT_TOKENS + len(text) + thoughts
        return Request(self.prompt.system, user, self.prompt.schema, most)

    def _key(self, text: str) -> str:
        """Name the question: the model is part of it, its server's address is not."""
        return ReplyStore.key(
            {"model": self.model, "system": self.prompt.system, "user": self.prompt.ask(text)}
        )

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Wait while another thread asks the same: then its answer is there."""
        with self._turn:
            self._turn.wait_for(lambda: key not in self._asking)
            self._asking.add(key)
        try:
            yield
        finally:
            with self._turn:
                self._asking.discard(key)
                self._turn.notify_all()


class _CutOffError(Exception):
    """The answer did not fit in the tokens allowed."""


def _has_words(text: str, span: Span) -> bool:
    return any(c.isalnum() for c in text[span.start : span.end])


def _moved(entity: Entity, by: int) -> Entity:
    span = Span(entity.span.start + by, entity.span.end + by)
    return Entity(span, entity.label, source=entity.source)


def _distinct(entities: set[Entity]) -> tuple[Entity, ...]:
    """Keep one of the entities that overlapping parts found twice, in different ways."""
    first = {(e.span, e.label): e for e in sorted(entities, reverse=True)}
    return tuple(sorted(first.values()))
