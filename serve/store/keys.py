"""API keys of devices and systems: random, kept as hashes, bound to a reach, replaced without an interruption."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from serve.access import SCOPES_OF, Caller, Role, Scope
from serve.errors import NotFoundError
from serve.store.database import Database, Desk, Reach
from serve.store.tables import api_keys

PREFIX = "jj_"
_USE_NOTED_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the keys; the columns are explained in `tables.py`."""

    id: str
    jurisdiction: str
    name: str
    role: str
    scopes: list[str] | None
    area: str
    vehicle: str | None
    secret_sha256: str
    previous_sha256: str | None
    previous_until: datetime | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def usable(self, now: datetime) -> bool:
        """Whether it opens anything at all at that moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def opened_by(self, secret: str, now: datetime) -> bool:
        """Whether this is its secret, or the one before while that is still good."""
        given = _sha256(secret)
        fits = hmac.compare_digest(given, self.secret_sha256)
        if self.previous_sha256 is not None and self.previous_until is not None and now < self.previous_until:
            fits |= hmac.compare_digest(given, self.previous_sha256)
        return fits and self.usable(now)

    @property
    def caller(self) -> Caller:
        """Whoever holds it."""
        scopes = SCOPES_OF[Role(self.role)]
        if self.scopes is not None:
            scopes &= {Scope(scope) for scope in self.scopes}
        return Caller(self.id, self.name, scopes, Reach(self.jurisdiction, self.area, self.vehicle))


def create(
    desk: Desk,
    name: str,
    role: Role,
    now: datetime,
    *,
    scopes: frozenset[Scope] | None = None,
    expires_at: datetime | None = None,
) -> tuple[Key, str]:
    """A new key with the desk's reach, and what its holder sends: shown this once, never kept.

    `scopes`: only these of the role's.
    """
    key_id, secret = secrets.token_hex(6), _secret()
    desk.connection.execute(
        api_keys.insert().values(
            id=key_id,
            jurisdiction=desk.jurisdiction,
            name=name,
            role=role.value,
            scopes=None if scopes is None else sorted(scopes),
            area=desk.reach.area,
            vehicle=desk.reach.vehicle,
            secret_sha256=_sha256(secret),
            created_at=now,
            expires_at=expires_at,
        )
    )
    return get(desk, key_id), f"{PREFIX}{key_id}_{secret}"


def get(desk: Desk, key_id: str) -> Key:
    """The key. Raises NotFoundError when there is none in this jurisdiction."""
    row = desk.connection.execute(
        sa.select(api_keys).where(api_keys.c.id == key_id, api_keys.c.jurisdiction == desk.jurisdiction)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no key {key_id!r}", remedy="`jiejing keys list` shows those there are")
    return Key(**row._mapping)


def listed(desk: Desk) -> list[Key]:
    """All keys of the jurisdiction, the oldest first, revoked ones too."""
    query = sa.select(api_keys).where(api_keys.c.jurisdiction == desk.jurisdiction)
    rows = desk.connection.execute(query.order_by(api_keys.c.created_at, api_keys.c.id))
    return [Key(**row._mapping) for row in rows]


def rotate(desk: Desk, key_id: str, now: datetime, grace: timedelta) -> str:
    """A new secret for the key; the one before stays good for `grace`. Raises NotFoundError."""
    key, secret = get(desk, key_id), _secret()
    _change(
        desk,
        key_id,
        {"secret_sha256": _sha256(secret), "previous_sha256": key.secret_sha256, "previous_until": now + grace},
    )
    return f"{PREFIX}{key_id}_{secret}"


def revoke(desk: Desk, key_id: str, now: datetime) -> Key:
    """Close the key for ever. Raises NotFoundError."""
    if get(desk, key_id).revoked_at is None:
        _change(desk, key_id, {"revoked_at": now})
    return get(desk, key_id)


def _change(desk: Desk, key_id: str, values: dict[str, Any]) -> None:
    desk.connection.execute(
        api_keys.update().where(api_keys.c.id == key_id, api_keys.c.jurisdiction == desk.jurisdiction).values(**values)
    )


def by_id(database: Database, key_id: str) -> Key | None:
    """The key of that id in any jurisdiction: for the guard, who does not know the caller's yet."""
    with database.reading("") as desk:
        row = desk.connection.execute(sa.select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
    return None if row is None else Key(**row._mapping)


def opened(database: Database, token: str, now: datetime) -> Key | None:
    """The key that this token opens, None when it opens none. Notes the use, once an hour at most."""
    key_id, _, secret = token.removeprefix(PREFIX).partition("_")
    key = by_id(database, key_id[:40]) if token.startswith(PREFIX) else None
    if key is None or not key.opened_by(secret, now):
        return None
    if key.last_used_at is None or now - key.last_used_at > _USE_NOTED_EVERY:
        with database.writing(key.jurisdiction) as desk:
            _change(desk, key.id, {"last_used_at": now})
    return key


def _secret() -> str:
    return secrets.token_urlsafe(32)


def _sha256(secret: str) -> str:
    """A secret of 256 random bits can't be guessed from its hash, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
