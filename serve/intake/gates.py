"""What is asked of a patrol's clock and track before anything is processed, so that a vehicle learns at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from serve.errors import InvalidInputError
from vision.errors import TrackError
from vision.tracks.track import read_track

# Receivers that never had a fix start at one of their epochs: 1970, 1980, 1999, 2019.
_CLOCK_NEVER_SET = datetime(2020, 1, 1, tzinfo=UTC)
# A patrol is one run of one vehicle: a track that begins a day off belongs to another one, or to another clock.
_FARTHEST_START = timedelta(hours=24)


def check_clock(started_at: datetime, now: datetime, tolerance_s: float) -> None:
    """Raise InvalidInputError when the vehicle's clock cannot be right; the server's clock is taken to be."""
    if started_at < _CLOCK_NEVER_SET:
        raise InvalidInputError(
            f"started_at is {started_at.isoformat()}: the vehicle's clock was never set",
            remedy=f"set it (the server's clock shows {now.isoformat(timespec='seconds')}) and announce again",
        )
    ahead_s = (started_at - now).total_seconds()
    if ahead_s > tolerance_s:
        raise InvalidInputError(
            f"started_at lies {ahead_s:.0f} s in the future: the vehicle's clock is fast",
            remedy=f"set it (the server's clock shows {now.isoformat(timespec='seconds')}) and announce again",
        )


def check_track(path: Path, name: str, started_at: datetime, patrol_id: str) -> None:
    """Raise InvalidInputError when a track that has arrived cannot place the patrol's pictures.

    `name`: what the vehicle calls it.
    """
    remedy = f"DELETE /v1/patrols/{patrol_id}, correct the track, announce and send it again"
    try:
        track = read_track(path, start=started_at)
    except TrackError as error:
        reason = error.message.replace(str(path), name)
        raise InvalidInputError(f"the track cannot be used: {reason}", remedy=f"{error.remedy}; {remedy}") from error
    try:
        first, last = (started_at + timedelta(seconds=float(track.time_s[i])) for i in (0, -1))
    except OverflowError as error:
        raise InvalidInputError(
            f"the track's times lead beyond any calendar ({error})", remedy=f"the receiver's log is broken: {remedy}"
        ) from error
    if last < started_at - _FARTHEST_START or first > started_at + _FARTHEST_START:
        raise InvalidInputError(
            f"the track runs from {first.isoformat()} to {last.isoformat()}, the patrol started at"
            f" {started_at.isoformat()}",
            remedy=f"two clocks disagree, or it is another patrol's track: {remedy}",
        )
