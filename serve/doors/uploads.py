"""Resumable uploads: tus 1.0 with creation, creation-with-upload, expiration, checksum and termination.

See https://tus.io/protocols/resumable-upload. The metadata `patrol` and `sha256` name an announced file. The offset is
what is durable; the last chunk's answer acknowledges the file under its hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Coroutine
from email.utils import format_datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from serve.access import Scope
from serve.context import Here
from serve.doors.guard import needs
from serve.doors.once import Key, once
from serve.doors.problems import of_error, of_invalid, problem
from serve.doors.transfer import Transfer, chunks
from serve.doors.values import without_nul
from serve.errors import ChecksumError, HeaderError, InvalidInputError, NotFoundError, TooLargeError
from serve.store.answers import Answer
from serve.store.database import Desk
from serve.store.uploads import Upload
from vision.errors import JiejingError

TUS_VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
CHUNK_TYPE = "application/offset+octet-stream"
# Of the algorithms that the protocol names, those that hashlib has everywhere.
ALGORITHMS = ("sha1", "sha256")
_PATROL = re.compile("[0-9a-z]{1,40}")
_SHA256 = re.compile("[0-9a-f]{64}")
UploadId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


class TusRoute(APIRoute):
    """Checks the protocol's version and states it in every answer, refusals too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See the base class."""
        handle = super().get_route_handler()

        async def handle_tus(request: Request) -> Response:
            response: Response
            if request.method != "OPTIONS" and request.headers.get("tus-resumable") != TUS_VERSION:
                detail = f"this server speaks tus {TUS_VERSION}: send the header Tus-Resumable: {TUS_VERSION}"
                response = problem(412, "Precondition Failed", detail)
                response.headers["Tus-Version"] = TUS_VERSION
            else:
                try:
                    response = await handle(request)
                except JiejingError as error:
                    response = of_error(error)
                except RequestValidationError as error:
                    response = of_invalid(error)
                except ClientDisconnect:
                    response = Response(status_code=400)
            response.headers["Tus-Resumable"] = TUS_VERSION
            return response

        return handle_tus


router = APIRouter(
    prefix="/v1/uploads",
    tags=["uploads"],
    route_class=TusRoute,
    default_response_class=Response,  # answers are headers alone
    dependencies=[needs(Scope.PATROLS_WRITE)],
)


def _described(*headers: tuple[str, bool, dict[str, Any]], body: bool | None = None) -> dict[str, Any]:
    """For the description of the interface: the protocol's headers as (name, whether it must be there, schema), and
    whether there must be a body; None: there is none."""
    version = ("Tus-Resumable", True, {"type": "string", "const": TUS_VERSION})
    said: dict[str, Any] = {
        "parameters": [
            {"name": name, "in": "header", "required": required, "schema": schema}
            for name, required, schema in (version, *headers)
        ]
    }
    if body is not None:
        said["requestBody"] = {
            "required": body,
            "content": {CHUNK_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    return said


_COUNT = {"type": "integer", "minimum": 0}
_DIGEST = (
    "Upload-Checksum",
    False,
    {"type": "string", "pattern": f"^({'|'.join(ALGORITHMS)}) [A-Za-z0-9+/]+={{0,2}}$"},
)


@router.options("", status_code=204)
def options(here: Here) -> Response:
    """What this server can do."""
    headers = {
        "Tus-Version": TUS_VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(here.settings.max_file_bytes),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    return Response(status_code=204, headers=headers)


@router.post(
    "",
    status_code=201,
    openapi_extra=_described(
        ("Upload-Length", True, _COUNT), ("Upload-Metadata", True, {"type": "string"}), _DIGEST, body=False
    ),
)
async def create(request: Request, here: Here, idempotency_key: Key = None) -> Response:
    """Begin to send an announced file; a body is its beginning. `Upload-Metadata` holds `patrol`, `sha256` (hex) and,
    if one likes, `filename`."""
    size = _number(request, "upload-length")
    if size > here.settings.max_file_bytes:
        raise TooLargeError(f"{size} bytes", remedy=f"at most {here.settings.max_file_bytes} bytes a file")
    about = _metadata(request.headers.get("upload-metadata", ""))
    patrol, sha256 = about.get("patrol", ""), about.get("sha256", "").lower()
    if not _PATROL.fullmatch(patrol) or not _SHA256.fullmatch(sha256):
        raise InvalidInputError(
            "Upload-Metadata lacks `patrol` or `sha256`",
            remedy="POST /v1/patrols first; send the id it answers and the file's SHA-256 in hex, both in Base64",
        )
    checksum = _checksum(request)

    def begin(desk: Desk) -> Answer:
        upload = here.uploads.create(desk, patrol, sha256, size, about.get("filename", "")[:255] or None)
        return Answer(201, None, {"Location": f"/v1/uploads/{upload.id}", **_expires(upload)})

    said = f"{size} {patrol} {sha256}"
    answer = await run_in_threadpool(once, here, request, idempotency_key, said, begin)
    upload_id = answer.headers["location"].rsplit("/", 1)[-1]
    async with request.app.state.transfers.turn(upload_id) as transfer:
        upload, offset = await run_in_threadpool(here.uploads.find, upload_id)
        if offset == 0 and request.headers.get("content-type") == CHUNK_TYPE:
            offset = await _receive(request, here, upload, 0, transfer, checksum)
    answer.headers["Upload-Offset"] = str(offset)
    return answer


@router.head("/{upload_id}", status_code=200, openapi_extra=_described())
async def offset_of(upload_id: UploadId, request: Request, here: Here) -> Response:
    """How much of the upload is durable."""
    async with request.app.state.transfers.turn(upload_id):
        upload, offset = await run_in_threadpool(here.uploads.find, upload_id)
    headers = {
        "Upload-Offset": str(offset),
        "Upload-Length": str(upload.size),
        "Upload-Metadata": _told(upload),
        "Cache-Control": "no-store",
        **_expires(upload),
    }
    return Response(status_code=200, headers=headers)


@router.patch(
    "/{upload_id}", status_code=204, openapi_extra=_described(("Upload-Offset", True, _COUNT), _DIGEST, body=True)
)
async def append(upload_id: UploadId, request: Request, here: Here) -> Response:
    """Send the next bytes, from `Upload-Offset` on."""
    if request.headers.get("content-type") != CHUNK_TYPE:
        return problem(415, "Unsupported Media Type", f"send the header Content-Type: {CHUNK_TYPE}")
    offset = _number(request, "upload-offset")
    checksum = _checksum(request)
    async with request.app.state.transfers.turn(upload_id) as transfer:
        upload, stands_at = await run_in_threadpool(here.uploads.find, upload_id)
        if offset != stands_at:
            detail = f"the upload stands at {stands_at}, not at {offset}: ask with HEAD and go on from there"
            return problem(409, "Conflict", detail)
        if offset < upload.size:
            stands_at = await _receive(request, here, upload, offset, transfer, checksum)
    return Response(status_code=204, headers={"Upload-Offset": str(stands_at), **_expires(upload)})


@router.delete("/{upload_id}", status_code=204, openapi_extra=_described())
async def terminate(upload_id: UploadId, request: Request, here: Here) -> Response:
    """Give an upload up; a file that has arrived stays."""
    async with request.app.state.transfers.turn(upload_id):
        await run_in_threadpool(here.uploads.terminate, upload_id)
    return Response(status_code=204)


@router.post("/{upload_id}", status_code=204, include_in_schema=False)
async def override(upload_id: UploadId, request: Request, here: Here) -> Response:
    """The protocol's way around proxies that know GET and POST alone."""
    wanted = request.headers.get("x-http-method-override", "").upper()
    doors = {"PATCH": append, "HEAD": offset_of, "DELETE": terminate}
    if wanted not in doors:
        return problem(405, "Method Not Allowed", "send PATCH, or POST with X-HTTP-Method-Override: PATCH")
    return await doors[wanted](upload_id, request, here)


async def _receive(
    request: Request, here: Here, upload: Upload, offset: int, transfer: Transfer, checksum: tuple[str, bytes] | None
) -> int:
    """Write the body to the upload; gives the new offset, all durable. With the last byte the file is settled."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and offset + int(declared) > upload.size:
        raise TooLargeError(
            f"{declared} bytes are coming, {upload.size - offset} are missing", remedy="send no more than is missing"
        )
    try:
        part = await run_in_threadpool(here.uploads.append, upload, offset)
        with part:
            digest = hashlib.new(checksum[0], usedforsecurity=False) if checksum else None
            try:
                async for chunk in chunks(request, transfer):
                    offset += len(chunk)
                    if offset > upload.size:
                        raise TooLargeError("more bytes came than are missing", remedy="send no more than is missing")
                    if digest is not None:
                        digest.update(chunk)
                    await run_in_threadpool(part.write, chunk)
                if digest is not None and checksum and not hmac.compare_digest(digest.digest(), checksum[1]):
                    raise ChecksumError("the chunk is not what Upload-Checksum says", remedy="send it again")
            except BaseException:
                if digest is not None:
                    # Nothing of a chunk counts whose checksum was not seen to agree.
                    part.discard()
                raise
            offset = await run_in_threadpool(part.sync)
    except FileNotFoundError:
        raise NotFoundError("the upload is gone", remedy="announce the patrol again and create a new one") from None
    if offset == upload.size:
        await run_in_threadpool(here.uploads.settle, upload)
    return offset


def _number(request: Request, name: str) -> int:
    """A header that holds a count of bytes."""
    given = request.headers.get(name, "")
    if not re.fullmatch("[0-9]{1,18}", given):
        raise HeaderError(f"the header {name} holds no count of bytes", remedy="send it as a whole number")
    return int(given)


def _metadata(header: str) -> dict[str, str]:
    """`key base64,key base64` as a dict. Raises HeaderError."""
    found = {}
    try:
        for pair in filter(None, (part.strip() for part in header.split(","))):
            key, _, value = pair.partition(" ")
            found[key] = without_nul(base64.b64decode(value.strip(), validate=True).decode())
    except (binascii.Error, ValueError) as error:
        raise HeaderError(
            f"Upload-Metadata cannot be read: {error}", remedy="send pairs of a key and a Base64 value, with commas"
        ) from error
    return found


def _told(upload: Upload) -> str:
    pairs = {"patrol": upload.patrol_id, "sha256": upload.sha256, "filename": upload.filename}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def _checksum(request: Request) -> tuple[str, bytes] | None:
    """Algorithm and digest of `Upload-Checksum`."""
    header = request.headers.get("upload-checksum")
    if header is None:
        return None
    algorithm, _, value = header.partition(" ")
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if algorithm not in ALGORITHMS or not digest:
        raise HeaderError(
            "Upload-Checksum cannot be read", remedy=f"send one of {', '.join(ALGORITHMS)} and the digest in Base64"
        )
    return algorithm, digest


def _expires(upload: Upload) -> dict[str, str]:
    if upload.finished_at is not None:
        return {}
    return {"Upload-Expires": format_datetime(upload.expires_at.replace(microsecond=0), usegmt=True)}
