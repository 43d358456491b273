"""What the doors work with: built once by `serve.app`, owned by its lifespan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from serve.cases.matters import Matters
from serve.intake.desk import Intake
from serve.settings import Settings
from serve.sight import Sight
from serve.store.blobs import Blobs
from serve.store.database import Database


@dataclass(frozen=True)
class Context:
    """The resources of one running server."""

    settings: Settings
    database: Database
    blobs: Blobs
    matters: Matters
    intake: Intake
    sight: Sight


def _context(request: Request) -> Context:
    return cast(Context, request.app.state.context)


Here = Annotated[Context, Depends(_context)]
