"""From what `vision` yields to what the case rules and the store speak of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from serve.cases.values import Look, Place, Sighting, stable_id
from serve.store.results import Box, Picture

if TYPE_CHECKING:
    from vision.pipeline import EvidenceFrame, PatrolResult
    from vision.sightings import Sighting as Seen


def sightings_of(patrol_id: str, started_at: datetime, result: PatrolResult) -> list[tuple[Sighting, Seen]]:
    """The sightings with ids that depend on the patrol and on what was seen alone, beside what they came from."""
    start = result.started_at or started_at
    same: Counter[tuple[object, ...]] = Counter()
    found = []
    for seen in result.sightings:
        key = (
            seen.class_name,
            f"{seen.longitude_deg:.7f}",
            f"{seen.latitude_deg:.7f}",
            f"{seen.first_seen_s:.3f}",
            f"{seen.last_seen_s:.3f}",
        )
        same[key] += 1
        place = Place(seen.longitude_deg, seen.latitude_deg, seen.covariance_m2, seen.error_radius_m)
        sighting = Sighting(
            id=stable_id("s", patrol_id, *key, same[key]),
            patrol_id=patrol_id,
            class_name=seen.class_name,
            score=seen.score,
            place=place,
            shared_sigma_m=seen.shared_sigma_m,
            frames=seen.frames,
            first_seen=start + timedelta(seconds=seen.first_seen_s),
            last_seen=start + timedelta(seconds=seen.last_seen_s),
            size_m=seen.size_m,
            seen_in=seen.seen_in,
        )
        found.append((sighting, seen))
    return found


def looks_of(patrol_id: str, started_at: datetime, result: PatrolResult) -> list[Look]:
    """The looks, with moments instead of seconds."""
    start = result.started_at or started_at
    return [
        Look(patrol_id, start + timedelta(seconds=look.time_s), look.ring_lonlat, look.quality) for look in result.looks
    ]


def picture_of(patrol_id: str, frame: EvidenceFrame, sha256: str) -> Picture:
    """The row of a stored evidence frame."""
    return Picture(
        id=stable_id("e", patrol_id, frame.frame, sha256),
        frame=frame.frame,
        taken_at=frame.taken_at,
        size_wh=frame.size_wh,
        sha256=sha256,
        person_over_evidence=frame.person_over_evidence,
    )


def boxes_of(
    found: Sequence[tuple[Sighting, Seen]], frames: Sequence[EvidenceFrame], pictures: Sequence[Picture]
) -> list[Box]:
    """Where the sightings are in the stored pictures, in those pictures' own pixels."""
    by_frame = {frame.frame: (frame.scale, picture) for frame, picture in zip(frames, pictures, strict=True)}
    boxes = []
    for sighting, seen in found:
        shown = [evidence for evidence in seen.evidence if evidence.frame in by_frame]
        for rank, evidence in enumerate(shown):
            scale, picture = by_frame[evidence.frame]
            x_min, y_min, x_max, y_max = (value * scale for value in evidence.box_xyxy)
            boxes.append(Box(picture.id, sighting.id, rank, evidence.score, (x_min, y_min, x_max, y_max)))
    return boxes
