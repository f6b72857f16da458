"""Word orders, hyphens, spellings and adjectives in which a term is found too."""

import pytest

from clin_edge.distill.teachers.terminology.clinical_drugs import (
    ClinicalDrug,
    DrugPart,
    parse_clinical_drug,
)
from clin_edge.distill.teachers.terminology.match import Dictionary, MatchSettings, Term
from clin_edge.distill.teachers.terminology.variants import common_heads, spellings

OF_NAMES = ("cancer of bone", "cancer of skin")


def found(text: str, *names: str, label: str = "DISEASE") -> list[str]:
    terms = [Term(name, "c", label) for name in names]
    return [text[m.span.start : m.span.end] for m in Dictionary(terms).find(text)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cancer of the breast", "breast cancer"),
        ("breast cancer", "cancer of the breast"),
        ("breast cancer", "cancer of breast"),
        ("renal failure, chronic", "chronic renal failure"),
        ("failure, renal", "renal failure"),
        ("thromboembolism", "thrombo-embolism"),
        ("thrombo-embolism", "thromboembolism"),
        ("pre-eclampsia toxemia", "preeclampsia toxemia"),
        ("anaemia", "anemia"),
        ("tumor lysis", "tumour lysis"),
        ("hypertension", "hypertensive"),
    ],
)
def test_other_ways_to_write_a_name(name: str, text: str) -> None:
    assert found(f"with {text}.", name, *OF_NAMES) == [text]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("breast pain", "pain of breast"),  # no name of these begins "pain of"
        ("chest pain", "chestpain"),
        ("failure", "failure, renal"),
    ],
)
def test_no_other_order_is_invented(name: str, text: str) -> None:
    assert found(f"with {text}.", name, *OF_NAMES) == ([name] if name == "failure" else [])


def test_word_orders_and_adjectives_can_be_left_out() -> None:
    terms = [Term("failure, renal", "c", "DISEASE"), Term("hypertension", "d", "DISEASE")]
    plain = Dictionary(terms, MatchSettings(word_orders=False, adjectives=frozenset()))
    assert list(plain.find("renal failure, hypertensive")) == []


def test_heads_are_learned_from_the_names() -> None:
    assert common_heads([*OF_NAMES, "loss of hair"]) == {"cancer"}
    assert list(spellings("skin cancer", frozenset())) == ["skin cancer"]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("on L-arginine", "L-arginine"),
        ("of alpha-arginine", "alpha-arginine"),
        ("as 2-beta-arginine", "2-beta-arginine"),
        ("pre-arginine", "arginine"),
        ("L - arginine", "arginine"),
        ("L arginine", "arginine"),
        ("100-arginine", "arginine"),
    ],
)
def test_where_on_the_molecule_belongs_to_a_drug(text: str, span: str) -> None:
    assert found(text, "arginine", label="MEDICATION") == [span]
    assert found(text, "arginine", label="ELSE") == ["arginine"]


@pytest.mark.parametrize(
    ("name", "drug"),
    [
        (
            "amoxicillin 500 MG Oral Capsule",
            ClinicalDrug((DrugPart("amoxicillin", "500 MG"),), "Oral Capsule"),
        ),
        (
            "amoxicillin 250 MG / clavulanate 125 MG Oral Tablet [Augmentin]",
            ClinicalDrug(
                (DrugPart("amoxicillin", "250 MG"), DrugPart("clavulanate", "125 MG")),
                "Oral Tablet",
                "Augmentin",
            ),
        ),
        (
            "24 HR nifedipine 30 MG Extended Release Oral Tablet",
            ClinicalDrug(
                (DrugPart("nifedipine", "30 MG"),), "Extended Release Oral Tablet", None, "24 HR"
            ),
        ),
        (
            "budesonide 2 MG/ACTUATION Rectal Aerosol, Foam",
            ClinicalDrug((DrugPart("budesonide", "2 MG/ACTUATION"),), "Rectal Aerosol, Foam"),
        ),
        (
            "afatinib dimaleate EQ 20 MG BASE **not withdrawn** Oral Tablet",
            ClinicalDrug((DrugPart("afatinib dimaleate", "EQ 20 MG BASE"),), "Oral Tablet"),
        ),
        (
            "insulin glargine 100 UNT/ML Injectable Solution",
            ClinicalDrug((DrugPart("insulin glargine", "100 UNT/ML"),), "Injectable Solution"),
        ),
        (
            "hydrocortisone 1 % Topical Cream",
            ClinicalDrug((DrugPart("hydrocortisone", "1 %"),), "Topical Cream"),
        ),
        ("no strength at all", ClinicalDrug((DrugPart("no strength at all", None),))),
    ],
)
def test_a_clinical_drug_is_taken_apart(name: str, drug: ClinicalDrug) -> None:
    assert parse_clinical_drug(name) == drug
