"""Where the vehicle was: a track of fixes, and its pose at any time.

Units and frames: seconds since `start`; degrees WGS 84; heading clockwise from true north; pitch nose up +, roll left
side up +; `accuracy_m` one sigma per axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vision.errors import TrackError
from vision.geo import FloatArray, LocalFrame, unwrap_deg
from vision.tracks.fixes import DEFAULT_ACCURACY_M, HALF_DAY_S, Fix, cleaned
from vision.tracks.smoothing import REACH_S, SmoothPath, smooth_fixes
from vision.tracks.track_files import read_fixes

# An inertial system that logs pitch and roll gives its own heading to about this.
SURVEYED_HEADING_SIGMA_DEG = 0.25
# A pose is known inside gaps up to this length, and `REACH_S` beyond a fix; elsewhere nothing is claimed.
LONGEST_GAP_S = 10.0
_KNOT_SPACING_S = 0.5
# GPS counts weeks in ten bits.
ROLLOVER = timedelta(weeks=1024)


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """Poses at n times. `enu_m` (n, 3): metres east, north, up of the track's frame; angles in degrees;
    `covariance` (n, 3, 3) of east, north (metres) and heading (radians); `known` (n,): False where the track says
    nothing about that time."""

    enu_m: FloatArray
    heading_deg: FloatArray
    pitch_deg: FloatArray
    roll_deg: FloatArray
    covariance: FloatArray
    known: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Track:
    """Fixes with strictly increasing times. `notes`: what was dropped or assumed, in sentences."""

    start: datetime | None
    time_s: FloatArray
    longitude_deg: FloatArray
    latitude_deg: FloatArray
    altitude_m: FloatArray
    accuracy_m: FloatArray
    heading_deg: FloatArray | None = None
    pitch_deg: FloatArray | None = None
    roll_deg: FloatArray | None = None
    speed_mps: FloatArray | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def frame(self) -> LocalFrame:
        """The local plane about the first fix."""
        return LocalFrame(float(self.longitude_deg[0]), float(self.latitude_deg[0]), float(self.altitude_m[0]))

    @property
    def surveyed(self) -> bool:
        """True when the track comes from a system that measures attitude: its heading is believed as it stands."""
        return self.heading_deg is not None and self.pitch_deg is not None and self.roll_deg is not None

    @cached_property
    def enu_m(self) -> FloatArray:
        """The fixes in metres east, north, up of `frame`: (n, 3)."""
        return self.frame.to_enu(self.longitude_deg, self.latitude_deg, self.altitude_m)

    @cached_property
    def path(self) -> SmoothPath:
        """The smoothed path through the fixes, for tracks that are not `surveyed`."""
        keep = _thinned(self.time_s, _KNOT_SPACING_S)
        heading = None if self.heading_deg is None else np.radians(self.heading_deg[keep])
        speed = None if self.speed_mps is None else self.speed_mps[keep]
        return smooth_fixes(self.time_s[keep], self.enu_m[keep, :2], self.accuracy_m[keep], heading, speed)

    def poses_at(self, times_s: npt.ArrayLike) -> Poses:
        """The poses at times in seconds since `start`."""
        times = np.asarray(times_s, float).ravel()
        after = np.clip(np.searchsorted(self.time_s, times), 1, len(self.time_s) - 1)
        low, high = self.time_s[after - 1], self.time_s[after]
        near = np.minimum(np.abs(times - low), np.abs(times - high))
        inside = (times >= self.time_s[0]) & (times <= self.time_s[-1]) & (high - low <= LONGEST_GAP_S)
        known = inside | (near <= REACH_S)
        up = np.interp(times, self.time_s, self.enu_m[:, 2])
        if self.surveyed:
            enu, heading, covariance = self._surveyed_at(times)
        else:
            enu, heading, covariance = _along(self.path, times)
        return Poses(
            np.column_stack([enu, up]),
            heading,
            self._angle_at(self.pitch_deg, times),
            self._angle_at(self.roll_deg, times),
            covariance,
            known,
        )

    def _angle_at(self, angle_deg: FloatArray | None, times: FloatArray) -> FloatArray:
        return np.zeros(len(times)) if angle_deg is None else np.interp(times, self.time_s, angle_deg)

    def _surveyed_at(self, times: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        turns = unwrap_deg(np.asarray(self.heading_deg))
        places = np.stack([_extended(times, self.time_s, self.enu_m[:, axis]) for axis in (0, 1)], axis=1)
        sigma = np.interp(times, self.time_s, self.accuracy_m)
        beyond = np.maximum(self.time_s[0] - times, 0) + np.maximum(times - self.time_s[-1], 0)
        covariance = np.zeros((len(times), 3, 3))
        covariance[:, 0, 0] = covariance[:, 1, 1] = sigma**2 + beyond**2
        covariance[:, 2, 2] = np.radians(SURVEYED_HEADING_SIGMA_DEG + 10 * beyond) ** 2
        return places, np.asarray(np.interp(times, self.time_s, turns) % 360.0), covariance


def _extended(times: FloatArray, at: FloatArray, values: FloatArray) -> FloatArray:
    """Linear interpolation that goes on straight beyond both ends."""
    i = np.clip(np.searchsorted(at, times), 1, len(at) - 1)
    share = (times - at[i - 1]) / (at[i] - at[i - 1])
    return np.asarray(values[i - 1] + share * (values[i] - values[i - 1]))


def _thinned(time_s: FloatArray, spacing_s: float) -> npt.NDArray[np.int64]:
    """Indexes of fixes at least `spacing_s` apart, the last one among them."""
    bins = np.floor((time_s - time_s[0]) / spacing_s + 1e-6)
    _, first = np.unique(bins, return_index=True)
    return np.unique(np.append(first, len(time_s) - 1))


def _along(path: SmoothPath, times: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions (n, 2), headings (n,) in degrees and covariances (n, 3, 3) along a smoothed path (cubic Hermite)."""
    s, at = path.states, path.time_s
    if len(at) == 1:
        covariance = np.repeat(path.covariance[:, :3, :3], len(times), axis=0)
        return np.repeat(s[:, :2], len(times), axis=0), np.degrees(np.repeat(s[:, 2], len(times))) % 360, covariance
    i = np.clip(np.searchsorted(at, times), 1, len(at) - 1)
    step = at[i] - at[i - 1]
    u_free = (times - at[i - 1]) / step
    u = np.clip(u_free, 0, 1)
    values = s[:, :3]
    rates = np.stack([s[:, 3] * np.sin(s[:, 2]), s[:, 3] * np.cos(s[:, 2]), s[:, 3] * s[:, 4]], axis=1)
    h00, h10 = (1 + 2 * u) * (1 - u) ** 2, u * (1 - u) ** 2
    h01, h11 = u * u * (3 - 2 * u), u * u * (u - 1)
    pose = (
        h00[:, None] * values[i - 1]
        + (h10 * step)[:, None] * rates[i - 1]
        + h01[:, None] * values[i]
        + (h11 * step)[:, None] * rates[i]
    )
    beyond = (u_free - u) * step
    pose += beyond[:, None] * np.where(beyond[:, None] > 0, rates[i], rates[i - 1])
    covariance = path.covariance[i - 1, :3, :3] * (1 - u)[:, None, None] + path.covariance[i, :3, :3] * u[:, None, None]
    grown = np.zeros_like(covariance)
    grown[:, 0, 0] = grown[:, 1, 1] = beyond**2
    grown[:, 2, 2] = np.radians(5.0 * beyond) ** 2
    return pose[:, :2], np.degrees(pose[:, 2]) % 360.0, covariance + grown


def track_from_fixes(
    fixes: Sequence[Fix], *, start: datetime | None = None, source: str = "track", notes: Sequence[str] = ()
) -> Track:
    """Clean raw fixes and build a track. A faulty fix costs that fix and a note, never the track.

    Raises TrackError when fewer than two usable fixes are left.
    """
    kept, faults = cleaned(fixes)
    said = [*notes, *faults]
    if len(kept) < 2:
        raise TrackError(
            f"{source}: {len(kept)} usable fixes of {len(fixes)}" + (f" ({'; '.join(said)})" if said else ""),
            remedy="a track needs at least two fixes with different times and plausible positions",
        )
    if all(fix.accuracy_m is None for fix in kept):
        said.append(f"The track states no accuracy: {DEFAULT_ACCURACY_M:g} m per axis is assumed.")

    def column(name: str) -> FloatArray | None:
        values = np.array([np.nan if getattr(f, name) is None else getattr(f, name) for f in kept], float)
        return values if np.isfinite(values).any() else None

    time_s = np.array([fix.time_s for fix in kept])
    accuracy, altitude = column("accuracy_m"), column("altitude_m")
    attitude = {name: _filled(time_s, column(name), name) for name in ("heading_deg", "pitch_deg", "roll_deg")}
    return Track(
        start=start,
        time_s=time_s,
        longitude_deg=np.array([fix.longitude_deg for fix in kept]),
        latitude_deg=np.array([fix.latitude_deg for fix in kept]),
        altitude_m=np.zeros(len(kept)) if altitude is None else _held(time_s, altitude),
        accuracy_m=np.full(len(kept), DEFAULT_ACCURACY_M)
        if accuracy is None
        else np.clip(np.nan_to_num(accuracy, nan=DEFAULT_ACCURACY_M), 0.01, 1000.0),
        speed_mps=column("speed_mps"),
        notes=tuple(said),
        **attitude,
    )


def in_the_right_week(track: Track, about: datetime, *, keep_start: bool) -> Track:
    """The track with its dates moved by whole rollovers of GPS's week number when that brings them near `about`.

    Receivers older than a rollover are 1,024 weeks off for good. `keep_start`: seconds go on counting from `start`.
    """
    if track.start is None:
        return track
    middle = track.start + timedelta(seconds=float(track.time_s[0] + track.time_s[-1]) / 2)
    rounds = round((about - middle) / ROLLOVER)
    if not rounds or abs(about - middle - rounds * ROLLOVER) > ROLLOVER / 50:
        return track
    said = f"The track's dates were {abs(rounds) * 1024} weeks off (a rollover of GPS's week number); put right."
    moved = replace(track, time_s=track.time_s + rounds * ROLLOVER.total_seconds(), notes=(*track.notes, said))
    return moved if keep_start else _from_first_fix(moved)


def _from_first_fix(track: Track) -> Track:
    """The same track with seconds that count from its first fix."""
    later = float(track.time_s[0])
    start = track.start + timedelta(seconds=later) if track.start is not None else None
    return replace(track, start=start, time_s=track.time_s - later)


def _filled(time_s: FloatArray, values: FloatArray | None, name: str) -> FloatArray | None:
    """A column with its holes interpolated; headings the short way round."""
    if values is None:
        return None
    known = np.isfinite(values)
    if name == "heading_deg":
        return np.asarray(np.interp(time_s, time_s[known], unwrap_deg(values[known])) % 360.0)
    return np.asarray(np.interp(time_s, time_s[known], values[known]))


def _held(time_s: FloatArray, values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    return np.asarray(np.interp(time_s, time_s[known], values[known]))


def read_track(path: Path, *, start: datetime | None = None) -> Track:
    """Read a track file; see `vision.tracks.track_files` for the formats.

    `start`: what `time_s` counts from. Without it a track with clock times starts at its first fix, and a CSV with
    plain seconds keeps its own zero. Raises TrackError that names the file and the remedy.
    """
    raw = read_fixes(path, start)
    track = track_from_fixes(raw.fixes, start=raw.start, source=str(path), notes=raw.notes)
    if start is None and raw.start is not None and track.time_s[0] > HALF_DAY_S:
        # The first fixes were in the wrong week and are gone: the track begins where the good ones do.
        return _from_first_fix(track)
    return track
