"""Everyday words are told from names by how open text uses them."""

from pathlib import Path

import numpy as np
import pytest

from clin_edge.core.errors import InputError
from clin_edge.distill.teachers.terminology.everyday import (
    EverydaySettings,
    everyday,
    word_key,
    word_use,
)
from clin_edge.distill.teachers.terminology.match import Dictionary, MatchSettings, Term
from clin_edge.distill.teachers.terminology.noise import STOP_WORDS, read_stop_list

# Names no one doubts; from these alone the use of a drug's name is learned.
DRUG_NAMES = """
acetaminophen albuterol alfentanil amoxicillin azithromycin baclofen budesonide buprenorphine
carbamazepine celecoxib cisplatin diazepam diclofenac felodipine fluoxetine gabapentin glimepiride
glipizide glyburide hydrochlorothiazide ibuprofen indomethacin irbesartan isradipine lamotrigine
lidocaine loratadine meloxicam methotrexate metronidazole midazolam naloxone naproxen naratriptan
oxycodone prednisolone prednisone propofol ramipril repaglinide simvastatin telmisartan valsartan
"""
DRUGS = DRUG_NAMES.split()


def dropped(*more: str, settings: EverydaySettings | None = None) -> set[str]:
    names = [(name, (name,)) for name in (*DRUGS, *more)]
    return set(everyday(names, settings or EverydaySettings()))


def test_everyday_words_go_and_drugs_stay() -> None:
    words = ["water", "ice", "alcohol", "lead", "today", "blood", "air", "date", "balance"]
    assert dropped(*words) == set(words)
    assert not dropped("aspirin", "morphine", "heparin", "lithium")


def test_two_everyday_words_go_and_two_of_which_one_is_rare_stay() -> None:
    names = [(name, (name,)) for name in DRUGS]
    names += [("blood pressure", ("blood", "pressure")), ("zinc oxide", ("zinc", "oxide"))]
    assert everyday(names, EverydaySettings()) == {"blood pressure"}


def test_a_word_that_open_text_seldom_has_stays() -> None:
    assert "xyzolast" not in word_use().places
    assert not dropped("xyzolast")


def test_with_few_sure_names_only_adjectives_go() -> None:
    names = [("water", ("water",)), ("chronic", ("chronic",))]
    assert everyday(names, EverydaySettings()) == {"chronic"}


def test_what_ends_most_longer_names_goes() -> None:
    names = [("syndrome", ("syndrome",)), ("gout", ("gout",))]
    names += [("", (f"w{i}", "syndrome")) for i in range(400)]
    assert everyday(names, EverydaySettings()) == {"syndrome"}


def test_the_order_of_names_does_not_matter() -> None:
    names = [(name, (name,)) for name in (*sorted(DRUGS), "water", "today")]
    assert everyday(names, EverydaySettings()) == everyday(names[::-1], EverydaySettings())


def test_a_dictionary_leaves_them_out_unless_told_to_keep_all() -> None:
    terms = [Term(name, "c", "MEDICATION") for name in (*DRUGS, "Today", "WATER")]
    text = "today water and naproxen"
    assert len(list(Dictionary(terms).find(text))) == 1
    assert len(list(Dictionary(terms, MatchSettings(everyday=None)).find(text))) == 3


def test_the_table_holds_common_words_only() -> None:
    use = word_use()
    assert use.counts.min() >= 200
    assert len(use.places) == len(use.counts) == len(use.ends) == len(use.vectors)
    assert all(word_key(word) == word for word in ("water", "MIC"))
    lengths = np.linalg.norm(use.vectors, axis=1)
    assert np.all((lengths < 1.05) & ((lengths > 0.95) | (lengths == 0)))


@pytest.mark.parametrize("wrong", [{"ends": -0.1}, {"general": 2}, {"names": 0}])
def test_settings_refuse_what_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"shares between 0 and 1|at least 1"):
        EverydaySettings(**wrong)  # type: ignore[arg-type]


def test_a_stop_list(tmp_path: Path) -> None:
    path = tmp_path / "stop.txt"
    path.write_bytes("\ufeffwater # in all drinks\r\n\n# ice\nnormal saline\n".encode())
    assert read_stop_list(path) == {"water", "normal saline"}
    path.write_text("# nothing\n")
    with pytest.raises(InputError, match="names nothing"):
        read_stop_list(path)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_stop_list(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_stop_list(tmp_path / "none")


def test_function_words_are_never_terms() -> None:
    assert {"can", "all", "of"} <= STOP_WORDS
    assert list(Dictionary([Term("All", "1", "X"), Term("gout", "2", "X")]).find("all can")) == []
