"""A case is the fold of its log: the stages it goes through and what each event does to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from serve.cases.events import Event, Kind
from serve.cases.ground import fuse, shared_sigma
from serve.cases.values import Place, Sighting


class Stage(StrEnum):
    """The seven stages of a city's case, and the two ways out of them."""

    COLLECTED = "collected"
    FILED = "filed"
    DISPATCHED = "dispatched"
    IN_HANDLING = "in_handling"
    REPORTED_DONE = "reported_done"
    CLOSED = "closed"
    EVALUATED = "evaluated"
    REJECTED = "rejected"
    VOID = "void"


STAGE_NAMES: Mapping[Stage, str] = {
    Stage.COLLECTED: "信息收集",
    Stage.FILED: "案卷建立",
    Stage.DISPATCHED: "任务派遣",
    Stage.IN_HANDLING: "任务处理",
    Stage.REPORTED_DONE: "处理反馈",
    Stage.CLOSED: "核实结案",
    Stage.EVALUATED: "综合评价",
    Stage.REJECTED: "不予立案",
    Stage.VOID: "作废",
}
OPEN_STAGES = frozenset({Stage.COLLECTED, Stage.FILED, Stage.DISPATCHED, Stage.IN_HANDLING, Stage.REPORTED_DONE})
DONE_STAGES = frozenset({Stage.CLOSED, Stage.EVALUATED})
# A pass that comes by again after this pause is off by another satellite error, and may see the same thing again.
LAP_PAUSE = timedelta(seconds=60)
# A view of so many looks, each from another place along the way, misses what is there as often as its matter says.
ENOUGH_LOOKS = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """One sighting's part in a case. `shared_sigma_m`: the part of its error that its whole pass shares."""

    sighting_id: str
    patrol_id: str
    class_name: str
    score: float
    place: Place
    first_seen: datetime
    last_seen: datetime
    shared_sigma_m: float = 0.0
    frames: int = 1

    @property
    def moment(self) -> float:
        """The middle of the time in view, seconds since 1970."""
        return (self.first_seen.timestamp() + self.last_seen.timestamp()) / 2


@dataclass(frozen=True, slots=True)
class View:
    """When a pass saw the place well without the thing, how well (0 to 1), and from how many places along its way; what
    older logs do not tell is taken for enough."""

    at: datetime
    quality: float
    looks: int = ENOUGH_LOOKS


@dataclass(frozen=True)  # without slots, so that what follows from its sightings is worked out once
class Case:
    """One matter in the city's books. `last_place` is where it was when its last sighting was withdrawn;
    `unseen`: per patrol, its good view of the place without the thing; `closing_proposed_at`: since when the machine
    holds that it is gone; `stage_before`: what a closing by the machine came from."""

    id: str
    jurisdiction: str
    class_name: str
    matter_code: str
    matter_name: str
    kin: str
    stage: Stage
    opened_by: str
    seen: tuple[Seen, ...]
    unseen: Mapping[str, View]
    last_place: Place
    closed_at: datetime | None
    version: int
    closing_proposed_at: datetime | None = None
    stage_before: Stage | None = None

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to do something about it."""
        return self.stage in OPEN_STAGES

    @cached_property
    def parts(self) -> tuple[Seen, ...]:
        """Its sightings whose errors are their own: of those that one pass made in one go, the surest."""
        by_patrol: defaultdict[str, list[Seen]] = defaultdict(list)
        for part in sorted(self.seen, key=lambda part: (part.first_seen, part.sighting_id)):
            by_patrol[part.patrol_id].append(part)
        kept: list[Seen] = []
        for parts in by_patrol.values():
            runs: list[list[Seen]] = []
            for part in parts:
                if not runs or part.first_seen - max(one.last_seen for one in runs[-1]) > LAP_PAUSE:
                    runs.append([])
                runs[-1].append(part)
            kept += [min(run, key=lambda one: (_spread(one.place), one.sighting_id)) for run in runs]
        return tuple(kept)

    @cached_property
    def place(self) -> Place:
        """Where it stands, from all its sightings."""
        return fuse([part.place for part in self.parts]) if self.seen else self.last_place

    @cached_property
    def shared_sigma_m(self) -> float:
        """The sigma per axis of the place that things seen by the same passes share."""
        if not self.seen:
            return 0.0
        return shared_sigma([part.place for part in self.parts], [part.shared_sigma_m for part in self.parts])

    @property
    def score(self) -> float:
        """The best score of any pass."""
        return max((part.score for part in self.seen), default=0.0)

    @property
    def first_seen(self) -> datetime | None:
        """When the earliest sighting began."""
        return min((part.first_seen for part in self.seen), default=None)

    @property
    def last_seen(self) -> datetime | None:
        """When the latest sighting ended."""
        return max((part.last_seen for part in self.seen), default=None)

    @property
    def not_seen_since(self) -> tuple[datetime, ...]:
        """The good views without it after it was last seen, earliest first."""
        return tuple(view.at for view in self.views_since)

    @property
    def views_since(self) -> tuple[View, ...]:
        """The good views without it after it was last seen, earliest first."""
        last = self.last_seen
        views = [view for view in self.unseen.values() if last is None or view.at > last]
        return tuple(sorted(views, key=lambda view: (view.at, view.quality)))

    def without(self, patrol_id: str) -> Case:
        """The case as it would be had this patrol never been."""
        if patrol_id not in self.unseen and all(part.patrol_id != patrol_id for part in self.seen):
            return self
        kept = tuple(part for part in self.seen if part.patrol_id != patrol_id)
        return replace(
            self,
            seen=kept,
            last_place=self.place,
            unseen={patrol: view for patrol, view in self.unseen.items() if patrol != patrol_id},
        )


def _spread(place: Place) -> float:
    return place.covariance_m2[0] + place.covariance_m2[2]


def fold(log: Iterable[Event]) -> Case:
    """The case that a log tells. Raises ValueError when the log is empty or does not begin with `opened`."""
    case: Case | None = None
    for event in log:
        case = apply(case, event)
    if case is None:
        raise ValueError("a case without events")
    return case


def apply(case: Case | None, event: Event) -> Case:
    """The case after one more event."""
    data = event.data
    if case is None:
        if event.kind is not Kind.OPENED:
            raise ValueError(f"case {event.case_id}: the log begins with {event.kind.value!r}, not with 'opened'")
        part = _seen(data)
        matter = data["matter"]
        return Case(
            id=event.case_id,
            jurisdiction=data["jurisdiction"],
            class_name=part.class_name,
            matter_code=matter["code"],
            matter_name=matter["name"],
            kin=matter["kin"],
            stage=Stage(data["stage"]),
            opened_by=part.sighting_id,
            seen=(part,),
            unseen={},
            last_place=part.place,
            closed_at=None,
            version=event.seq,
        )
    case = replace(case, version=event.seq)
    if event.kind in (Kind.OPENED, Kind.SEEN_AGAIN, Kind.RECURRED):
        part = _seen(data)
        kept = tuple(other for other in case.seen if other.sighting_id != part.sighting_id)
        case = replace(case, seen=(*kept, part))
        if event.kind is not Kind.SEEN_AGAIN:
            case = replace(
                case, stage=Stage(data["stage"]), closed_at=None, closing_proposed_at=None, stage_before=None
            )
        return case
    if event.kind is Kind.WITHDRAWN:
        kept = tuple(other for other in case.seen if other.sighting_id != data["sighting"])
        return replace(case, seen=kept, last_place=case.place)
    if event.kind is Kind.NOT_SEEN:
        return replace(case, unseen={**case.unseen, data["patrol"]: _view(event)})
    if event.kind is Kind.LOOK_WITHDRAWN:
        return replace(case, unseen={who: view for who, view in case.unseen.items() if who != data["patrol"]})
    if event.kind is Kind.CLOSING_PROPOSED:
        return replace(case, closing_proposed_at=event.at)
    if event.kind is Kind.CLOSED:
        return replace(case, stage=Stage.CLOSED, closed_at=event.at, stage_before=case.stage)
    if event.kind is Kind.CLOSING_WITHDRAWN:
        case = replace(case, closing_proposed_at=None)
        if case.stage_before is not None:
            case = replace(case, stage=case.stage_before, closed_at=None, stage_before=None)
        return case
    return replace(case, stage=Stage.VOID)


def sighting_data(sighting: Sighting) -> dict[str, object]:
    """What an event keeps of a sighting: enough to fold the case without any other table."""
    return {
        "sighting": sighting.id,
        "patrol": sighting.patrol_id,
        "class": sighting.class_name,
        "score": sighting.score,
        "longitude_deg": sighting.place.longitude_deg,
        "latitude_deg": sighting.place.latitude_deg,
        "covariance_m2": list(sighting.place.covariance_m2),
        "error_radius_m": sighting.place.error_radius_m,
        "shared_sigma_m": sighting.shared_sigma_m,
        "frames": sighting.frames,
        "first_seen": sighting.first_seen.isoformat(),
        "last_seen": sighting.last_seen.isoformat(),
    }


def _view(event: Event) -> View:
    return View(event.at, float(event.data["quality"]), int(event.data.get("looks", ENOUGH_LOOKS)))


def _seen(data: Mapping[str, object]) -> Seen:
    covariance = data["covariance_m2"]
    assert isinstance(covariance, list | tuple)
    return Seen(
        sighting_id=str(data["sighting"]),
        patrol_id=str(data["patrol"]),
        class_name=str(data["class"]),
        score=float(str(data["score"])),
        place=Place(
            float(str(data["longitude_deg"])),
            float(str(data["latitude_deg"])),
            (float(covariance[0]), float(covariance[1]), float(covariance[2])),
            float(str(data["error_radius_m"])),
        ),
        first_seen=datetime.fromisoformat(str(data["first_seen"])),
        last_seen=datetime.fromisoformat(str(data["last_seen"])),
        shared_sigma_m=float(str(data["shared_sigma_m"])),
        frames=int(str(data["frames"])),
    )
