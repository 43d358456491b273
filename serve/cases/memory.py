"""Which of the things known before each sighting of a pass shows: all sightings at once, with one wandering shift.

A pass is compared with what is known as a whole. Alone, a bag two metres off may be another bag; in a row of five that
all lie two metres off it is the same. So the shift of each short stretch of the pass is chosen with the pairing that it
allows, by likelihood: pairs must agree to their own errors once the shift is taken off, a large shift is unlikely, and
the stretches before and after tell what it may be. Then one assignment over all gives no known thing two sightings.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from serve.cases.assignment import cheapest
from serve.cases.ground import REACH_M, Covariance, Near, offset_m, quadratic
from serve.cases.matters import Matter, Matters
from serve.cases.shift import MEMORY_S, Shift, Wander, drift
from serve.cases.values import Place, Sighting

# New things per square metre of kerb and pass. What joining nothing costs follows from it, and from how likely it is
# that the pass missed what is known. Higher than our simulated city's, since litter comes in heaps.
NEW_PER_M2 = 1e-3
# How much likelier a known thing is seen than missed by a pass of which nobody knows whether it had the place in view.
SEEN_ODDS = 6.0
# A pair of kindred but different classes must agree that much better.
OTHER_CLASS_COST = 4.0
# The same for classes of different kin that the detector mistakes for one another.
MISTAKEN_COST = 8.0
# What would open no case is rather a false alarm near by: fainter than its matter asks, or seen in too few frames. How
# much likelier that is than that the known thing shows itself so, as twice a logarithm, from a simulated city.
FAINT_COST, BRIEF_COST = 11.0, 3.0
# Degrees of freedom of the errors' distribution: stated errors hold in most streets, and hardly at all in some.
TAIL = 4.0
# What a pair that was made before from the same sighting is ahead of any other.
SETTLED = 1e3
# Squared distance, shift included, beyond which a pair is not even considered: nine sigmas, since errors have tails.
WIDE_GATE = 80.0
# Longest stretch over which the shift is taken as one, and the pauses at which stretches may part.
_STRETCH_S, _PAUSE_S, _LONGEST_S = 6.0, 2.0, 12.0
# Stretches further off than this say next to nothing.
_HEARD_S = 45.0
_ROUNDS = 4
_BEST = 4
_MOST_SHIFTS = 60


@dataclass(frozen=True, slots=True)
class Known:
    """Something that stood there before. `shared_sigma_m`: the part of its place's error that its neighbours share;
    `handicap`: added to the cost of joining it; `seen_odds`: how much likelier this pass sees it than not."""

    id: str
    kin: str
    class_name: str
    place: Place
    shared_sigma_m: float
    handicap: float = 0.0
    seen_odds: float = SEEN_ODDS


@dataclass(frozen=True, slots=True)
class _Pair:
    """A sighting (by index) that may show something known: how far it lies off (metres), the covariance of that
    without the shared shift, and what speaks against the pair besides."""

    sighting: int
    known: str
    east: float
    north: float
    own: Covariance
    extra: float


def match(
    sightings: Sequence[Sighting],
    known: Iterable[Known],
    matters: Matters,
    may_join: Callable[[Sighting, Known], bool],
    was_in: Callable[[Sighting, Known], bool] = lambda sighting, known: False,
) -> dict[str, str]:
    """For each sighting that shows something known, by id, what it is; no known thing is given twice.

    `was_in`: which pairs were made before from the same sighting; they stay. The order of the arguments does not
    matter.
    """
    ordered = sorted(sightings, key=lambda one: (_moment(one), one.id))
    pairs, variances = _pairs(ordered, sorted(known, key=lambda one: one.id), matters, may_join, was_in)
    if not any(pairs):
        return {}
    times = [_moment(one) for one in ordered]
    chosen = _by_stretches(pairs, times, variances)
    for _ in range(_ROUNDS):
        again = _assign(pairs, Wander(times, variances, _clues(chosen)))
        if again == chosen:
            break
        chosen = again
    return {ordered[i].id: pair.known for i, pair in chosen.items()}


def weigh(sightings: Sequence[Sighting], known: Iterable[Known], matters: Matters, joined: Mapping[str, str]) -> float:
    """What it costs that these sightings of one pass show what `joined` says, each shift told by the sightings before:
    minus twice the logarithm of the likelihood against all of them showing new things and all known ones missed."""
    ordered = sorted(sightings, key=lambda one: (_moment(one), one.id))
    pairs, variances = _pairs(
        ordered,
        sorted(known, key=lambda one: one.id),
        matters,
        lambda sighting, one: joined.get(sighting.id) == one.id,
        gate=math.inf,
    )
    chosen = {i: near[0] for i, near in enumerate(pairs) if near}
    times = [_moment(one) for one in ordered]
    first = Wander(times, variances, _clues(chosen))
    clues = {i: _trusted(clue, chosen[i].own, first.around(i, i)) for i, clue in _clues(chosen).items()}
    wander = Wander(times, variances, clues)
    return math.fsum(_cost(pair, wander.before(i)) for i, pair in chosen.items())


def _trusted(clue: Shift, own: Covariance, told: Shift) -> Shift:
    """The clue, the less sure the worse it agrees with what the others tell (the weights of Student's t)."""
    apart = quadratic(
        (own[0] + told.variance_east, own[1], own[2] + told.variance_north),
        clue.east - told.east,
        clue.north - told.north,
    )
    doubt = max((TAIL + apart) / (TAIL + 2), 1.0)
    return Shift(clue.east, clue.north, clue.variance_east * doubt, clue.variance_north * doubt)


def _by_stretches(
    pairs: Sequence[Sequence[_Pair]], times: Sequence[float], variances: Sequence[float]
) -> dict[int, _Pair]:
    """Pairs under the likeliest shift of each stretch, the clearest stretches first: they tell what others may be."""
    alone = Wander(times, variances, {})
    stretches = [stretch for stretch in _stretches(times) if any(pairs[i] for i in stretch)]
    fits = [
        _fit_stretch(stretch, pairs, times, variances, alone.around(stretch[0], stretch[-1])) for stretch in stretches
    ]
    order = sorted(range(len(stretches)), key=lambda k: (fits[k][0], k))
    chosen: dict[int, _Pair] = {}
    for k in order:
        stretch = stretches[k]
        first = bisect.bisect_left(times, times[stretch[0]] - _HEARD_S)
        last = bisect.bisect_right(times, times[stretch[-1]] + _HEARD_S)
        clues = {i - first: clue for i, clue in _clues(chosen, range(first, last)).items()}
        wander = Wander(times[first:last], variances[first:last], clues)
        prior = wander.around(stretch[0] - first, stretch[-1] - first)
        chosen |= _fit_stretch(stretch, pairs, times, variances, prior)[1]
    return chosen


def _moment(sighting: Sighting) -> float:
    return (sighting.first_seen.timestamp() + sighting.last_seen.timestamp()) / 2


def _clues(chosen: Mapping[int, _Pair], within: Iterable[int] | None = None) -> dict[int, Shift]:
    told = chosen if within is None else [i for i in within if i in chosen]
    return {i: Shift(chosen[i].east, chosen[i].north, chosen[i].own[0], chosen[i].own[2]) for i in told}


def _pairs(
    sightings: Sequence[Sighting],
    known: Sequence[Known],
    matters: Matters,
    may_join: Callable[[Sighting, Known], bool],
    was_in: Callable[[Sighting, Known], bool] = lambda sighting, known: False,
    gate: float = WIDE_GATE,
) -> tuple[list[list[_Pair]], list[float]]:
    """For each sighting the pairs worth considering, and the variance of its shift."""
    if not sightings:
        return [], []
    grid: Near[Known] = Near(REACH_M)
    for one in known:
        grid.add(one.place, one)
    near: list[list[tuple[Known, float, float]]] = []
    for sighting in sightings:
        around = []
        for one in grid.around(sighting.place):
            east, north = offset_m(one.place, sighting.place)
            if math.hypot(east, north) <= REACH_M:
                around.append((one, east, north))
        near.append(around)
    common = _common(sightings, near)
    pairs: list[list[_Pair]] = []
    for i, (sighting, around) in enumerate(zip(sightings, near, strict=True)):
        matter = matters.of(sighting.class_name)
        doubt = FAINT_COST * (sighting.score < matter.min_score) + BRIEF_COST * (sighting.frames < matter.min_frames)
        mine = []
        for one, off_east, off_north in around:
            unlike = _unlike(matter, one)
            if unlike is None or not may_join(sighting, one):
                continue
            own = _own(sighting, one, common[i], matter.spread_m)
            shift = sighting.shared_sigma_m**2 + common[i]
            settled = was_in(sighting, one)
            if settled or quadratic((own[0] + shift, own[1], own[2] + shift), off_east, off_north) <= gate:
                missed = 2 * math.log(one.seen_odds)  # what it takes to have missed it
                extra = one.handicap + unlike + doubt - missed - SETTLED * settled
                mine.append(_Pair(i, one.id, off_east, off_north, own, extra))
        pairs.append(mine)
    return pairs, [one.shared_sigma_m**2 + shared for one, shared in zip(sightings, common, strict=True)]


def _common(sightings: Sequence[Sighting], near: Sequence[Sequence[tuple[Known, float, float]]]) -> list[float]:
    """For each sighting the variance of the error that all known things around it share: that of the best known.

    Things seen by other passes than their neighbours err in another way; what a place is less sure of than the best
    known ones around is its own error, not the common one.
    """
    times = [_moment(one) for one in sightings]
    least = [min((one.shared_sigma_m**2 for one, _, _ in around), default=math.inf) for around in near]
    common = []
    first = 0
    for i, time in enumerate(times):
        while times[first] < time - MEMORY_S:
            first += 1
        last = i
        while last + 1 < len(times) and times[last + 1] <= time + MEMORY_S:
            last += 1
        lowest = min(least[first : last + 1])
        common.append(lowest if math.isfinite(lowest) else 0.0)
    return common


def _unlike(matter: Matter, one: Known) -> float | None:
    """What speaks against a pair because the classes differ; None when they can't be one thing."""
    if one.class_name == matter.class_name:
        return 0.0
    if one.kin == matter.kin:
        return OTHER_CLASS_COST
    return MISTAKEN_COST if one.class_name in matter.mistaken_for else None


def _own(sighting: Sighting, known: Known, common: float, spread_m: float) -> Covariance:
    """Covariance of the offset of the two without what each shares with its neighbours."""
    a, b, c = _without(sighting.place.covariance_m2, sighting.shared_sigma_m**2)
    d, e, f = _without(known.place.covariance_m2, common)
    return a + d + spread_m**2, b + e, c + f + spread_m**2


def _without(covariance: Covariance, shared: float) -> Covariance:
    least = 0.1**2
    a, c = max(covariance[0] - shared, least), max(covariance[2] - shared, least)
    limit = 0.95 * math.sqrt(a * c)
    return a, min(max(covariance[1], -limit), limit), c


def _stretches(times: Sequence[float]) -> list[range]:
    """Runs of sightings over which the shift hardly changes, parted at pauses where there are any."""
    runs: list[range] = []
    start = 0
    for i in range(1, len(times)):
        pause, length = times[i] - times[i - 1], times[i] - times[start]
        if pause > _PAUSE_S or (length > _STRETCH_S and pause > _PAUSE_S / 4) or length > _LONGEST_S:
            runs.append(range(start, i))
            start = i
    if times:
        runs.append(range(start, len(times)))
    return runs


def _price(own: Covariance, wide_east: float = 0.0, wide_north: float = 0.0) -> float:
    """What joining costs less than finding a new thing, for a pair without offset.

    Twice the logarithm of the likelihood ratio; the covariance is widened by the shift's variances.
    """
    determinant = (own[0] + wide_east) * (own[2] + wide_north) - own[1] ** 2
    return -2 * math.log(NEW_PER_M2 * 2 * math.pi) - math.log(max(determinant, 1e-8))


def _misfit(covariance: Covariance, east: float, north: float) -> float:
    """What speaks against a pair that lies so far apart: twice the logarithm of a plane Student's t. Near its middle
    that is the normal distribution's square; what lies far out it forgives: stated errors are not always honest."""
    return (TAIL + 2) * math.log1p(quadratic(covariance, east, north) / TAIL)


def doubled(covariance: Covariance, east: float, north: float) -> float:
    """What it costs, against being a new thing, that a sighting shows the same as another that lies so far off."""
    return _misfit(covariance, east, north) - _price(covariance)


def _fit_stretch(
    stretch: range,
    pairs: Sequence[Sequence[_Pair]],
    times: Sequence[float],
    variances: Sequence[float],
    prior: Shift,
) -> tuple[float, dict[int, _Pair]]:
    """The cost and the pairs of the stretch under its likeliest shift; no pairs cost 0."""
    near = [pair for i in stretch for pair in pairs[i]]
    middle = (times[stretch[0]] + times[stretch[-1]]) / 2
    widened = []
    for pair in near:
        loose = drift(variances[pair.sighting], times[pair.sighting] - middle)
        own = (pair.own[0] + loose, pair.own[1], pair.own[2] + loose)
        widened.append((pair, own, _price(own) - pair.extra))
    ranked = sorted((_rough_cost(east, north, prior, widened), east, north) for east, north in _shifts(near, prior))
    best: dict[int, _Pair] = {}
    least = 0.0
    for _, east, north in ranked[:_BEST]:
        cost, chosen = _refined(east, north, prior, widened)
        if cost < least:
            least, best = cost, chosen
    return least, best


def _shifts(near: Sequence[_Pair], prior: Shift) -> list[tuple[float, float]]:
    """Shifts worth trying: what is expected, and each that would bring one pair together; the likeliest when many."""
    found = {(round(pair.east / 0.3), round(pair.north / 0.3)): (pair.east, pair.north) for pair in near}
    tried = sorted(found.values(), key=lambda shift: (_unlikely(shift[0], shift[1], prior), shift))
    return [(prior.east, prior.north), *tried[:_MOST_SHIFTS]]


def _unlikely(east: float, north: float, prior: Shift) -> float:
    return (east - prior.east) ** 2 / prior.variance_east + (north - prior.north) ** 2 / prior.variance_north


_Weighed = tuple[_Pair, Covariance, float]


def _rough_cost(east: float, north: float, prior: Shift, widened: Sequence[_Weighed]) -> float:
    """Cost of a shift when the nearest pairs are taken first, each known thing once."""
    offers = []
    for pair, own, price in widened:
        cost = _misfit(own, pair.east - east, pair.north - north) - price
        if cost < 0:
            offers.append((cost, pair.sighting, pair.known))
    offers.sort()
    total = _unlikely(east, north, prior)
    taken: set[int | str] = set()
    for cost, sighting, known in offers:
        if sighting not in taken and known not in taken:
            taken |= {sighting, known}
            total += cost
    return total


def _refined(east: float, north: float, prior: Shift, widened: Sequence[_Weighed]) -> tuple[float, dict[int, _Pair]]:
    """Pair up under a shift, take the shift that suits the pairs, and pair up again; the cost of the whole.

    The cost is minus twice the logarithm of the likelihood with the shift integrated out, against joining nothing.
    """
    chosen: dict[int, _Weighed] = {}
    for _ in range(2):
        costs: dict[int, dict[str, float]] = {}
        by_name = {}
        for weighed in widened:
            pair, own, price = weighed
            cost = _misfit(own, pair.east - east, pair.north - north) - price
            if cost < 0:
                costs.setdefault(pair.sighting, {})[pair.known] = cost
                by_name[pair.sighting, pair.known] = weighed
        chosen = {i: by_name[i, name] for i, name in _cheapest(costs).items()}
        if not chosen:
            return 0.0, {}
        inverse_east = 1 / prior.variance_east + math.fsum(1 / own[0] for _, own, _ in chosen.values())
        inverse_north = 1 / prior.variance_north + math.fsum(1 / own[2] for _, own, _ in chosen.values())
        pull_east = math.fsum(pair.east / own[0] for pair, own, _ in chosen.values())
        pull_north = math.fsum(pair.north / own[2] for pair, own, _ in chosen.values())
        east = (prior.east / prior.variance_east + pull_east) / inverse_east
        north = (prior.north / prior.variance_north + pull_north) / inverse_north
    total = math.fsum(
        _misfit(own, pair.east - east, pair.north - north) - price for pair, own, price in chosen.values()
    )
    total += _unlikely(east, north, prior)
    total += math.log(prior.variance_east * inverse_east) + math.log(prior.variance_north * inverse_north)
    return total, {i: pair for i, (pair, _, _) in chosen.items()}


def _assign(pairs: Sequence[Sequence[_Pair]], wander: Wander) -> dict[int, _Pair]:
    """The cheapest assignment of all, each sighting's shift told by the others alone."""
    costs: dict[int, dict[str, float]] = {}
    by_name = {}
    for i, near in enumerate(pairs):
        if not near:
            continue
        shift = wander.around(i, i)
        for pair in near:
            cost = _cost(pair, shift)
            if cost < 0:
                costs.setdefault(i, {})[pair.known] = cost
                by_name[i, pair.known] = pair
    return {i: by_name[i, name] for i, name in _cheapest(costs).items()}


def _cost(pair: _Pair, shift: Shift) -> float:
    """What the pair costs where its shift is known so well."""
    a, b, c = pair.own[0] + shift.variance_east, pair.own[1], pair.own[2] + shift.variance_north
    misfit = _misfit((a, b, c), pair.east - shift.east, pair.north - shift.north)
    return misfit + pair.extra - _price(pair.own, shift.variance_east, shift.variance_north)


def _cheapest(costs: Mapping[int, Mapping[str, float]]) -> dict[int, str]:
    """The one-to-one pairs of least total cost; joining nothing costs nothing, so only negative costs are taken."""
    chosen: dict[int, str] = {}
    for group in _components(costs):
        if len(group) == 1:
            chosen[group[0]] = min(costs[group[0]].items(), key=lambda item: (item[1], item[0]))[0]
            continue
        columns = sorted({name for row in group for name in costs[row]})
        rows = [
            # A column of its own for each row: joining nothing.
            [costs[row].get(name, math.inf) for name in columns]
            + [0.0 if other == row else math.inf for other in group]
            for row in group
        ]
        for row, column in zip(group, cheapest(rows), strict=True):
            if column < len(columns):
                chosen[row] = columns[column]
    return chosen


def _components(costs: Mapping[int, Mapping[str, float]]) -> list[list[int]]:
    """Groups of sightings that compete for the same known things, each sorted."""
    claimants: defaultdict[str, list[int]] = defaultdict(list)
    for row, columns in costs.items():
        for name in columns:
            claimants[name].append(row)
    left = set(costs)
    groups = []
    for start in sorted(costs):
        if start not in left:
            continue
        group, frontier = {start}, [start]
        while frontier:
            for name in costs[frontier.pop()]:
                fresh = set(claimants[name]) - group
                group |= fresh
                frontier += fresh
        left -= group
        groups.append(sorted(group))
    return groups
