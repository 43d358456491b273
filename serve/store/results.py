"""What a patrol yielded: sightings, looks, evidence pictures with boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from serve.cases.ground import cells_of_ring
from serve.cases.values import Look, Sighting, stable_id
from serve.errors import NotFoundError
from serve.store.cases import only_reached
from serve.store.database import Desk
from serve.store.tables import evidence, evidence_boxes, look_cells, looks, patrols, sightings

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Picture:
    """One stored evidence picture; `size_wh` and all boxes in its own pixels."""

    id: str
    frame: str
    taken_at: datetime | None
    size_wh: tuple[int, int]
    sha256: str
    person_over_evidence: bool


@dataclass(frozen=True, slots=True)
class Box:
    """Where a sighting is in a picture; `rank` 0 is its best picture."""

    picture_id: str
    sighting_id: str
    rank: int
    score: float
    box_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Shown:
    """One box of a sighting in a stored evidence picture, with where that picture lies; box in its pixels."""

    patrol_id: str
    sha256: str
    class_name: str
    case_id: str | None
    box_xyxy: tuple[float, float, float, float]


def shown_everywhere(desk: Desk) -> dict[str, list[Shown]]:
    """All boxes of the jurisdiction's evidence, by picture."""
    rows = desk.connection.execute(
        sa.select(evidence_boxes, evidence.c.patrol_id, evidence.c.sha256, sightings.c.class_name, sightings.c.case_id)
        .join(evidence, evidence.c.id == evidence_boxes.c.evidence_id)
        .join(sightings, sightings.c.id == evidence_boxes.c.sighting_id)
        .join(patrols, patrols.c.id == evidence.c.patrol_id)
        .where(patrols.c.jurisdiction == desk.jurisdiction)
        .order_by(evidence_boxes.c.evidence_id, evidence_boxes.c.sighting_id, evidence_boxes.c.rank)
    )
    found: defaultdict[str, list[Shown]] = defaultdict(list)
    for row in rows:
        box = (row.x_min, row.y_min, row.x_max, row.y_max)
        found[row.evidence_id].append(Shown(row.patrol_id, row.sha256, row.class_name, row.case_id, box))
    return dict(found)


def replace(
    desk: Desk,
    patrol_id: str,
    found: Sequence[Sighting],
    seen: Sequence[Look],
    pictures: Sequence[Picture],
    boxes: Sequence[Box],
    case_of: Mapping[str, str],
    why_none: Mapping[str, str],
) -> None:
    """Put these results in the place of the patrol's former ones."""
    for table in (sightings, looks, evidence):
        desk.connection.execute(table.delete().where(table.c.patrol_id == patrol_id))
    _insert(desk, sightings, [_sighting_row(s, case_of.get(s.id), why_none.get(s.id)) for s in found])
    _insert(
        desk,
        evidence,
        [
            {
                "id": p.id,
                "patrol_id": patrol_id,
                "frame": p.frame,
                "taken_at": p.taken_at,
                "width": p.size_wh[0],
                "height": p.size_wh[1],
                "sha256": p.sha256,
                "person_over_evidence": p.person_over_evidence,
            }
            for p in pictures
        ],
    )
    _insert(
        desk,
        evidence_boxes,
        [
            {
                "evidence_id": b.picture_id,
                "sighting_id": b.sighting_id,
                "rank": b.rank,
                "score": b.score,
                **dict(zip(("x_min", "y_min", "x_max", "y_max"), b.box_xyxy, strict=True)),
            }
            for b in boxes
        ],
    )
    _insert_looks(desk, patrol_id, seen)


def _insert_looks(desk: Desk, patrol_id: str, seen: Sequence[Look]) -> None:
    rows: dict[str, dict[str, Any]] = {}
    cells: list[dict[str, Any]] = []
    for look in seen:
        ring = [[round(lon, 8), round(lat, 8)] for lon, lat in look.ring_lonlat]
        look_id = stable_id("l", patrol_id, look.seen_at.isoformat(), ring, look.quality)
        if look_id in rows:
            continue
        rows[look_id] = {
            "id": look_id,
            "patrol_id": patrol_id,
            "seen_at": look.seen_at,
            "quality": look.quality,
            "ring_lonlat": ring,
        }
        cells += [{"cell": cell, "look_id": look_id} for cell in sorted(cells_of_ring(look.ring_lonlat))]
    _insert(desk, looks, list(rows.values()))
    _insert(desk, look_cells, cells)


def _insert(desk: Desk, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(rows), _BATCH):
        desk.connection.execute(table.insert(), rows[start : start + _BATCH])


def move(desk: Desk, case_of: Mapping[str, str]) -> None:
    """Put sightings into other cases."""
    for sighting_id, case_id in sorted(case_of.items()):
        moved = sightings.update().where(sightings.c.id == sighting_id)
        desk.connection.execute(moved.values(case_id=case_id))


def _sighting_row(sighting: Sighting, case_id: str | None, why_none: str | None) -> dict[str, Any]:
    east2, east_north, north2 = sighting.place.covariance_m2
    width, height = sighting.size_m or (None, None)
    return {
        "id": sighting.id,
        "patrol_id": sighting.patrol_id,
        "class_name": sighting.class_name,
        "score": sighting.score,
        "longitude_deg": sighting.place.longitude_deg,
        "latitude_deg": sighting.place.latitude_deg,
        "error_radius_m": sighting.place.error_radius_m,
        "covariance_ee_m2": east2,
        "covariance_en_m2": east_north,
        "covariance_nn_m2": north2,
        "shared_sigma_m": sighting.shared_sigma_m,
        "frames": sighting.frames,
        "first_seen": sighting.first_seen,
        "last_seen": sighting.last_seen,
        "width_m": width,
        "height_m": height,
        "case_id": case_id,
        "why_no_case": why_none,
    }


def looks_in(desk: Desk, cells: Iterable[int], not_of: str) -> list[Look]:
    """The looks of other patrols that touch any of these cells."""
    wanted = sorted(set(cells))
    found: dict[str, Look] = {}
    for start in range(0, len(wanted), _BATCH):
        rows = desk.connection.execute(
            sa.select(looks)
            .join(look_cells, look_cells.c.look_id == looks.c.id)
            .join(patrols, patrols.c.id == looks.c.patrol_id)
            .where(
                patrols.c.jurisdiction == desk.jurisdiction,
                looks.c.patrol_id != not_of,
                look_cells.c.cell.in_(wanted[start : start + _BATCH]),
            )
        )
        for row in rows:
            ring = tuple((lon, lat) for lon, lat in row.ring_lonlat)
            found[row.id] = Look(row.patrol_id, row.seen_at, ring, row.quality)
    return [found[key] for key in sorted(found)]


def evidence_of_cases(desk: Desk, case_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """For each case its pictures, those of its latest sighting first and of each sighting the best first.

    Each picture has `id`, `patrol_id`, `taken_at`, `width`, `height`, `person_over_evidence` and `boxes`, the boxes
    of this case's sightings in it: `class`, `score`, `box`.
    """
    wanted = sorted(set(case_ids))
    found: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for start in range(0, len(wanted), _BATCH):
        rows = desk.connection.execute(
            sa.select(
                sightings.c.case_id,
                sightings.c.class_name,
                evidence_boxes,
                evidence.c.patrol_id,
                evidence.c.taken_at,
                evidence.c.width,
                evidence.c.height,
                evidence.c.person_over_evidence,
            )
            .join(evidence_boxes, evidence_boxes.c.sighting_id == sightings.c.id)
            .join(evidence, evidence.c.id == evidence_boxes.c.evidence_id)
            .join(patrols, patrols.c.id == sightings.c.patrol_id)
            .where(
                patrols.c.jurisdiction == desk.jurisdiction,
                sightings.c.case_id.in_(wanted[start : start + _BATCH]),
                only_reached(desk, sightings.c.case_id),
            )
            .order_by(sightings.c.last_seen.desc(), sightings.c.id, evidence_boxes.c.rank)
        )
        for row in rows:
            picture = found[row.case_id].setdefault(
                row.evidence_id,
                {
                    "id": row.evidence_id,
                    "patrol_id": row.patrol_id,
                    "taken_at": row.taken_at,
                    "width": row.width,
                    "height": row.height,
                    "person_over_evidence": row.person_over_evidence,
                    "boxes": [],
                },
            )
            box = [row.x_min, row.y_min, row.x_max, row.y_max]
            picture["boxes"].append({"class": row.class_name, "score": row.score, "box": box})
    return {case_id: list(pictures.values()) for case_id, pictures in found.items()}


def picture(desk: Desk, picture_id: str) -> tuple[str, str]:
    """The patrol and the hash of an evidence picture. Raises NotFoundError when there is none, or not the caller's."""
    query = (
        sa.select(evidence.c.patrol_id, evidence.c.sha256)
        .join(patrols, patrols.c.id == evidence.c.patrol_id)
        .where(evidence.c.id == picture_id, patrols.c.jurisdiction == desk.jurisdiction)
    )
    if desk.reach.area:
        shown = sa.select(evidence_boxes.c.evidence_id).join(sightings, sightings.c.id == evidence_boxes.c.sighting_id)
        query = query.where(evidence.c.id.in_(shown.where(only_reached(desk, sightings.c.case_id))))
    row = desk.connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no picture {picture_id!r}", remedy="a case's `evidence` lists its pictures")
    return row.patrol_id, row.sha256


def picture_hashes(desk: Desk, patrol_id: str) -> set[str]:
    """The hashes of the patrol's evidence pictures."""
    return set(desk.connection.scalars(sa.select(evidence.c.sha256).where(evidence.c.patrol_id == patrol_id)))
