"""Case-level truth: whole patrols through a simulated city, located and merged as the server does, then scored.

Which thing a sighting shows is known from its evidence boxes, never from where it came to stand, so that a bad place
can't pass for a false alarm or the other way round.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from statistics import median

from serve.cases.events import Draft, Event, Kind
from serve.cases.lifecycle import Case, Stage
from serve.cases.matters import Matters, read_matters
from training.city.drive import CLEAR_FRAMES, START, Patrol, drive
from training.city.plan import ORIGIN, City, Rates, Thing, build_city
from training.city.sightings import honest_locator
from training.evaluation.case_books import merge, sightings_of
from vision.locating.locate import Located, locate
from vision.taxonomy import CLASSES, PRIVATE


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """How the books compare with the city. Shares are from 0 to 1, None where nothing was there to count.

    `precision`: of all cases, those that stand for a thing that stood there, each thing once; `recall`: of the things
    that some pass had in clear view, those with a case; `duplicates`: cases beside a thing's first, as a share of the
    things with a case; `median_error_m`, `p90_error_m`: to the centre; `radius_held`: circles that touch the footprint;
    `wrongly_closed`: closings of what still stood, as a share of the things with a case; `gone_noted`: of the things
    that went and had an open case, those that had a "not seen in a good view" event once the first pass with a clear
    view of the place was merged; `gone_closed`: those whose closing followed by the end; `missed_in_good_view`: of the
    good views of things that stood there, those without them: what `miss_rate` in the table of matters means.
    """

    seed: int
    passes: int
    km: float
    things: int
    cases: int
    precision: float | None
    recall: float | None
    duplicates: float | None
    median_error_m: float | None
    p90_error_m: float | None
    radius_held: float | None
    median_radius_m: float | None
    wrongly_closed: float | None
    gone_noted: float | None
    gone_closed: float | None
    missed_in_good_view: float | None
    counts: Mapping[str, int]


def locate_patrol(patrol: Patrol) -> Located:
    """What `jiejing patrol` makes of it."""
    return locate(patrol.frames, patrol.track, patrol.camera, classes=frozenset(CLASSES) - PRIVATE)


def evaluate_cases(
    seed: int,
    *,
    passes: int = 10,
    km: float = 5.0,
    things: int = 200,
    rates: Rates | None = None,
    matters: Matters | None = None,
    known_places: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CaseFigures:
    """Drive `passes` passes through the city of `seed` and score the books. The same arguments give the same figures.

    `known_places`: leave `locate` out and take true places with errors that are what they are said to be. The machine
    closes what is gone by itself here, whatever the table of matters says, so that closing is measured.
    """
    city = build_city(seed, km=km, things=things, passes=passes, rates=rates)
    table = closing(matters or read_matters())
    books = Books(city, table)
    for number in range(passes):
        patrol = drive(city, number)
        books.take(patrol, honest_locator(city, patrol) if known_places else locate_patrol(patrol))
        if progress:
            progress(number + 1, passes)
    return books.figures()


def closing(matters: Matters) -> Matters:
    """The same table with the machine closing by itself."""
    return replace(matters, by_class={name: replace(row, closes="machine") for name, row in matters.by_class.items()})


class Books:
    """The cases of a simulated city, and beside them what only the simulation knows."""

    def __init__(self, city: City, matters: Matters) -> None:
        self.city, self.matters = city, matters
        self.cases: dict[str, Case] = {}
        self.events: defaultdict[str, list[Draft]] = defaultdict(list)
        self.truth: dict[str, int] = {}  # by sighting: the number of its thing, −1 for none
        self.patrols: list[Patrol] = []

    def take(self, patrol: Patrol, located: Located) -> None:
        """Merge one pass."""
        sightings = sightings_of(patrol.id, patrol.started_at, located.sightings)
        for sighting, seen in zip(sightings, located.sightings, strict=True):
            shows = Counter(patrol.shown[box.frame, box.box_xyxy] for box in seen.evidence)
            self.truth[sighting.id] = max(shows.items(), key=lambda item: (item[1], item[0]))[0]
        for draft in merge(self.cases, patrol.id, patrol.started_at, sightings, located.looks, self.matters):
            self.events[draft.case_id].append(draft)
        self.patrols.append(patrol)

    def thing_of(self, case: Case) -> Thing | None:
        """The thing that most of the case's sightings show, if there is one."""
        shows = Counter(self.truth[part.sighting_id] for part in case.seen)
        number = max(shows.items(), key=lambda item: (item[1], item[0]))[0]
        thing = self.city.things[number] if 0 <= number < len(self.city.things) else None
        return thing if thing is not None and thing.real and self.matters.of(thing.class_name).opens else None

    def figures(self) -> CaseFigures:
        """Score the books as they stand."""
        standing = [case for case in self.cases.values() if case.stage is not Stage.VOID and case.seen]
        of_thing: defaultdict[int, list[Case]] = defaultdict(list)
        for case in standing:
            thing = self.thing_of(case)
            if thing is not None:
                of_thing[thing.number].append(case)
        firsts = {number: max(cases, key=lambda c: (len(c.seen), c.id)) for number, cases in of_thing.items()}
        extra = sum(len(cases) - 1 for cases in of_thing.values())
        wanted = [thing for thing in self.city.things if self._could_be_known(thing)]
        known = [thing for thing in wanted if thing.number in firsts]
        errors, held = [], []
        for number, case in firsts.items():
            thing, place = self.city.things[number], case.place
            east, north = ORIGIN.to_enu(place.longitude_deg, place.latitude_deg)[:2]
            errors.append(float(((east - thing.east) ** 2 + (north - thing.north) ** 2) ** 0.5))
            held.append(thing.distance_m(float(east), float(north)) <= place.error_radius_m)
        noted, closed, chances = self._gone(firsts)
        missed, views = self._misses(firsts)
        wrong = self._wrongly_closed(firsts)
        return CaseFigures(
            seed=self.city.seed,
            passes=len(self.patrols),
            km=self.city.length_m / 1000,
            things=len(wanted),
            cases=len(standing),
            precision=_share(len(firsts), len(standing)),
            recall=_share(len(known), len(wanted)),
            duplicates=_share(extra, len(firsts)),
            median_error_m=median(errors) if errors else None,
            p90_error_m=sorted(errors)[int(0.9 * len(errors))] if errors else None,
            radius_held=_share(sum(held), len(held)),
            median_radius_m=median(firsts[n].place.error_radius_m for n in firsts) if firsts else None,
            wrongly_closed=_share(wrong, len(firsts)),
            gone_noted=_share(noted, chances),
            gone_closed=_share(closed, chances),
            missed_in_good_view=_share(missed, views),
            counts={
                "right cases": len(firsts),
                "duplicates": extra,
                "false cases": len(standing) - len(firsts) - extra,
                "wrongly closed": wrong,
                "gone": chances,
                "gone and noted": noted,
                "gone and closed": closed,
                "good views of what stood there": views,
                "of these without it": missed,
            },
        )

    def _could_be_known(self, thing: Thing) -> bool:
        """Whether some pass had it in clear view while it stood there."""
        return (
            thing.real
            and self.matters.of(thing.class_name).opens
            and any(thing.stands(p.day) and p.clear[thing.number] >= CLEAR_FRAMES for p in self.patrols)
        )

    def _wrongly_closed(self, firsts: Mapping[int, Case]) -> int:
        count = 0
        for number, case in firsts.items():
            for draft in self.events[case.id]:
                if draft.kind in (Kind.CLOSED, Kind.CLOSING_PROPOSED):
                    count += self.city.things[number].stands(_day(draft))
        return count

    def _gone(self, firsts: Mapping[int, Case]) -> tuple[int, int, int]:
        """Of the departures of things with an open case that a pass could tell: noted at once, closed at last, all."""
        noted = closed = chances = 0
        for number, case in firsts.items():
            thing = self.city.things[number]
            for i, (_, end) in enumerate(thing.spans):
                back = thing.spans[i + 1][0] if i + 1 < len(thing.spans) else float("inf")
                first = min((part.first_seen for part in case.seen), default=None)
                able = [p for p in self.patrols if end <= p.day < back and p.clear[number] >= CLEAR_FRAMES]
                if not able or first is None or first > START + timedelta(days=end):
                    continue
                chances += 1
                events = self.events[case.id]
                noted += any(d.kind is Kind.NOT_SEEN and end <= _day(d) < able[0].day + 1 for d in events)
                closed += any(d.kind is Kind.CLOSED and end <= _day(d) < back for d in events)
        return noted, closed, chances

    def _misses(self, firsts: Mapping[int, Case]) -> tuple[int, int]:
        """Good views of things that stood there: those without the thing, and all."""
        missed = views = 0
        for number, case in firsts.items():
            thing = self.city.things[number]
            for patrol in self.patrols:
                if not thing.stands(patrol.day):
                    continue
                without = any(d.kind is Kind.NOT_SEEN and d.data["patrol"] == patrol.id for d in self.events[case.id])
                missed += without
                views += without or any(part.patrol_id == patrol.id for part in case.seen)
        return missed, views


def _day(draft: Draft | Event) -> float:
    return (draft.at - START) / timedelta(days=1)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def table(figures: Sequence[CaseFigures]) -> str:
    """The figures as lines of text, one column per seed."""
    rows = []
    for name in asdict(figures[0]):
        if name == "counts":
            continue
        values = [getattr(one, name) for one in figures]
        cells = ["-" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in values]
        rows.append(f"{name:20}" + "".join(f"{cell:>10}" for cell in cells))
    for name in figures[0].counts:
        rows.append(f"{name:32}" + "".join(f"{one.counts[name]:>8}" for one in figures))
    return "\n".join(rows)
