"""One thing, one case: what a patrol's sightings and looks do to the books."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from serve.cases.assignment import cheapest
from serve.cases.events import Draft, Kind
from serve.cases.ground import REACH_M, offset_m, squared_distance
from serve.cases.lifecycle import DONE_STAGES, Case, Stage, sighting_data
from serve.cases.looks import good_view
from serve.cases.matters import Matters
from serve.cases.rules import why_no_case
from serve.cases.values import Look, Place, Sighting, stable_id

# 99 % of the chi-square distribution with two degrees of freedom: one true pair in a hundred is left apart.
GATE = 9.21
# A pair of kindred but different classes must be this much nearer; so must a case that was closed.
OTHER_CLASS_COST = 4.0
CLOSED_COST = 1.0
RECURRENCE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a patrol comes to: for each sighting its case, or why it opened none, and the events to append."""

    case_of: Mapping[str, str]
    why_none: Mapping[str, str]
    drafts: tuple[Draft, ...]


def absorb(
    patrol_id: str,
    jurisdiction: str,
    sightings: Sequence[Sighting],
    looks: Sequence[Look],
    books: Iterable[Case],
    matters: Matters,
    *,
    now: datetime,
    withdrawal: str = "the patrol was processed again",
) -> Outcome:
    """Fit one patrol into the books, whether it is new, processed again, or deleted (no sightings, no looks).

    `books`: every case that may matter: those near a sighting or a look, and those the patrol had a part in before.
    What the patrol said before is replaced by what it says now; saying the same again yields no event at all. The
    order of `sightings`, `looks` and `books` does not matter. `withdrawal` is the reason given where something that
    the patrol said before no longer holds.
    """
    known = {case.id: case for case in sorted(books, key=lambda case: case.id)}
    before = {part.sighting_id: case.id for case in known.values() for part in case.seen if part.patrol_id == patrol_id}
    others = {case.id: case.without(patrol_id) for case in known.values()}
    ordered = sorted(sightings, key=lambda sighting: sighting.id)
    refusals = {sighting.id: why_no_case(sighting, matters.of(sighting.class_name)) for sighting in ordered}

    joined = _assign(ordered, list(others.values()), refusals, matters, now)
    case_of = dict(joined)
    why_none: dict[str, str] = {}
    for sighting in ordered:
        if sighting.id in joined:
            continue
        refusal = refusals[sighting.id]
        if refusal is None:
            case_of[sighting.id] = stable_id("c", jurisdiction, sighting.id)
        else:
            why_none[sighting.id] = refusal

    drafts = [
        Draft(before[old], Kind.WITHDRAWN, now, withdrawal, {"sighting": old, "patrol": patrol_id})
        for old in sorted(before)
        if case_of.get(old) != before[old]
    ]
    for sighting in ordered:
        target = case_of.get(sighting.id)
        if target is not None and before.get(sighting.id) != target:
            drafts.append(_entry(sighting, target, others.get(target), jurisdiction, matters))
    holders = set(case_of.values())
    drafts += _views(patrol_id, looks, known, holders, withdrawal, now)
    drafts += [
        Draft(case.id, Kind.VOIDED, now, withdrawal, {})
        for case in known.values()
        if case.stage is not Stage.VOID and case.id not in holders and case.seen and not others[case.id].seen
    ]
    return Outcome(case_of, why_none, tuple(drafts))


def missed_views(
    case_id: str, place: Place, first_seen: datetime, looks: Iterable[Look], joined_patrols: Iterable[str]
) -> list[Draft]:
    """The good views that patrols processed earlier, but driven later, had of a case that is opened only now."""
    by_patrol: defaultdict[str, list[Look]] = defaultdict(list)
    for look in looks:
        if look.seen_at > first_seen:
            by_patrol[look.patrol_id].append(look)
    drafts = []
    for patrol in sorted(set(by_patrol) - set(joined_patrols)):
        view = good_view(place, by_patrol[patrol])
        if view is not None:
            drafts.append(_not_seen(case_id, patrol, *view))
    return drafts


def _assign(
    sightings: Sequence[Sighting],
    cases: Sequence[Case],
    refusals: Mapping[str, str | None],
    matters: Matters,
    now: datetime,
) -> dict[str, str]:
    """The case each sighting joins: all sightings of the pass at once, no case twice, the least total distance."""
    costs: dict[str, dict[str, float]] = {}
    places = {case.id: case.place for case in cases}
    for sighting in sightings:
        matter = matters.of(sighting.class_name)
        for case in cases:
            if case.kin != matter.kin or not _may_be_joined(case, refusals[sighting.id], now):
                continue
            if math.hypot(*offset_m(places[case.id], sighting.place)) > REACH_M:
                continue
            cost = squared_distance(places[case.id], sighting.place, matter.spread_m)
            cost += OTHER_CLASS_COST * (case.class_name != sighting.class_name)
            cost += CLOSED_COST * (case.stage in DONE_STAGES)
            if cost <= GATE:
                costs.setdefault(sighting.id, {})[case.id] = cost
    chosen: dict[str, str] = {}
    for group in _components(costs):
        columns = sorted({case for row in group for case in costs[row]})
        rows = [
            [costs[row].get(case, math.inf) for case in columns]
            # A column of its own for each row: the price of joining nothing.
            + [GATE if other == row else math.inf for other in group]
            for row in group
        ]
        for row, column in zip(group, cheapest(rows), strict=True):
            if column < len(columns):
                chosen[row] = columns[column]
    return chosen


def _may_be_joined(case: Case, refusal: str | None, now: datetime) -> bool:
    if not case.seen and refusal is not None:
        # Only this patrol, processed before, had seen it: it stands on only if its rule still says so.
        return False
    if case.stage in DONE_STAGES:
        return case.closed_at is not None and now - case.closed_at <= RECURRENCE
    return case.is_open


def _components(costs: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Groups of sightings that compete for the same cases, each sorted."""
    claimants: defaultdict[str, list[str]] = defaultdict(list)
    for row, columns in costs.items():
        for case in columns:
            claimants[case].append(row)
    left = set(costs)
    groups = []
    for start in sorted(costs):
        if start not in left:
            continue
        group, frontier = {start}, [start]
        while frontier:
            for case in costs[frontier.pop()]:
                fresh = set(claimants[case]) - group
                group |= fresh
                frontier += fresh
        left -= group
        groups.append(sorted(group))
    return groups


def _entry(sighting: Sighting, target: str, case: Case | None, jurisdiction: str, matters: Matters) -> Draft:
    """The event by which a sighting enters a case."""
    data: dict[str, Any] = sighting_data(sighting)
    if case is not None and case.seen and case.is_open:
        return Draft(target, Kind.SEEN_AGAIN, sighting.last_seen, "seen again by another pass", data)
    matter = matters.of(sighting.class_name)
    stage = Stage.FILED if sighting.score >= matter.file_from_score else Stage.COLLECTED
    data |= {"jurisdiction": jurisdiction, "stage": stage.value}
    if case is not None and case.stage in DONE_STAGES:
        return Draft(target, Kind.RECURRED, sighting.last_seen, "seen again after it was closed", data)
    if case is not None and case.is_open:
        # Only this patrol had seen it; processed again it says so in other words, and the case goes on.
        return Draft(target, Kind.SEEN_AGAIN, sighting.last_seen, "the same pass, processed again", data)
    data["matter"] = {"code": matter.code, "name": matter.name, "kin": matter.kin}
    return Draft(target, Kind.OPENED, sighting.first_seen, "seen by a patrol; no open case stood there", data)


def _views(
    patrol_id: str,
    looks: Sequence[Look],
    known: Mapping[str, Case],
    holders: set[str],
    withdrawal: str,
    now: datetime,
) -> list[Draft]:
    """The good views of this pass without the thing, and those it claimed before and claims no more."""
    drafts = []
    for case in known.values():
        others = case.without(patrol_id)
        view = None
        if case.id not in holders and case.is_open and others.seen:
            view = good_view(others.place, looks)
            first = others.first_seen
            if view is not None and first is not None and view[0] <= first:
                view = None
        claimed = case.unseen.get(patrol_id)
        if claimed is not None and (view is None or view[0] != claimed):
            drafts.append(Draft(case.id, Kind.LOOK_WITHDRAWN, now, withdrawal, {"patrol": patrol_id}))
        if view is not None and view[0] != claimed:
            drafts.append(_not_seen(case.id, patrol_id, *view))
    return drafts


def _not_seen(case_id: str, patrol_id: str, at: datetime, quality: float) -> Draft:
    reason = f"not seen in a good view (quality {quality:.2f})"
    return Draft(case_id, Kind.NOT_SEEN, at, reason, {"patrol": patrol_id, "quality": quality})
