"""Every error leaves as an RFC 9457 problem document; one table says which error is which status."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import sqlalchemy as sa
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serve import errors
from serve.doors.routes import methods_at
from vision.errors import CameraError, JiejingError, MediaError, ModelError, TrackError

STATUS: dict[type[JiejingError], HTTPStatus] = {
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.HeaderError: HTTPStatus.BAD_REQUEST,
    errors.MismatchError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooLargeError: HTTPStatus.CONTENT_TOO_LARGE if hasattr(HTTPStatus, "CONTENT_TOO_LARGE") else HTTPStatus(413),
    errors.UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.NotAllowedError: HTTPStatus.FORBIDDEN,
    errors.TooManyError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.SettingsError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.BusyError: HTTPStatus.LOCKED,
    errors.OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DiskFullError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
    MediaError: HTTPStatus.UNPROCESSABLE_ENTITY,
    CameraError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TrackError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ModelError: HTTPStatus.SERVICE_UNAVAILABLE,
}
MEDIA_TYPE = "application/problem+json"
_DATABASE_BACK_S = 5
_log = structlog.get_logger(__name__)

# For the description of the interface: what any route may answer instead of its success.
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem document (RFC 9457); `remedy` says what to do.",
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "remedy": {"type": "string"},
                        "errors": {"type": "array", "items": {"type": "object"}},
                    },
                }
            }
        },
    }
}


def problem(status: int, title: str, detail: str, **more: Any) -> JSONResponse:
    """A problem document. `detail` ends with the remedy."""
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    body = {"type": "about:blank", "title": title, "status": int(status), "detail": detail, **more}
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def of_error(error: JiejingError) -> JSONResponse:
    """The problem document of one of our errors; an unknown kind is a server error."""
    if isinstance(error, errors.ChecksumError):
        # The upload protocol's own number, which HTTP does not list.
        return problem(460, "Checksum Mismatch", str(error), remedy=error.remedy)
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)
    answer = problem(status, status.phrase, str(error), remedy=error.remedy)
    if isinstance(error, errors.LaterError):
        answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer


def of_invalid(error: RequestValidationError) -> JSONResponse:
    """The problem document of a request that is not what the route describes; a path that names nothing that could be
    there is answered like one that names nothing that is."""
    found = [{"field": ".".join(map(str, fault["loc"])), "reason": fault["msg"]} for fault in error.errors()]
    if any(fault["field"].startswith("path.") for fault in found):
        detail = "there is no such object: check the address"
        return problem(HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND.phrase, detail, remedy="check the address")
    first = f"{found[0]['field']}: {found[0]['reason']}" if found else "the request cannot be read"
    detail = f"{first}: correct it; /docs describes what is expected"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid request", detail, errors=found)


def install(app: FastAPI) -> None:
    """Make the application answer with problem documents."""

    @app.exception_handler(JiejingError)
    def ours(_request: Request, error: JiejingError) -> JSONResponse:
        return of_error(error)

    @app.exception_handler(sa.exc.OperationalError)
    def away(_request: Request, error: sa.exc.OperationalError) -> JSONResponse:
        _log.error("the database cannot be reached", error=str(error.orig))
        detail = "the database cannot be reached: try again in a moment; the server's log says more"
        answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE.phrase, detail)
        answer.headers["Retry-After"] = str(_DATABASE_BACK_S)
        return answer

    @app.exception_handler(sa.exc.DataError)
    def unkeepable(_request: Request, error: sa.exc.DataError) -> JSONResponse:
        # The doors refuse what no database keeps; should one let something through, it is still the request's fault.
        _log.error("a value that the database does not take", error=str(error.orig))
        detail = "the request holds a value that cannot be kept: correct it; /docs describes what is expected"
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid request", detail)

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return of_invalid(error)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        detail = f"{request.method} {request.url.path}: {error.detail}: /docs lists what there is"
        answer = problem(status, status.phrase, detail)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            # RFC 9110, 15.5.6; the framework knows of one route only, and a path may have several.
            answer.headers["Allow"] = ", ".join(methods_at(request.app, request.url.path))
        return answer
