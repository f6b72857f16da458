"""Prompts: what a language model is asked, as versioned data."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.distill.grounding.ground import Mention

DEFAULT = Path(__file__).with_name("ner-1.toml")
_TEXTS = ("name", "task", "answer", "rules")
_NEAR_CHARS = 40
MAX_EXAMPLE_CHARS = 1_500


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked of a text: ``system`` comes first, then ``ask(text)``.

    ``version`` names the prompt's file and ends with a hash of all of ``system``, which may quote
    example notes.
    """

    version: str
    labels: tuple[str, ...]
    system: str = field(repr=False)

    @property
    def schema(self) -> dict[str, object]:
        """Give the answer's shape as a JSON schema (draft 2020-12; strict for OpenAI)."""
        string = {"type": "string"}
        entity = {
            "near": string,
            "quote": string,
            "label": {"type": "string", "enum": list(self.labels)},
        }
        item = _object(entity)
        return _object({"entities": {"type": "array", "items": item}})

    def ask(self, text: str) -> str:
        """Give the question about ``text``."""
        return f"<note>\n{text}\n</note>"


def load_prompt(
    labels: Sequence[str] | None = None,
    path: Path | None = None,
    examples: Sequence[Labelled] = (),
) -> Prompt:
    """Make a prompt from a file, for some of its labels, with labelled notes as examples.

    Args:
        labels: The labels to ask for; the file's ``default`` if ``None``.
        path: A file like ``ner-1.toml``; that one if ``None``.
        examples: Notes with the answers wanted; an entity labelled ``A|B`` is shown as neither.

    Raises:
        InputError: Naming the file, if it is not such a file or has no definition of a label.
    """
    path = path or DEFAULT
    texts, default, definitions = _read(path)
    asked = tuple(labels) if labels is not None else default
    for label in asked:
        if label not in definitions:
            raise InputError(
                f"{path}: no definition of {label} under [labels]; it has {', '.join(definitions)}"
            )
    parts = [texts["task"], texts["answer"], "Rules:\n" + texts["rules"].strip("\n"), "Labels:"]
    parts += [f"{label}: {definitions[label].strip()}" for label in asked]
    parts += [_example(item, asked) for item in examples]
    system = "\n\n".join(part.strip("\n") for part in parts)
    digest = hashlib.sha256(system.encode()).hexdigest()[:8]
    return Prompt(f"{texts['name'].strip()}.{digest}", asked, system)


def choose_examples(items: Sequence[Labelled], labels: Sequence[str], n: int) -> list[Labelled]:
    """Choose ``n`` short notes that show as many of the labels as can be; same notes, same choice.

    Notes that do not mark all of the labels, or have over ``MAX_EXAMPLE_CHARS``, are left out.
    """
    wanted = set(labels)
    left = [
        (item, {e.label for e in item.entities} & wanted)
        for item in sorted(items, key=lambda item: (len(item.note.text), item.note.id))
        if len(item.note.text) <= MAX_EXAMPLE_CHARS and wanted <= item.covered
    ]
    chosen: list[Labelled] = []
    shown: set[str] = set()
    while left and len(chosen) < n:
        at = max(range(len(left)), key=lambda i: (len(left[i][1] - shown), -i))
        item, labels_in_it = left.pop(at)
        chosen.append(item)
        shown = shown | labels_in_it if wanted - shown - labels_in_it else set()
    return chosen


def _read(path: Path) -> tuple[dict[str, str], tuple[str, ...], dict[str, str]]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not TOML in UTF-8"
        raise InputError(f"{path}: cannot be read as a prompt ({reason})") from None
    definitions, default = table.get("labels"), table.get("default")
    if set(table) != {*_TEXTS, "default", "labels"} or not isinstance(definitions, dict):
        raise InputError(f"{path}: a prompt has {', '.join(_TEXTS)}, default and a table [labels]")
    texts = {name: table[name] for name in _TEXTS}
    if not all(isinstance(text, str) for text in (*texts.values(), *definitions.values())):
        raise InputError(f"{path}: every definition and every other text of a prompt is a string")
    names = list(definitions)
    if not isinstance(default, list) or not default or any(d not in names for d in default):
        raise InputError(f"{path}: default lists labels that [labels] defines")
    return texts, tuple(default), definitions


def _example(item: Labelled, labels: Sequence[str]) -> str:
    mentions = [
        _shown(item.note.text, entity.span.start, entity.span.end, entity.label)
        for entity in sorted(item.entities)
        if entity.label in labels
    ]
    answer = {"entities": [{"near": m.near, "quote": m.quote, "label": m.label} for m in mentions]}
    return f"Example:\n<note>\n{item.note.text}\n</note>\n{json.dumps(answer, ensure_ascii=False)}"


def _shown(text: str, start: int, end: int, label: str) -> Mention:
    """Give an entity as a model should give it, with up to four words before it."""
    before = text[max(start - _NEAR_CHARS, 0) : start].split()
    whole = before if start <= _NEAR_CHARS else before[1:]
    return Mention(text[start:end], label, " ".join(whole[-4:]))


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
