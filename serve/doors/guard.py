"""Who may come in: every route says what it asks for, and whoever comes is known before a body is read."""

from __future__ import annotations

from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Annotated, Any
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve import access
from serve.access import NOBODY, Caller, everything_in
from serve.context import CALLER
from serve.doors.identity import Identity
from serve.doors.limits import Buckets, limit_body
from serve.doors.problems import of_error
from serve.doors.routes import every_route
from serve.errors import ForbiddenError, NotAllowedError, UnauthorizedError
from serve.settings import Settings, is_loopback
from vision.errors import JiejingError

COOKIE = "jiejing_session"
LOGIN = "/login"
# Open to anybody: whether the server lives, the sign-in page and what it looks like. `undeclared` checks that the
# routes say the same.
_OPEN_PREFIXES = ("/health/", "/static/", LOGIN)
# Routes of the framework that cannot say what they ask for: any caller may read what the interface is.
_FRAMEWORKS = frozenset({"/static", "/openapi.json"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Uploads and pictures have limits of their own where they arrive.
_OWN_LIMIT = ("/files/", "/v1/detect", "/v1/uploads")
_WRONG_PER_MINUTE = 20.0

_SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(self)",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # for scanners: browsers take frame-ancestors
}
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")
_bearer = HTTPBearer(auto_error=False, description="A key of `jiejing keys create`, or a person's token.")


class Needs:
    """What a route asks for: a scope, or, without one, nothing (`is_open`) or any caller at all."""

    def __init__(self, scope: access.Scope | None, *, is_open: bool = False) -> None:
        self.scope = scope
        self.is_open = is_open


class _Open(Needs):
    def __call__(self) -> None:
        """Anybody may come."""


class _Asking(Needs):
    def __call__(self, request: Request, _token: Annotated[Any, Depends(_bearer)]) -> None:
        """Raises NotAllowedError when the caller lacks the scope."""
        caller: Caller = request.scope.get(CALLER, NOBODY)
        if self.scope is not None and self.scope not in caller.scopes:
            raise NotAllowedError(
                f"{caller.name} lacks the scope {self.scope.value}", remedy="ask with a key or a role that has it"
            )


def needs(scope: access.Scope) -> Any:
    """A dependency: the route asks for this scope."""
    return Depends(_Asking(scope))


# Dependencies: open to anybody; open to whoever is known.
OPEN = Depends(_Open(None, is_open=True))
KNOWN = Depends(_Asking(None))


def declared(app: FastAPI) -> dict[tuple[str, str], Needs | None]:
    """What each (method, path) asks for; None where a route does not say."""
    found: dict[tuple[str, str], Needs | None] = {}
    for route in every_route(app):
        path = getattr(route, "path", "")
        if isinstance(route, APIRoute):
            dependencies: list[Any] = [one.dependency for one in route.dependencies]
            said = [one for one in dependencies if isinstance(one, Needs)]
            for method in route.methods or ():
                found[method, path] = said[-1] if said else None
        elif path not in _FRAMEWORKS:
            found["*", path] = None
    return found


def undeclared(app: FastAPI) -> list[str]:
    """Routes that do not say what they ask for, or are open where the guard is not, or the other way round."""
    return sorted(
        f"{method} {path}"
        for (method, path), wanted in declared(app).items()
        if wanted is None or wanted.is_open != path.startswith(_OPEN_PREFIXES)
    )


class Guard:
    """An ASGI layer around everything."""

    def __init__(self, app: ASGIApp, settings: Settings, identity: Identity) -> None:
        self._app = app
        self._settings = settings
        self._identity = identity
        self._requests = Buckets(settings.requests_per_minute, settings.requests_per_minute / 6)
        self._wrong = Buckets(_WRONG_PER_MINUTE, _WRONG_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = await self._refuse(scope, headers)
        if answer is None and not any(part in scope["path"] for part in _OWN_LIMIT):
            answer, receive = limit_body(headers, receive)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_security(message["headers"], scope["scheme"])
                if scope["path"] == LOGIN and message["status"] == 401:
                    self._wrong.spend(_address(scope))
            await send(message)

        await (answer or self._app)(scope, receive, send_safely)

    async def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        try:
            self._check_names(scope, headers)
            if not self._settings.guarded:
                scope[CALLER] = everything_in(self._settings.jurisdiction)
                return None
            caller = await self._known(scope, headers)
            who = _address(scope) if caller is NOBODY else caller.id
            self._requests.ensure(who)
            self._requests.spend(who)
            if caller is NOBODY and not scope["path"].startswith(_OPEN_PREFIXES):
                raise UnauthorizedError(
                    "this route needs the API key", remedy="send it in the header Authorization: Bearer <key>"
                )
            scope[CALLER] = caller
        except JiejingError as error:
            if isinstance(error, UnauthorizedError) and "text/html" in headers.get("accept", ""):
                return RedirectResponse(LOGIN, status_code=303)
            return of_error(error)
        return None

    def _check_names(self, scope: Scope, headers: Headers) -> None:
        """A page of another site must not reach a server without a key by giving it a name of its own (DNS rebinding),
        nor change anything through a visitor's browser."""
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            origin = urlsplit(headers.get("origin", "")).netloc
        except ValueError as error:
            raise ForbiddenError("the host cannot be read", remedy="use http://127.0.0.1") from error
        if not self._settings.guarded and not is_loopback(name):
            raise ForbiddenError(f"this server does not answer to the name {name!r}", remedy="use http://127.0.0.1")
        if scope["method"] not in _SAFE_METHODS and headers.get("origin") and origin != host:
            raise ForbiddenError("a page of another site sent this request", remedy="use the console or an API client")

    async def _known(self, scope: Scope, headers: Headers) -> Caller:
        """The caller; NOBODY when nothing was said. Raises UnauthorizedError for what opens nothing, TooManyError for
        too much of it."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        database = scope["app"].state.context.database
        if scheme.lower() == "bearer":
            # Also for a right key: else trying keys would only cost the wrong ones.
            self._wrong.ensure(_address(scope))
            try:
                return await to_thread.run_sync(self._identity.of_bearer, database, given.strip())
            except UnauthorizedError:
                self._wrong.spend(_address(scope))
                if scope["path"].startswith(_OPEN_PREFIXES):
                    return NOBODY
                raise
        session = _cookie(headers)
        if session:
            return await to_thread.run_sync(self._identity.of_session, database, session) or NOBODY
        if scope["path"] == LOGIN and scope["method"] == "POST":
            self._wrong.ensure(_address(scope))
        return NOBODY


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return f"address:{client[0]}" if client else "address:"


def _with_security(headers: Iterable[tuple[bytes, bytes]], scheme: str) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    added = [(name.encode(), value.encode()) for name, value in _SECURITY_HEADERS.items()]
    if not any(name.lower() == b"cache-control" for name, _ in given):
        # What one caller was told must not come out of a cache for another.
        added.append((b"cache-control", b"no-store"))
    return given + added + ([_HTTPS_ONLY] if scheme == "https" else [])


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
