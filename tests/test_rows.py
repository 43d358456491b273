"""Rows of equal bins through the whole chain: boxes of a detector that errs, locating, memory over ten passes."""

from __future__ import annotations

from collections import Counter, defaultdict

from serve.cases.matters import read_matters
from training.city.drive import drive
from training.city.evaluation import Books, closing, locate_patrol
from training.city.plan import Thing, street_of_rows

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


def test_rows_are_counted_over_ten_passes() -> None:
    """After ten passes of a consumer receiver, in both directions, each of four rows of three to six overflowing bins
    has as many open cases as bins; cases that one bad pass opened were closed by later ones."""
    city = street_of_rows(13, PITCHES_M)
    books = Books(city, closing(read_matters()))
    for number in range(city.passes):
        patrol = drive(city, number)
        books.take(patrol, locate_patrol(patrol))
    open_cases: defaultdict[int, int] = defaultdict(int)
    for case in books.cases.values():
        if case.is_open and case.seen:
            open_cases[Counter(books.truth[part.sighting_id] for part in case.seen).most_common(1)[0][0]] += 1
    rows = rows_of(city.things)
    assert [len(row) for row in rows] == [sum(open_cases[number] for number in row) for row in rows]
