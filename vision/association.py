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
from vision.observations import BoolArray, IntArray, Observations, rough_ranges

# An expectation may miss an edge by this share of the box's side and this many pixels of a 1,000-pixel-wide picture.
SIDE_SHARE, EDGE_PX = 0.12, 4.0
GATE = 6.0
KIN_COST = 2.0
LOST_S, LOST_FRAMES = 1.5, 3
OWN_MOTION_S = 0.5
# Range errors of one thing are shared by its frames: older frames are forgotten by this share at each new one.
FORGET = 0.7
# Logarithms of odds. A thing that is there shows in six frames of ten that could show it; a false box returns to its
# place in two. Real things, too, end their run of boxes early: the misses after the last box count up to a limit.
HIT_ODDS, MISS_ODDS, ENDING_MISSES = 1.1, 0.7, 5


def follow(seen: Observations, spots: Spots, camera: Camera) -> tuple[IntArray, FloatArray]:
    """The number (n,) of the followed thing that each box belongs to, from 0 in order of first appearance, and how
    likely each of the things is there at all: the logarithm of the odds."""
    label = np.full(len(seen), -1, dtype=np.int64)
    things = _Followed(seen, spots)
    bounds = np.searchsorted(seen.frame, np.arange(len(seen.time_s) + 1))
    active = np.zeros(0, dtype=np.int64)
    for k in range(len(seen.time_s)):
        rows = np.arange(bounds[k], bounds[k + 1])
        active = active[things.alive(active, k)]
        if len(active):
            expected = _expected(things, active, seen, camera, k)
            chosen, found = _assigned(expected, things, active, rows, seen, camera, k)
            label[found] = active[chosen]
            things.extend(active[chosen], found, k)
            lost = np.delete(np.arange(len(active)), chosen)
            things.gap[active[lost[_in_sight(expected[lost], rows, seen, camera)]]] += 1
        fresh = rows[label[rows] < 0]
        if len(fresh):
            label[fresh] = things.begin(fresh, k)
            active = np.concatenate([active, label[fresh]])
    best = np.zeros(things.count)
    np.maximum.at(best, label, seen.score)
    best = np.clip(best, 0.05, 0.95)
    missed = things.missed[: things.count] + np.minimum(things.gap[: things.count], ENDING_MISSES)
    return label, np.log(best / (1 - best)) + HIT_ODDS * (things.boxes[: things.count] - 1) - MISS_ODDS * missed


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

    def __init__(self, seen: Observations, spots: Spots) -> None:
        self.seen, self.spots, self.count = seen, spots, 0
        room = len(seen)
        self.last = np.zeros(room, dtype=np.int64)  # row of the last box
        self.boxes = np.zeros(room, dtype=np.int64)
        self.information = np.zeros((room, 2, 2))
        self.weighted = np.zeros((room, 2))
        self.edge_points = np.zeros((room, 4, 3))  # the last box's edges in space, at the thing's distance
        self.velocity = np.zeros((room, 4))  # of the box, pixels per second
        self.missed = np.zeros(room, dtype=np.int64)  # frames that should have shown it, between its boxes
        self.gap = np.zeros(room, dtype=np.int64)  # and since its last box

    def alive(self, things: IntArray, k: int) -> BoolArray:
        """Which of the things may still be seen in frame k."""
        last = self.seen.frame[self.last[things]]
        recently: BoolArray = (self.seen.time_s[k] - self.seen.time_s[last] <= LOST_S) | (k - last <= LOST_FRAMES)
        return recently

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
        spot = self.spots.information[rows]
        self.information[things] = FORGET * self.information[things] + spot
        self.weighted[things] = FORGET * self.weighted[things] + np.einsum("nij,nj->ni", spot, self.spots.place[rows])
        self.last[things] = rows
        self.boxes[things] += 1
        place = np.linalg.solve(self.information[things], self.weighted[things][..., None])[..., 0]
        lens = self.seen.lens_m[k]
        distance = np.maximum(((place - lens) * self.spots.toward[rows]).sum(axis=1), 1.0)
        rays = self.spots.edge_rays[rows]
        level = np.maximum(np.hypot(rays[..., 0], rays[..., 1]), 0.05)
        points = rays * (distance[:, None] / level)[..., None]
        points[..., :2] += lens
        self.edge_points[things] = points


def _to_world(rays: FloatArray, heading: FloatArray) -> FloatArray:
    """Directions forward, left, up into east, north, up; the vehicle is taken as level."""
    sin, cos = np.sin(heading), np.cos(heading)
    forward, left = rays[..., 0], rays[..., 1]
    return np.stack([forward * sin - left * cos, forward * cos + left * sin, rays[..., 2]], axis=-1)


def _expected(things: _Followed, active: IntArray, seen: Observations, camera: Camera, k: int) -> FloatArray:
    """The boxes (m, 4) that the things would show in frame k if they stood still."""
    away = things.edge_points[active] - np.append(seen.lens_m[k], 0.0)
    sin, cos = np.sin(seen.heading[k]), np.cos(seen.heading[k])
    east, north = away[..., 0], away[..., 1]
    ahead = np.stack([east * sin + north * cos, north * sin - east * cos, away[..., 2]], axis=-1)
    pixels = camera.project(ahead)
    return np.stack([pixels[:, 0, 0], pixels[:, 1, 1], pixels[:, 2, 0], pixels[:, 3, 1]], axis=1)


def _in_sight(expected: FloatArray, rows: IntArray, seen: Observations, camera: Camera) -> BoolArray:
    """Which of the expected boxes lie well within the picture and not behind a nearer box."""
    inside = clip(expected, camera.size_wh)
    size = np.maximum(area(expected), 1.0)
    visible = area(inside) > 0.7 * size
    nearer = seen.box[rows][None, :, 3] > expected[:, None, 3]
    covered = (intersection(expected, seen.box[rows]) / size[:, None] > 0.3) & nearer
    return np.asarray(visible & ~covered.any(axis=1))


def _assigned(
    expected: FloatArray,
    things: _Followed,
    active: IntArray,
    rows: IntArray,
    seen: Observations,
    camera: Camera,
    k: int,
) -> tuple[IntArray, IntArray]:
    """Indexes into `active` and the rows they get, of least total cost."""
    last = things.last[active]
    elapsed = seen.time_s[k] - seen.time_s[seen.frame[last]]
    moving = seen.box[last] + things.velocity[active] * elapsed[:, None]
    travelled = np.linalg.norm(seen.lens_m[k] - seen.lens_m[seen.frame[last]], axis=1)
    distance = np.maximum(np.linalg.norm(things.edge_points[active, 3, :2] - seen.lens_m[k], axis=1), 1.0)
    slack = 1 + travelled / distance
    cost = _misfit(expected, slack, last, rows, seen, camera)
    quick = (elapsed <= OWN_MOTION_S) & (things.boxes[active] > 1)
    if quick.any():
        cost[quick] = np.minimum(cost[quick], _misfit(moving[quick], slack[quick], last[quick], rows, seen, camera))
    kin = seen.group[last][:, None] == seen.group[rows][None, :]
    same = seen.name[last][:, None] == seen.name[rows][None, :]
    cost = np.where(kin, cost + np.where(same, 0.0, KIN_COST), np.inf)
    first, second = linear_sum_assignment(np.minimum(cost, GATE))
    good = cost[first, second] < GATE
    return first[good], rows[second[good]]


def _misfit(
    expected: FloatArray, slack: FloatArray, last: IntArray, rows: IntArray, seen: Observations, camera: Camera
) -> FloatArray:
    """Mean squared misfit (m, n) over the edges that neither picture edge nor nearer box makes worthless."""
    limit = np.array(camera.size_wh * 2, float) - 1
    expected = np.clip(expected, 0, limit)
    box = seen.box[rows]
    own = np.maximum(box[:, [2, 3, 2, 3]] - box[:, [0, 1, 0, 1]], 1.0)
    tolerance = (SIDE_SHARE * own + EDGE_PX * camera.size_wh[0] / 1000)[None] * slack[:, None, None]
    off2 = ((expected[:, None] - box[None]) / tolerance) ** 2
    one_cut = seen.cut[last][:, None] ^ seen.cut[rows][None]
    unsure = seen.hidden[last][:, None] | seen.hidden[rows][None]
    weight = np.where(one_cut, 0.1, np.where(unsure, 0.3, 1.0))
    cost = (np.minimum(off2, 100.0) * weight).sum(axis=2) / weight.sum(axis=2)
    # What is expected outside the picture can't be seen in it.
    gone = (expected[:, 2] - expected[:, 0] < 2.0) | (expected[:, 3] - expected[:, 1] < 2.0)
    return np.asarray(np.where(gone[:, None], np.inf, cost))
