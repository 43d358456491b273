"""What happened to a case, as an append-only log whose entries are chained by their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

FIRST_LINK = "0" * 64
MACHINE = "jiejing"


class Kind(StrEnum):
    """What an event says."""

    OPENED = "opened"  # a sighting opened the case, or opened a void one again
    SEEN_AGAIN = "seen_again"  # a sighting of another pass joined
    RECURRED = "recurred"  # a sighting joined a recently closed case, which is open again
    WITHDRAWN = "withdrawn"  # a sighting no longer counts: its patrol was deleted or processed again
    NOT_SEEN = "not_seen"  # a pass saw the place well and no sighting joined
    LOOK_WITHDRAWN = "look_withdrawn"  # such a pass was deleted or processed again
    CLOSING_PROPOSED = "closing_proposed"  # good views without it make it likely gone; a person decides
    CLOSED = "closed"  # the same, and the city lets the machine decide
    CLOSING_WITHDRAWN = "closing_withdrawn"  # the proposal, or the machine's closing, no longer holds
    VOIDED = "voided"  # no sighting is left


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before it has its place in the log. `at`: when it happened on the street; `data`: plain JSON values."""

    case_id: str
    kind: Kind
    at: datetime
    reason: str
    data: Mapping[str, Any]
    actor: str = MACHINE


@dataclass(frozen=True, slots=True)
class Event:
    """One entry: `seq` counts from 1 within the case, `digest` covers everything else, `previous` included."""

    case_id: str
    seq: int
    kind: Kind
    at: datetime
    recorded_at: datetime
    actor: str
    reason: str
    data: Mapping[str, Any]
    previous: str
    digest: str


def chain(draft: Draft, log: Sequence[Event], recorded_at: datetime) -> Event:
    """The draft as the next entry of `log`."""
    previous = log[-1].digest if log else FIRST_LINK
    seq = log[-1].seq + 1 if log else 1
    digest = _digest(
        draft.case_id, seq, draft.kind, draft.at, recorded_at, draft.actor, draft.reason, draft.data, previous
    )
    return Event(
        draft.case_id, seq, draft.kind, draft.at, recorded_at, draft.actor, draft.reason, draft.data, previous, digest
    )


def broken_link(log: Sequence[Event]) -> int | None:
    """The `seq` of the first entry that was changed, moved or cut out; None when the chain holds."""
    previous = FIRST_LINK
    for place, event in enumerate(log, start=1):
        expected = _digest(
            event.case_id,
            place,
            event.kind,
            event.at,
            event.recorded_at,
            event.actor,
            event.reason,
            event.data,
            previous,
        )
        if event.seq != place or event.previous != previous or event.digest != expected:
            return place
        previous = event.digest
    return None


def canonical(data: Mapping[str, Any]) -> str:
    """JSON in one fixed spelling, so that the hash of what is read back is the hash of what was written."""
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(
    case_id: str,
    seq: int,
    kind: Kind,
    at: datetime,
    recorded_at: datetime,
    actor: str,
    reason: str,
    data: Mapping[str, Any],
    previous: str,
) -> str:
    entry = {
        "case_id": case_id,
        "seq": seq,
        "kind": kind.value,
        "at": at.astimezone(UTC).isoformat(),
        "recorded_at": recorded_at.astimezone(UTC).isoformat(),
        "actor": actor,
        "reason": reason,
        "data": data,
        "previous": previous,
    }
    return hashlib.sha256(canonical(entry).encode()).hexdigest()
