"""RxNorm: names of medications out of the user's own ``RXNCONSO.RRF``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.distill.teachers.terminology.clinical_drugs import parse_clinical_drug
from clin_edge.distill.teachers.terminology.match import (
    DictionaryTeacher,
    MatchSettings,
    Term,
    dictionary_teacher,
)
from clin_edge.distill.teachers.terminology.tables import check_folder, check_width, rows

LABEL = "MEDICATION"
FILE = "RXNCONSO.RRF"
# Ingredient, precise ingredient (a salt), combination, brand; then a name's synonyms. Best first:
# where two concepts share a name, the earlier type gives the code.
_NAMES = ("IN", "PIN", "MIN", "BN")
_SYNONYMS = ("SY", "TMSY")
_PRODUCTS = ("SCD", "SBD")
_WIDTH = 19  # 18 fields, each ended by a bar
_SALT_WORDS = """
acetate acetonide anhydrous aspartate axetil besylate bitartrate bromide butyrate calcium
camsylate carbonate chloride citrate cypionate decanoate dihydrate dihydrochloride dimeglumine
dipropionate disodium edisylate enanthate estolate ethylsuccinate etexilate fumarate furoate
gluconate hemifumarate hemihydrate hexanoate hippurate hyclate hydrate hydrobromide hydrochloride
hydroiodide iodide isethionate lactate magnesium malate maleate medoxomil meglumine mesylate
mofetil monohydrate monosodium napsylate nitrate olamine pamoate pentahydrate phosphate pivalate
polistirex potassium propionate proxetil saccharate sodium stearate succinate sulfate tannate
tartrate tebutate tosylate trihydrate tromethamine undecanoate valerate xinafoate zinc
"""
_SALTS = frozenset(_SALT_WORDS.split())
_LISTED = re.compile(r" / |, | and | with ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RxNormSettings:
    """Which names are made terms; the defaults are best on bc5cdr's training documents.

    Attributes:
        bases: Add an ingredient without its salt: minocycline beside minocycline hydrochloride.
        combinations: Keep combinations such as ``a / b``, one entity where the text joins them
            by a slash or a hyphen.
        listing_brands: Keep brand names that only list ingredients, ``A and B``: one entity
            where readers see two.
        products: Add the ingredients and brands that the names of clinical drugs hold.
        match: What keeps the dictionary from matching what notes do not mean.
    """

    bases: bool = True
    combinations: bool = True
    listing_brands: bool = False
    products: bool = True
    match: MatchSettings = field(default_factory=MatchSettings)


def rxnorm_teacher(
    folder: Path, name: str = "rxnorm", settings: RxNormSettings | None = None
) -> DictionaryTeacher:
    """Make a teacher of the release in ``folder``; it marks MEDICATION.

    Names are RxNorm's own (``SAB=RXNORM``), English, not suppressed, of the types IN, PIN, MIN
    and BN; and of SY and TMSY where their concept has a name of those types, so that a synonym of
    a whole product is no term; and the ingredients and brands in the names of clinical drugs (SCD,
    SBD). Clinical drugs as a whole and dose forms are left out.

    Raises:
        InputError: With file and line, if ``RXNCONSO.RRF`` is missing or not in RRF.
        TeacherError: If no usable term is left.
    """
    settings = settings or RxNormSettings()
    names: dict[str, list[Term]] = {kind: [] for kind in (*_NAMES, *_SYNONYMS, *_PRODUCTS)}
    path = _find(folder)
    for where, row in rows(path, "|"):
        check_width(where, row, _WIDTH, FILE)
        code, language, source, kind, text, suppressed = (row[i] for i in (0, 1, 11, 12, 14, 16))
        if (source, language, suppressed) == ("RXNORM", "ENG", "N") and kind in names:
            names[kind].append(Term(text, code, LABEL))
    terms = _chosen(names, settings)
    return dictionary_teacher(name, {LABEL}, terms, settings.match, place=path)


def base_name(name: str) -> str | None:
    """Give an ingredient's name without the salts at its end, or nothing if it has none.

    >>> base_name("naproxen sodium anhydrous"), base_name("sodium"), base_name("naproxen")
    ('naproxen', None, None)
    """
    parts = name.replace(",", " ").split()
    kept = len(parts)
    while kept > 1 and parts[kept - 1].casefold() in _SALTS:
        kept -= 1
    return " ".join(parts[:kept]) if kept < len(parts) else None


def _find(folder: Path) -> Path:
    check_folder(folder, f"an RxNorm release, with {FILE} in it or in its rrf folder")
    for path in (folder / FILE, folder / "rrf" / FILE):
        if path.is_file():
            return path
    raise InputError(f"{folder}: holds no {FILE}, nor does its rrf folder; unpack a release there")


def _chosen(names: Mapping[str, Sequence[Term]], settings: RxNormSettings) -> list[Term]:
    single = [*names["IN"], *names["PIN"]]
    bases = list(_bases(single)) if settings.bases else []
    terms = [*single, *(names["MIN"] if settings.combinations else [])]
    known = {term.name.casefold() for term in (*single, *_bases(single))}
    for brand in names["BN"]:
        parts = [part.strip().casefold() for part in _LISTED.split(brand.name)]
        if settings.listing_brands or len(parts) == 1 or not known.issuperset(parts):
            terms.append(brand)
    codes = {term.code for term in terms}
    synonyms = [term for kind in _SYNONYMS for term in names[kind] if term.code in codes]
    terms += [*synonyms, *bases]
    if settings.products:
        seen = {term.name.casefold() for term in terms}
        for product in (term for kind in _PRODUCTS for term in names[kind]):
            drug = parse_clinical_drug(product.name)
            found = [part.ingredient for part in drug.parts] + ([drug.brand] if drug.brand else [])
            terms += [Term(n, product.code, LABEL) for n in found if n.casefold() not in seen]
            seen.update(name.casefold() for name in found)
    return terms


def _bases(terms: Sequence[Term]) -> Iterator[Term]:
    for term in terms:
        base = base_name(term.name)
        if base is not None:
            yield Term(base, term.code, term.label)
