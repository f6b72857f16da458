"""The phrases that tell what a note says of an entity: read from a table, matched word by word."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

from clin_edge.core.errors import InputError

RULES = Path(__file__).with_name("context_rules.tsv")
WORD = re.compile(r"\w+(?:['’]\w+)*|\S")
"""A word, or one sign."""
END = "\n"
"""Stands behind a sentence's last word; ``$`` in a phrase."""
CLAUSE = -1
"""A scope that ends at the next sign between clauses."""
SENTENCE = 60
"""Words and signs that a rule without scope reaches: a long list, not a note without full stops."""

CATEGORIES = ("present", "negated", "possible", "historical", "hypothetical", "family")
_WORDS = ("never-last", "seldom-last", "goes-on")
_DIRECTIONS = {"forward", "backward", "both", "terminate", "pseudo", "heading", "class", "word"}
_Phrase = tuple[str, ...]


class Rule(NamedTuple):
    """What a phrase does: claims ``category`` forward or backward, or ends its claims.

    ``scope`` counts the words and signs between phrase and entity, or is ``CLAUSE``.
    """

    category: str
    direction: str
    scope: int = SENTENCE

    def turned(self) -> Rule:
        """Give the rule for a sentence read from its end."""
        other = {"forward": "backward", "backward": "forward"}
        return Rule(self.category, other.get(self.direction, self.direction), self.scope)


class _Node:
    """The words that may follow a phrase's beginning, and what the phrase does if it ends here."""

    __slots__ = ("next", "rules", "turned")

    def __init__(self) -> None:
        self.next: dict[str, _Node] = {}
        self.rules: tuple[Rule, ...] | None = None
        self.turned: tuple[Rule, ...] = ()


class Hit(NamedTuple):
    """The words ``first <= i < after`` of a sentence are a phrase with these rules.

    ``turned`` are its rules for the sentence read from its end.
    """

    first: int
    after: int
    rules: tuple[Rule, ...]
    turned: tuple[Rule, ...]


class Rules:
    """All phrases, ready to be matched."""

    def __init__(
        self,
        phrases: Mapping[_Phrase, tuple[Rule, ...]],
        headings: Mapping[str, str],
        words: Mapping[str, frozenset[str]],
    ) -> None:
        """Join what ``load_rules`` reads from tables."""
        self.headings = headings
        self.heading_starts = frozenset(key.split(" ")[0] for key in headings)
        self.words = words
        self._root = _Node()
        turned: dict[tuple[Rule, ...], tuple[Rule, ...]] = {}
        for phrase, rules in phrases.items():
            node = self._root
            for word in phrase:
                following = node.next.get(word)
                if following is None:
                    following = node.next[word] = _Node()
                node = following
            if rules not in turned:
                turned[rules] = tuple(rule.turned() for rule in rules)
            node.rules, node.turned = rules, turned[rules]

    def hits(self, words: Sequence[str]) -> list[Hit]:
        """Find phrases from left to right, the longest first, none over another."""
        found, past, first_words = [], 0, self._root.next
        for at in [place for place, word in enumerate(words) if word in first_words]:
            if at < past:
                continue
            node: _Node | None = first_words[words[at]]
            longest: _Node | None = None
            after = at
            while node is not None:
                after += 1
                if node.rules is not None:
                    longest, past = node, after
                node = node.next.get(words[after]) if after < len(words) else None
            if longest is not None and longest.rules:
                found.append(Hit(at, past, longest.rules, longest.turned))
        return found


def words_of(text: str) -> list[str]:
    """Give the words and signs of ``text`` as rules see them."""
    return " ".join(WORD.findall(text)).lower().replace("’", "'").split()


def heading_key(text: str) -> str:
    """Give a heading as rules see it: words only."""
    return " ".join(re.findall(r"\w+", text.lower()))


@lru_cache(maxsize=4)
def load_rules(extra: Path | None = None) -> Rules:
    """Read our table, and another whose rows go before ours; once a process.

    All rows of a phrase in ``extra`` replace all of ours for that phrase. Its classes add members.

    Raises:
        InputError: If a table cannot be read, or a row is none.
    """
    tables = [list(_rows(path)) for path in (RULES, extra) if path is not None]
    members: dict[str, list[_Phrase]] = defaultdict(list)
    for table in tables:
        for row in table:
            if row.direction == "class":
                members[row.category].append(_words_or_end(row.phrase))
    words = {
        kind: frozenset(
            row.phrase.lower() for table in tables for row in table if row.category == kind
        )
        for kind in _WORDS
    }
    phrases: dict[_Phrase, tuple[Rule, ...]] = {}
    headings: dict[str, str] = {}
    for table in tables:
        own: dict[_Phrase, tuple[Rule, ...]] = {}
        for row in table:
            if row.direction == "heading":
                headings[heading_key(row.phrase)] = row.category
            elif row.direction not in ("class", "word"):
                rules = row.rules()
                for phrase in row.expand(members):
                    own[phrase] = own[phrase] + rules if phrase in own else rules
        phrases.update(own)
    return Rules(phrases, headings, words)


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a table."""

    where: str
    phrase: str
    category: str
    direction: str
    scope: int

    def rules(self) -> tuple[Rule, ...]:
        if self.direction == "pseudo":
            return ()
        both = ("forward", "backward") if self.direction == "both" else (self.direction,)
        return tuple(Rule(self.category, direction, self.scope) for direction in both)

    def expand(self, members: Mapping[str, Sequence[_Phrase]]) -> Iterator[_Phrase]:
        """Put every member for every class named, and split into words."""
        choices: list[Sequence[_Phrase]] = []
        for part in self.phrase.split():
            if part.startswith("@"):
                if part[1:] not in members:
                    raise InputError(f"{self.where}: no class {part}; add rows for it")
                choices.append(members[part[1:]])
            else:
                choices.append([_words_or_end(part)])
        for phrase in product(*choices):
            yield tuple(chain.from_iterable(phrase))


def _words_or_end(part: str) -> _Phrase:
    return tuple(END if word == "$" else word for word in words_of(part))


def _rows(path: Path) -> Iterator[_Row]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: no table of context rules; give a UTF-8 file") from None
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            yield _row(f"{path}:{number}", line)


def _row(where: str, line: str) -> _Row:
    fields = [field.strip() for field in line.split("\t")]
    if len(fields) not in (3, 4) or not words_of(fields[0]):
        raise InputError(f"{where}: want phrase, category, direction and maybe scope, with tabs")
    phrase, category, direction, scope = (*fields, "")[:4]
    if direction not in _DIRECTIONS:
        raise InputError(f"{where}: direction must be one of {', '.join(sorted(_DIRECTIONS))}")
    known = {
        "pseudo": ("-",),
        "class": (category,),
        "word": _WORDS,
        "terminate": (*CATEGORIES, "any"),
    }.get(direction, CATEGORIES)
    if category not in known:
        raise InputError(f"{where}: category must be one of {', '.join(known)}")
    if scope not in ("", "clause") and not (scope.isascii() and scope.isdigit()):
        raise InputError(f"{where}: scope must be a number, 'clause' or nothing")
    reach = {"": SENTENCE, "clause": CLAUSE}.get(scope)
    return _Row(where, phrase, category, direction, int(scope) if reach is None else reach)
