"""Places of cases brought into line with their neighbours', for comparing a new pass with them.

A case's own place is the mean of its sightings, and so holds the satellite errors of exactly the passes that saw it. A
case that few passes saw may lie metres off against its neighbours, although in each of those passes it stood among
them in order. Here each sighting of such a case is moved by what the pass was off at that moment, which the pass's
sightings of neighbours tell that other passes saw too. It depends on what the books hold alone, not on their history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from serve.cases.ground import from_plane, to_plane
from serve.cases.lifecycle import Case, Seen
from serve.cases.shift import MEMORY_S, Shift, Wander
from serve.cases.values import Place

# With so many sightings a place holds little of any one pass's error.
ENOUGH = 6
_OWN_LEAST_M2 = 0.1**2

Placed = tuple[Place, float]


def aligned(cases: Sequence[Case]) -> dict[str, Placed]:
    """By case, its place among its neighbours and the sigma per axis that it shares with them.

    Cases without sightings keep the place they had.
    """
    placed = {case.id: (case.place, case.shared_sigma_m) for case in cases}
    parts_of = {case.id: case.parts for case in cases}
    few = {case_id for case_id, parts in parts_of.items() if 0 < len(parts) < ENOUGH}
    passes: defaultdict[str, list[tuple[float, str, Seen]]] = defaultdict(list)
    for case_id, parts in parts_of.items():
        for part in parts:
            moment = (part.first_seen.timestamp() + part.last_seen.timestamp()) / 2
            passes[part.patrol_id].append((moment, case_id, part))
    many = {case_id for case_id, parts in parts_of.items() if len(parts) > 1}
    moves: defaultdict[str, list[tuple[float, float, float, float, float]]] = defaultdict(list)
    for seen in passes.values():
        if any(case_id in few for _, case_id, _ in seen):
            for case_id, move in _moves(sorted(seen, key=lambda one: one[:2]), placed, few, many):
                moves[case_id].append(move)
    return {case_id: _moved(*place, moves[case_id]) if case_id in moves else place for case_id, place in placed.items()}


def _moves(
    parts: Sequence[tuple[float, str, Seen]], placed: Mapping[str, Placed], few: set[str], many: set[str]
) -> list[tuple[str, tuple[float, float, float, float, float]]]:
    """For each sighting of one pass that shows a case of `few`: the case, the sighting's weight, how far the pass was
    off east and north (metres), the variance of that, and the variance that the neighbours' places share."""
    times = [moment for moment, _, _ in parts]
    clues: dict[int, Shift] = {}
    for i, (_, case_id, part) in enumerate(parts):
        if case_id in many:
            place, shared = placed[case_id]
            east, north = to_plane(
                place.longitude_deg, place.latitude_deg, part.place.longitude_deg, part.place.latitude_deg
            )
            own = [
                max(part.place.covariance_m2[k] - part.shared_sigma_m**2, _OWN_LEAST_M2) + shared**2 / 2 for k in (0, 2)
            ]
            clues[i] = Shift(east, north, own[0], own[1])
    if not clues:
        return []
    wander = Wander(times, [part.shared_sigma_m**2 for _, _, part in parts], clues)
    found = []
    for i, (moment, case_id, part) in enumerate(parts):
        if case_id not in few:
            continue
        near = [
            placed[parts[j][1]][1] ** 2
            for j in clues
            if parts[j][1] != case_id and abs(parts[j][0] - moment) <= MEMORY_S
        ]
        if near:
            off = wander.around(i, i)
            variance = (off.variance_east + off.variance_north) / 2
            weight = 2 / max(part.place.covariance_m2[0] + part.place.covariance_m2[2], 1e-6)
            found.append((case_id, (weight, off.east, off.north, variance, min(near))))
    return found


def _moved(place: Place, shared_m: float, moves: Sequence[tuple[float, float, float, float, float]]) -> Placed:
    """The place moved by the weighted mean of what its passes were off."""
    a, b, c = place.covariance_m2
    # The weights are of the sightings' inverse covariances; those without a neighbour in sight stay where they are.
    total = max(sum(move[0] for move in moves), 2 / max(a + c, 1e-6))
    east = sum(weight * off for weight, off, _, _, _ in moves) / total
    north = sum(weight * off for weight, _, off, _, _ in moves) / total
    left = sum((weight / total) ** 2 * variance for weight, _, _, variance, _ in moves)
    told = min(sum(move[0] for move in moves) / total, 1.0)
    common = min(min(move[4] for move in moves), shared_m**2)
    rest = min(left + (1 - told) * shared_m**2 + common, shared_m**2) - shared_m**2
    lon, lat = from_plane(place.longitude_deg, place.latitude_deg, -east, -north)
    covariance = (max(a + rest, common + _OWN_LEAST_M2), b, max(c + rest, common + _OWN_LEAST_M2))
    return Place(lon, lat, covariance, place.error_radius_m), common**0.5
