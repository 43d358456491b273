"""Pieces of one thing within one pass.

A thing that is lost from sight for a moment may come out of a pass as two sightings. Things side by side are in view
together for most of their time and some frame shows both; so two sightings that no frame shows together, and that stand
where one thing may stand, are taken as pieces of one. Where frames are not told, they must follow one another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from serve.cases.ground import REACH_M, Covariance, Near, quadratic, squared_distance, to_plane
from serve.cases.matters import Matters
from serve.cases.shift import drift
from serve.cases.values import Place, Sighting

LONGEST_PAUSE = timedelta(seconds=8)
# 97.5 % of the chi-square distribution with two degrees of freedom.
GATE = 7.4
# A false box beside a thing makes it two in one frame; things side by side share more of their frames than this.
SHARED = 0.34
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
    """The surest piece with what the others add: time in view, the best score; `frames` are those of the piece seen
    most, since false boxes here and there add up to nothing."""
    return replace(
        pieces[0],
        score=max(piece.score for piece in pieces),
        frames=max(piece.frames for piece in pieces),
        first_seen=min(piece.first_seen for piece in pieces),
        last_seen=max(piece.last_seen for piece in pieces),
        seen_in=frozenset[str]().union(*(piece.seen_in for piece in pieces)),
    )


def left_piece(
    piece: Sighting, shown: Mapping[str, Sequence[Sighting]], places: Mapping[str, Place], matters: Matters
) -> str | None:
    """Which case a sighting that matched nothing shows a piece of: one that other sightings of the same pass show,
    `shown` by case; `places` by case: where it stands."""
    fits = []
    for case_id, others in shown.items():
        apart = [_misfit(piece, [other], matters) for other in others]
        if max(apart) == math.inf:
            continue
        spread = matters.of(others[0].class_name).spread_m
        fits.append((min(*apart, squared_distance(places[case_id], piece.place, spread)), case_id))
    best = min(fits, default=(math.inf, ""))
    return best[1] if best[0] <= GATE else None


def _misfit(piece: Sighting, group: Sequence[Sighting], matters: Matters) -> float:
    """Squared distance of a piece to the surest of a group for their own errors; infinite when they can't be one."""
    best = group[0]
    if matters.of(best.class_name).kin != matters.of(piece.class_name).kin:
        return math.inf
    if any(_together(piece, other) for other in group):
        return math.inf
    pauses = [max(piece.first_seen - other.last_seen, other.first_seen - piece.last_seen) for other in group]
    if min(pauses) > LONGEST_PAUSE:
        return math.inf
    return quadratic(*offset_between(best, piece, matters))


def offset_between(best: Sighting, piece: Sighting, matters: Matters) -> tuple[Covariance, float, float]:
    """How far one sighting lies east and north of another of the same pass (metres), and the covariance of that."""
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
    return covariance, east, north


def _together(one: Sighting, other: Sighting) -> bool:
    """Whether both were in view at once, as two things."""
    if one.seen_in and other.seen_in:
        both = len(one.seen_in & other.seen_in)
        return both > SHARED * min(len(one.seen_in), len(other.seen_in))
    return one.first_seen <= other.last_seen and other.first_seen <= one.last_seen


def _own(sighting: Sighting) -> float:
    a, _, c = sighting.place.covariance_m2
    return max(a + c - 2 * sighting.shared_sigma_m**2, 0.0)
