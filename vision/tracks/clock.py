"""How far the camera's clock is off the track's, found from the patrol itself.

What stands still moves through the picture as the vehicle moves: turns sweep it sideways, stops freeze it. First the
boxes of one frame are carried into the next by the motion that the track states at each offset of a grid; where they
meet the next frame's boxes best is near the truth, and nothing needs to be followed for that. Then things are followed
at that offset, and the joint solution of `locating.together` says how likely their boxes are at offsets about it: a
parabola through the logarithms has its summit at the offset. A steady straight drive bends no parabola, and then
nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from vision.boxes import area
from vision.camera import Camera
from vision.detections import Detections
from vision.geo import FloatArray, unwrap_deg
from vision.locating.association import EDGE_PX, SIDE_SHARE, Spots
from vision.locating.observations import IntArray, Observations, observe
from vision.locating.standing_things import Explanation, standing_things
from vision.tracks.track import Poses, Track

REACH_S, COARSE_S = 10.0, 0.25
# Frames further apart show another street; nearer ones hardly differ.
_SHORTEST_S, _LONGEST_S = 0.15, 1.6
_FEWEST_PAIRS, _MOST_PAIRS = 10, 500
_STRETCH_S, _MOST_FRAMES = 5.0, 200
# A box that meets nothing costs this much and no more.
_LOST = 6.0
# Offsets tried about the best so far; what lies this far below the summit is of another shape than a parabola.
_NEAR_STEPS_S, _WIDE_STEPS_S, _NARROW_STEPS_S = (np.arange(-n, n + 1) * d for n, d in ((2, 0.5), (4, 0.5), (5, 0.2)))
_TRUSTED, _SURE_BEND, _TOLD_WITHIN_S, _JUMPS, _MOST_UNSURE = 150.0, 3.0, 0.35, 5, 2
# What lies so far below the line between its neighbours is solved anew, so often.
_DIP, _REPAIRS = 2.0, 2
# A drive that turns less, and whose speed changes less, need not be asked.
_TURN_DEG, _PACE_MPS = 20.0, 2.0
_FEWEST_POINTS, _CLOSER = 4, 5.0
# What is less than this, or than so many sigmas, is not put right.
_LEAST_S, _SURE_SIGMAS = 0.3, 3.0
# How well a track tells when it turned: an inertial system, and a phone's receiver by fixes 0.3 m off each other.
_FLOOR_S, _SMOOTHED_FLOOR_S = 0.02, 0.1
# Ranges of lone boxes are rough: factors to try, and what they cost.
_RANGE_SCALES = tuple((float(np.exp(k * 0.15)), 0.5 * (k * 0.15 / 0.3) ** 2) for k in range(-3, 4))
# Slower than this over so long a time is standing.
_STANDING_MPS, _STANDING_S = 0.7, 0.7


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Seconds to add to the camera's times, with one sigma, and a sentence for the report; `observed` is False where
    the drive tells nothing."""

    offset_s: float
    sigma_s: float
    observed: bool = True
    note: str = ""


ONE_CLOCK = ClockOffset(0.0, 0.0)
_UNKNOWN = ClockOffset(0.0, REACH_S, observed=False)


def agreed(
    times_s: FloatArray,
    detections: Sequence[Detections],
    track: Track,
    camera: Camera,
    doubt_s: float,
) -> ClockOffset:
    """What to do about the clocks: nothing where they agree, the offset where the drive tells that they don't, and
    `doubt_s` of error where it tells nothing."""
    found = clock_offset(times_s, detections, track, camera)
    if not found.observed:
        note = (
            "The offset between the clocks of camera and track can't be observed in this drive (no turns, no stops, or"
            f" too little in view): taken as 0 ± {doubt_s:g} s, which is in the error radii."
        )
        return ClockOffset(0.0, doubt_s, observed=False, note=note)
    if abs(found.offset_s) < max(_LEAST_S, _SURE_SIGMAS * found.sigma_s):
        note = f"The clocks of camera and track agree to ± {found.sigma_s:.2f} s."
        return ClockOffset(0.0, min(found.sigma_s, doubt_s), note=note)
    note = f"The camera's clock is {found.offset_s:+.2f} ± {found.sigma_s:.2f} s off the track's; put right."
    return replace(found, note=note)


def forced(offset_s: float) -> ClockOffset:
    """The offset that the user knows."""
    return ClockOffset(offset_s, 0.0, note=f"The camera's times were shifted by {offset_s:+g} s, as told.")


def clock_offset(
    times_s: FloatArray,
    detections: Sequence[Detections],
    track: Track,
    camera: Camera,
) -> ClockOffset:
    """The offset from detections alone. `times_s` (k,), rising: by the camera's own clock, in seconds since the
    track's start, off by up to `REACH_S`."""
    drive = _Drive(times_s, detections, track, camera)
    start = drive.rough() if drive.eventful() else None
    if start is None:
        return _UNKNOWN
    floor = _FLOOR_S if track.surveyed else _SMOOTHED_FLOOR_S
    if abs(start) <= _NEAR_STEPS_S[-1]:
        found = drive.best(0.0, _NEAR_STEPS_S)
        if found is None:
            return _UNKNOWN
        if abs(found[0]) <= _LEAST_S and found[1] < _TOLD_WITHIN_S:
            return ClockOffset(found[0], max(floor, found[1]))
        start = found[0]
    unsure = 0
    for _ in range(_JUMPS):
        found = drive.best(start, _WIDE_STEPS_S)
        if found is None:
            return _UNKNOWN
        jump, start = abs(found[0] - start), found[0]
        unsure = unsure + 1 if found[1] > _TOLD_WITHIN_S else 0
        if unsure == _MOST_UNSURE:
            return _UNKNOWN
        if jump < 1.0 and not unsure:
            break
    # A smoothed path bends the likelihood gently and its solutions scatter: a wide parabola averages that out.
    found = drive.best(start, _NARROW_STEPS_S if track.surveyed else _WIDE_STEPS_S)
    if found is None or found[1] > _TOLD_WITHIN_S or abs(found[0]) > REACH_S:
        return _UNKNOWN
    return ClockOffset(found[0], max(floor, found[1]))


class _Drive:
    """The frames about what the track's motion changes most, ready to be posed at any offset."""

    def __init__(self, times_s: FloatArray, detections: Sequence[Detections], track: Track, camera: Camera) -> None:
        self.times, self.found, self.track, self.camera = times_s, detections, track, camera

    def seen(self, offset_s: float, frames: IntArray | None = None) -> tuple[Observations, Poses]:
        """The boxes of all or some frames, with poses at that offset."""
        chosen = np.arange(len(self.times)) if frames is None else frames
        times = self.times[chosen] + offset_s
        poses = self.track.poses_at(times)
        return observe(times, [self.found[i] for i in chosen], poses, self.camera), poses

    def eventful(self) -> bool:
        """Whether the track turns or changes its speed at all while the camera may have looked."""
        if not len(self.times):
            return False
        low = max(float(self.times[0]) - REACH_S, float(self.track.time_s[0]))
        high = min(float(self.times[-1]) + REACH_S, float(self.track.time_s[-1]))
        grid = np.arange(low, high, 0.5)
        if len(grid) < 4:
            return False
        poses = self.track.poses_at(grid)
        steps = np.gradient(poses.enu_m[:, :2], grid, axis=0)
        speed = np.hypot(*gaussian_filter1d(steps, 2.0, axis=0, mode="nearest").T)
        return bool(np.ptp(unwrap_deg(poses.heading_deg)) > _TURN_DEG or np.ptp(speed) > _PACE_MPS)

    def rough(self) -> float | None:
        """The offset at which boxes carried from frame to frame meet the next frame's best; None without boxes."""
        seen, _ = self.seen(0.0)
        pairs = _pairs(seen, self.track)
        if len(pairs) < _FEWEST_PAIRS:
            return None
        boxes = _Carried(seen, self.track, self.camera, pairs)
        grid = np.arange(-REACH_S, REACH_S + COARSE_S / 2, COARSE_S)
        costs = _neutral(np.stack([boxes.costs(offset) for offset in grid])).sum(axis=1)
        return float(grid[gaussian_filter1d(costs, 1.0, mode="nearest").argmin()])

    def best(self, offset_s: float, steps_s: FloatArray) -> tuple[float, float] | None:
        """The likeliest offset about `offset_s`, where things are followed, and its sigma; None when nothing stands
        there."""
        frames = self._busy(offset_s)
        seen, poses = self.seen(offset_s, frames)
        things = standing_things(seen, self.track, poses, self.camera, with_covariance=False)
        if things.joint is None:
            return None
        explanation = Explanation(seen, self.track, poses, self.camera, things)
        heights = self._heights(explanation, offset_s + steps_s, frames)
        if (heights > heights.max() - _TRUSTED).sum() < _FEWEST_POINTS:
            # A peak between the steps, as tracks of inertial systems have: look closer.
            offset_s, steps_s = offset_s + float(steps_s[heights.argmax()]), _NEAR_STEPS_S / _CLOSER
            heights = self._heights(explanation, offset_s + steps_s, frames)
        at, sigma = _summit(steps_s, heights)
        return offset_s + float(np.clip(at, steps_s[0], steps_s[-1])), sigma

    def _heights(self, explanation: Explanation, offsets_s: FloatArray, frames: IntArray) -> FloatArray:
        """Log likelihoods at rising offsets, from the middle outwards: each starts from its neighbour's solution. One
        that lies below the line between its neighbours was caught in a poor solution, and is solved anew from theirs.
        """
        heights = np.full(len(offsets_s), -np.inf)
        solutions = [explanation.last] * len(offsets_s)
        last, middle = len(offsets_s) - 1, len(offsets_s) // 2

        def solve(i: int, beside: int) -> None:
            explanation.last = solutions[beside]
            height = explanation.likelihood(*self.seen(float(offsets_s[i]), frames))
            if height > heights[i]:
                heights[i], solutions[i] = height, explanation.last

        solve(middle, middle)
        for i in range(middle + 1, last + 1):
            solve(i, i - 1)
        for i in range(middle - 1, -1, -1):
            solve(i, i + 1)
        for _ in range(_REPAIRS):
            line = (heights[:-2] + heights[2:]) / 2
            for dip in np.flatnonzero(heights[1:-1] < line - _DIP).tolist():
                solve(dip + 1, dip)
                solve(dip + 1, dip + 2)
        return heights

    def _busy(self, offset_s: float) -> IntArray:
        """At most `_MOST_FRAMES` frames, in whole stretches, about which the motion changes most."""
        known = np.flatnonzero(self.track.poses_at(self.times + offset_s).known)
        if len(known) <= _MOST_FRAMES:
            return known
        worth = np.interp(self.times + offset_s, *_changes(self.track))
        stretch = np.floor(self.times / _STRETCH_S).astype(np.int64)
        number = np.unique(stretch[known], return_inverse=True)[1]
        mean = np.bincount(number, worth[known]) / np.bincount(number)
        counts = np.bincount(number)
        order = np.argsort(-mean, kind="stable")
        taken = order[np.cumsum(counts[order]) <= _MOST_FRAMES]
        return known[np.isin(number, taken)]


def _summit(offsets: FloatArray, heights: FloatArray) -> tuple[float, float]:
    """Where a parabola through the log likelihoods is highest, and its sigma.

    Each solution stops a little short of the best: what the heights scatter about the parabola is the noise that the
    summit's place is uncertain by, besides the likelihood's own width.
    """
    shift = offsets - offsets.mean()
    trusted = heights > heights.max() - _TRUSTED
    if trusted.sum() < _FEWEST_POINTS:
        return float(offsets[heights.argmax()]), float(np.median(np.diff(offsets))) / 4
    curve, covariance = np.polyfit(shift[trusted], heights[trusted], 2, cov="unscaled")
    scatter = heights[trusted] - np.polyval(curve, shift[trusted])
    noise = float((scatter**2).sum()) / max(int(trusted.sum()) - 3, 1)
    if curve[0] >= 0 or -curve[0] < _SURE_BEND * np.sqrt(covariance[0, 0] * noise):
        return float(offsets[heights.argmax()]), REACH_S
    at = -curve[1] / (2 * curve[0])
    slope = np.array([-at / curve[0], -1 / (2 * curve[0]), 0.0])  # of the summit's place, by the coefficients
    spread = float(slope @ covariance @ slope) * noise
    return float(offsets.mean() + at), float(np.sqrt(spread + 1 / (-2 * curve[0])))


def _neutral(costs: FloatArray) -> FloatArray:
    """Costs (o, p) in which offsets that carry a pair off the track cost it what the others do on average."""
    known = np.isfinite(costs)
    mean = np.where(known, costs, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, costs, mean)


def _pairs(seen: Observations, track: Track) -> IntArray:
    """Rows (p, 2) of frames to compare: those about which the track's motion changes most."""
    times = seen.time_s
    filled = np.unique(seen.frame)
    if len(filled) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    gap = np.diff(times[filled])
    # The next frame, or where frames are dense one that shows more motion.
    after = np.searchsorted(times[filled], times[filled] + _SHORTEST_S + 0.25)
    after = np.minimum(np.maximum(after, np.arange(len(filled)) + 1), len(filled) - 1)
    span = times[filled[after]] - times[filled]
    good = (span >= _SHORTEST_S) & (span <= _LONGEST_S)
    pairs = np.stack([filled, filled[after]], axis=1)[good]
    if not len(pairs) or not len(gap):
        return pairs
    worth = np.interp(times[pairs[:, 0]], *_changes(track))
    chosen = np.sort(np.argsort(-worth, kind="stable")[:_MOST_PAIRS])
    return pairs[chosen]


def _changes(track: Track) -> tuple[FloatArray, FloatArray]:
    """Seconds, and how much the track turns, brakes or stands about then."""
    grid = np.arange(track.time_s[0], max(track.time_s[-1], track.time_s[0] + 1.0) + 0.25, 0.5)
    poses = track.poses_at(grid)
    turning = np.abs(np.gradient(np.radians(unwrap_deg(poses.heading_deg)), grid))
    speed = np.hypot(*np.gradient(poses.enu_m[:, :2], grid, axis=0).T)
    change = turning * 10 + np.abs(np.gradient(speed, grid)) + 0.2 * (speed < 1.0)
    return grid, gaussian_filter1d(change, 3.0, mode="nearest")


def _driven(place: FloatArray, heading: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Places (g, 2) and headings (g,) at steps of a tenth of a second with what receivers make up while the vehicle
    stands left out: it neither moves nor turns then."""
    steps, turns = np.diff(place, axis=0, prepend=place[:1]), np.diff(heading, prepend=heading[:1])
    smooth = gaussian_filter1d(steps, _STANDING_S / 0.1, axis=0, mode="nearest")
    moving = np.hypot(*smooth.T) / 0.1 > _STANDING_MPS
    kept = heading[0] + np.cumsum(turns * moving)
    # The steps turn with the heading that is left.
    sin, cos = np.sin(kept - heading), np.cos(kept - heading)
    east, north = steps[:, 0] * cos + steps[:, 1] * sin, steps[:, 1] * cos - steps[:, 0] * sin
    return np.cumsum(np.stack([east, north], axis=1) * moving[:, None], axis=0), kept


class _Carried:
    """The boxes of the first frames of pairs, ready to be carried into the second ones."""

    def __init__(self, seen: Observations, track: Track, camera: Camera, pairs: IntArray) -> None:
        self.seen, self.camera = seen, camera
        self.times = seen.time_s[pairs]
        first = np.searchsorted(seen.frame, pairs[:, 0]), np.searchsorted(seen.frame, pairs[:, 0], side="right")
        second = np.searchsorted(seen.frame, pairs[:, 1]), np.searchsorted(seen.frame, pairs[:, 1], side="right")
        rows, others, owner = [], [], []
        for p in range(len(pairs)):
            mine, theirs = np.arange(first[0][p], first[1][p]), np.arange(second[0][p], second[1][p])
            rows.append(np.repeat(mine, len(theirs)))
            others.append(np.tile(theirs, len(mine)))
            owner.append(np.full(len(mine) * len(theirs), p))
        row, other, owns = np.concatenate(rows), np.concatenate(others), np.concatenate(owner)
        kin = seen.group[row] == seen.group[other]
        self.row, self.other, self.pair = row[kin], other[kin], owns[kin]
        self.box, self.box_of = np.unique(np.stack([self.pair, self.row]), axis=1, return_inverse=True)
        # Edges in space, forward, left, up of the lens in the first frame; headings are put in with the offset.
        spots = Spots(seen, camera, headings=np.zeros(len(seen.time_s)))
        rays = spots.edge_rays[self.box[1]]
        level = np.maximum(np.hypot(rays[..., 0], rays[..., 1]), 0.05)
        east, north, up = np.moveaxis(rays * (spots.range_m[self.box[1]][:, None] / level)[..., None], -1, 0)
        self.points = np.stack([north, -east, up], axis=-1)
        grid = np.arange(track.time_s[0] - 2.0, track.time_s[-1] + 2.0, 0.1)
        poses = track.poses_at(grid)
        self.grid, self.known = grid, poses.known.astype(float)
        self.place, self.heading = _driven(poses.enu_m[:, :2], np.radians(unwrap_deg(poses.heading_deg)))
        side = seen.box[self.other][:, [2, 3, 2, 3]] - seen.box[self.other][:, [0, 1, 0, 1]]
        self.tolerance = SIDE_SHARE * np.maximum(side, 1.0) + EDGE_PX * camera.size_wh[0] / 1000
        self.trust = np.where(seen.cut[self.row] | seen.cut[self.other], 0.1, 1.0)

    def costs(self, offset_s: float) -> FloatArray:
        """What each pair costs (p,) when the camera's times are off by so much."""
        at = self.times + offset_s
        heading = np.interp(at, self.grid, self.heading)
        place = np.stack([np.interp(at, self.grid, self.place[:, axis]) for axis in (0, 1)], axis=-1)
        known = (np.interp(at, self.grid, self.known, left=0, right=0) > 0.99).all(axis=1)
        moved, turned = place[:, 1] - place[:, 0], heading[:, 1] - heading[:, 0]
        sin, cos = np.sin(heading[:, 0]), np.cos(heading[:, 0])
        lever_f, lever_l = self.camera.mount.forward_m, self.camera.mount.left_m
        ahead, left = moved[:, 0] * sin + moved[:, 1] * cos, moved[:, 1] * sin - moved[:, 0] * cos
        c, s = np.cos(turned), np.sin(turned)
        pair = self.box[0]
        limit = np.array(self.camera.size_wh * 2, float) - 1
        least = np.full(len(pair), _LOST)
        for scale, price in _RANGE_SCALES:
            points = self.points * scale
            x, y = points[..., 0] + lever_f - ahead[pair, None], points[..., 1] + lever_l - left[pair, None]
            # Turning right by `turned` turns what stands to the left.
            forward = x * c[pair, None] - y * s[pair, None] - lever_f
            leftward = x * s[pair, None] + y * c[pair, None] - lever_l
            pixels = self.camera.project(np.stack([forward, leftward, points[..., 2]], axis=-1))
            expected = np.stack([pixels[:, 0, 0], pixels[:, 1, 1], pixels[:, 2, 0], pixels[:, 3, 1]], axis=1)
            expected = np.clip(expected, 0, limit)
            here = (area(expected) >= 25.0) & (forward.max(axis=1) >= 1.0)
            off2 = ((expected[self.box_of] - self.seen.box[self.other]) / self.tolerance) ** 2
            misfit = (np.minimum(off2, 100.0) * self.trust).sum(axis=1) / self.trust.sum(axis=1) + price
            np.minimum.at(least, self.box_of, np.where(here[self.box_of], misfit, _LOST))
        costs = np.bincount(pair, least, minlength=len(self.times))
        return np.where(known, costs, np.nan)
