"""One thing, one case: joining, order, doing it twice, taking it back, and looks without the thing."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.cases.events import Draft, Kind, chain
from serve.cases.lifecycle import Stage, fold
from serve.cases.merge import absorb, missed_views
from serve.cases.values import Sighting
from tests.cases_support import MATTERS, NOW, START, Books, ids, look, place, sighting


def test_empty_patrol_in_empty_books() -> None:
    """Nothing seen, nothing opened."""
    outcome = Books().take("p1")
    assert (outcome.case_of, outcome.why_none, outcome.drafts) == ({}, {}, ())


def test_a_sighting_opens_a_case_and_the_next_pass_joins_it() -> None:
    """Seen twice at one place is one case with two sightings."""
    books = Books()
    first, second = sighting("p1"), sighting("p2", 0.6, day=1)
    books.take("p1", [first])
    outcome = books.take("p2", [second])
    assert [draft.kind for draft in outcome.drafts] == [Kind.SEEN_AGAIN]
    (case,) = books.cases()
    assert ids([first, second]) == {part.sighting_id for part in case.seen}
    assert case.first_seen == first.first_seen
    assert case.last_seen == second.last_seen


def test_far_and_other_kinds_stay_apart() -> None:
    """Eight metres away is another case; a stall is never garbage."""
    books = Books()
    books.take("p1", [sighting("p1")])
    books.take("p2", [sighting("p2", 8.0, day=1), sighting("p2", 0.2, class_name="stall", day=1)])
    assert len(books.cases()) == 3


def test_kindred_classes_may_be_one_thing_but_like_joins_like() -> None:
    """Garbage beside an overflowing bin: each is joined by its own kind; alone, one may stand for the other."""
    books = Books()
    books.take("p1", [sighting("p1"), sighting("p1", 1.0, class_name="overflow")])
    second = [sighting("p2", 0.6, day=1), sighting("p2", 0.5, class_name="overflow", day=1)]
    outcome = books.take("p2", second)
    classes = {case.id: case.class_name for case in books.cases()}
    assert [classes[outcome.case_of[one.id]] for one in second] == ["garbage", "overflow"]
    alone = Books()
    alone.take("p1", [sighting("p1")])
    alone.take("p2", [sighting("p2", 0.2, class_name="overflow", day=1)])
    assert len(alone.cases()) == 1


def test_a_row_of_equal_things_is_joined_one_to_one() -> None:
    """Five bags a metre and a half apart, the next pass half a metre off: five cases, each with its own."""
    books = Books()
    row = [sighting("p1", 1.5 * i) for i in range(5)]
    again = [sighting("p2", 1.5 * i + 0.5, day=1) for i in range(5)]
    books.take("p1", row)
    outcome = books.take("p2", again)
    assert {(a.id, b.id) for a, b in zip(row, again, strict=True)} == {
        tuple(part.sighting_id for part in case.seen) for case in books.cases()
    }
    assert len(set(outcome.case_of.values())) == 5


def test_two_sightings_of_one_pass_never_share_a_case() -> None:
    """One pass sees two bags side by side where one was known: the second opens a case."""
    books = Books()
    books.take("p1", [sighting("p1")])
    outcome = books.take("p2", [sighting("p2", 0.1, day=1), sighting("p2", 0.3, day=1)])
    assert len(set(outcome.case_of.values())) == 2


def test_what_opens_no_case_may_still_join_one() -> None:
    """A faint sighting adds evidence to a case that stands; alone it opens none and says why."""
    books = Books()
    books.take("p1", [sighting("p1")])
    faint, lone = sighting("p2", 0.2, score=0.2, day=1), sighting("p2", 30, score=0.2, day=1)
    outcome = books.take("p2", [faint, lone])
    assert set(outcome.case_of) == {faint.id}
    assert set(outcome.why_none) == {lone.id}


def test_the_same_patrol_twice_changes_nothing() -> None:
    """Processing again with the same result appends not one event."""
    books = Books()
    things = [sighting("p1"), sighting("p1", 9.0, class_name="shed"), sighting("p1", 20, class_name="bin")]
    books.take("p1", things, [look("p1", -5, 30, day=0)])
    before = {case_id: list(log) for case_id, log in books.logs.items()}
    outcome = books.take("p1", things, [look("p1", -5, 30, day=0)])
    assert outcome.drafts == ()
    assert books.logs == before


def test_processing_again_joins_no_weak_piece_to_a_case_of_its_own() -> None:
    """A faint sighting beside one that opens a case opens none and joins none, the first time and the second."""
    books = Books()
    things = [sighting("p1"), sighting("p1", 0.9, score=0.2)]
    things = [replace(one, seen_in=frozenset({f"{one.id}-{n}" for n in range(4)})) for one in things]
    things[1] = replace(things[1], seen_in=things[1].seen_in | things[0].seen_in)
    first = books.take("p1", things)
    place_then = books.cases()[0].place
    again = books.take("p1", things)
    assert (again.case_of, again.why_none, again.drafts) == (first.case_of, first.why_none, ())
    assert books.cases()[0].place == place_then


@pytest.mark.parametrize("seed", range(0, 1200, 8))
def test_any_patrol_twice_changes_nothing(seed: int) -> None:
    """However many things of whatever strength stand near one another, in books that hold others' cases: the second
    time yields no event."""
    chance = random.Random(seed)

    def seen(patrol: str, day: int) -> list[Sighting]:
        return [
            sighting(
                patrol,
                round(chance.uniform(0, 25), 3),
                chance.choice([0.0, 1.0, 2.0]),
                chance.choice(["garbage", "overflow", "material_pile"]),
                score=chance.choice([0.2, 0.5, 0.8]),
                frames=chance.choice([1, 2, 9]),
                day=day,
                sigma_m=chance.choice([0.3, 0.8, 1.6]),
            )
            for _ in range(chance.randint(1, 9))
        ]

    books = Books()
    books.take("p1", seen("p1", 0), [look("p1", -5, 30, day=0)])
    things, looks = seen("p2", 1), [look("p2", -5, 15, day=1)]
    books.take("p2", things, looks)
    assert books.take("p2", things, looks).drafts == ()


def test_processing_again_with_another_result() -> None:
    """What moved a little stays its case, what is no longer seen is withdrawn, and what only it had seen is void."""
    books = Books()
    books.take("p1", [sighting("p1"), sighting("p1", 15.0)])
    books.take("p2", [sighting("p2", 15.2, day=1)])
    books.take("p1", [sighting("p1", 0.4)])
    by_stage = sorted((case.stage.value, len(case.seen)) for case in books.cases())
    assert by_stage == [("filed", 1), ("filed", 1)]
    books.take("p1", [])
    assert sorted(case.stage.value for case in books.cases()) == ["filed", "void"]
    books.take("p2", [])
    assert {case.stage for case in books.cases()} == {Stage.VOID}


def test_a_void_case_stands_up_when_the_same_sighting_comes_back() -> None:
    """Deleted and sent again: the same case under the same id, its log telling all of it."""
    books = Books()
    books.take("p1", [sighting("p1")])
    books.take("p1", [])
    books.take("p1", [sighting("p1")])
    (log,) = books.logs.values()
    assert [event.kind for event in log] == [Kind.OPENED, Kind.WITHDRAWN, Kind.VOIDED, Kind.OPENED]
    assert fold(log).stage is Stage.FILED


def test_a_void_case_is_not_joined_by_others() -> None:
    """A thing seen where a deleted patrol had seen one is a new case."""
    books = Books()
    books.take("p1", [sighting("p1")])
    books.take("p1", [])
    books.take("p2", [sighting("p2", 0.1, day=1)])
    assert sorted(case.stage.value for case in books.cases()) == ["filed", "void"]


def test_below_the_filing_score_a_case_waits_for_a_person() -> None:
    """A sure machine files; an unsure one only collects."""
    books = Books()
    books.take("p1", [sighting("p1", score=0.5), sighting("p1", 9.0, score=0.9)])
    assert sorted(case.stage.value for case in books.cases()) == ["collected", "filed"]


def test_a_good_view_without_the_thing_is_an_event_and_closes_nothing() -> None:
    """A later pass that saw the place and not the thing is noted; one that saw half of it, or badly, is not."""
    books = Books()
    books.take("p1", [sighting("p1"), sighting("p1", 40.0)])
    books.take("p2", [], [look("p2", -10, 10, day=1), look("p2", 30, 50, day=1, quality=0.2)])
    books.take("p3", [], [look("p3", 40.0, 60, day=2)])
    by_place = {case.place.longitude_deg: case for case in books.cases()}
    near, far = (by_place[key] for key in sorted(by_place))
    assert [near.is_open, far.is_open] == [True, True]
    assert set(near.unseen) == {"p2"}
    assert not far.unseen


def test_a_view_before_the_thing_was_there_says_nothing() -> None:
    """A pass of the day before that is processed late does not count against the case."""
    books = Books()
    books.take("p2", [sighting("p2", day=1)])
    books.take("p1", [], [look("p1", -10, 10, day=0)])
    assert not books.cases()[0].unseen


def test_a_view_counts_only_until_the_thing_is_seen_again() -> None:
    """Seen on day 3, the empty view of day 1 is history."""
    books = Books()
    books.take("p1", [sighting("p1")])
    books.take("p2", [], [look("p2", -10, 10, day=1)])
    assert len(books.cases()[0].not_seen_since) == 1
    books.take("p3", [sighting("p3", 0.1, day=3)])
    assert books.cases()[0].not_seen_since == ()


def test_a_view_is_taken_back_when_its_patrol_is() -> None:
    """Deleting a patrol takes its good views back; processing it again leaves them as they are."""
    books = Books()
    books.take("p1", [sighting("p1")])
    seen = [look("p2", -10, 10, day=1)]
    books.take("p2", [], seen)
    assert books.take("p2", [], seen).drafts == ()
    assert [draft.kind for draft in books.take("p2").drafts] == [Kind.LOOK_WITHDRAWN]
    assert not books.cases()[0].unseen


def test_views_of_passes_that_were_processed_first() -> None:
    """A case opened late learns of the later passes that saw its place empty, but of no earlier ones."""
    looks = [look("p2", -10, 10, day=1), look("p3", 30, 60, day=2), look("p0", -10, 10, day=-1)]
    drafts = missed_views("c1", place(), START, looks, ["p1"])
    assert [(draft.kind, draft.data["patrol"]) for draft in drafts] == [(Kind.NOT_SEEN, "p2")]


def test_a_closed_case_recurs() -> None:
    """A sighting where a case was closed shortly before opens it again, with its history."""
    books = Books()
    books.take("p1", [sighting("p1")])
    ((case_id, log),) = books.logs.items()
    case = fold(log)
    closed = replace(case, stage=Stage.CLOSED, closed_at=NOW - timedelta(days=2))
    one = sighting("p2", 0.1, day=8)
    outcome = absorb("p2", "320200", [one], [], [closed], MATTERS, now=NOW)
    assert [(draft.kind, draft.case_id) for draft in outcome.drafts] == [(Kind.RECURRED, case_id)]
    long_ago = replace(closed, closed_at=NOW - timedelta(days=90))
    outcome = absorb("p2", "320200", [one], [], [long_ago], MATTERS, now=NOW)
    assert [draft.kind for draft in outcome.drafts] == [Kind.OPENED]
    reopened = chain(Draft(case_id, Kind.RECURRED, NOW, "", dict(log[0].data) | {"stage": "filed"}), log, NOW)
    assert fold([*log, reopened]).stage is Stage.FILED


THINGS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["garbage", "overflow", "stall", "shed", "bin"])),
    min_size=1,
    max_size=8,
    unique_by=lambda thing: thing[0],
)


@settings(deadline=None, max_examples=60)
@given(THINGS, st.integers(2, 4), st.randoms(use_true_random=False))
def test_the_order_changes_nothing(things: list[tuple[int, str]], passes: int, chance: random.Random) -> None:
    """Whatever the order of the patrols and of the sightings within them, the same sightings make the same cases."""
    runs = []
    for number in range(passes):
        seen = [
            sighting(f"p{number}", 12.0 * x + chance.uniform(-0.5, 0.5), chance.uniform(-0.5, 0.5), name, day=number)
            for x, name in things
            if chance.random() < 0.8
        ]
        runs.append((f"p{number}", seen))
    straight = Books()
    for patrol, seen in runs:
        straight.take(patrol, seen)
    mixed = Books()
    shuffled = [(patrol, chance.sample(seen, len(seen))) for patrol, seen in chance.sample(runs, len(runs))]
    for patrol, seen in [*shuffled, *shuffled]:
        mixed.take(patrol, seen)
    assert mixed.partition() == straight.partition()
    fused = {case.place for case in straight.cases()}
    for case in mixed.cases():
        assert any(
            case.place.longitude_deg == pytest.approx(other.longitude_deg, abs=1e-9)
            and case.place.error_radius_m == pytest.approx(other.error_radius_m, rel=1e-6)
            for other in fused
        )
