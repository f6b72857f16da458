"""Merging: clusters against a slow oracle, what every rule promises, worked examples."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span, alternatives
from clin_edge.distill.merging.dawid_skene import Fit, fit
from clin_edge.distill.merging.rules import (
    DAWID_SKENE,
    INTERSECTION,
    MAJORITY,
    RULES,
    UNION,
    apart,
    find_clusters,
    fit_clusters,
    merge_notes,
)
from strategies import spans

N_CHARS = 14
TEXT = "ab cd ef gh ij"
LABELS = ("MEDICATION", "DISEASE", "SYMPTOM", "DISEASE|SYMPTOM", "DISEASE|MEDICATION|SYMPTOM")
Place = tuple[int, int, str]


def says(*places: Place, marked: str = "", name: str = "") -> Labelled:
    """What a teacher says of the note; without ``marked`` it marks the labels it uses."""
    entities = tuple(
        Entity(Span(start, end), label, source=f"{name}:{i}" if name else "")
        for i, (start, end, label) in enumerate(places)
    )
    marks = frozenset(marked.split()) or frozenset(label for *_, label in places)
    return Labelled(Note("n", TEXT), entities, marks)


def merged(rule: str, said: Mapping[str, Labelled]) -> list[Place]:
    entities = merge_notes({"n": said}, [rule])[rule]["n"]
    return [(e.span.start, e.span.end, e.label) for e in entities]


@st.composite
def some_said(draw: DrawFn, max_teachers: int = 4) -> dict[str, Labelled]:
    """What one to four teachers say of a note; they may overlap themselves and mark little."""
    said = {}
    for name in "abcd"[: draw(st.integers(1, max_teachers))]:
        marked = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True))
        places = draw(st.lists(spans(N_CHARS), max_size=4))
        entities = tuple(Entity(span, draw(st.sampled_from(marked))) for span in places)
        said[name] = Labelled(Note("n", TEXT), entities, frozenset(marked))
    return said


# --- clusters ------------------------------------------------------------------------------------


def slow_clusters(said: Mapping[str, Labelled]) -> set[tuple[object, ...]]:
    """The module's own words, one by one: every head looks at every entity of the note."""
    left = [(t, e) for t, item in said.items() for e in item.entities]

    def backing(span: Span, label: str, *, exactly: bool) -> set[str]:
        return {
            t
            for t, e in everything
            if label in alternatives(e.label)
            and (e.span == span if exactly else e.span.overlaps(span))
        }

    everything = list(left)
    heads = {(e.span, label) for _, e in left for label in alternatives(e.label)}
    ranked = sorted(
        heads,
        key=lambda h: (
            -len(backing(*h, exactly=True)),
            -(h[0].end - h[0].start),
            h[0].start,
            -len(backing(*h, exactly=False)),
            h[1],
        ),
    )
    found = set()
    for span, label in ranked:
        if not [e for _, e in left if e.span == span and label in alternatives(e.label)]:
            continue
        mine = [(t, e) for t, e in left if label in alternatives(e.label) and e.span.overlaps(span)]
        left = [pair for pair in left if pair not in mine]
        meant = set.intersection(*(set(alternatives(e.label)) for _, e in mine))
        backers = {t for t, _ in mine}
        voters = {t for t, item in said.items() if meant <= item.covered} | backers
        found.add((span, "|".join(sorted(meant)), frozenset(backers), frozenset(voters)))
    return found


@given(some_said())
def test_clusters_are_those_of_the_slow_way(said) -> None:
    clusters = find_clusters(said)
    found = [(c.span, c.label, frozenset(c.backers), c.voters) for c in clusters]
    assert set(found) == slow_clusters(said)
    assert len(found) == len(set(found))


@given(some_said())
def test_every_backer_really_said_something_of_the_kind_there(said) -> None:
    for cluster in find_clusters(said):
        assert cluster.backers.keys() <= cluster.voters
        assert any(entity.span == cluster.span for entity in cluster.backers.values())
        for teacher, entity in cluster.backers.items():
            assert entity in said[teacher].entities
            assert entity.span.overlaps(cluster.span)
            assert set(alternatives(cluster.label)) <= set(alternatives(entity.label))


@given(some_said())
def test_every_entity_overlaps_the_head_of_a_cluster_that_it_may_mean(said) -> None:
    clusters = find_clusters(said)
    for item in said.values():
        for entity in item.entities:
            meant = set(alternatives(entity.label))
            assert any(
                entity.span.overlaps(c.span) and meant & set(alternatives(c.label))
                for c in clusters
            )


# --- what the rules promise ----------------------------------------------------------------------


@given(some_said())
def test_what_a_stricter_rule_keeps_a_laxer_one_keeps(said) -> None:
    kept = {rule: set(merged(rule, said)) for rule in (UNION, MAJORITY, INTERSECTION)}
    assert kept[INTERSECTION] <= kept[MAJORITY] <= kept[UNION]


@given(some_said(), st.sampled_from(RULES))
def test_a_merged_note_never_overlaps_itself_and_stands_in_order(said, rule) -> None:
    places = merged(rule, said)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(places))


@given(some_said(), st.sampled_from(RULES), st.randoms(use_true_random=False))
def test_the_order_of_teachers_and_of_entities_does_not_matter(said, rule, random) -> None:
    names = list(said)
    random.shuffle(names)
    shuffled = {}
    for name in names:
        entities = list(said[name].entities)
        random.shuffle(entities)
        shuffled[name] = Labelled(said[name].note, tuple(entities), said[name].marked)
    assert merged(rule, shuffled) == merged(rule, said)


@given(some_said(max_teachers=1), st.sampled_from(RULES))
def test_one_teacher_alone_is_itself_less_its_own_overlaps(said, rule) -> None:
    """Where its labels tell everything apart; overlaps go as in a merge, the longer first."""
    ((name, item),) = said.items()
    single = tuple(e for e in item.entities if "|" not in e.label)
    alone = {name: Labelled(item.note, single, item.marked)}
    expected = [(e.span.start, e.span.end, e.label) for e in apart(set(single))]
    assert merged(rule, alone) == expected


@given(some_said(), st.sampled_from((UNION, MAJORITY, INTERSECTION)))
def test_teachers_that_say_the_same_agree_under_every_rule(said, rule) -> None:
    (item, *_) = said.values()
    copies = dict.fromkeys("abc", item)
    assert merged(rule, copies) == merged(UNION, {"a": item})


@given(some_said())
def test_scores_are_shares_of_voters(said) -> None:
    clusters = {(c.span, c.label): c.share for c in find_clusters(said)}
    for entity in merge_notes({"n": said}, [UNION])[UNION]["n"]:
        assert entity.score == clusters[entity.span, entity.label]


def test_a_rule_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no such rule: 'vote'; expected one of union"):
        merge_notes({}, ["vote"])


# --- worked examples -----------------------------------------------------------------------------


def test_the_span_most_teachers_give_is_the_boundary() -> None:
    said = {
        "a": says((0, 8, "DISEASE")),
        "b": says((3, 8, "DISEASE")),
        "c": says((3, 8, "DISEASE")),
    }
    assert merged(INTERSECTION, said) == [(3, 8, "DISEASE")]
    assert merged(UNION, {name: said[name] for name in "ab"}) == [(0, 8, "DISEASE")]


def test_no_chain_grows_of_entities_that_overlap_one_after_another() -> None:
    said = {
        "a": says((0, 5, "DISEASE")),
        "b": says((3, 8, "DISEASE")),
        "c": says((6, 11, "DISEASE")),
    }
    # [0, 5) is leftmost of equals and takes [3, 8) in; [6, 11) does not touch it.
    assert merged(UNION, said) == [(0, 5, "DISEASE"), (6, 11, "DISEASE")]
    assert merged(MAJORITY, said) == [(0, 5, "DISEASE")]


def test_majority_is_more_than_half_of_those_that_mark_the_label() -> None:
    said = {
        "a": says((0, 2, "DISEASE"), (3, 5, "ROUTE")),
        "b": says(marked="DISEASE"),
        "c": says(marked="MEDICATION"),
    }
    assert merged(MAJORITY, said) == [(3, 5, "ROUTE")]
    said["d"] = says((0, 2, "DISEASE"))
    assert merged(MAJORITY, said) == [(0, 2, "DISEASE"), (3, 5, "ROUTE")]
    assert merged(INTERSECTION, said) == [(3, 5, "ROUTE")]


def test_a_teacher_that_does_not_have_the_note_does_not_vote_on_it() -> None:
    a, b, silent = says((0, 2, "DISEASE")), says((0, 2, "DISEASE")), says(marked="DISEASE")
    there, absent = {"a": a, "b": b, "c": silent, "d": silent}, {"a": a, "b": b, "c": silent}
    found = merge_notes({"1": there, "2": absent}, [MAJORITY])[MAJORITY]
    assert (found["1"], [e.score for e in found["2"]]) == ((), [2 / 3])


@pytest.mark.parametrize("rule", RULES)
def test_a_label_of_two_meanings_takes_the_narrower(rule: str) -> None:
    both = says((0, 2, "DISEASE|SYMPTOM"))
    assert merged(rule, {"a": both, "b": both}) == [(0, 2, "DISEASE|SYMPTOM")]
    said = {"a": both, "b": says((0, 5, "SYMPTOM"))}
    assert [label for *_, label in merged(rule, said)] == ["SYMPTOM"]


def test_of_two_labels_at_one_span_the_better_backed_one_stays() -> None:
    said = {
        "a": says((0, 2, "DISEASE"), marked="DISEASE SYMPTOM"),
        "b": says((0, 2, "SYMPTOM"), marked="DISEASE SYMPTOM"),
        "c": says((0, 2, "DISEASE|SYMPTOM")),
        "d": says((0, 5, "SYMPTOM"), marked="DISEASE SYMPTOM"),
    }
    assert merged(UNION, said) == [(0, 2, "SYMPTOM")]
    (entity,) = merge_notes({"n": said}, [UNION])[UNION]["n"]
    assert (entity.score, entity.source) == (0.75, "b+c+d")


def test_who_marks_but_one_meaning_is_no_voter_on_a_label_of_two() -> None:
    both = says((0, 2, "DISEASE|SYMPTOM"))
    (cluster,) = find_clusters({"a": both, "b": says(marked="DISEASE"), "c": both})
    assert cluster.voters == {"a", "c"}


def test_who_says_what_it_does_not_mark_is_a_voter_there() -> None:
    stray = says((0, 2, "SYMPTOM"), marked="DISEASE")
    (cluster,) = find_clusters({"a": stray, "b": says(marked="SYMPTOM")})
    assert (cluster.backers.keys(), cluster.voters) == ({"a"}, {"a", "b"})


def test_sources_name_backers_and_their_codes() -> None:
    said = {
        "rxnorm": says((0, 2, "MEDICATION"), name="rxnorm"),
        "gpt": says((0, 5, "MEDICATION")),
        "renamed": says((3, 5, "MEDICATION"), (0, 2, "MEDICATION"), name="snomed"),
    }
    (entity,) = merge_notes({"n": said}, [INTERSECTION])[INTERSECTION]["n"]
    # The span two teachers give is the head; the backer's own entity there is the one named.
    assert entity == Entity(Span(0, 2), "MEDICATION", 1.0, "gpt+renamed:snomed:1+rxnorm:0")


def test_the_better_backed_stays_then_the_longer_then_the_earlier() -> None:
    def entity(start: int, end: int, score: float = 1.0) -> Entity:
        return Entity(Span(start, end), "L", score)

    assert apart([entity(0, 9, 0.5), entity(3, 5)]) == (entity(3, 5),)
    assert apart([entity(0, 3), entity(2, 6)]) == (entity(2, 6),)
    assert apart([entity(2, 5), entity(0, 3)]) == (entity(0, 3),)
    assert apart([entity(3, 5), entity(0, 3)]) == (entity(0, 3), entity(3, 5))


# --- Dawid and Skene -----------------------------------------------------------------------------


def test_dawid_skene_learns_whom_to_trust() -> None:
    """Three that agree and a fourth that cries wolf: on its own it is not believed, they are."""
    true, wolf = says((0, 2, "DISEASE")), says((6, 8, "DISEASE"))
    notes = {str(i): {"a": true, "b": true, "c": true, "w": wolf} for i in range(30)}
    notes["new"] = {"a": true, "b": says(marked="DISEASE"), "c": true, "w": wolf}
    found = merge_notes(notes, [DAWID_SKENE])[DAWID_SKENE]["new"]
    assert [(e.span, e.source) for e in found] == [(Span(0, 2), "a+c")]
    assert 0.9 < found[0].score < 1


def test_the_model_sees_clusters_and_every_word_outside_them() -> None:
    said = {
        "a": says((0, 5, "DISEASE|SYMPTOM"), (6, 8, "DISEASE")),
        "b": says((0, 5, "DISEASE|SYMPTOM"), marked="DISEASE|SYMPTOM ROUTE"),
        "c": says(marked="ROUTE"),
    }
    a, ab, bc, nobody = frozenset("a"), frozenset("ab"), frozenset("bc"), frozenset()
    assert len(TEXT.split()) == 5
    # A cluster of two words and one of one leave two words; of symptoms there is the first alone.
    assert fit_clusters([(said, find_clusters(said))]) == {
        "DISEASE": fit({(ab, ab): 1, (a, ab): 1, (nobody, ab): 2}),
        "ROUTE": fit({(nobody, bc): 5}),
        "SYMPTOM": fit({(ab, ab): 1, (nobody, ab): 3}),
    }


def test_boundaries_go_by_the_weights_of_the_backers(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Fit(0.1, {"a": 0.9, "b": 0.5, "c": 0.5}, {"a": 0.001, "b": 0.1, "c": 0.1})
    monkeypatch.setattr("clin_edge.distill.merging.rules.fit_clusters", lambda _: {"DISEASE": fit})
    said = {
        "a": says((0, 8, "DISEASE")),
        "b": says((3, 8, "DISEASE")),
        "c": says((3, 8, "DISEASE")),
    }
    assert merged(MAJORITY, said) == [(3, 8, "DISEASE")]
    assert merged(DAWID_SKENE, said) == [(0, 8, "DISEASE")]


def test_nothing_said_merges_to_nothing() -> None:
    silent = says(marked="DISEASE")
    found = merge_notes({"n": {"a": silent, "b": silent}, "m": {"a": says()}}, RULES)
    assert found == {rule: {"n": (), "m": ()} for rule in RULES}
    assert merge_notes({}, RULES) == {rule: {} for rule in RULES}
