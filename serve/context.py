"""What the doors work with: built once by `serve.app`, and bound to whoever asks for each request."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Annotated, cast

from fastapi import Depends, Request

from serve.access import NOBODY, Caller
from serve.cases.matters import Matters
from serve.intake.desk import Intake
from serve.intake.uploads import Uploads
from serve.settings import Settings
from serve.sight import Sight
from serve.store.blobs import Blobs
from serve.store.database import Database, Desk

# Where the guard leaves the caller of a request.
CALLER = "jiejing.caller"


@dataclass(frozen=True)
class Context:
    """The resources of one running server, on behalf of one caller."""

    settings: Settings
    database: Database
    blobs: Blobs
    matters: Matters
    intake: Intake
    uploads: Uploads
    sight: Sight
    caller: Caller = NOBODY

    def reading(self) -> AbstractContextManager[Desk]:
        """A consistent view of what the caller may reach."""
        return self.database.reading(self.caller.reach)

    def writing(self) -> AbstractContextManager[Desk]:
        """A transaction within the caller's reach."""
        return self.database.writing(self.caller.reach)


def _context(request: Request) -> Context:
    everybodys = cast(Context, request.app.state.context)
    caller = cast(Caller, request.scope.get(CALLER, NOBODY))
    intake = replace(everybodys.intake, reach=caller.reach)
    return replace(everybodys, caller=caller, intake=intake, uploads=replace(everybodys.uploads, intake=intake))


Here = Annotated[Context, Depends(_context)]
