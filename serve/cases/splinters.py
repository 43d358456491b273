"""Pieces of one thing within one pass.

A thing that is lost from sight for a moment may come out of a pass as two sightings, one after the other. Equal things
side by side are in view together for most of their time; so two sightings that were never in view at once, stand where
one thing may stand, and followed each other soon are taken as pieces of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from serve.cases.ground import REACH_M, Near, quadratic, to_plane
from serve.cases.matters import Matters
from serve.cases.shift import drift
from serve.cases.values import Sighting

LONGEST_PAUSE = timedelta(seconds=8)
# 97.5 % of the chi-square distribution with two degrees of freedom.
GATE = 7.4
_OWN_LEAST_M2 = 0.1**2


def whole_things(sightings: Sequence[Sighting], matters: Matters) -> list[tuple[Sighting, ...]]:
    """The sightings of one pass grouped into things, the surest piece of each first.

    Groups grow from the surest sightings on, so the order given does not matter.
    """
    ordered = sorted(sightings, key=lambda one: (_own(one), -one.frames, one.id))
    groups: list[list[Sighting]] = []
    near: Near[int] = Near(REACH_M)
    for piece in ordered:
        best = min(((_misfit(piece, groups[k], matters), k) for k in near.around(piece.place)), default=(math.inf, -1))
        if best[0] <= GATE:
            groups[best[1]].append(piece)
        else:
            near.add(piece.place, len(groups))
            groups.append([piece])
    return [tuple(group) for group in groups]


def as_one(pieces: Sequence[Sighting]) -> Sighting:
    """The surest piece with what the others add: frames, time in view, the best score."""
    return replace(
        pieces[0],
        score=max(piece.score for piece in pieces),
        frames=sum(piece.frames for piece in pieces),
        first_seen=min(piece.first_seen for piece in pieces),
        last_seen=max(piece.last_seen for piece in pieces),
    )


def _misfit(piece: Sighting, group: Sequence[Sighting], matters: Matters) -> float:
    """Squared distance of a piece to the surest of a group for their own errors; infinite when they can't be one."""
    best = group[0]
    if matters.of(best.class_name).kin != matters.of(piece.class_name).kin:
        return math.inf
    pauses = [max(piece.first_seen - other.last_seen, other.first_seen - piece.last_seen) for other in group]
    if min(pauses) <= timedelta(0) or min(pauses) > LONGEST_PAUSE:
        return math.inf
    east, north = to_plane(
        best.place.longitude_deg, best.place.latitude_deg, piece.place.longitude_deg, piece.place.latitude_deg
    )
    apart_s = abs((piece.first_seen - best.first_seen) + (piece.last_seen - best.last_seen)).total_seconds() / 2
    # Both err by the shared shift; only what it changed in between counts, in the difference twice over.
    wander = 2 * drift(piece.shared_sigma_m**2, apart_s / 2) + matters.of(best.class_name).spread_m ** 2
    own = [
        sum(max(one.place.covariance_m2[k] - one.shared_sigma_m**2, _OWN_LEAST_M2) for one in (piece, best))
        for k in (0, 2)
    ]
    cross = piece.place.covariance_m2[1] + best.place.covariance_m2[1]
    limit = 0.95 * (own[0] * own[1]) ** 0.5
    covariance = (own[0] + wander, min(max(cross, -limit), limit), own[1] + wander)
    return quadratic(covariance, east, north)


def _own(sighting: Sighting) -> float:
    a, _, c = sighting.place.covariance_m2
    return max(a + c - 2 * sighting.shared_sigma_m**2, 0.0)
