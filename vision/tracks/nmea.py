"""NMEA 0183 logs into raw fixes: RMC, GGA, VTG and ZDA sentences of any talker.

The sentences of one moment make one fix. A sentence with a wrong checksum is dropped; one without a checksum only when
others of the log have one, since then it is cut off. Sentences without a date (GGA) take that of their neighbours,
midnight included.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import xor

from vision.tracks.fixes import METRES_PER_HDOP, Fix, RawTrack

# Loggers put stamps of their own before the sentence and behind it.
_SENTENCE = re.compile(rb"\$([A-Z]{2})(RMC|GGA|VTG|ZDA),([^$*\r\n]*)(?:\*([0-9A-Fa-f]{2}))?")
_KNOT_MPS, _KMH_MPS = 1852 / 3600, 1 / 3.6
_DAY_S, _HALF_DAY_S = 86400.0, 43200.0
# Below this the course over ground is noise.
_SLOWEST_COURSE_MPS = 1.0
# GPS began in 1980; a receiver that says a year beyond these has not understood its satellites.
_FIRST_YEAR, _LAST_YEAR = 1980, 2200
# GGA's quality: 4 is RTK with fixed ambiguities, 5 with floating ones.
_RTK_ACCURACY_M = {"4": 0.03, "5": 0.4}


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the sentences of one time of day said; None where they said nothing."""

    time_of_day_s: float
    day: date | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float | None = None
    accuracy_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    void: bool = False


def looks_like_nmea(head: bytes) -> bool:
    """Whether the beginning of a file holds NMEA sentences."""
    return re.search(rb"\$[A-Z]{2}(RMC|GGA|VTG|ZDA|GSA|GSV|GLL|GNS),", head) is not None


def nmea_fixes(data: bytes, start: datetime | None) -> RawTrack:
    """The fixes of a log. `start`: the instant that seconds count from, else the first dated fix.

    A log without any date counts from its first fix, or stands on the day of `start`. What can't be read is no fix.
    Raises OverflowError for a log that passes so many midnights that no calendar has the day.
    """
    sentences, notes = _checked(data)
    moments = list(_moments(sentences))
    usable = [m for m in moments if not m.void and m.latitude_deg is not None and m.longitude_deg is not None]
    if len(usable) < len(moments):
        lost = len(moments) - len(usable)
        notes.append(f"{lost} fix{'es' if lost > 1 else ''} dropped: the receiver had no position.")
    times, zero = _clock(usable, start)
    if zero is None and usable:
        notes.append("The NMEA log states no date: seconds count from its first fix.")
    fixes = tuple(
        Fix(
            time_s,
            moment.longitude_deg,
            moment.latitude_deg,
            altitude_m=moment.altitude_m,
            accuracy_m=moment.accuracy_m,
            heading_deg=moment.course_deg if (moment.speed_mps or 0.0) > _SLOWEST_COURSE_MPS else None,
            speed_mps=moment.speed_mps,
        )
        for time_s, moment in zip(times, usable, strict=True)
        if moment.longitude_deg is not None and moment.latitude_deg is not None
    )
    return RawTrack(zero, fixes, tuple(notes))


def _checked(data: bytes) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Kind and fields of each sentence that is whole, and a note on those that are not."""
    found = list(_SENTENCE.finditer(data))
    with_sum = any(match[4] for match in found)
    kept = []
    for match in found:
        body = match[1] + match[2] + b"," + match[3]
        if with_sum and (match[4] is None or reduce(xor, body) != int(match[4], 16)):
            continue
        kept.append((match[2].decode(), match[3].decode("ascii", "replace").split(",")))
    broken = len(found) - len(kept)
    notes = [f"{broken} NMEA sentence{'s' if broken > 1 else ''} dropped: checksum wrong or missing."] if broken else []
    return kept, notes


def _moments(sentences: Sequence[tuple[str, list[str]]]) -> Iterator[_Moment]:
    """One per time of day, in the log's order. VTG carries no time and belongs to the moment that it stands in."""
    now: _Moment | None = None
    for kind, fields in sentences:
        values = [*fields, *[""] * 12]
        if kind == "VTG":
            if now is not None:
                now = _with_motion(now, values[0], values[6], _KMH_MPS)
            continue
        time_of_day = _time_of_day(values[0])
        if time_of_day is None:
            continue
        if now is None or time_of_day != now.time_of_day_s:
            if now is not None:
                yield now
            now = _Moment(time_of_day)
        if kind == "RMC":
            now = _with_place(now, values[2:6], void=values[1] != "A")
            now = _with_motion(replace(now, day=_day(values[8]) or now.day), values[7], values[6], _KNOT_MPS)
        elif kind == "GGA":
            now = _with_place(now, values[1:5], void=values[5] in ("", "0"))
            hdop = _number(values[7])
            accuracy = _RTK_ACCURACY_M.get(values[5], max(1.0, hdop * METRES_PER_HDOP) if hdop else None)
            now = replace(now, accuracy_m=accuracy, altitude_m=_number(values[8]))
        else:
            now = replace(now, day=_full_day(values[1:4]) or now.day)
    if now is not None:
        yield now


def _with_place(moment: _Moment, fields: Sequence[str], *, void: bool) -> _Moment:
    latitude, longitude = _degrees(fields[0], fields[1], "NS"), _degrees(fields[2], fields[3], "EW")
    if void or latitude is None or longitude is None:
        return replace(moment, void=moment.void or void)
    return replace(moment, latitude_deg=latitude, longitude_deg=longitude)


def _with_motion(moment: _Moment, course_text: str, speed_text: str, unit_mps: float) -> _Moment:
    """With course and speed over ground; what is empty keeps what was known."""
    course, speed = _number(course_text), _number(speed_text)
    return replace(
        moment,
        course_deg=moment.course_deg if course is None else course % 360.0,
        speed_mps=moment.speed_mps if speed is None or speed < 0 else speed * unit_mps,
    )


def _clock(moments: Sequence[_Moment], start: datetime | None) -> tuple[list[float], datetime | None]:
    """Seconds of each moment and the instant that they count from; None for a log without dates."""
    turns, days = 0, []  # midnights passed, and the day each moment says
    for before, moment in zip([None, *moments], moments, strict=False):
        if before is not None and before.time_of_day_s - moment.time_of_day_s > _HALF_DAY_S:
            turns += 1
        days.append((turns, moment.day))
    anchor = next(((day, turn) for turn, day in days if day is not None), None)
    if anchor is None and start is not None and moments:
        at = start.astimezone(UTC)
        ahead = moments[0].time_of_day_s - (at - at.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
        anchor = at.date() - timedelta(days=round(ahead / _DAY_S)), 0
    if anchor is None:
        first = moments[0].time_of_day_s if moments else 0.0
        return [
            turn * _DAY_S + moment.time_of_day_s - first for (turn, _), moment in zip(days, moments, strict=True)
        ], None
    instants = []
    for (turn, said), moment in zip(days, moments, strict=True):
        if said is not None:
            anchor = said, turn
        day = anchor[0] + timedelta(days=turn - anchor[1])
        instants.append(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=moment.time_of_day_s))
    zero = start.astimezone(UTC) if start else instants[0]
    return [(instant - zero).total_seconds() for instant in instants], zero


def _time_of_day(text: str) -> float | None:
    """Seconds since midnight of hhmmss.sss."""
    if not re.fullmatch(r"\d{6}(\.\d*)?", text):
        return None
    hours, minutes, seconds = int(text[:2]), int(text[2:4]), float(text[4:])
    return hours * 3600.0 + minutes * 60.0 + seconds if hours < 24 and minutes < 60 and seconds < 61 else None


def _day(text: str) -> date | None:
    """ddmmyy; years from 80 on are of the last century, when GPS began."""
    if not re.fullmatch(r"\d{6}", text):
        return None
    year = int(text[4:])
    return _full_day([text[:2], text[2:4], str(year + (1900 if year >= 80 else 2000))])


def _full_day(fields: Sequence[str]) -> date | None:
    """Day, month and year as text."""
    try:
        found = date(int(fields[2]), int(fields[1]), int(fields[0]))
    except (ValueError, OverflowError):
        return None
    return found if _FIRST_YEAR <= found.year < _LAST_YEAR else None


def _degrees(text: str, side: str, sides: str) -> float | None:
    """Degrees of dddmm.mmmm and its hemisphere."""
    match = re.fullmatch(r"(\d{1,3})(\d{2}(?:\.\d*)?)", text)
    if match is None or side not in tuple(sides) or float(match[2]) > 60:  # 60.000: rounded up
        return None
    value = int(match[1]) + float(match[2]) / 60
    return -value if side == sides[1] else value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
