"""Cases as GeoJSON, with filters and pages, and their evidence pictures."""

from __future__ import annotations

import base64
import binascii
import math
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.datastructures import URL

from serve.access import Scope
from serve.cases.events import Event, broken_link
from serve.cases.lifecycle import STAGE_NAMES, Stage
from serve.context import Here
from serve.doors.guard import needs
from serve.doors.values import Moment, Text, to_utc, without_nul
from serve.errors import InvalidInputError
from serve.store import cases, results
from serve.store.blobs import EVIDENCE
from serve.store.cases import CaseFilter, CaseRow

router = APIRouter(prefix="/v1", tags=["cases"], dependencies=[needs(Scope.CASES_READ)])

_LISTED_PICTURES = 5
_FARTHEST_M = 100_000.0
CaseId = Annotated[str, Path(pattern="^[0-9a-z]{1,40}$")]
PictureId = Annotated[str, Path(pattern="^[0-9a-z]{1,40}$")]


def _said(count: int) -> dict[str, Any]:
    """For the description of the interface: so many numbers with commas between."""
    number = r"[+-]?[0-9]{1,6}(\.[0-9]{1,12})?"
    return {"pattern": rf"^{number}(,{number}){{{count - 1}}}$"}


def case_filter(
    class_name: Annotated[list[Text] | None, Query(alias="class", description="May be given several times.")] = None,
    stage: Annotated[list[Stage] | None, Query(description="May be given several times; void ones only so.")] = None,
    bbox: Annotated[
        str | None, Query(description="west,south,east,north in degrees", json_schema_extra=_said(4))
    ] = None,
    since: Annotated[Moment | None, Query(description="Last seen at or after.")] = None,
    until: Annotated[Moment | None, Query(description="First seen at or before.")] = None,
    min_score: Annotated[float | None, Query(ge=0, le=1)] = None,
    near: Annotated[
        str | None, Query(description="longitude,latitude,radius in metres", json_schema_extra=_said(3))
    ] = None,
    cursor: Annotated[str | None, Query(description="From the link to the next page.")] = None,
) -> CaseFilter:
    """The filters of a request. Raises InvalidInputError when one cannot be read."""
    return CaseFilter(
        class_names=tuple(class_name or ()),
        stages=tuple(one.value for one in stage or ()),
        bbox=_bbox(bbox) if bbox is not None else None,
        since=since,
        until=until,
        min_score=min_score,
        near=_near(near) if near is not None else None,
        after=_read_cursor(cursor) if cursor is not None else None,
    )


Wanted = Annotated[CaseFilter, Depends(case_filter)]


@router.get("/cases")
def list_cases(
    request: Request, here: Here, wanted: Wanted, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    """The cases that match, those first seen last at the top, as a GeoJSON FeatureCollection."""
    with here.reading() as desk:
        found, more = cases.search(desk, wanted, limit)
        pictures = results.evidence_of_cases(desk, [row.id for row in found])
    links = [{"rel": "self", "type": "application/geo+json", "href": _relative(request.url)}]
    if more:
        after = cursor_of(found[-1].first_seen, found[-1].id)
        following = _relative(request.url.include_query_params(cursor=after))
        links.append({"rel": "next", "type": "application/geo+json", "href": following})
    features = [feature(row, pictures.get(row.id, [])[:_LISTED_PICTURES]) for row in found]
    return {"type": "FeatureCollection", "numberReturned": len(found), "features": features, "links": links}


@router.get("/cases/{case_id}")
def one_case(case_id: CaseId, here: Here) -> dict[str, Any]:
    """One case as a GeoJSON feature with all its pictures and its log."""
    with here.reading() as desk:
        row = cases.get(desk, case_id)
        log = cases.log_of(desk, case_id)
        pictures = results.evidence_of_cases(desk, [case_id])
    whole = feature(row, pictures.get(case_id, []))
    whole["properties"] |= {"events": [_event(event) for event in log], "log_intact": broken_link(log) is None}
    return whole


@router.get("/evidence/{picture_id}.jpg", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def evidence(picture_id: PictureId, here: Here) -> Response:
    """An evidence picture, people and vehicles hidden."""
    with here.reading() as desk:
        patrol_id, sha256 = results.picture(desk, picture_id)
    picture = here.blobs.read(EVIDENCE, patrol_id, sha256)
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


def feature(row: CaseRow, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    """A case as a GeoJSON feature; `pictures` as `evidence_of_cases` gives them."""
    return {
        "type": "Feature",
        "id": row.id,
        "geometry": {"type": "Point", "coordinates": [round(row.longitude_deg, 8), round(row.latitude_deg, 8)]},
        "properties": {
            "id": row.id,
            "class": row.class_name,
            "matter_code": row.matter_code,
            "matter_name": row.matter_name,
            "stage": row.stage,
            "stage_name": STAGE_NAMES[Stage(row.stage)],
            "score": round(row.score, 4),
            "error_radius_m": round(row.error_radius_m, 2),
            "first_seen": row.first_seen,
            "last_seen": row.last_seen,
            "sightings": row.sightings,
            "grid_id": row.grid_id,
            "unit": row.unit,
            "due_at": row.due_at,
            "model": row.model,
            "evidence": [
                {
                    "url": f"/v1/evidence/{picture['id']}.jpg",
                    "taken_at": picture["taken_at"],
                    "width": picture["width"],
                    "height": picture["height"],
                    "boxes": [
                        {
                            "class": box["class"],
                            "score": round(box["score"], 4),
                            "box": [round(value, 1) for value in box["box"]],
                        }
                        for box in picture["boxes"]
                    ],
                    "person_over_evidence": picture["person_over_evidence"],
                    "patrol": picture["patrol_id"],
                }
                for picture in pictures
            ],
        },
        "links": [{"rel": "self", "type": "application/geo+json", "href": f"/v1/cases/{row.id}"}],
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "kind": event.kind.value,
        "at": event.at,
        "recorded_at": event.recorded_at,
        "actor": event.actor,
        "reason": event.reason,
        "data": event.data,
        "previous": event.previous,
        "digest": event.digest,
    }


def _numbers(text: str, count: int, what: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise InvalidInputError(f"{text!r} is not {what}", remedy=f"give {count} numbers with commas between")
    return values


def _bbox(text: str) -> tuple[float, float, float, float]:
    west, south, east, north = _numbers(text, 4, "a bbox of west,south,east,north")
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise InvalidInputError(f"the bbox {text!r} holds no ground", remedy="give west ≤ east and south ≤ north")
    return west, south, east, north


def _near(text: str) -> tuple[float, float, float]:
    lon, lat, radius_m = _numbers(text, 3, "a place of longitude,latitude,radius in metres")
    if not (-180 <= lon <= 180 and -90 <= lat <= 90 and 0 < radius_m <= _FARTHEST_M):
        raise InvalidInputError(
            f"{text!r} is no place on earth with a usable radius", remedy=f"give a radius up to {_FARTHEST_M:.0f} m"
        )
    return lon, lat, radius_m


def cursor_of(moment: datetime, case_id: str) -> str:
    """What names the place after a case in the list."""
    return base64.urlsafe_b64encode(f"{moment.isoformat()}|{case_id}".encode()).decode()


def _read_cursor(text: str) -> tuple[datetime, str]:
    try:
        moment, _, case_id = base64.urlsafe_b64decode(text.encode()).decode().partition("|")
        when = to_utc(datetime.fromisoformat(moment))
        without_nul(case_id)
    except (ValueError, binascii.Error) as error:
        raise InvalidInputError(
            "the cursor cannot be read", remedy="follow the link to the next page as it is"
        ) from error
    return when, case_id


def _relative(url: URL) -> str:
    return url.path + (f"?{url.query}" if url.query else "")
