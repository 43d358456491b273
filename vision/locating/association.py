"""Following things through the frames: which boxes of successive frames show the same thing.

Each followed thing has a place on the ground. It is expected in the next frame where a standing thing at that place
would appear, or where its own motion in the picture carries it; boxes are assigned to expectations by least total cost.
Comparing expectation and box in the picture leaves out the road's tilt, which both share; the ground place tells how
the picture changes as the vehicle moves, so that one frame every few metres is enough.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from vision.boxes import area, clip, intersection
from vision.camera import Camera
from vision.geo import FloatArray
from vision.locating.observations import (
    LEFT,
    TOP,
    BoolArray,
    IntArray,
    Observations,
    rough_ranges,
    unlike,
)

# An expectation may miss an edge by this share of the box's side and this many pixels of a 1,000-pixel-wide picture.
SIDE_SHARE, EDGE_PX = 0.12, 4.0
GATE = 6.0
LOST_S, LOST_FRAMES = 1.5, 3
OWN_MOTION_S = 0.5
# While the vehicle hardly moves things are waited for longer: what hides them drives on.
WAITING_S, WAITING_M = 60.0, 3.0
# Radians by which a frame may be turned against the last one and what that was turning by: at once, per second squared,
# and as a share of what the path turns by there, within a second; for how long a turn goes on; what an unlikely turn
# costs, and beyond what none is tried.
TURN_SIGMA, TURN_CHANGE, TURN_SHARE, BEND_NEAR_S = np.radians(0.1), np.radians(1.0), 0.25, 1.0
TURN_MEMORY_S = 2.0
TURN_PRICE, MOST_TURN = 0.4, np.radians(15.0)
_STEP, _GRID = np.radians(0.5), np.radians(0.1)
_EDGES = np.arange(4)
# So many things followed into a frame tell by what it is shaken.
SHAKEN_TOGETHER = 3
# Range errors of one thing are shared by its frames: older frames are forgotten by this share at each new one.
FORGET = 0.7
# Logarithms of odds. A thing that is there shows in six frames of ten that could show it; a false box returns to its
# place in two. Real things, too, end their run of boxes early: the misses after the last box count up to a limit.
HIT_ODDS, MISS_ODDS, ENDING_MISSES = 1.1, 0.7, 5
# What is smaller than this share of the smallest box seen need not be noticed.
NOTICED = 0.85


def follow(seen: Observations, spots: Spots, camera: Camera, *, steady: bool = True) -> tuple[IntArray, FloatArray]:
    """The number (n,) of the followed thing that each box belongs to, and how likely each of the things is there at
    all: the logarithm of the odds.

    What a camera looks ahead at is followed backwards in time, from near, where its place is clear, to far, where
    equal things in a row look alike. `steady`: headings are good to a tenth of a degree from frame to frame; where
    they are not, the boxes of each frame tell together how far it is turned.
    """
    moved = np.gradient(seen.lens_m, axis=0)[seen.frame] if len(seen.time_s) > 1 else np.zeros((len(seen), 2))
    if float((moved * spots.toward).sum()) <= 0:
        return _followed(seen, spots, camera, steady=steady)
    turned, order = seen.backwards()
    label = np.empty(len(seen), dtype=np.int64)
    label[order], odds = _followed(turned, Spots(turned, camera), camera, steady=steady)
    return label, odds


def _followed(seen: Observations, spots: Spots, camera: Camera, *, steady: bool) -> tuple[IntArray, FloatArray]:
    label = np.full(len(seen), -1, dtype=np.int64)
    course = Course(seen, steady=steady)
    things = _Followed(seen, spots, course)
    bounds = np.searchsorted(seen.frame, np.arange(len(seen.time_s) + 1))
    active = np.zeros(0, dtype=np.int64)
    for k in range(len(seen.time_s)):
        rows = np.arange(bounds[k], bounds[k + 1])
        course.goes_on(k)
        active = active[things.alive(active, k)]
        if len(active):
            expected, chosen, found = _matched(things, active, rows, seen, camera, k)
            label[found] = active[chosen]
            things.extend(active[chosen], found, k)
            lost = np.delete(np.arange(len(active)), chosen)
            missed = _in_sight(expected[lost], rows, seen, camera) & things.large(active[lost], expected[lost])
            things.gap[active[lost[missed]]] += 1
        fresh = rows[label[rows] < 0]
        if len(fresh):
            begun = things.begin(fresh, k)
            label[fresh] = begun
            active = np.concatenate([active, begun])
            just_before = np.arange(max(k - ENDING_MISSES, 0), k)
            for before, boxes in zip(just_before, _expected(things, begun, camera, just_before), strict=True):
                rows = np.arange(bounds[before], bounds[before + 1])
                things.before[begun] += _in_sight(boxes, rows, seen, camera)
    best = np.zeros(things.count)
    np.maximum.at(best, label, seen.score)
    ends = np.minimum((things.gap + things.before)[: things.count], ENDING_MISSES)
    return label, odds_of(best, things.boxes[: things.count], things.missed[: things.count] + ends)


def odds_of(best_score: FloatArray, boxes: IntArray, missed: IntArray) -> FloatArray:
    """Logarithms of the odds that something is there: of which the best box had that score, that so many frames show
    and so many should have shown and don't."""
    best = np.clip(best_score, 0.05, 0.95)
    return np.asarray(np.log(best / (1 - best)) + HIT_ODDS * (boxes - 1) - MISS_ODDS * missed)


class Spots:
    """Where each lone box says its thing is: `place` (n, 2) metres east, north, with `information` (n, 2, 2);
    `range_m` (n,) along the unit direction `toward` (n, 2); `edge_rays` (n, 4, 3): the edges' directions east, north,
    up. `headings` (k,): of the frames, when not those of `seen`."""

    def __init__(self, seen: Observations, camera: Camera, headings: FloatArray | None = None) -> None:
        x, y = (seen.box[:, 0] + seen.box[:, 2]) / 2, (seen.box[:, 1] + seen.box[:, 3]) / 2
        middles = np.stack([seen.box[:, [0, 1, 2, 3]], np.stack([y, x, y, x], axis=1)], axis=2)
        middles[:, [1, 3]] = middles[:, [1, 3], ::-1]  # left, top, right, bottom as x, y
        heading = (seen.heading if headings is None else headings)[seen.frame]
        self.edge_rays = _to_world(camera.rays(middles), heading[:, None])
        centre = _to_world(camera.rays(np.stack([x, y], axis=1)), heading)
        self.toward = centre[:, :2] / np.maximum(np.linalg.norm(centre[:, :2], axis=1, keepdims=True), 1e-9)
        self.range_m, relative = rough_ranges(seen, camera)
        self.place = seen.lens_m[seen.frame] + self.toward * self.range_m[:, None]
        along = self.toward[:, :, None] * self.toward[:, None, :]
        across = np.eye(2) - along
        sigma_along = relative * self.range_m
        sigma_across = np.radians(1.0) * self.range_m + 0.1
        self.information = along / sigma_along[:, None, None] ** 2 + across / sigma_across[:, None, None] ** 2


class _Followed:
    """The things being followed, as arrays with room for one thing per box."""

    def __init__(self, seen: Observations, spots: Spots, course: Course) -> None:
        self.seen, self.spots, self.course, self.count = seen, spots, course, 0
        every = np.arange(len(seen.class_names))
        self.unlike = unlike(seen, every[:, None], every)  # between any two classes
        room = len(seen)
        self.last = np.zeros(room, dtype=np.int64)  # row of the last box
        self.boxes = np.zeros(room, dtype=np.int64)
        self.votes = np.zeros((room, max(len(seen.class_names), 1)))  # score for each class
        self.information = np.zeros((room, 2, 2))
        self.weighted = np.zeros((room, 2))
        self.edge_points = np.zeros((room, 4, 3))  # the last box's edges in space, at the thing's distance
        self.velocity = np.zeros((room, 4))  # of the box, pixels per second
        self.missed = np.zeros(room, dtype=np.int64)  # frames that should have shown it, between its boxes
        self.gap = np.zeros(room, dtype=np.int64)  # and since its last box
        self.before = np.zeros(room, dtype=np.int64)  # and just before its first
        self.least_px = np.full(room, np.inf)  # height of its smallest box

    def alive(self, things: IntArray, k: int) -> BoolArray:
        """Which of the things may still be seen in frame k."""
        last = self.seen.frame[self.last[things]]
        ago_s = self.seen.time_s[k] - self.seen.time_s[last]
        recently: BoolArray = (ago_s <= LOST_S) | (k - last <= LOST_FRAMES)
        # From a vehicle that hardly moves, a thing comes back to where it was.
        way = self.course.way_m[k] - self.course.way_m[last]
        return np.asarray(recently | ((ago_s <= WAITING_S) & (way <= WAITING_M)))

    def large(self, things: IntArray, expected: FloatArray) -> BoolArray:
        """Which of the expected boxes (m, 4) are about as large as the smallest one seen."""
        return np.asarray(expected[:, 3] - expected[:, 1] > NOTICED * self.least_px[things])

    def begin(self, rows: IntArray, k: int) -> IntArray:
        """Numbers of new things, one from each box."""
        things = np.arange(self.count, self.count + len(rows))
        self.count += len(rows)
        self._seen(things, rows, k)
        return things

    def extend(self, things: IntArray, rows: IntArray, k: int) -> None:
        """Give each thing one more box."""
        last = self.last[things]
        elapsed = self.seen.time_s[k] - self.seen.time_s[self.seen.frame[last]]
        rate = (self.seen.box[rows] - self.seen.box[last]) / np.maximum(elapsed, 1e-3)[:, None]
        first = (self.boxes[things] == 1)[:, None]
        self.velocity[things] = np.where(first, rate, 0.5 * self.velocity[things] + 0.5 * rate)
        self.missed[things] += self.gap[things]
        self.gap[things] = 0
        self._seen(things, rows, k)

    def _seen(self, things: IntArray, rows: IntArray, k: int) -> None:
        lens, turn = self.course.lens_m[k], self.course.turn(k)
        toward = self.spots.toward[rows] @ turn.T
        spot = turn @ self.spots.information[rows] @ turn.T
        seen_at = lens + toward * self.spots.range_m[rows][:, None]
        self.information[things] = FORGET * self.information[things] + spot
        self.weighted[things] = FORGET * self.weighted[things] + (spot @ seen_at[..., None])[..., 0]
        self.last[things] = rows
        height = self.seen.box[rows, 3] - self.seen.box[rows, 1]
        self.least_px[things] = np.minimum(self.least_px[things], height)
        self.boxes[things] += 1
        self.votes[things, self.seen.name[rows]] += self.seen.score[rows] + 1e-6
        place = np.linalg.solve(self.information[things], self.weighted[things][..., None])[..., 0]
        distance = np.maximum(((place - lens) * toward).sum(axis=1), 1.0)
        rays = self.spots.edge_rays[rows].copy()
        rays[..., :2] = rays[..., :2] @ turn.T
        level = np.maximum(np.hypot(rays[..., 0], rays[..., 1]), 0.05)
        points = rays * (distance[:, None] / level)[..., None]
        points[..., :2] += lens
        self.edge_points[things] = points


def _to_world(rays: FloatArray, heading: FloatArray) -> FloatArray:
    """Directions forward, left, up into east, north, up; the vehicle is taken as level."""
    sin, cos = np.sin(heading), np.cos(heading)
    forward, left = rays[..., 0], rays[..., 1]
    return np.stack([forward * sin - left * cos, forward * cos + left * sin, rays[..., 2]], axis=-1)


def _expected(
    things: _Followed, active: IntArray, camera: Camera, k: IntArray, turned: float | FloatArray = 0.0
) -> FloatArray:
    """The boxes (f, m, 4) that the things would show in frames k (f,) if they stood still; `turned`, one number or
    (f,): radians by which the vehicle heads further right than taken."""
    course = things.course
    lens = np.zeros((len(k), 1, 1, 3))
    lens[:, 0, 0, :2] = course.lens_m[k]
    away = things.edge_points[active] - lens
    heading = (course.heading[k] + turned)[:, None, None]
    sin, cos = np.sin(heading), np.cos(heading)
    east, north = away[..., 0], away[..., 1]
    ahead = np.empty_like(away)
    ahead[..., 0], ahead[..., 1], ahead[..., 2] = east * sin + north * cos, north * sin - east * cos, away[..., 2]
    pixels = camera.project(ahead)
    return np.asarray(pixels[:, :, _EDGES, _EDGES % 2])


def _in_sight(expected: FloatArray, rows: IntArray, seen: Observations, camera: Camera) -> BoolArray:
    """Which of the expected boxes lie well within the picture and not behind a nearer box."""
    inside = clip(expected, camera.size_wh)
    size = np.maximum(area(expected), 1.0)
    visible = area(inside) > 0.7 * size
    nearer = seen.box[rows][None, :, 3] > expected[:, None, 3]
    covered = (intersection(expected, seen.box[rows]) / size[:, None] > 0.3) & nearer
    return np.asarray(visible & ~covered.any(axis=1))


def _matched(
    things: _Followed, active: IntArray, rows: IntArray, seen: Observations, camera: Camera, k: int
) -> tuple[FloatArray, IntArray, IntArray]:
    """What was expected (m, 4), indexes into `active` and the rows they get, of least total cost."""
    course, last = things.course, things.last[active]
    here = np.array([k, k])
    expected, beside = _expected(things, active, camera, here, np.array([0.0, _STEP]))
    travelled = course.way_m[k] - course.way_m[seen.frame[last]]
    distance = np.maximum(np.linalg.norm(things.edge_points[active, 3, :2] - course.lens_m[k], axis=1), 1.0)
    unlikeness = things.unlike[things.votes[active].argmax(axis=1)[:, None], seen.name[rows]]
    pairs = _Pairs(seen, last, unlikeness, rows, 1 + travelled / distance, camera)
    if len(rows) and not course.steady:
        turned = pairs.turned(expected, (beside - expected) / _STEP, course.doubt[k])
        course.turn_by(k, turned)
        expected = _expected(things, active, camera, here[:1])[0]
    elapsed = seen.time_s[k] - seen.time_s[seen.frame[last]]
    quick = (elapsed <= OWN_MOTION_S) & (things.boxes[active] > 1)
    moving = np.where(quick[:, None], seen.box[last] + things.velocity[active] * elapsed[:, None], np.nan)
    chosen, found = pairs.assigned(expected, moving)
    if len(chosen) >= SHAKEN_TOGETHER and not course.steady:
        # What pitching, and the turning that is left, shift the whole picture by.
        off, free = expected[chosen] - seen.box[rows[found]], ~pairs.cut[chosen, found]
        shift = [_middle(off[:, axis::2][free[:, axis::2]]) for axis in (0, 1)]
        chosen, found = pairs.assigned(expected - np.tile(shift, 2), moving)
    return expected, chosen, rows[found]


def _middle(values: FloatArray) -> float:
    """The median, or 0 of none; much quicker than the library's for so few."""
    return float(np.sort(values)[len(values) // 2]) if len(values) else 0.0


class Course:
    """The way of the lens as the boxes correct it: `lens_m` (k, 2), `heading` (k,), `way_m` (k,) metres driven, and
    `doubt` (k,): one sigma in radians of how far a frame may be turned against what the one before makes of it.

    A path smoothed from fixes turns too early or too late in bends and weaves on the straight: by some degrees a
    second, for seconds. So what a frame is turned by goes on turning for a while.
    """

    def __init__(self, seen: Observations, *, steady: bool) -> None:
        self.steady, self.times = steady, seen.time_s
        self.raw_lens, self.raw_heading = seen.lens_m, seen.heading
        self.lens_m, self.heading = seen.lens_m.copy(), seen.heading.copy()
        step = np.diff(seen.time_s, prepend=seen.time_s[:1])
        self.way_m = np.cumsum(np.linalg.norm(np.diff(seen.lens_m, axis=0, prepend=seen.lens_m[:1]), axis=1))
        step = np.minimum(step, 1.0)
        self.doubt = TURN_SIGMA + TURN_CHANGE * step**2 + TURN_SHARE * step * self._bending()
        self.off, self.rate = np.zeros(len(step)), 0.0

    def _bending(self) -> FloatArray:
        """How fast (k,) the path turns at most about each frame, radians per second."""
        if len(self.times) < 2:
            return np.zeros(len(self.times))
        rate = np.abs(np.gradient(np.unwrap(self.raw_heading), self.times))
        low = np.searchsorted(self.times, self.times - BEND_NEAR_S)
        high = np.searchsorted(self.times, self.times + BEND_NEAR_S, side="right")
        return np.array([rate[a:b].max() for a, b in zip(low, high, strict=True)])

    def goes_on(self, k: int) -> None:
        """Carry what is known to frame k; call it for each frame in turn."""
        if self.steady or not k:
            return
        step = self.times[k] - self.times[k - 1]
        self.rate *= float(np.exp(-step / TURN_MEMORY_S))
        self.off[k] = self.off[k - 1] + self.rate * min(step, 1.0)
        self._place(k)

    def turn_by(self, k: int, angle: float) -> None:
        """Frame k is turned right by that angle (radians) against what was taken."""
        self.off[k] += angle
        if k:
            step = max(self.times[k] - self.times[k - 1], 0.05)
            self.rate = 0.5 * self.rate + 0.5 * float(np.clip((self.off[k] - self.off[k - 1]) / step, -0.5, 0.5))
        self._place(k)

    def turn(self, k: int) -> FloatArray:
        """The rotation (2, 2) of east and north from the path's axes in frame k to the corrected ones."""
        sin, cos = np.sin(self.off[k]), np.cos(self.off[k])
        return np.array([[cos, sin], [-sin, cos]])

    def _place(self, k: int) -> None:
        self.heading[k] = self.raw_heading[k] + self.off[k]
        if k:
            self.lens_m[k] = self.lens_m[k - 1] + self.turn(k) @ (self.raw_lens[k] - self.raw_lens[k - 1])


class _Pairs:
    """Things (m) against the boxes (n) of one frame: how well each expectation meets each box."""

    def __init__(
        self, seen: Observations, last: IntArray, unlike: FloatArray, rows: IntArray, slack: FloatArray, camera: Camera
    ) -> None:
        self.box, self.unlike = seen.box[rows], unlike
        self.limit = np.array(camera.size_wh * 2, float) - 1
        own = np.maximum(self.box[:, [2, 3, 2, 3]] - self.box[:, [0, 1, 0, 1]], 1.0)
        edge_px = EDGE_PX * camera.size_wh[0] / 1000
        self.tolerance = (SIDE_SHARE * own + edge_px)[None] * slack[:, None, None]
        self.cut = seen.cut[last][:, None] | seen.cut[rows][None]
        one_cut = seen.cut[last][:, None] ^ seen.cut[rows][None]
        unsure = seen.hidden[last][:, None] | seen.hidden[rows][None]
        weight = np.where(one_cut, 0.1, np.where(unsure, 0.3, 1.0))
        self.weight = weight / weight.sum(axis=2, keepdims=True)

    def assigned(self, expected: FloatArray, moving: FloatArray) -> tuple[IntArray, IntArray]:
        """Things and boxes that belong together, by index; `moving` (m, 4): another expectation, or NaN."""
        cost = self._misfit(expected)
        quick = np.isfinite(moving[:, 0])
        if quick.any():
            cost[quick] = np.minimum(cost[quick], self._misfit(np.where(quick[:, None], moving, 0.0))[quick])
        cost += self.unlike
        first, second = linear_sum_assignment(np.minimum(cost, GATE))
        good = cost[first, second] < GATE
        return first[good], second[good]

    def turned(self, expected: FloatArray, slope: FloatArray, doubt: float) -> float:
        """By how many radians the whole frame seems turned, `slope` (m, 4) being how expectations change with that:
        of the turns that would bring one pair together the one that suits most boxes, if it is likely at all."""
        # A turn hardly moves upper and lower edges: pairs that these keep apart need not be tried.
        upright = (self._squares(self._clipped(expected), TOP) * self.weight[..., TOP::2]).sum(axis=2)
        j, i = np.nonzero((np.isfinite(self.unlike) & (upright < GATE)).T)  # box by box
        box, slopes, now = self.box[j, LEFT::2], slope[i, LEFT::2], expected[i, LEFT::2]
        along = slopes * ~self.cut[i, j, LEFT::2]
        strength = (along**2).sum(axis=1)
        with np.errstate(all="ignore"):
            each = (along * (box - now)).sum(axis=1) / strength
        each = each[(strength > 0) & (np.abs(each) < MOST_TURN)]
        if not len(each):
            return 0.0
        tried = np.sort(np.rint(np.append(each, 0.0) / _GRID)) * _GRID
        tried = tried[np.diff(tried, prepend=-np.inf) > 0]
        at = np.clip(now + tried[:, None, None] * slopes, 0, self.limit[LEFT])
        off2 = np.minimum(((at - box) / self.tolerance[i, j, LEFT::2]) ** 2, 100.0)
        cost = (off2 * self.weight[i, j, LEFT::2]).sum(axis=2) + (upright + self.unlike)[i, j]
        best = np.minimum.reduceat(cost, np.flatnonzero(np.diff(j, prepend=-1)), axis=1)
        total = np.minimum(best, GATE).sum(axis=1) + TURN_PRICE * np.log1p((tried / doubt) ** 2)
        return float(tried[total.argmin()])

    def _misfit(self, expected: FloatArray) -> FloatArray:
        """Mean squared misfit (m, n) over the edges that neither picture edge nor nearer box makes worthless."""
        expected = self._clipped(expected)
        cost = (self._squares(expected) * self.weight).sum(axis=2)
        # What is expected outside the picture can't be seen in it.
        gone = (expected[:, 2] - expected[:, 0] < 2.0) | (expected[:, 3] - expected[:, 1] < 2.0)
        return np.asarray(np.where(gone[:, None], np.inf, cost))

    def _squares(self, expected: FloatArray, first: int = 0) -> FloatArray:
        """Squared misfit (m, n, 4) of each edge, in units of what it may miss by; with `first` of every second one from
        there on (m, n, 2)."""
        edges = slice(first, None, 2 if first else 1)
        off = (expected[:, None, edges] - self.box[None, :, edges]) / self.tolerance[..., edges]
        return np.minimum(off**2, 100.0)

    def _clipped(self, expected: FloatArray) -> FloatArray:
        return np.clip(expected, 0, self.limit)
