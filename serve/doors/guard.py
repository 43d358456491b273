"""Who may come in: the API key, a person's session, the server's own names, and how much at once."""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.doors.problems import of_error
from serve.errors import ForbiddenError, TooLargeError, UnauthorizedError
from serve.settings import Settings, is_loopback
from vision.errors import JiejingError

COOKIE = "jiejing_session"
LOGIN = "/login"
_OPEN_PREFIXES = ("/health/", "/static/", LOGIN)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# An announcement of 50,000 files has some 10 MB; files and pictures have limits of their own where they arrive.
_MOST_BYTES = 32 * 1024**2
_OWN_LIMIT = ("/files/", "/v1/detect")

_SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


def session_of(key: str) -> str:
    """What a browser keeps instead of the key."""
    return hmac.new(key.encode(), b"jiejing console session", hashlib.sha256).hexdigest()


def is_key(settings: Settings, given: str) -> bool:
    """Whether this is the server's key, in constant time."""
    key = settings.api_key
    return key is not None and hmac.compare_digest(given.encode(), key.get_secret_value().encode())


class Guard:
    """An ASGI layer around everything."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._refuse(scope, headers)
        if answer is None and not any(part in scope["path"] for part in _OWN_LIMIT):
            answer, receive = _limit(headers, receive)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in _SECURITY_HEADERS.items()),
                ]
            await send(message)

        await (answer or self._app)(scope, receive, send_safely)

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        try:
            self._check_names(scope, headers)
            self._check_key(scope, headers)
        except JiejingError as error:
            if isinstance(error, UnauthorizedError) and "text/html" in headers.get("accept", ""):
                return RedirectResponse(LOGIN, status_code=303)
            return of_error(error)
        return None

    def _check_names(self, scope: Scope, headers: Headers) -> None:
        """A page of another site must not reach a server without a key by giving it a name of its own (DNS rebinding),
        nor change anything through a visitor's browser."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self._settings.api_key is None and not is_loopback(name):
            raise ForbiddenError(f"this server does not answer to the name {name!r}", remedy="use http://127.0.0.1")
        origin = headers.get("origin")
        if scope["method"] not in _SAFE_METHODS and origin and urlsplit(origin).netloc != host:
            raise ForbiddenError("a page of another site sent this request", remedy="use the console or an API client")

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if self._settings.api_key is None or scope["path"].startswith(_OPEN_PREFIXES):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and is_key(self._settings, given.strip()):
            return
        if hmac.compare_digest(_cookie(headers), session_of(self._settings.api_key.get_secret_value())):
            return
        raise UnauthorizedError(
            "this route needs the API key", remedy="send it in the header Authorization: Bearer <key>"
        )


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _limit(headers: Headers, receive: Receive) -> tuple[Response | None, Receive]:
    """Refuse a body that says it is too large; cut one that does not say."""
    too_large = TooLargeError("the request has too many bytes", remedy=f"send at most {_MOST_BYTES} bytes")
    declared = headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > _MOST_BYTES:
        return of_error(too_large), receive
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > _MOST_BYTES:
            # Of all that is raised while a body is read, this kind alone is not taken for a broken body.
            raise HTTPException(413, too_large.message)
        return message

    return None, counted
