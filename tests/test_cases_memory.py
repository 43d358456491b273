"""Memory: rows of equal things, a shift that a whole pass shares, laps, and places that are fused."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.cases.align import aligned
from serve.cases.ground import circle_90, from_plane, offset_m, shared_sigma, to_plane
from serve.cases.memory import Known, match
from serve.cases.shift import MEMORY_S, Shift, Wander, drift
from serve.cases.values import Place, Sighting, stable_id
from tests.cases_support import LAT, LON, MATTERS, START, Books, look, place, sighting

SHARED_M = 1.5


def off_by(one: Sighting, east_m: float, north_m: float, *, seconds: float = 0.0) -> Sighting:
    """The sighting as a receiver that is off by so much would place it, `seconds` into its day."""
    east, north = to_plane(LON, LAT, one.place.longitude_deg, one.place.latitude_deg)
    lon, lat = from_plane(LON, LAT, east + east_m, north + north_m)
    variance = 0.25**2 + SHARED_M**2
    day = START + timedelta(days=(one.first_seen - START).days)
    return replace(
        one,
        place=Place(lon, lat, (variance, 0.0, variance), 2.146 * math.sqrt(variance) - 0.3),
        shared_sigma_m=SHARED_M,
        first_seen=day + timedelta(seconds=seconds),
        last_seen=day + timedelta(seconds=seconds + 1),
    )


def drive_past_row(count: int, pitch_m: float, chance: random.Random, passes: int = 10) -> tuple[Books, dict[str, int]]:
    """A row of equal overflowing bins passed ten times in both directions by a consumer receiver that misses one
    in ten; the books, and which bin each sighting shows."""
    books, truth = Books(), {}
    for number in range(passes):
        bias = [chance.gauss(0, SHARED_M), chance.gauss(0, SHARED_M)]
        keep = math.exp(-pitch_m / 8 / MEMORY_S)
        seen = []
        for i in range(count):
            bias = [keep * b + chance.gauss(0, SHARED_M * math.sqrt(1 - keep**2)) for b in bias]
            if chance.random() < 0.1:
                continue
            seconds = 100 + pitch_m / 8 * (i if number % 2 == 0 else -i)
            bare = replace(
                sighting(f"p{number}", pitch_m * i, class_name="overflow", day=number), id=stable_id("s", number, i)
            )
            one = off_by(bare, bias[0] + chance.gauss(0, 0.25), bias[1] + chance.gauss(0, 0.25), seconds=seconds)
            truth[one.id] = i
            seen.append(one)
        books.take(f"p{number}", seen)
    return books, truth


def test_errors_have_tails() -> None:
    """What one pass places five sigmas off is the thing that stood there, not another; eight metres off is another."""
    books = Books()
    books.take("p1", [sighting("p1")])
    outcome = books.take("p2", [sighting("p2", 3.5, day=1), sighting("p2", 8.0, day=1)])
    assert len(set(outcome.case_of.values())) == 2
    assert len(books.cases()) == 2


def test_what_was_in_view_is_rather_found_than_missed() -> None:
    """Garbage in one frame only, three metres from a bin that overflows: where the pass had the bin in view and did not
    report it otherwise, that is the bin; where nobody knows what the pass saw, it is rather a false box."""
    lone = sighting("p2", 3.0, class_name="garbage", frames=1, day=1)
    joined = []
    for looks in ([], [look("p2", -30, 30, day=1)], [look("p2", 10, 30, day=1)]):
        books = Books()
        books.take("p1", [sighting("p1", class_name="overflow")])
        joined.append(lone.id in books.take("p2", [lone], looks).case_of)
    assert joined == [False, True, False]


@pytest.mark.parametrize("pitch_m", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("count", [2, 5, 8])
def test_rows_are_counted_right_over_ten_passes(count: int, pitch_m: float) -> None:
    """Equal things a metre or more apart are as many cases as things, in each of four rows, although each pass lies
    metres off and misses some."""
    counts = [len(drive_past_row(count, pitch_m, random.Random(seed))[0].cases()) for seed in range(4)]
    assert counts == [count] * 4


def test_rows_are_told_apart_from_five_metres_on() -> None:
    """Of the sightings of rows with five metres between, at least 95 of 100 are in the case of their own thing; of
    eight rows, seven at least are counted right, since a satellite error of a whole gap looks like the next thing."""
    right = total = counted = 0
    for seed in range(8):
        books, truth = drive_past_row(5, 5.0, random.Random(100 + seed))
        counted += len(books.cases()) == 5
        for case in books.cases():
            shows = Counter(truth[part.sighting_id] for part in case.seen)
            right += max(shows.values())
            total += sum(shows.values())
    assert right / total >= 0.95
    assert counted >= 7


def test_a_shift_of_the_whole_pass_is_no_new_thing() -> None:
    """Six things all four metres east of where they were known are the same six; one alone among five that agree
    is another."""
    spots = [(15.0 * i, 4.0 * (i % 2)) for i in range(6)]
    first = [off_by(sighting("p1", e, n), 0, 0, seconds=2 * i) for i, (e, n) in enumerate(spots)]
    books = Books()
    books.take("p1", first)
    moved = [off_by(sighting("p2", e, n, day=1), 4.0, 0.5, seconds=2 * i) for i, (e, n) in enumerate(spots)]
    books.take("p2", moved)
    assert len(books.cases()) == 6
    odd = [
        off_by(sighting("p3", e, n, day=2), 6.0 if i == 3 else 0.0, 0.0, seconds=2 * i)
        for i, (e, n) in enumerate(spots)
    ]
    books.take("p3", odd)
    assert len(books.cases()) == 7


def test_opposite_directions_and_both_sides() -> None:
    """Passes from both ends, things on both sides of a ten-metre road: each thing one case with all its sightings."""
    spots = [(12.0 * i, side * 5.0) for i in range(5) for side in (-1, 1)]
    books = Books()
    for number, (east, north) in enumerate([(0.0, 0.0), (2.0, -1.0), (-1.5, 1.5), (1.0, 2.0)]):
        times = [e / 8 if number % 2 == 0 else 10 - e / 8 for e, _ in spots]
        books.take(
            f"p{number}",
            [
                off_by(sighting(f"p{number}", e, n, day=number), east, north, seconds=t)
                for (e, n), t in zip(spots, times, strict=True)
            ],
        )
    assert sorted(len(case.seen) for case in books.cases()) == [4] * len(spots)


def test_one_pass_that_comes_by_twice() -> None:
    """A vehicle that passes the same thing ten minutes later in one patrol gives one case with two sightings; done
    twice it changes nothing."""
    books = Books()
    twice = [
        off_by(sighting("p1"), 0.0, 0.0, seconds=0),
        off_by(sighting("p1", score=0.7), 1.8, -0.9, seconds=600),
    ]
    books.take("p1", twice)
    (case,) = books.cases()
    assert len(case.seen) == 2
    assert books.take("p1", twice).drafts == ()


def test_what_the_detector_mistakes_joins_the_case_that_stands_there() -> None:
    """A pile of material seen as garbage once stays one case; garbage is never a stall."""
    books = Books()
    books.take("p1", [sighting("p1", class_name="material_pile"), sighting("p1", 20.0, class_name="stall")])
    books.take("p2", [sighting("p2", 0.2, day=1), sighting("p2", 20.2, day=1)])
    assert sorted(case.class_name for case in books.cases()) == ["garbage", "material_pile", "stall"]


def test_a_case_that_few_passes_saw_is_compared_in_line_with_its_neighbours() -> None:
    """A thing first seen by a pass that lay 4 m off, among neighbours that many passes saw, is known where it stands
    among them: within a metre, not four."""
    books = Books()
    spots = [(8.0 * i, 0.0) for i in range(5)]
    for number in range(6):
        seen = [off_by(sighting(f"p{number}", e, n, day=number), 0, 0, seconds=e / 8) for e, n in spots]
        books.take(f"p{number}", seen)
    late = [off_by(sighting("p6", e, n, day=6), 4.0, 0.0, seconds=e / 8) for e, n in [*spots, (20.0, 0.0)]]
    books.take("p6", late)
    fresh = next(case for case in books.cases() if len(case.seen) == 1)
    east_raw, _ = to_plane(LON, LAT, fresh.place.longitude_deg, fresh.place.latitude_deg)
    in_line, shared = aligned(books.cases())[fresh.id]
    east, _ = to_plane(LON, LAT, in_line.longitude_deg, in_line.latitude_deg)
    assert east_raw == pytest.approx(24.0)
    # The neighbours' own mean holds a seventh of the late pass's 4 m.
    assert east == pytest.approx(20.0 + 4.0 / 7, abs=0.5)
    assert shared < SHARED_M / 2


def test_fused_passes_with_their_own_errors_are_surer() -> None:
    """Ten passes, each with its own satellite error: the place is √10 surer, and so is what it shares."""
    chance = random.Random(5)
    books = Books()
    for number in range(10):
        east, north = chance.gauss(0, SHARED_M), chance.gauss(0, SHARED_M)
        books.take(f"p{number}", [off_by(sighting(f"p{number}", day=number), east, north)])
    (case,) = books.cases()
    assert math.hypot(*offset_m(place(), case.place)) < 1.5
    assert case.shared_sigma_m == pytest.approx(SHARED_M / math.sqrt(10))
    assert case.place.error_radius_m < 1.2


def test_the_shift_is_told_by_sightings_near_in_time() -> None:
    """What one sighting tells fades with the memory: near it the shift is known, minutes later it is not."""
    wander = Wander([0.0, 1.0, 300.0], [4.0, 4.0, 4.0], {0: Shift(2.0, -1.0, 0.01, 0.01)})
    near, far = wander.around(1, 1), wander.around(2, 2)
    assert (near.east, near.north) == pytest.approx((2.0, -1.0), abs=0.1)
    assert near.variance_east == pytest.approx(drift(4.0, 1.0), rel=0.1)
    assert far.variance_east == pytest.approx(4.0, rel=0.01)
    own = wander.around(0, 0)
    assert (own.east, own.variance_east) == pytest.approx((0.0, 4.0))


def test_circle_of_a_lopsided_error() -> None:
    """Nine tenths: 2.146 sigmas when round, 1.645 when all on one line, in any direction."""
    assert circle_90((1.0, 0.0, 1.0)) == pytest.approx(2.146)
    assert circle_90((0.5, 0.5, 0.5)) == pytest.approx(1.645, abs=0.01)
    assert shared_sigma([place(), place()], [0.4, 0.4]) == pytest.approx(0.4 / math.sqrt(2))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 60), st.floats(0, 12)), min_size=1, max_size=9),
    st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    st.randoms(use_true_random=False),
)
def test_matching_gives_each_known_thing_once_whatever_the_order(
    spots: list[tuple[float, float]], bias: tuple[float, float], chance: random.Random
) -> None:
    """The order of sightings and of known things changes nothing, and no known thing is given twice."""
    known = [
        Known(f"c{i}", "waste", "garbage", place(e, n, sigma_m=0.8), shared_sigma_m=0.6)
        for i, (e, n) in enumerate(spots)
    ]
    seen = [replace(off_by(sighting("p1", e, n), *bias, seconds=e / 8), id=f"s{i}") for i, (e, n) in enumerate(spots)]
    found = match(seen, known, MATTERS, lambda _, __: True)
    again = match(chance.sample(seen, len(seen)), chance.sample(known, len(known)), MATTERS, lambda _, __: True)
    assert found == again
    assert len(set(found.values())) == len(found)


def test_a_false_box_near_by_does_not_take_a_case_from_the_thing_itself() -> None:
    """A faint box of a single frame lies nearer to the case than what nine frames show: the thing joins, no second
    case is opened, and the false box joins nothing."""
    books = Books()
    books.take("p1", [sighting("p1", sigma_m=1.5)])
    false = sighting("p2", 0.2, score=0.34, frames=1, day=1, sigma_m=1.5)
    real = sighting("p2", 2.0, frames=9, day=1, sigma_m=1.5)
    books.take("p2", [false, real])
    (case,) = books.cases()
    assert {part.sighting_id for part in case.seen if part.patrol_id == "p2"} == {real.id}


def test_what_would_open_no_case_still_shows_that_a_thing_stands() -> None:
    """A faint sighting right where a case stands is that thing, seen badly."""
    books = Books()
    books.take("p1", [sighting("p1")])
    books.take("p2", [sighting("p2", 0.1, score=0.3, day=1)])
    (case,) = books.cases()
    assert {part.patrol_id for part in case.seen} == {"p1", "p2"}
