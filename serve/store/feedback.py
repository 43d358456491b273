"""Operators' decisions: what they are about, written down once, and handed out in the order they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from serve.errors import NotFoundError
from serve.store.cases import only_reached, take_turn
from serve.store.database import Desk
from serve.store.tables import evidence, evidence_boxes, feedback, patrols, sightings

_KEPT = (
    "case_id",
    "sighting_id",
    "evidence_id",
    "patrol_id",
    "picture_sha256",
    "width",
    "height",
    "person_over_evidence",
    "taken_at",
    "model",
    "class_name",
    "score",
)
Xyxy = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision. `request_sha256`: of what was asked, to know the same request again; `new_class` for a reclass,
    `new_box` in pixels of the evidence picture for a moved box."""

    id: str
    request_sha256: str
    verdict: str
    actor: str
    reason: str
    decided_at: datetime
    recorded_at: datetime
    new_class: str | None = None
    new_box: Xyxy | None = None


def judged(desk: Desk, case: str | None, sighting: str | None, picture: str | None) -> list[dict[str, Any]]:
    """The boxes that these ids mean together, with all that is worth keeping of them.

    Raises NotFoundError when there are none in this jurisdiction.
    """
    query = (
        sa.select(
            sightings.c.case_id,
            sightings.c.id.label("sighting_id"),
            sightings.c.class_name,
            evidence_boxes,
            evidence.c.patrol_id,
            evidence.c.sha256.label("picture_sha256"),
            evidence.c.width,
            evidence.c.height,
            evidence.c.person_over_evidence,
            evidence.c.taken_at,
            patrols.c.model,
        )
        .join(evidence_boxes, evidence_boxes.c.sighting_id == sightings.c.id)
        .join(evidence, evidence.c.id == evidence_boxes.c.evidence_id)
        .join(patrols, patrols.c.id == sightings.c.patrol_id)
        .where(patrols.c.jurisdiction == desk.jurisdiction, only_reached(desk, sightings.c.case_id))
        .order_by(sightings.c.id, evidence_boxes.c.rank)
    )
    for column, value in ((sightings.c.case_id, case), (sightings.c.id, sighting), (evidence.c.id, picture)):
        if value is not None:
            query = query.where(column == value)
    found = [
        {name: getattr(row, name) for name in _KEPT} | {"box": [row.x_min, row.y_min, row.x_max, row.y_max]}
        for row in desk.connection.execute(query)
    ]
    if not found:
        raise NotFoundError("no evidence has these ids together", remedy="a case's `evidence` lists its pictures")
    return found


def record(desk: Desk, decision: Decision, boxes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write a decision down, one row per box; gives the rows. `boxes` as from `judged`.

    Waits for its turn first, so that rows become visible in the order of their ids.
    """
    take_turn(desk)
    common = {
        "decision_id": decision.id,
        "jurisdiction": desk.jurisdiction,
        "request_sha256": decision.request_sha256,
        "verdict": decision.verdict,
        "new_class": decision.new_class,
        "new_box": list(decision.new_box) if decision.new_box is not None else None,
        "actor": decision.actor,
        "reason": decision.reason,
        "decided_at": decision.decided_at,
        "recorded_at": decision.recorded_at,
    }
    desk.connection.execute(
        feedback.insert(), [{**common, **box, "number": number} for number, box in enumerate(boxes)]
    )
    return _rows(desk, feedback.c.decision_id == decision.id)


@dataclass(frozen=True, slots=True)
class Said:
    """One decision as the console lists it, without its boxes."""

    verdict: str
    new_class: str | None
    actor: str
    decided_at: datetime


def of_case(desk: Desk, case_id: str) -> list[Said]:
    """What was decided about a case or its sightings, the latest first."""
    decisions = {row["decision_id"]: row for row in _rows(desk, feedback.c.case_id == case_id)}
    return [
        Said(row["verdict"], row["new_class"], row["actor"], row["decided_at"]) for row in reversed(decisions.values())
    ]


def export(desk: Desk, since: datetime | None, after: int, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Rows recorded at or after `since` whose id is above `after`, in their order, and whether there are more."""
    wanted = [feedback.c.id > after]
    if since is not None:
        wanted.append(feedback.c.recorded_at >= since)
    rows = _rows(desk, *wanted, limit=limit + 1)
    return rows[:limit], len(rows) > limit


def _rows(desk: Desk, *wanted: sa.ColumnElement[bool], limit: int | None = None) -> list[dict[str, Any]]:
    mine = feedback.c.jurisdiction == desk.jurisdiction
    query = sa.select(feedback).where(mine, only_reached(desk, feedback.c.case_id), *wanted)
    return [dict(row._mapping) for row in desk.connection.execute(query.order_by(feedback.c.id).limit(limit))]
