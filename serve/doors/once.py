"""Idempotency-Key: the same request again, after a lost answer, changes nothing and is answered as before.

See draft-ietf-httpapi-idempotency-key-header; answers are kept for 30 days in the transaction of what they tell of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from serve.context import Context
from serve.store import answers
from serve.store.answers import Answer
from serve.store.database import Desk

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description=f"Kept for {answers.KEPT_DAYS} days: the same request with it is done once and answered alike.",
    ),
]


def once(
    here: Context, request: Request, key: str | None, said: BaseModel | str | None, act: Callable[[Desk], Answer]
) -> Response:
    """Do `act` in one transaction with noting its answer; with a key that is known, only answer.

    `said`: what the request asks for. Raises InvalidInputError when the key came with another request.
    """
    with here.writing() as desk:
        if key is None:
            return _response(act(desk))
        kept_as, fingerprint = _own(here, key), _fingerprint(request, said)
        known = answers.reserve(desk, kept_as, fingerprint, datetime.now(UTC))
        if known is not None:
            return _response(known)
        answer = act(desk)
        answers.keep(desk, kept_as, answer)
    return _response(answer)


def answered(here: Context, request: Request, key: str | None, said: str) -> Response | None:
    """What was answered to this key before, without a transaction that writes: for what is better not done twice.

    Raises InvalidInputError when the key came with another request.
    """
    if key is None:
        return None
    with here.reading() as desk:
        known = answers.known(desk, _own(here, key), _fingerprint(request, said))
    return None if known is None else _response(known)


def _own(here: Context, key: str) -> str:
    # A key belongs to the caller who made it up: another's answer is nobody else's business.
    return hashlib.sha256(f"{here.caller.id}\n{key}".encode()).hexdigest()


def _fingerprint(request: Request, said: BaseModel | str | None) -> str:
    text = said.model_dump_json() if isinstance(said, BaseModel) else said or ""
    return hashlib.sha256(f"{request.method} {request.url.path}\n{text}".encode()).hexdigest()


def _response(answer: Answer) -> Response:
    if answer.body is None:
        return Response(status_code=answer.status, headers=answer.headers)
    return JSONResponse(answer.body, status_code=answer.status, headers=answer.headers)
