"""What callers say, as every database can keep it: moments of its calendar, text without NUL."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator


def to_utc(moment: datetime) -> datetime:
    """The moment in UTC. Raises ValueError for one that has no zone, or that UTC's calendar does not have."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a moment beyond the calendar") from error


_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]")


def _written(moment: Any) -> Any:
    """Seconds since 1970 are a moment to pydantic, also as digits in a string; to us they are a vehicle's mistake."""
    if isinstance(moment, int | float) or (isinstance(moment, str) and not _ISO.match(moment)):
        raise ValueError("a moment as ISO 8601 writes it, such as 2026-11-20T08:00:00+08:00")
    return moment


def without_nul(text: str) -> str:
    """The text. Raises ValueError when it holds U+0000, which PostgreSQL has in no text."""
    if "\0" in text:
        raise ValueError("text without the character NUL")
    return text


Text = Annotated[str, AfterValidator(without_nul)]
Moment = Annotated[AwareDatetime, AfterValidator(to_utc), BeforeValidator(_written)]
