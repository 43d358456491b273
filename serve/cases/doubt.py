"""Second thoughts: whether a case is a thing of its own, or whether other cases account for all its sightings.

A pass that lay one bin further than anybody could know opens a case at the end of a row and misses the bin at its
beginning; a pass that saw one thing as two opens a case beside it. At that moment nothing is likelier. Later passes
tell: they have the place well in view, and nothing is there. So a case that was missed is put to the test. Each pass
with a part in it is matched anew with what the other passes know, without the case. Where all that these passes saw
finds its place, and the whole is likelier so, there was no such thing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve.cases.align import aligned
from serve.cases.gone import overlooked
from serve.cases.ground import REACH_M, Near, fuse, offset_m, shared_sigma
from serve.cases.lifecycle import DONE_STAGES, LAP_PAUSE, Case, Seen, Stage
from serve.cases.matters import Matter, Matters
from serve.cases.memory import SEEN_ODDS, Known, doubled, match, weigh
from serve.cases.splinters import offset_between
from serve.cases.values import Place, Sighting

# Sightings of a pass this near in time to one that is matched anew are matched with it: they tell its shift.
WINDOW_S = 15.0
# Cases this near, and some up to three times as far, are those that such sightings show.
AROUND_M = 25.0
# Share of things that are gone when the next pass comes by; in our simulated city 4 %.
LEAVES = 0.05
# Share of the things of a pass that come out of it as two, and how far these two may lie apart to be looked at.
SPLIT, SPLIT_M = 0.01, 10.0
# Where somebody works on a case, it is no longer the machine's to say that it never was.
_UNTOUCHED = frozenset({Stage.COLLECTED, Stage.FILED}) | DONE_STAGES


@dataclass(frozen=True, slots=True)
class Move:
    """A sighting that was in the case `origin` and shows what the case `target` stands for."""

    part: Seen
    origin: str
    target: str


class Doubts:
    """The test of one case after the other against the rest of the books, which may change in between."""

    def __init__(self, books: Mapping[str, Case], matters: Matters) -> None:
        self._books, self._matters = books, matters
        self._near: Near[str] = Near(AROUND_M)
        for case_id in sorted(books):
            self._near.add(books[case_id].place, case_id)

    def moves(self, case_id: str) -> list[Move]:
        """Where all sightings of the case belong, and what else moves then; nothing when the case may well be."""
        case = self._books[case_id]
        if case.stage not in _UNTOUCHED or not case.seen or not case.unseen:
            return []
        around = [self._books[other] for other in self._near.around(case.place) if other != case_id]
        around = [one for one in around if one.seen and (one.is_open or one.stage in DONE_STAGES)]
        parts = sorted(case.parts, key=lambda part: (part.moment, part.sighting_id))
        if not all(self._may_be_another(part, case.place, around) for part in parts):
            return []
        balance = 2 * math.log(chance_of_misses(case, self._matters.of(case.class_name)))
        found: list[Move] = []
        for number, part in enumerate(parts):
            more = self._without(case, part, parts[:number], around)
            if more is None:
                return []
            balance += more[0]
            found += more[1]
        return found if balance < 0 else []

    def _may_be_another(self, part: Seen, place: Place, around: Sequence[Case]) -> bool:
        """Whether a case that the pass of this part missed is near, or one so near that the pass saw it twice."""
        for one in around:
            if self._akin(part.class_name, one.class_name):
                apart = math.hypot(*offset_m(place, one.place))
                missed = all(other.patrol_id != part.patrol_id for other in one.seen)
                if apart < SPLIT_M or (missed and apart < REACH_M):
                    return True
        return False

    def _akin(self, class_name: str, other: str) -> bool:
        matter = self._matters.of(class_name)
        return matter.kin == self._matters.of(other).kin or other in matter.mistaken_for

    def _without(
        self, case: Case, part: Seen, earlier: Sequence[Seen], around: Sequence[Case]
    ) -> tuple[float, list[Move]] | None:
        """How much worse the pass of this part fits the books without the case, as twice a logarithm, and what moves;
        None when something that it saw would have no place. `earlier`: the parts of passes before."""
        # What this pass alone knows can't be matched anew; it stays as it is.
        rest = {one.id: others for one in around if (others := one.without(part.patrol_id)).seen}
        holders = {one.id: one for one in [case, *(one for one in around if one.id in rest)]}
        lap = {part.sighting_id: (part, case.id)}
        for one in around:
            for mine in one.parts if one.id in rest else ():
                if mine.patrol_id == part.patrol_id and abs(mine.moment - part.moment) <= WINDOW_S:
                    lap[mine.sighting_id] = (mine, one.id)
        sightings = [as_sighting(mine) for mine, _ in lap.values()]
        placed = aligned(list(rest.values()))
        known = [self._known(holders[case_id], *placed[case_id], part.patrol_id) for case_id in rest]
        itself = [_as_before(case, earlier)] if earlier else []
        before = weigh(sightings, [*known, *itself], self._matters, {key: held for key, (_, held) in lap.items()})

        joined = match(sightings, known, self._matters, lambda _, __: True)
        after = weigh(sightings, known, self._matters, joined)
        if any(one.id not in joined and one.id != part.sighting_id for one in sightings):
            return None
        if part.sighting_id not in joined:
            twice, target = self._seen_twice(sightings[0], sightings[1:], joined)
            after += twice
            joined = {**joined, part.sighting_id: target}
        if after == math.inf:
            return None
        return after - before, [
            Move(piece, held, joined[key])
            for key, (mine, held) in lap.items()
            if joined[key] != held
            for piece in _pieces(holders[held], mine)
        ]

    def _known(self, one: Case, place: Place, shared_sigma_m: float, patrol_id: str) -> Known:
        """What the others know of a case for that patrol; where it saw or missed it, it had it in view."""
        missed = self._matters.of(one.class_name).miss_rate
        in_view = patrol_id in one.unseen or any(part.patrol_id == patrol_id for part in one.seen)
        odds = (1 - missed) / missed if in_view else SEEN_ODDS
        return Known(one.id, one.kin, one.class_name, place, shared_sigma_m, seen_odds=odds)

    def _seen_twice(self, piece: Sighting, others: Sequence[Sighting], joined: Mapping[str, str]) -> tuple[float, str]:
        """What it costs that a sighting shows again what another one of the same pass shows, and the case of that."""
        fits = [
            (doubled(*offset_between(other, piece, self._matters)), joined[other.id])
            for other in others
            if self._akin(piece.class_name, other.class_name)
        ]
        cost, target = min(fits, default=(math.inf, ""))
        return cost - 2 * math.log(SPLIT), target


def chance_of_misses(case: Case, matter: Matter) -> float:
    """How likely the good views without it would be, were the case a thing of its own, which may be gone since.

    What a view misses is learnt on the way, as in `gone.verdict`.
    """
    seen_at = sorted(part.last_seen for part in case.parts)
    between = after = 1.0
    views = sorted(case.unseen.values(), key=lambda view: (view.at, view.quality))
    for missed, view in enumerate(views):
        seen = sum(at < view.at for at in seen_at)
        # The first sighting teaches nothing: without it there were no case.
        chance = overlooked(matter, view, max(seen - 1, 0), missed)
        if seen < len(seen_at):
            between *= chance
        else:
            after *= chance
    return between * (LEAVES + (1 - LEAVES) * after)


def _as_before(case: Case, earlier: Sequence[Seen]) -> Known:
    """The case as its earlier parts know it. Whether a pass saw it is counted in `chance_of_misses`."""
    places = [part.place for part in earlier]
    shared = shared_sigma(places, [part.shared_sigma_m for part in earlier])
    return Known(case.id, case.kin, case.class_name, fuse(places), shared, seen_odds=1.0)


def _pieces(case: Case, part: Seen) -> list[Seen]:
    """All sightings of the case that the same pass made in the same go."""
    near = [one for one in case.seen if one.patrol_id == part.patrol_id]
    return [one for one in near if abs(one.moment - part.moment) <= LAP_PAUSE.total_seconds()]


def as_sighting(part: Seen) -> Sighting:
    """The part as its pass told it, so far as the log keeps it."""
    return Sighting(
        part.sighting_id,
        part.patrol_id,
        part.class_name,
        part.score,
        part.place,
        part.shared_sigma_m,
        part.frames,
        part.first_seen,
        part.last_seen,
    )
