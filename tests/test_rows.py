"""Rows of equal bins through the whole chain: boxes of a detector that errs, locating, memory over ten passes."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from serve.cases.lifecycle import Stage
from serve.cases.matters import read_matters
from training.case_evaluation import Books, closing, locate_patrol
from training.city import Thing, street_of_rows
from training.city_drive import drive

PITCHES_M = (1.0, 1.5, 2.5, 5.0)


def rows_of(things: tuple[Thing, ...]) -> list[list[int]]:
    """The numbers of the things of each row, which were placed one row after the other."""
    rows: list[list[int]] = []
    for thing in things:
        last = things[rows[-1][-1]] if rows else None
        if last is not None and thing.north == last.north and abs(thing.east - last.east) < 1.5 * max(PITCHES_M):
            rows[-1].append(thing.number)
        else:
            rows.append([thing.number])
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12])
def test_rows_are_counted_right_over_ten_passes(seed: int) -> None:
    """Rows of three to six overflowing bins a metre and more apart are as many cases as bins after ten passes; from
    five metres on each case is of one bin: 95 of 100 sightings at least."""
    city = street_of_rows(seed, PITCHES_M)
    books = Books(city, closing(read_matters()))
    for number in range(city.passes):
        patrol = drive(city, number)
        books.take(patrol, locate_patrol(patrol))
    shown = defaultdict(list)
    for case in books.cases.values():
        if case.stage is not Stage.VOID and case.seen:
            shows = Counter(books.truth[part.sighting_id] for part in case.seen)
            shown[shows.most_common(1)[0][0]].append(shows)
    rows = rows_of(city.things)
    assert [len(row) for row in rows] == [sum(len(shown[number]) for number in row) for row in rows]
    widest = [shows for number in rows[-1] for shows in shown[number]]
    assert sum(max(shows.values()) for shows in widest) >= 0.95 * sum(sum(shows.values()) for shows in widest)
