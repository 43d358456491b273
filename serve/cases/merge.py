"""One thing, one case: what a patrol's sightings and looks do to the books."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from serve.cases.align import aligned
from serve.cases.doubt import Doubts, as_sighting
from serve.cases.events import Draft, Event, Kind
from serve.cases.gone import verdict
from serve.cases.ground import REACH_M, Near, fuse, offset_m, shared_sigma
from serve.cases.lifecycle import DONE_STAGES, LAP_PAUSE, Case, Seen, Stage, View, apply, sighting_data
from serve.cases.looks import Coverage
from serve.cases.matters import Matters
from serve.cases.memory import SEEN_ODDS, Known, match
from serve.cases.rules import why_no_case
from serve.cases.splinters import as_one, left_piece, whole_things
from serve.cases.values import Look, Place, Sighting, stable_id

# A case that was closed must agree that much better than one that is open.
CLOSED_COST = 1.0
RECURRENCE = timedelta(days=30)
# What a pass sees again this near after a pause is a new lap.
LAP_REACH_M = 15.0
# A place that is stored and read again is the same to less than this.
_SAME_M = 0.01

OthersLooks = Callable[[Place], Iterable[Look]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a patrol comes to: for each sighting its case, or why it opened none, and the events to append; `moved`: by
    sighting of other patrols, the case that it turned out to belong to."""

    case_of: Mapping[str, str]
    why_none: Mapping[str, str]
    drafts: tuple[Draft, ...]
    moved: Mapping[str, str]


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
    others_looks: OthersLooks | None = None,
) -> Outcome:
    """Fit one patrol into the books, whether it is new, processed again, or deleted (no sightings, no looks).

    `books`: every case that may matter: those near a sighting or a look, and those the patrol had a part in before.
    What the patrol said before is replaced by what it says now; saying the same again yields no event at all. The
    order of `sightings`, `looks` and `books` does not matter. `withdrawal` is the reason given where something that
    the patrol said before no longer holds. `others_looks` yields the looks of other patrols about a place: a case that
    this patrol opens, or knows to be older than was thought, may have been passed by them already.
    """
    known = {case.id: case for case in sorted(books, key=lambda case: case.id)}
    mine = ((case.id, part) for case in known.values() for part in case.seen if part.patrol_id == patrol_id)
    told = {part.sighting_id: (case_id, part) for case_id, part in mine}
    before = {sighting_id: case_id for sighting_id, (case_id, _) in told.items()}
    others = {case.id: case.without(patrol_id) for case in known.values()}
    things = sorted(whole_things(sightings, matters), key=lambda pieces: (pieces[0].first_seen, pieces[0].id))
    wholes = [as_one(pieces) for pieces in things]
    refusals = {whole.id: why_no_case(whole, matters.of(whole.class_name)) for whole in wholes}

    coverage = Coverage(looks)
    said = _said_again(sightings, told)
    whole_case = _assign(wholes, others, refusals, matters, jurisdiction, looks, coverage, said)
    case_of: dict[str, str] = {}
    why_none: dict[str, str] = {}
    for pieces in things:
        target, refusal = whole_case.get(pieces[0].id), refusals[pieces[0].id]
        if target is not None:
            case_of |= {piece.id: target for piece in pieces}
        elif refusal is not None:
            why_none |= {piece.id: refusal for piece in pieces}

    drafts = [
        Draft(before[old], Kind.WITHDRAWN, now, withdrawal, {"sighting": old, "patrol": patrol_id})
        for old in sorted(before)
        if case_of.get(old) != before[old]
    ]
    opened: set[str] = set()
    for pieces, whole in zip(things, wholes, strict=True):
        for piece in pieces:
            target = case_of.get(piece.id)
            if target is not None and before.get(piece.id) != target:
                first = target not in opened
                entry = _entry(piece, target, others.get(target), jurisdiction, matters, score=whole.score, first=first)
                drafts.append(entry)
                opened.add(target)
    holders = set(case_of.values())
    drafts += _views(patrol_id, coverage, known, holders, withdrawal, now)
    drafts += [
        Draft(case.id, Kind.VOIDED, now, withdrawal, {})
        for case in known.values()
        if case.stage is not Stage.VOID and case.id not in holders and case.seen and not others[case.id].seen
    ]
    if others_looks is not None:
        drafts += _told_late(patrol_id, drafts, known, others_looks)
    moved: dict[str, str] = {}
    if any(draft.kind is Kind.NOT_SEEN for draft in drafts):
        books_now = _books_after(known, drafts)
        again, moved = _second_thoughts(drafts, books_now, jurisdiction, matters, now)
        drafts += again
        case_of |= {sighting_id: moved[sighting_id] for sighting_id in case_of.keys() & moved.keys()}
        changed = {case_id: books_now[case_id] for case_id in _by_case(again)}
        drafts += _views(patrol_id, coverage, changed, set(case_of.values()), withdrawal, now)
        if others_looks is not None:
            for case in changed.values():
                drafts += _views_of_others(patrol_id, case, others_looks)
    drafts += _closings(drafts, known, matters, now)
    return Outcome(case_of, why_none, tuple(drafts), {key: moved[key] for key in moved.keys() - case_of.keys()})


def _said_again(sightings: Sequence[Sighting], told: Mapping[str, tuple[str, Seen]]) -> dict[str, str]:
    """By sighting the case that it is in already, where the patrol, processed again, says what it `told` before."""
    found = {}
    for sighting in sightings:
        case_id, part = told.get(sighting.id, ("", None))
        if part is None or part.class_name != sighting.class_name:
            continue
        if math.hypot(*offset_m(part.place, sighting.place)) < _SAME_M:
            found[sighting.id] = case_id
    return found


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
        view = Coverage(by_patrol[patrol]).view(place)
        if view is not None:
            drafts.append(_not_seen(case_id, patrol, view))
    return drafts


def after(case: Case | None, drafts: Iterable[Draft]) -> Case | None:
    """The case as it will be once the drafts are in its log."""
    for draft in drafts:
        seq = case.version + 1 if case else 1
        case = apply(
            case,
            Event(draft.case_id, seq, draft.kind, draft.at, draft.at, draft.actor, draft.reason, draft.data, "", ""),
        )
    return case


def _assign(
    sightings: Sequence[Sighting],
    others: Mapping[str, Case],
    refusals: Mapping[str, str | None],
    matters: Matters,
    jurisdiction: str,
    looks: Sequence[Look],
    coverage: Coverage,
    said: Mapping[str, str],
) -> dict[str, str]:
    """The case each sighting joins or opens: lap by lap, each lap as a whole. What is `said` again stays as it is."""
    parts = {case.id: [(part.place, part.shared_sigma_m) for part in case.parts] for case in others.values()}
    joinable = [case for case in others.values() if case.is_open or case.stage in DONE_STAGES]
    placed = aligned(joinable)
    known = {case.id: _known(case, *placed[case.id]) for case in joinable}
    case_of: dict[str, str] = {}

    def was_in(sighting: Sighting, one: Known) -> bool:
        return said.get(sighting.id) == one.id

    def opens(sighting_id: str) -> bool:
        """Whether this sighting opened a case, when the patrol was processed before, and would do so again."""
        return said.get(sighting_id) in others and not parts[said[sighting_id]] and refusals.get(sighting_id) is None

    def may_join(sighting: Sighting, one: Known) -> bool:
        case = others.get(one.id)
        if case is None:
            return True
        if opens(sighting.id):
            return False
        if not parts[one.id] and refusals[sighting.id] is not None:
            # Only this patrol, processed before, had seen it: it stands on only if its rule still says so.
            return False
        return case.is_open or (case.closed_at is not None and sighting.first_seen - case.closed_at <= RECURRENCE)

    # As at first, when there were no such cases yet.
    opened = {case_id for sighting_id, case_id in said.items() if opens(sighting_id)}
    laps = _laps(sightings)
    for number, lap in enumerate(laps):
        # Whether this lap had a place in view; of a whole pass its `coverage` is at hand.
        seen = coverage if len(laps) == 1 else Coverage(_looks_of(number, laps, looks))
        there = [one for one in known.values() if one.id not in opened or parts[one.id]]
        expected = [replace(one, seen_odds=_seen_odds(one, seen, matters)) for one in there]
        joined = match(lap, expected, matters, may_join, was_in)
        # What was found to be the same thing twice stays so.
        whole = set(joined.values())
        joined |= {one.id: said[one.id] for one in lap if one.id not in joined and said.get(one.id) in whole}
        # A case that this lap alone knows has no pieces left: a patrol processed again comes to the same as at first.
        told = {sighting_id: case_id for sighting_id, case_id in joined.items() if parts.get(case_id)}
        joined |= _left_pieces([one for one in lap if one.id in told or one.id not in joined], told, known, matters)
        for sighting in lap:
            target = said[sighting.id] if opens(sighting.id) else joined.get(sighting.id)
            if target is None:
                if refusals[sighting.id] is not None:
                    continue
                target = stable_id("c", jurisdiction, sighting.id)
            case_of[sighting.id] = target
            places = parts.setdefault(target, [])
            places.append((sighting.place, sighting.shared_sigma_m))
            matter = matters.of(sighting.class_name)
            former = known.get(target)
            known[target] = Known(
                target,
                former.kin if former else matter.kin,
                former.class_name if former else sighting.class_name,
                fuse([place for place, _ in places]),
                shared_sigma([place for place, _ in places], [shared for _, shared in places]),
                former.handicap if former else 0.0,
            )
    return case_of


def _left_pieces(
    lap: Sequence[Sighting], joined: Mapping[str, str], known: Mapping[str, Known], matters: Matters
) -> dict[str, str]:
    """For the sightings that match nothing, but are pieces of what others of this lap show: the case."""
    shown: defaultdict[str, list[Sighting]] = defaultdict(list)
    for sighting in lap:
        if sighting.id in joined:
            shown[joined[sighting.id]].append(sighting)
    places = {case_id: known[case_id].place for case_id in shown}
    near: Near[str] = Near(REACH_M)
    for case_id in sorted(shown):
        near.add(places[case_id], case_id)
    found: dict[str, str] = {}
    for sighting in sorted(lap, key=lambda one: (-one.frames, one.id)):
        if sighting.id not in joined:
            around = {case_id: shown[case_id] for case_id in near.around(sighting.place)}
            whole = left_piece(sighting, around, places, matters)
            if whole is not None:
                found[sighting.id] = whole
                shown[whole].append(sighting)
    return found


def _known(case: Case, place: Place, shared_sigma_m: float) -> Known:
    handicap = CLOSED_COST if case.stage in DONE_STAGES else 0.0
    return Known(case.id, case.kin, case.class_name, place, shared_sigma_m, handicap)


def _seen_odds(one: Known, coverage: Coverage, matters: Matters) -> float:
    """How much likelier a lap with that coverage sees what is known than not, were it still there."""
    if coverage.view(one.place) is None:
        return SEEN_ODDS
    missed = matters.of(one.class_name).miss_rate
    return (1 - missed) / missed


def _looks_of(number: int, laps: Sequence[Sequence[Sighting]], looks: Sequence[Look]) -> list[Look]:
    """The looks of one lap: since its first sighting, until the next lap's."""
    begins = [min(one.first_seen for one in lap) for lap in laps]
    later = [look for look in looks if not number or look.seen_at >= begins[number]]
    return [look for look in later if number + 1 == len(laps) or look.seen_at < begins[number + 1]]


def _laps(sightings: Sequence[Sighting]) -> list[list[Sighting]]:
    """The sightings in runs within which no place is come by twice."""
    laps: list[list[Sighting]] = []
    near: Near[Sighting] = Near(LAP_REACH_M)
    for sighting in sorted(sightings, key=lambda one: (one.first_seen, one.id)):
        again = not laps or any(
            sighting.first_seen - earlier.last_seen > LAP_PAUSE
            and earlier.class_name == sighting.class_name
            and math.hypot(*offset_m(earlier.place, sighting.place)) < LAP_REACH_M
            for earlier in near.around(sighting.place)
        )
        if again:
            laps.append([])
            near = Near(LAP_REACH_M)
        laps[-1].append(sighting)
        near.add(sighting.place, sighting)
    return laps


def _entry(
    sighting: Sighting,
    target: str,
    case: Case | None,
    jurisdiction: str,
    matters: Matters,
    *,
    score: float,
    first: bool,
) -> Draft:
    """The event by which a sighting enters a case; `score`: of the thing with all its pieces; `first`: no other
    sighting of this patrol entered the case before."""
    data: dict[str, Any] = sighting_data(sighting)
    if not first:
        return Draft(target, Kind.SEEN_AGAIN, sighting.last_seen, "seen again by the same pass", data)
    if case is not None and case.seen and case.is_open:
        return Draft(target, Kind.SEEN_AGAIN, sighting.last_seen, "seen again by another pass", data)
    if case is not None and case.closed_at is not None and sighting.last_seen <= case.closed_at:
        return Draft(target, Kind.SEEN_AGAIN, sighting.last_seen, "seen before it was closed, told later", data)
    matter = matters.of(sighting.class_name)
    stage = Stage.FILED if score >= matter.file_from_score else Stage.COLLECTED
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
    coverage: Coverage,
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
        if case.id not in holders and (case.is_open or case.closed_at is not None) and others.seen:
            view = coverage.view(others.place)
            first = others.first_seen
            if view is not None and first is not None and view.at <= first:
                view = None
            if view is not None and case.closed_at is not None and view.at > case.closed_at:
                view = None
        claimed = case.unseen.get(patrol_id)
        if claimed is not None and (view is None or view.at != claimed.at):
            drafts.append(Draft(case.id, Kind.LOOK_WITHDRAWN, now, withdrawal, {"patrol": patrol_id}))
        if view is not None and (claimed is None or view.at != claimed.at):
            drafts.append(_not_seen(case.id, patrol_id, view))
    return drafts


def _not_seen(case_id: str, patrol_id: str, view: View) -> Draft:
    reason = f"not seen in a good view (quality {view.quality:.2f}, {view.looks} look{'s' if view.looks > 1 else ''})"
    data = {"patrol": patrol_id, "quality": view.quality, "looks": view.looks}
    return Draft(case_id, Kind.NOT_SEEN, view.at, reason, data)


def _told_late(
    patrol_id: str, drafts: Sequence[Draft], known: Mapping[str, Case], others_looks: OthersLooks
) -> list[Draft]:
    """Good views by patrols driven later but processed earlier, of cases that are new or older than was thought."""
    found: list[Draft] = []
    for case_id, mine in _by_case(drafts).items():
        case, was = after(known.get(case_id), mine), known.get(case_id)
        if case is None or case.first_seen is None:
            continue
        if was is None or was.first_seen is None or case.first_seen < was.first_seen:
            found += _views_of_others(patrol_id, case, others_looks)
    return found


def _views_of_others(patrol_id: str, case: Case, others_looks: OthersLooks) -> list[Draft]:
    """Good views by other patrols of an open case, of which it does not tell yet."""
    if case.first_seen is None or not case.is_open:
        return []
    told = {part.patrol_id for part in case.seen} | set(case.unseen) | {patrol_id}
    return missed_views(case.id, case.place, case.first_seen, others_looks(case.place), told)


def _books_after(known: Mapping[str, Case], drafts: Sequence[Draft]) -> dict[str, Case]:
    """The books once the drafts are in the logs."""
    books = dict(known)
    for case_id, mine in _by_case(drafts).items():
        case = after(known.get(case_id), mine)
        assert case is not None
        books[case_id] = case
    return books


def _second_thoughts(
    told: Sequence[Draft], books: dict[str, Case], jurisdiction: str, matters: Matters, now: datetime
) -> tuple[list[Draft], dict[str, str]]:
    """Of the cases that are `told` to be missed, those that are no thing of their own: what is told of them now, and
    for each sighting that moves its case. `books`, which hold what was told, are changed; those cases that the fewest
    sightings speak for are asked first."""
    missed = {draft.case_id for draft in told if draft.kind is Kind.NOT_SEEN}
    doubts = Doubts(books, matters)
    drafts: list[Draft] = []
    moved: dict[str, str] = {}

    def tell(draft: Draft) -> None:
        drafts.append(draft)
        case = after(books[draft.case_id], [draft])
        assert case is not None
        books[draft.case_id] = case

    for case_id in sorted(missed, key=lambda case_id: (len(books[case_id].seen), case_id)):
        moves = sorted(doubts.moves(case_id), key=lambda move: move.part.sighting_id)
        for move in moves:
            reason = f"shows what case {move.target} stands for"
            data = {"sighting": move.part.sighting_id, "patrol": move.part.patrol_id}
            tell(Draft(move.origin, Kind.WITHDRAWN, now, reason, data))
        for move in moves:
            sighting, target = as_sighting(move.part), books[move.target]
            if sighting.patrol_id in target.unseen:
                gone = {"patrol": sighting.patrol_id}
                tell(Draft(target.id, Kind.LOOK_WITHDRAWN, now, "this pass saw it after all", gone))
            first = all(part.patrol_id != sighting.patrol_id for part in target.seen)
            tell(_entry(sighting, target.id, target, jurisdiction, matters, score=sighting.score, first=first))
        if moves:
            tell(Draft(case_id, Kind.VOIDED, now, "other cases account for all that was seen of it", {}))
        moved |= {move.part.sighting_id: move.target for move in moves}
    return drafts, moved


def _closings(drafts: Sequence[Draft], known: Mapping[str, Case], matters: Matters, now: datetime) -> list[Draft]:
    """What the cases that something happened to come to: gone, or not gone after all."""
    found = []
    for case_id, mine in sorted(_by_case(drafts).items()):
        case = after(known.get(case_id), mine)
        if case is None or case.stage is Stage.VOID:
            continue
        matter = matters.of(case.class_name)
        gone = verdict(case, matter)
        claimed = case.closed_at if case.stage_before is not None else case.closing_proposed_at
        if claimed is not None and (gone is None or gone.at != claimed):
            seen_again = any(draft.kind is Kind.SEEN_AGAIN for draft in mine)
            reason = "seen again" if seen_again else "the views that spoke for it are others now"
            found.append(Draft(case_id, Kind.CLOSING_WITHDRAWN, now, reason, {}))
            case, claimed = after(case, found[-1:]), None
        if gone is not None and claimed is None and case is not None and case.is_open:
            kind = Kind.CLOSED if matter.closes == "machine" else Kind.CLOSING_PROPOSED
            views = f"{gone.views} good view{'s' if gone.views > 1 else ''} without it"
            reason = f"{views}: were it still there, that would happen {gone.chance:.1%} of the time"
            found.append(Draft(case_id, kind, gone.at, reason, {"views": gone.views, "chance": round(gone.chance, 6)}))
    return found


def _by_case(drafts: Iterable[Draft]) -> dict[str, list[Draft]]:
    grouped: defaultdict[str, list[Draft]] = defaultdict(list)
    for draft in drafts:
        grouped[draft.case_id].append(draft)
    return dict(grouped)
