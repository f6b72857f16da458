"""spaCy: the first English pipeline that is installed and finds entities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from clin_edge.export.peers.reading import Found, Peer
from clin_edge.runtime.bench.subjects import SubjectError


def spacy_english(_: dict[str, Any]) -> Peer:
    """Load it with no more components than entities need.

    Raises:
        ModuleNotFoundError: If spaCy is not installed.
        SubjectError: If it has no such pipeline.
    """
    import spacy

    for name in sorted(spacy.util.get_installed_models()):
        language = spacy.load(name) if name.startswith("en_") else None
        if language is not None and "ner" in language.pipe_names:
            break
    else:
        raise SubjectError("spacy has no English pipeline that finds entities installed")
    needed = [p for p in ("tok2vec", "transformer", "ner") if p in language.pipe_names]
    language.select_pipes(enable=needed)
    language.max_length = 10**8

    def find(texts: Sequence[str]) -> Iterator[Found]:
        for document in language.pipe(texts):
            yield [
                {"start": e.start_char, "end": e.end_char, "label": e.label_} for e in document.ents
            ]

    return Peer(find, {"spacy": spacy.__version__, name: language.meta["version"]}, name)
