"""What was answered to a request that carried an Idempotency-Key, kept in the transaction of what the request did."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from serve.errors import InvalidInputError
from serve.store.database import Database, Desk
from serve.store.tables import answers

KEPT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON body and headers of an answer."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def reserve(desk: Desk, key: str, request_sha256: str, now: datetime) -> Answer | None:
    """The answer given before, or None: then the key is this transaction's, and whoever else comes with it waits.

    Raises InvalidInputError when the key came with another request.
    """
    row = {"jurisdiction": desk.jurisdiction, "key": key, "request_sha256": request_sha256, "recorded_at": now}
    if desk.connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    if desk.connection.execute(insert(answers).values(row).on_conflict_do_nothing()).rowcount:
        return None
    return known(desk, key, request_sha256)


def known(desk: Desk, key: str, request_sha256: str) -> Answer | None:
    """The answer given before, if there is one. Raises InvalidInputError when the key came with another request."""
    row = desk.connection.execute(sa.select(answers).where(*_is(desk, key))).one_or_none()
    if row is None:
        return None
    if row.request_sha256 != request_sha256:
        raise InvalidInputError(
            "this Idempotency-Key came with another request", remedy="give every request a new key of its own"
        )
    return Answer(row.status, row.body, row.headers)


def keep(desk: Desk, key: str, answer: Answer) -> None:
    """Note the answer to what this transaction did."""
    values = {"status": answer.status, "body": answer.body, "headers": answer.headers}
    desk.connection.execute(answers.update().where(*_is(desk, key)).values(values))


def _is(desk: Desk, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (answers.c.jurisdiction == desk.jurisdiction, answers.c.key == key)


def forget(database: Database, before: datetime) -> None:
    """Drop what was answered before this moment."""
    with database.writing("") as desk:
        desk.connection.execute(answers.delete().where(answers.c.recorded_at < before))
