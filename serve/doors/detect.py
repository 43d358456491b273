"""One picture in, boxes out."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from serve.access import Scope
from serve.context import Context, Here
from serve.doors.guard import needs
from serve.doors.once import Key, answered, once
from serve.errors import InvalidInputError, TooLargeError
from serve.store.answers import Answer
from vision.errors import MediaError

router = APIRouter(prefix="/v1", tags=["detect"], dependencies=[needs(Scope.DETECT)])


class Detection(BaseModel):
    """One thing in the picture; the box is x_min, y_min, x_max, y_max in pixels after EXIF orientation."""

    model_config = ConfigDict(populate_by_name=True)

    class_name: str = Field(serialization_alias="class")
    score: float
    box: tuple[float, float, float, float]


class Detected(BaseModel):
    """What was found; width and height are of the picture after EXIF orientation."""

    model: str
    width: int
    height: int
    detections: list[Detection]


async def _picture(request: Request, here: Here) -> bytes:
    """The picture's bytes: the raw body, or the first file of a multipart form."""
    most = here.settings.max_detect_bytes
    too_large = TooLargeError("the picture has too many bytes", remedy=f"send at most {most} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise too_large
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=10) as form:
            for value in form.values():
                if isinstance(value, UploadFile):
                    return await value.read()
        raise InvalidInputError("the form holds no file", remedy="send the picture as a file, or as the raw body")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_large
    return bytes(body)


@router.post(
    "/detect",
    response_model=Detected,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/jpeg", "image/png")
            },
        }
    },
)
def detect(
    data: Annotated[bytes, Depends(_picture)], request: Request, here: Here, idempotency_key: Key = None
) -> Response:
    """Find things in one JPEG or PNG picture."""
    if not data:
        raise MediaError("the picture is empty", remedy="send a JPEG or PNG picture as the body")
    said = hashlib.sha256(data).hexdigest()
    before = answered(here, request, idempotency_key, said)
    if before is not None:
        return before
    told = _look(data, here).model_dump(mode="json", by_alias=True)
    if idempotency_key is None:
        return JSONResponse(told)
    # Looked first: a transaction that writes must not last as long as a look does.
    return once(here, request, idempotency_key, said, lambda _desk: Answer(200, told))


def _look(data: bytes, here: Context) -> Detected:
    found = here.sight.detect(data)
    width, height = found.size_wh
    boxes = found.boxes_xyxy.round(2).tolist()
    return Detected(
        model=found.model,
        width=width,
        height=height,
        detections=[
            Detection(class_name=name, score=round(float(score), 5), box=(box[0], box[1], box[2], box[3]))
            for name, score, box in zip(found.names(), found.scores, boxes, strict=True)
        ],
    )
