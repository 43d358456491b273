"""Patrols fitted into books that live in memory: what the server does with them, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from serve.cases.events import Draft
from serve.cases.lifecycle import Case
from serve.cases.matters import Matters
from serve.cases.merge import absorb, after
from serve.cases.values import Look, Place, Sighting, stable_id
from vision import sightings as seen

JURISDICTION = "sim"
# A patrol is processed that long after it began.
_PROCESSED = timedelta(hours=12)


def sightings_of(patrol_id: str, started_at: datetime, found: Sequence[seen.Sighting]) -> list[Sighting]:
    """What `vision` found in one patrol as the case rules take it, in the same order."""
    return [
        Sighting(
            id=stable_id("s", patrol_id, number),
            patrol_id=patrol_id,
            class_name=one.class_name,
            score=one.score,
            place=Place(one.longitude_deg, one.latitude_deg, one.covariance_m2, one.error_radius_m),
            shared_sigma_m=one.shared_sigma_m,
            frames=one.frames,
            first_seen=started_at + timedelta(seconds=one.first_seen_s),
            last_seen=started_at + timedelta(seconds=one.last_seen_s),
            size_m=one.size_m,
            seen_in=one.seen_in,
        )
        for number, one in enumerate(found)
    ]


def merge(
    cases: dict[str, Case],
    patrol_id: str,
    started_at: datetime,
    sightings: Sequence[Sighting],
    looks: Sequence[seen.Look],
    matters: Matters,
) -> tuple[Draft, ...]:
    """Fit one patrol into `cases`, which are changed; the events that this came to."""
    ground = [
        Look(patrol_id, started_at + timedelta(seconds=look.time_s), look.ring_lonlat, look.quality) for look in looks
    ]
    now = started_at + _PROCESSED
    outcome = absorb(patrol_id, JURISDICTION, sightings, ground, cases.values(), matters, now=now)
    for draft in outcome.drafts:
        case = after(cases.get(draft.case_id), [draft])
        assert case is not None
        cases[draft.case_id] = case
    return outcome.drafts
