"""Raw position fixes, and how the faults of receivers are taken out of them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from vision.geo import LocalFrame

DEFAULT_ACCURACY_M = 3.0
# Horizontal dilution of precision to one sigma per axis: a phone-grade range error of 3 m over both axes.
METRES_PER_HDOP = 3.0 / math.sqrt(2)
# Nothing on a road is faster; a receiver's fix that says so is wrong.
FASTEST_MPS = 70.0
_LOOK_BACK = 40
HALF_DAY_S = 43200.0


@dataclass(frozen=True, slots=True)
class Fix:
    """One raw fix as a receiver or an EXIF block gives it; None where it says nothing. `time_s` since the start."""

    time_s: float
    longitude_deg: float
    latitude_deg: float
    altitude_m: float | None = None
    accuracy_m: float | None = None
    heading_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    speed_mps: float | None = None


@dataclass(frozen=True, slots=True)
class RawTrack:
    """Fixes as the file gives them, what their times count from (None: no dates), and what was assumed."""

    start: datetime | None
    fixes: tuple[Fix, ...]
    notes: tuple[str, ...] = ()


def cleaned(fixes: Sequence[Fix]) -> tuple[list[Fix], list[str]]:
    """The usable fixes in order of time, and a sentence for each kind of fault that cost some.

    Receivers write 0°, 0° without satellites, repeat times, run in the wrong week after a cold start, and jump.
    """
    said: list[str] = []
    return _reachable(_in_time(_finite(fixes, said), said), said), said


def _say(said: list[str], count: int, what: str) -> None:
    if count:
        said.append(f"{count} fix{'es' if count > 1 else ''} dropped: {what}.")


def _finite(fixes: Sequence[Fix], said: list[str]) -> list[Fix]:
    """Fixes with a finite time on the Earth, and not at 0°, 0°, where receivers put themselves without satellites."""
    good = [
        f
        for f in fixes
        if np.isfinite([f.time_s, f.longitude_deg, f.latitude_deg]).all()
        and abs(f.latitude_deg) <= 90
        and abs(f.longitude_deg) <= 180
    ]
    _say(said, len(fixes) - len(good), "no finite time and position")
    placed = [f for f in good if abs(f.latitude_deg) > 1e-3 or abs(f.longitude_deg) > 1e-3]
    _say(said, len(good) - len(placed), "at 0°, 0°, the receiver had no position")
    return placed


def _in_time(fixes: list[Fix], said: list[str]) -> list[Fix]:
    """The longest run of fixes whose times increase, without a gap of half a day (a clock in the wrong week)."""
    tails: list[float] = []
    ends: list[int] = []
    before: list[int] = []
    for i, fix in enumerate(fixes):
        k = bisect.bisect_left(tails, fix.time_s)
        before.append(ends[k - 1] if k else -1)
        if k == len(tails):
            tails.append(fix.time_s)
            ends.append(i)
        else:
            tails[k], ends[k] = fix.time_s, i
    chain: list[Fix] = []
    i = ends[-1] if ends else -1
    while i >= 0:
        chain.append(fixes[i])
        i = before[i]
    chain.reverse()
    _say(said, len(fixes) - len(chain), "their times repeat or run backwards")
    parts: list[list[Fix]] = []
    for fix in chain:
        if parts and fix.time_s - parts[-1][-1].time_s <= HALF_DAY_S:
            parts[-1].append(fix)
        else:
            parts.append([fix])
    longest = max(parts, key=len, default=[])
    _say(said, len(chain) - len(longest), "half a day or more from the others, a clock in the wrong week")
    return longest


def _reachable(fixes: list[Fix], said: list[str]) -> list[Fix]:
    """The longest chain of fixes of which each can be reached from the one before on a road."""
    if len(fixes) < 2:
        return fixes
    frame = LocalFrame(fixes[len(fixes) // 2].longitude_deg, fixes[len(fixes) // 2].latitude_deg)
    place = frame.to_enu([f.longitude_deg for f in fixes], [f.latitude_deg for f in fixes])[:, :2]
    time_s = np.array([f.time_s for f in fixes])
    blur = np.array([min(f.accuracy_m or DEFAULT_ACCURACY_M, 30.0) for f in fixes])
    steps = np.hypot(*np.diff(place, axis=0).T)
    if (steps <= FASTEST_MPS * np.diff(time_s) + 3 * (blur[1:] + blur[:-1])).all():
        return fixes
    length, before = np.ones(len(fixes), dtype=np.int64), np.full(len(fixes), -1)
    for i in range(1, len(fixes)):
        j = slice(max(0, i - _LOOK_BACK), i)
        far = np.hypot(*(place[j] - place[i]).T)
        ok = far <= FASTEST_MPS * (time_s[i] - time_s[j]) + 3 * (blur[j] + blur[i])
        if ok.any():
            # the longest chain; of equals the latest
            score = np.where(ok, length[j], 0)
            best = len(score) - 1 - int(np.argmax(score[::-1]))
            length[i], before[i] = score[best] + 1, j.start + best
    chain: list[Fix] = []
    i = int(np.argmax(length))
    while i >= 0:
        chain.append(fixes[i])
        i = int(before[i])
    chain.reverse()
    _say(said, len(fixes) - len(chain), "farther from their neighbours than any vehicle drives")
    return chain
