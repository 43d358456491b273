"""Who looked at an original: one row per look, which nobody can take back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from serve.store.database import Desk
from serve.store.tables import original_views


@dataclass(frozen=True, slots=True)
class View:
    """One look at one original. `reason` is what the one who looked gave."""

    patrol_id: str
    sha256: str
    actor: str
    reason: str
    viewed_at: datetime


def note(desk: Desk, view: View) -> None:
    """Write down that somebody is about to look: first this is durable, then the picture is shown."""
    desk.connection.execute(
        original_views.insert().values(
            jurisdiction=desk.jurisdiction,
            patrol_id=view.patrol_id,
            sha256=view.sha256,
            actor=view.actor,
            reason=view.reason,
            viewed_at=view.viewed_at,
        )
    )


def listed(desk: Desk) -> list[View]:
    """All looks of the jurisdiction, the first at the top."""
    rows = desk.connection.execute(
        sa.select(original_views)
        .where(original_views.c.jurisdiction == desk.jurisdiction)
        .order_by(original_views.c.id)
    )
    return [View(row.patrol_id, row.sha256, row.actor, row.reason, row.viewed_at) for row in rows]
