"""The patrol protocol: what a vehicle speaks."""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.requests import ClientDisconnect

from serve.access import Scope
from serve.context import Context, Here
from serve.doors.guard import needs
from serve.doors.once import Key, once
from serve.doors.transfer import chunks
from serve.doors.values import Moment
from serve.errors import InvalidInputError, TooLargeError
from serve.store import cases, patrols
from serve.store.answers import Answer
from serve.store.database import Desk
from serve.store.patrols import Announcement, FileEntry, State

router = APIRouter(prefix="/v1/patrols", tags=["patrols"])
_WRITES = [needs(Scope.PATROLS_WRITE)]
_READS = [needs(Scope.PATROLS_READ)]
_MANAGES = [needs(Scope.PATROLS_MANAGE)]

# File systems take 255; the worker adds a few of its own.
_LONGEST_NAME_BYTES = 240
_EVENT_SECONDS = 0.5
_LONGEST_STREAM_S = 3600
PatrolId = Annotated[str, Path(pattern="^[0-9a-z]{1,40}$")]
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file in lower-case hex")]


class AnnouncedFile(BaseModel):
    """One file that the vehicle will send."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        min_length=1, max_length=200, description="Plain file name, without folders; 240 bytes in UTF-8 at most."
    )
    kind: Literal["media", "track", "telemetry"]
    size: int = Field(ge=0, strict=True, description="In bytes.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Lower-case hex.")

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name.startswith(".") or re.search(r"[/\\]", name) or any(map(_is_hidden, name)):
            raise ValueError("a plain file name, without folders, invisible characters or a leading dot")
        if len(name.encode()) > _LONGEST_NAME_BYTES:
            raise ValueError(f"a file name of at most {_LONGEST_NAME_BYTES} bytes in UTF-8")
        return name


def _is_hidden(character: str) -> bool:
    """Controls, marks that turn the reading direction, line separators: nothing that a name shows."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


class PatrolAnnouncement(BaseModel):
    """One run of one vehicle; (vehicle, started_at) names it."""

    model_config = ConfigDict(extra="forbid")

    vehicle: str = Field(pattern=r"^[\w.-]{1,64}$", description="The vehicle's id: letters, digits, dot, dash.")
    started_at: Moment = Field(description="ISO 8601 with a zone.")
    camera: dict[str, Any] | None = Field(None, description="The camera file's content.")
    files: list[AnnouncedFile] = Field(min_length=1)


class PatrolState(BaseModel):
    """How far a patrol has come, and what is still to be sent."""

    id: str
    state: State
    missing: list[str] = Field(description="SHA-256 of each file still to be sent.")


class FileReceipt(BaseModel):
    """The acknowledgement of a file: it is durable."""

    id: str
    state: State
    remaining: int = Field(description="How many files are still to be sent.")


@router.post(
    "",
    dependencies=_WRITES,
    responses={200: {"description": "known"}, 201: {"description": "new"}},
    response_model=PatrolState,
)
def announce(said: PatrolAnnouncement, request: Request, here: Here, idempotency_key: Key = None) -> Response:
    """Announce a patrol; the same announcement again is answered with what is still missing."""
    announcement = _announcement(said, here)

    def note(desk: Desk) -> Answer:
        patrol, missing, new = here.intake.announce(desk, announcement)
        body = PatrolState(id=patrol.id, state=patrol.state, missing=missing)
        return Answer(201 if new else 200, body.model_dump(mode="json"), {"Location": f"/v1/patrols/{patrol.id}"})

    return once(here, request, idempotency_key, said, note)


def _announcement(said: PatrolAnnouncement, here: Context) -> Announcement:
    limits = here.settings
    if len(said.files) > limits.max_files:
        raise TooLargeError(f"{len(said.files)} files", remedy=f"split the patrol: at most {limits.max_files} files")
    names = [file.name for file in said.files]
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise InvalidInputError(f"the name {double!r} stands for two files", remedy="give each file a name of its own")
    sizes: dict[str, int] = {}
    for file in said.files:
        if file.size > limits.max_file_bytes:
            raise TooLargeError(
                f"{file.name} has {file.size} bytes", remedy=f"split it: at most {limits.max_file_bytes} bytes a file"
            )
        if sizes.setdefault(file.sha256, file.size) != file.size:
            raise InvalidInputError(
                f"{file.name} has the SHA-256 of another file but another size", remedy="compute hash and size again"
            )
    kinds = [file.kind for file in said.files]
    if "media" not in kinds:
        raise InvalidInputError("no file is of kind 'media'", remedy="announce the pictures or the video too")
    if kinds.count("track") > 1:
        raise InvalidInputError("more than one file is of kind 'track'", remedy="send one track for the whole patrol")
    if said.camera is not None:
        from vision.camera import camera_of

        camera_of(said.camera, source="camera")
    files = tuple(FileEntry(f.name, f.kind, f.size, f.sha256) for f in said.files)
    return Announcement(said.vehicle, said.started_at, said.camera, files)


@router.put(
    "/{patrol_id}/files/{sha256}",
    dependencies=_WRITES,
    responses={200: {"description": "had it already"}, 201: {"description": "durable"}},
    response_model=FileReceipt,
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def put_file(patrol_id: PatrolId, sha256: Sha256, request: Request, here: Here) -> Response:
    """Send one announced file as the raw body. It is acknowledged when it is durable; with the last file processing
    starts."""
    place = await run_in_threadpool(here.uploads.whole, patrol_id, sha256)
    if place is None:
        # It has arrived before: the answer to that was lost.
        async for _ in request.stream():
            pass
        report = await run_in_threadpool(here.intake.report, patrol_id)
        known = FileReceipt(id=patrol_id, state=report["state"], remaining=len(report["missing"]))
        return JSONResponse(known.model_dump(mode="json"), status_code=200)
    entry, name = place
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > entry.size:
        raise _too_large(entry)
    spool = here.blobs.spool
    try:
        async with request.app.state.transfers.turn(f"{patrol_id}/{sha256}") as transfer:
            await run_in_threadpool(spool.make, name)
            with spool.append(name, 0) as part:
                size = 0
                async for chunk in chunks(request, transfer):
                    size += len(chunk)
                    if size > entry.size:
                        raise _too_large(entry)
                    await run_in_threadpool(part.write, chunk)
                await run_in_threadpool(part.sync)
            patrol, remaining = await run_in_threadpool(here.uploads.accept, patrol_id, sha256, name)
    except ClientDisconnect:
        return Response(status_code=400)
    finally:
        await run_in_threadpool(spool.remove, name)
    body = FileReceipt(id=patrol.id, state=patrol.state, remaining=remaining)
    return JSONResponse(body.model_dump(mode="json"), status_code=201)


def _too_large(entry: FileEntry) -> TooLargeError:
    return TooLargeError(
        f"more bytes are coming than the announced {entry.size}",
        remedy="announce the patrol with the right sizes, or send the file that was announced",
    )


@router.get("", dependencies=_READS)
def list_patrols(
    here: Here,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    state: Annotated[State | None, Query(description="Only those in this state: `failed` are set aside.")] = None,
) -> dict[str, Any]:
    """The patrols that started last."""
    with here.reading() as desk:
        found = patrols.latest(desk, limit, state)
        listed = [
            {
                "id": patrol.id,
                "vehicle": patrol.vehicle,
                "started_at": patrol.started_at,
                "state": patrol.state.value,
                "attempts": patrol.attempts,
                "errors": patrols.faults_of(desk, patrol.id) if patrol.state is State.FAILED else [],
                "cases": cases.tally_of(desk, patrol.id),
            }
            for patrol in found
        ]
    return {"patrols": listed}


@router.get(
    "/{patrol_id}",
    dependencies=_READS,
    responses={200: {"content": {"application/json": {}, "text/event-stream": {}}}},
    response_model=None,
)
async def report(patrol_id: PatrolId, request: Request, here: Here) -> Response:
    """How a patrol fares; with `Accept: text/event-stream` as events until it is done."""
    first = await run_in_threadpool(here.intake.report, patrol_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(
            _events(patrol_id, request, here), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
    return JSONResponse(jsonable_encoder(first))


async def _events(patrol_id: str, request: Request, here: Context) -> AsyncIterator[str]:
    """One `report` event per change, until the patrol is done or failed."""
    last = ""
    for _ in range(int(_LONGEST_STREAM_S / _EVENT_SECONDS)):
        if await request.is_disconnected():
            return
        found = jsonable_encoder(await run_in_threadpool(here.intake.report, patrol_id))
        text = json.dumps(found, ensure_ascii=False)
        if text != last:
            yield f"event: report\ndata: {text}\n\n"
            last = text
        if found["state"] in (State.DONE.value, State.FAILED.value):
            return
        await asyncio.sleep(_EVENT_SECONDS)


@router.get("/{patrol_id}/sightings", dependencies=_READS)
def sightings(patrol_id: PatrolId, here: Here) -> dict[str, Any]:
    """All that the patrol saw, each with its case or with why it opened none."""
    with here.reading() as desk:
        patrols.get(desk, patrol_id)
        found = cases.sightings_of_patrol(desk, patrol_id)
    return {"type": "FeatureCollection", "features": [_sighting(row) for row in found]}


def _sighting(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": row["id"],
        "geometry": {
            "type": "Point",
            "coordinates": [round(row["longitude_deg"], 8), round(row["latitude_deg"], 8)],
        },
        "properties": {
            "class": row["class_name"],
            "score": round(row["score"], 4),
            "error_radius_m": round(row["error_radius_m"], 2),
            "frames": row["frames"],
            "first_seen": row["first_seen"],
            "last_seen": row["last_seen"],
            "case": row["case_id"],
            "why_no_case": row["why_no_case"],
        },
    }


@router.post("/{patrol_id}/reprocess", dependencies=_MANAGES, status_code=202, response_model=PatrolState)
def reprocess(patrol_id: PatrolId, request: Request, here: Here, idempotency_key: Key = None) -> Response:
    """Process the patrol again, with the model and the rules of today."""
    queued = []

    def queue(desk: Desk) -> Answer:
        queued.append(patrols.queue_again(desk, patrol_id))
        body = PatrolState(id=patrol_id, state=queued[0].state, missing=[])
        return Answer(202, body.model_dump(mode="json"))

    answer = once(here, request, idempotency_key, None, queue)
    for patrol in queued:
        here.intake.hand_over(patrol)
    return answer


@router.delete("/{patrol_id}", dependencies=_MANAGES, status_code=204)
def delete(patrol_id: PatrolId, here: Here) -> None:
    """Forget the patrol: files, pictures, sightings, looks; cases that only it had seen become void."""
    here.intake.delete(patrol_id)
