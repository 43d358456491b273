"""Who sent a request: by key, by a person's token, or by the session that a browser keeps instead of a key."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from datetime import UTC, datetime

from serve.access import Caller, everything_in
from serve.errors import UnauthorizedError
from serve.settings import Settings
from serve.store import keys
from serve.store.database import Database
from serve.tokens import People

SESSION_SECONDS = 12 * 3600
# How long an answer is remembered: a key that is revoked opens doors for so long at most.
_REMEMBERED_S = 15.0
_MOST_REMEMBERED = 10_000
_OWN = "own"


class Identity:
    """Recognises callers. Safe to share between threads; its methods read the database and may block."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._people = People(settings) if settings.oidc_issuer is not None else None
        self._lock = threading.Lock()
        self._remembered: dict[str, tuple[Caller, float]] = {}

    def of_bearer(self, database: Database, token: str) -> Caller:
        """The caller who holds this key or token. Raises UnauthorizedError when it opens nothing."""
        mark = hashlib.sha256(token.encode()).hexdigest()
        known = self._recall(mark)
        return known or self._remember(mark, self._look_up(database, token))

    def session_of(self, database: Database, key: str) -> str:
        """What a browser keeps instead of the key. Raises UnauthorizedError when it is none."""
        until = str(int(time.time()) + SESSION_SECONDS)
        if self._is_own(key):
            return f"{_OWN}.{until}.{_signed(_sha256(key), _OWN, until)}"
        found = keys.opened(database, key, datetime.now(UTC))
        if found is None:
            raise _wrong()
        return f"{found.id}.{until}.{_signed(found.secret_sha256, found.id, until)}"

    def of_session(self, database: Database, session: str) -> Caller | None:
        """The caller of a session that still holds. It ends with its time, and with its key's secret."""
        known = self._recall(session)
        if known is not None:
            return known
        key_id, _, rest = session.partition(".")
        until, _, signature = rest.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) < 12 and int(until) > time.time()):
            return None
        caller = self._of_session_key(database, key_id, until, signature)
        return None if caller is None else self._remember(session, caller)

    def _of_session_key(self, database: Database, key_id: str, until: str, signature: str) -> Caller | None:
        if key_id == _OWN:
            own = self._settings.api_key
            if own is None or not _same(signature, _signed(_sha256(own.get_secret_value()), _OWN, until)):
                return None
            return everything_in(self._settings.jurisdiction)
        key = keys.by_id(database, key_id[:40])
        if key is None or not key.usable(datetime.now(UTC)):
            return None
        return key.caller if _same(signature, _signed(key.secret_sha256, key_id, until)) else None

    def _look_up(self, database: Database, token: str) -> Caller:
        if self._is_own(token):
            return everything_in(self._settings.jurisdiction)
        if token.startswith(keys.PREFIX):
            key = keys.opened(database, token, datetime.now(UTC))
            if key is None:
                raise _wrong()
            return key.caller
        if self._people is not None and token.count(".") == 2:
            return self._people.caller_of(token)
        raise _wrong()

    def _is_own(self, given: str) -> bool:
        own = self._settings.api_key
        return own is not None and _same(given, own.get_secret_value())

    def _recall(self, mark: str) -> Caller | None:
        with self._lock:
            caller, until = self._remembered.get(mark, (None, 0.0))
        return caller if time.monotonic() < until else None

    def _remember(self, mark: str, caller: Caller) -> Caller:
        with self._lock:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[mark] = (caller, time.monotonic() + _REMEMBERED_S)
        return caller


def _wrong() -> UnauthorizedError:
    return UnauthorizedError("this route needs the API key", remedy="send it in the header Authorization: Bearer <key>")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _signed(secret_sha256: str, key_id: str, until: str) -> str:
    return hmac.new(secret_sha256.encode(), f"jiejing session {key_id} {until}".encode(), hashlib.sha256).hexdigest()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
