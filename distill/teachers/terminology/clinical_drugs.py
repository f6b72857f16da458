"""Names of RxNorm's clinical drugs, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUANTITY = re.compile(r"(?P<quantity>\d[\d.,]* (?:HR|ML|ACTUAT|MG|UNT)) (?=\S)")
_BRAND = re.compile(r"\s*\[(?P<brand>[^\[\]]+)\]\Z")
_NOTE = re.compile(r"\s*\*\*.*?\*\*\s*")
_UNIT = r"(?:%|(?:MG|MCG|UG|NG|G|KG|MEQ|MMOL|UNT|UNITS?|IU|CELLS|BAU|AU|PFU|ML|MCI|UCI|HR)\b)"
_NUMBER = r"\d[\d.,]*"
_AMOUNT = (
    rf"(?:EQ )?(?:{_NUMBER}(?:\s?-\s?{_NUMBER})?)\s?{_UNIT}"
    rf"(?:\s?/\s?(?:{_NUMBER}\s?)?(?:ACTUATION|ACTUAT|SPRAY|INH|VIAL|PATCH|SQCM|{_UNIT}))?"
    r"(?: BASE)?"
)
_PART = re.compile(rf"(?P<ingredient>\S.*?) (?P<strength>{_AMOUNT})(?=\s|\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DrugPart:
    """One ingredient and its strength as written; ``None`` if the name gives none."""

    ingredient: str
    strength: str | None


@dataclass(frozen=True, slots=True)
class ClinicalDrug:
    """What the name of a clinical drug says.

    ``quantity`` is what stands before the ingredients (``24 HR``), ``form`` the dose form with its
    route (``Oral Tablet``), ``brand`` what stands in square brackets. ``None`` is: not given.
    """

    parts: tuple[DrugPart, ...]
    form: str | None = None
    brand: str | None = None
    quantity: str | None = None


def parse_clinical_drug(name: str) -> ClinicalDrug:
    """Take the name of an SCD or SBD apart; what holds no strength is all ingredient.

    The pattern is RxNorm's ``[QUANTITY ]INGREDIENT STRENGTH[ / INGREDIENT STRENGTH]... FORM
    [BRAND]``. Remarks between double asterisks are dropped.

    >>> drug = parse_clinical_drug("24 HR metoprolol succinate 50 MG Oral Tablet [Toprol]")
    >>> drug.parts, drug.form
    ((DrugPart(ingredient='metoprolol succinate', strength='50 MG'),), 'Oral Tablet')
    >>> drug.brand, drug.quantity
    ('Toprol', '24 HR')
    """
    text = " ".join(_NOTE.sub(" ", name).split())
    brand = quantity = None
    if found := _BRAND.search(text):
        brand, text = found["brand"], text[: found.start()]
    if found := _QUANTITY.match(text):
        quantity, text = found["quantity"], text[found.end() :]
    parts: list[DrugPart] = []
    for piece in text.split(" / "):
        found = _PART.match(piece)
        parts.append(
            DrugPart(found["ingredient"], found["strength"]) if found else DrugPart(piece, None)
        )
        rest = piece[found.end() :].strip() if found else ""
    return ClinicalDrug(tuple(parts), rest or None, brand, quantity)
