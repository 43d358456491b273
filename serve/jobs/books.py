"""Fit one patrol into the books: load what may matter, ask the rules, write what they say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from serve.cases.ground import cells_around, cells_of_ring
from serve.cases.matters import Matters
from serve.cases.merge import Outcome, absorb
from serve.cases.values import Look, Place, Sighting, stable_id
from serve.store import cases, results
from serve.store.database import Desk


def fit(
    desk: Desk,
    patrol_id: str,
    found: Sequence[Sighting],
    seen: Sequence[Look],
    matters: Matters,
    *,
    model: str | None,
    now: datetime,
    withdrawal: str,
) -> Outcome:
    """Append to the case logs what this patrol means now, in the caller's transaction.

    A patrol without sightings and looks takes back all that it said before; `withdrawal` is the reason then given.
    """
    cases.take_turn(desk)
    cells = set()
    for sighting in found:
        cells |= cells_around(sighting.place.longitude_deg, sighting.place.latitude_deg)
    for look in seen:
        cells |= cells_of_ring(look.ring_lonlat)
    own = {stable_id("c", desk.jurisdiction, sighting.id) for sighting in found}
    books = cases.books(desk, cells, own, patrol_id)

    def others_looks(place: Place) -> Iterable[Look]:
        return results.looks_in(desk, cells_around(place.longitude_deg, place.latitude_deg), patrol_id)

    outcome = absorb(
        patrol_id,
        desk.jurisdiction,
        found,
        seen,
        books,
        matters,
        now=now,
        withdrawal=withdrawal,
        others_looks=others_looks,
    )
    cases.append(desk, outcome.drafts, now, {patrol_id: model})
    results.move(desk, outcome.moved)
    return outcome
