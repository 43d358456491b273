"""Moments as callers say them: ISO 8601 with a zone, within the calendar that every database has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def to_utc(moment: datetime) -> datetime:
    """The moment in UTC. Raises ValueError for one that has no zone, or that UTC's calendar does not have."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a moment beyond the calendar") from error


Moment = Annotated[AwareDatetime, AfterValidator(to_utc)]
