"""How terminologies are made teachers, as a TOML file says it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from clin_edge.distill.tables import build_table, read_toml
from clin_edge.distill.teachers.terminology.lexicon import MatchSettings
from clin_edge.distill.teachers.terminology.noise import read_stop_list
from clin_edge.distill.teachers.terminology.rxnorm import RxNormSettings
from clin_edge.distill.teachers.terminology.snomed import SnomedSettings
from clin_edge.distill.teachers.terminology.terms import TermsSettings

_KINDS = ("rxnorm", "snomed", "terms")


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """The settings of every kind of terminology.

    In a file, ``[match]`` holds for all three kinds, but for those with a table of their own
    (``[rxnorm.match]``); ``everyday = false`` there keeps everyday words.
    """

    match: MatchSettings = field(default_factory=MatchSettings)
    rxnorm: RxNormSettings = field(default_factory=RxNormSettings)
    snomed: SnomedSettings = field(default_factory=SnomedSettings)
    terms: TermsSettings = field(default_factory=TermsSettings)

    def without(self, names: frozenset[str]) -> TeacherSettings:
        """Give the settings with more names to leave out, of every kind."""

        def match(settings: MatchSettings) -> MatchSettings:
            return replace(settings, stop=settings.stop | names)

        return TeacherSettings(
            match(self.match),
            replace(self.rxnorm, match=match(self.rxnorm.match)),
            replace(self.snomed, match=match(self.snomed.match)),
            replace(self.terms, match=match(self.terms.match)),
        )


def load_settings(path: Path | None = None, stop: Path | None = None) -> TeacherSettings:
    """Read settings, and a list of names to leave out, one a line.

    Raises:
        InputError: With file and key, if a file cannot be read or a key or value is not known.
    """
    settings = TeacherSettings()
    if path is not None:
        table = read_toml(path)
        for kind in _KINDS:
            own = table.setdefault(kind, {})
            if isinstance(own, dict) and "match" in table:
                own.setdefault("match", table["match"])
        settings = build_table(TeacherSettings, table, str(path))
    return settings if stop is None else settings.without(read_stop_list(stop))
