"""Following things through the frames: which boxes of successive frames show the same thing.

Each followed thing has a place on the ground. It is expected in the next frame where a standing thing at that place
would appear, or where its own motion in the picture carries it; boxes are assigned to expectations by least total cost.
Comparing expectation and box in the picture leaves out the road's tilt, which both share; the ground place tells how
the picture changes as the vehicle moves, so that one frame every few metres is enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from vision.camera import Camera
from vision.geo import FloatArray
from vision.observations import IntArray, Observations, rough_ranges

# An expectation may miss an edge by this share of the box's side and this many pixels of a 1,000-pixel-wide picture.
SIDE_SHARE, EDGE_PX = 0.12, 4.0
GATE = 9.0
KIN_COST = 2.0
LOST_S, LOST_FRAMES = 1.5, 3
OWN_MOTION_S = 0.5
# Range errors of one thing are shared by its frames: older frames are forgotten by this share at each new one.
FORGET = 0.7


@dataclass(slots=True)
class _Followed:
    """A thing being followed; mutable on purpose, one per thing and frame loop."""

    rows: list[int]
    information: FloatArray
    weighted: FloatArray
    edge_points: FloatArray = field(default_factory=lambda: np.zeros((4, 3)))
    velocity: FloatArray = field(default_factory=lambda: np.zeros(4))


def follow(seen: Observations, camera: Camera) -> IntArray:
    """The number (n,) of the followed thing that each box belongs to, from 0, in order of first appearance."""
    label = np.full(len(seen), -1, dtype=np.int64)
    if not len(seen):
        return label
    spots = Spots(seen, camera)
    bounds = np.searchsorted(seen.frame, np.arange(len(seen.time_s) + 1))
    active: list[int] = []
    things: list[_Followed] = []
    for k in range(len(seen.time_s)):
        rows = np.arange(bounds[k], bounds[k + 1])
        active = [t for t in active if _alive(things[t], seen, k)]
        if len(rows) and active:
            chosen = [things[t] for t in active]
            for thing, row in _assigned(chosen, rows, seen, camera, k):
                label[row] = active[thing]
                spots.extend(chosen[thing], int(row), k)
        for row in rows[label[rows] < 0]:
            label[row] = len(things)
            active.append(len(things))
            things.append(spots.begin(int(row), k))
    return label


def _alive(thing: _Followed, seen: Observations, k: int) -> bool:
    last = seen.frame[thing.rows[-1]]
    return bool(seen.time_s[k] - seen.time_s[last] <= LOST_S or k - last <= LOST_FRAMES)


class Spots:
    """Rays and rough ranges of all boxes, and from them the places of the followed things."""

    def __init__(self, seen: Observations, camera: Camera) -> None:
        self.seen = seen
        x, y = (seen.box[:, 0] + seen.box[:, 2]) / 2, (seen.box[:, 1] + seen.box[:, 3]) / 2
        middles = np.stack([seen.box[:, [0, 1, 2, 3]], np.stack([y, x, y, x], axis=1)], axis=2)
        middles[:, [1, 3]] = middles[:, [1, 3], ::-1]  # left, top, right, bottom as x, y
        heading = seen.heading[seen.frame]
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

    def begin(self, row: int, k: int) -> _Followed:
        """A new thing from one box."""
        thing = _Followed([row], self.information[row], self.information[row] @ self.place[row])
        self._outline(thing, row, k)
        return thing

    def extend(self, thing: _Followed, row: int, k: int) -> None:
        """The thing with one more box."""
        last = thing.rows[-1]
        elapsed = self.seen.time_s[k] - self.seen.time_s[self.seen.frame[last]]
        if elapsed > 0:
            rate = (self.seen.box[row] - self.seen.box[last]) / elapsed
            thing.velocity = rate if len(thing.rows) == 1 else 0.5 * thing.velocity + 0.5 * rate
        thing.rows.append(row)
        thing.information = FORGET * thing.information + self.information[row]
        thing.weighted = FORGET * thing.weighted + self.information[row] @ self.place[row]
        self._outline(thing, row, k)

    def _outline(self, thing: _Followed, row: int, k: int) -> None:
        """Hang the box's four edges in space, at the thing's distance."""
        place = np.linalg.solve(thing.information, thing.weighted)
        lens = self.seen.lens_m[k]
        distance = max(float((place - lens) @ self.toward[row]), 1.0)
        level = np.hypot(self.edge_rays[row, :, 0], self.edge_rays[row, :, 1])
        thing.edge_points = self.edge_rays[row] * (distance / np.maximum(level, 0.05))[:, None]
        thing.edge_points[:, :2] += lens


def _to_world(rays: FloatArray, heading: FloatArray) -> FloatArray:
    """Directions forward, left, up into east, north, up; the vehicle is taken as level."""
    sin, cos = np.sin(heading), np.cos(heading)
    forward, left = rays[..., 0], rays[..., 1]
    return np.stack([forward * sin - left * cos, forward * cos + left * sin, rays[..., 2]], axis=-1)


def _assigned(
    things: list[_Followed], rows: IntArray, seen: Observations, camera: Camera, k: int
) -> list[tuple[int, int]]:
    """Pairs (index into `things`, row) of least total cost."""
    last = np.array([thing.rows[-1] for thing in things])
    points = np.stack([thing.edge_points for thing in things])
    away = points - np.append(seen.lens_m[k], 0.0)
    sin, cos = np.sin(seen.heading[k]), np.cos(seen.heading[k])
    east, north = away[..., 0], away[..., 1]
    ahead = np.stack([east * sin + north * cos, north * sin - east * cos, away[..., 2]], axis=-1)
    pixels = camera.project(ahead)
    standing = np.stack([pixels[:, 0, 0], pixels[:, 1, 1], pixels[:, 2, 0], pixels[:, 3, 1]], axis=1)
    elapsed = seen.time_s[k] - seen.time_s[seen.frame[last]]
    moving = seen.box[last] + np.stack([thing.velocity for thing in things]) * elapsed[:, None]
    travelled = np.linalg.norm(seen.lens_m[k] - seen.lens_m[seen.frame[last]], axis=1)
    distance = np.maximum(np.linalg.norm(ahead[:, 3, :2], axis=1), 1.0)
    slack = 1 + travelled / distance
    cost = _misfit(standing, slack, last, rows, seen, camera)
    quick = (elapsed <= OWN_MOTION_S) & np.array([len(thing.rows) > 1 for thing in things])
    if quick.any():
        cost[quick] = np.minimum(cost[quick], _misfit(moving[quick], slack[quick], last[quick], rows, seen, camera))
    kin = seen.group[last][:, None] == seen.group[rows][None, :]
    same = seen.name[last][:, None] == seen.name[rows][None, :]
    cost = np.where(kin, cost + np.where(same, 0.0, KIN_COST), np.inf)
    first, second = linear_sum_assignment(np.minimum(cost, GATE))
    return [(int(i), int(rows[j])) for i, j in zip(first, second, strict=True) if cost[i, j] < GATE]


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
