"""Second thoughts: cases that other cases account for are taken back, those that stand on their own are not."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from serve.cases.doubt import LEAVES, Doubts, chance_of_misses
from serve.cases.events import Kind
from serve.cases.lifecycle import Stage, View
from serve.cases.values import Look, Sighting, stable_id
from tests.cases_support import MATTERS, START, Books, look, sighting
from tests.test_cases_memory import off_by


def passes(seen: list[list[Sighting]]) -> Books:
    """Books of passes that all had the street in view, one a day."""
    books = Books()
    for day, things in enumerate(seen):
        books.take(f"p{day}", things, [look(f"p{day}", -60, 60, day=day)])
    return books


def bag(day: int, *east_m: float) -> list[Sighting]:
    """Bags at these places on that day."""
    return [sighting(f"p{day}", east, day=day) for east in east_m]


def test_what_one_pass_saw_twice_is_one_case() -> None:
    """A metre beside a bag one pass saw another; the next, which had the place in view, saw the one alone."""
    first = [bag(0, 0.0), bag(1, 0.1, 1.1)]
    assert len(passes(first).cases()) == 2
    books = passes([*first, bag(2, 0.0)])
    stays, void = sorted(books.cases(), key=lambda case: case.stage.value)
    assert (stays.stage, len(stays.seen)) == (Stage.FILED, 4)
    assert (void.stage, len(void.seen)) == (Stage.VOID, 0)
    kinds = [event.kind for event in books.logs[void.id]]
    assert kinds == [Kind.OPENED, Kind.NOT_SEEN, Kind.WITHDRAWN, Kind.VOIDED, Kind.LOOK_WITHDRAWN]
    (withdrawn,) = [event for event in books.logs[void.id] if event.kind is Kind.WITHDRAWN]
    assert stays.id in withdrawn.reason


def test_the_outcome_names_what_moved() -> None:
    """Other tables that name the case of a sighting learn of it."""
    books = passes([bag(0, 0.0), bag(1, 0.1, 1.1)])
    (stays,) = [case for case in books.cases() if len(case.seen) == 2]
    (piece,) = [case for case in books.cases() if len(case.seen) == 1]
    outcome = books.take("p2", bag(2, 0.0), [look("p2", -60, 60, day=2)])
    assert outcome.moved == {piece.seen[0].sighting_id: stays.id}


def test_second_thoughts_are_had_once() -> None:
    """Whatever pass is processed again afterwards: it comes to what it came to."""
    seen = [bag(0, 0.0), bag(1, 0.1, 1.1), bag(2, 0.0)]
    books = passes(seen)
    for day in (2, 1, 0, 2):
        assert books.take(f"p{day}", seen[day], [look(f"p{day}", -60, 60, day=day)]).drafts == ()


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param([(0.0, 1.1), (0.1, 1.0), (0.0,)], id="two passes saw both"),
        pytest.param([(0.0,), (0.1, 4.0), (0.0,)], id="four metres apart"),
        pytest.param([(0.0,), (9.0,), (0.0,)], id="nine metres off, and nothing here"),
    ],
)
def test_what_stands_on_its_own_stays(seen: list[tuple[float, ...]]) -> None:
    """A case that is missed is not taken back for that."""
    books = passes([bag(day, *places) for day, places in enumerate(seen)])
    assert [case.stage for case in books.cases()] == [Stage.FILED] * 2


def test_where_somebody_works_on_it_the_machine_takes_nothing_back() -> None:
    """The same books: a case that is being handled stays."""
    books = passes([bag(0, 0.0), bag(1, 0.1, 1.1)])
    missed = View(START + timedelta(days=2), 1.0)
    cases = {case.id: replace(case, unseen={"p2": missed}) for case in books.cases()}
    (piece,) = [case for case in cases.values() if len(case.seen) == 1]
    assert len(Doubts(cases, MATTERS).moves(piece.id)) == 1
    cases[piece.id] = replace(piece, stage=Stage.IN_HANDLING)
    assert Doubts(cases, MATTERS).moves(piece.id) == []


def test_how_likely_misses_are() -> None:
    """A miss between two sightings is the class's rate; those after the last may be because the thing is gone."""
    (case,) = passes([bag(0, 0.0), [], bag(2, 0.0)]).cases()  # of a single look each
    matter = MATTERS.of("garbage")
    assert chance_of_misses(case, matter) == pytest.approx(1 - 0.9 * (1 - 2 * matter.miss_rate))
    (gone,) = passes([bag(0, 0.0), *([] for _ in range(9))]).cases()
    assert LEAVES < chance_of_misses(gone, matter) < LEAVES + 0.01


@pytest.mark.parametrize("pitch_m", [1.5, 3.0])
def test_rows_of_which_passes_see_one_bin_twice(pitch_m: float) -> None:
    """Ten passes by a row of five bins; each misses one in ten and sees one in twelve as two. Of eight rows six at
    least come to five cases, and no row comes to more than one too many."""
    counts = []
    for seed in range(8):
        chance, books = random.Random(seed), Books()
        for day in range(10):
            east, north = chance.gauss(0, 1.5), chance.gauss(0, 1.5)
            seen = []
            for number in range(5):
                for again in range(0 if chance.random() < 0.1 else 2 if chance.random() < 1 / 12 and day < 8 else 1):
                    bare = sighting(f"p{day}", pitch_m * number, class_name="overflow", day=day)
                    bare = replace(bare, id=stable_id("s", seed, day, number, again))
                    own = (chance.gauss(0, 0.25) + 0.8 * again, chance.gauss(0, 0.25))
                    seen.append(off_by(bare, east + own[0], north + own[1], seconds=100 + pitch_m / 8 * number))
            views: list[Look] = [look(f"p{day}", -20, 40, day=day)]
            books.take(f"p{day}", seen, views)
        counts.append(sum(case.stage is not Stage.VOID for case in books.cases()))
    assert counts.count(5) >= 6, counts
    assert max(counts) <= 6, counts
