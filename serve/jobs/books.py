"""Fit one patrol into the books: load what may matter, ask the rules, write what they say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from serve.cases.events import Kind
from serve.cases.ground import cells_around, cells_of_ring
from serve.cases.matters import Matters
from serve.cases.merge import Outcome, absorb, missed_views
from serve.cases.values import Look, Sighting, stable_id
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
    outcome = absorb(patrol_id, desk.jurisdiction, found, seen, books, matters, now=now, withdrawal=withdrawal)
    drafts = list(outcome.drafts)
    opened = {draft.case_id for draft in outcome.drafts if draft.kind is Kind.OPENED}
    for sighting in found:
        case_id = outcome.case_of.get(sighting.id)
        if case_id in opened:
            place = sighting.place
            others = results.looks_in(desk, cells_around(place.longitude_deg, place.latitude_deg), patrol_id)
            drafts += missed_views(case_id, place, sighting.first_seen, others, [patrol_id])
    cases.append(desk, drafts, now, {patrol_id: model})
    return outcome
