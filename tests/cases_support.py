"""Short builders for the case rules' tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from serve.cases.events import Event, chain
from serve.cases.ground import from_plane
from serve.cases.lifecycle import Case, fold
from serve.cases.matters import read_matters
from serve.cases.merge import Outcome, absorb
from serve.cases.values import Look, Place, Sighting, stable_id

MATTERS = read_matters()
START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
NOW = START + timedelta(days=9)
LON, LAT = 120.3, 31.57


def place(east_m: float = 0.0, north_m: float = 0.0, sigma_m: float = 0.5, radius_m: float = 1.0) -> Place:
    """A place in metres from the usual one."""
    lon, lat = from_plane(LON, LAT, east_m, north_m)
    return Place(lon, lat, (sigma_m**2, 0.0, sigma_m**2), radius_m)


def sighting(
    patrol: str = "p1",
    east_m: float = 0.0,
    north_m: float = 0.0,
    class_name: str = "garbage",
    *,
    score: float = 0.8,
    frames: int = 4,
    day: float = 0.0,
    sigma_m: float = 0.5,
) -> Sighting:
    """A sighting at a place, on a day."""
    seen = START + timedelta(days=day, seconds=east_m)
    return Sighting(
        id=stable_id("s", patrol, class_name, east_m, north_m, score),
        patrol_id=patrol,
        class_name=class_name,
        score=score,
        place=place(east_m, north_m, sigma_m),
        shared_sigma_m=0.3,
        frames=frames,
        first_seen=seen,
        last_seen=seen + timedelta(seconds=2),
    )


def look(patrol: str, west_m: float, east_m: float, *, day: float, quality: float = 0.9) -> Look:
    """A look at the ground from `west_m` to `east_m`, ten metres to both sides."""
    corners = [(west_m, -10.0), (east_m, -10.0), (east_m, 10.0), (west_m, 10.0), (west_m, -10.0)]
    ring = tuple(from_plane(LON, LAT, x, y) for x, y in corners)
    return Look(patrol, START + timedelta(days=day, seconds=30), ring, quality)


class Books:
    """The logs of all cases in memory: what the store is to the server."""

    def __init__(self) -> None:
        self.logs: dict[str, list[Event]] = {}

    def cases(self) -> list[Case]:
        """All cases, folded from their logs."""
        return [fold(log) for log in self.logs.values()]

    def take(
        self,
        patrol: str,
        sightings: Sequence[Sighting] = (),
        looks: Sequence[Look] = (),
        *,
        now: datetime = NOW,
        others: Sequence[Look] = (),
    ) -> Outcome:
        """Fit a patrol in; `others`: the looks of the patrols taken before."""
        outcome = absorb(
            patrol, "320200", sightings, looks, self.cases(), MATTERS, now=now, others_looks=lambda _: others
        )
        for draft in outcome.drafts:
            log = self.logs.setdefault(draft.case_id, [])
            log.append(chain(draft, log, now))
        return outcome

    def partition(self) -> set[tuple[str, frozenset[str]]]:
        """Which sightings make one case."""
        return {(case.kin, frozenset(part.sighting_id for part in case.seen)) for case in self.cases() if case.seen}


def ids(things: Iterable[Sighting]) -> frozenset[str]:
    """The ids of some sightings."""
    return frozenset(one.id for one in things)
