"""One thing at a time: where it is, how large, and whether it stands or moves.

All things are solved at once as separate small least-squares problems (Levenberg-Marquardt, one damping each). Each
gets a tilt of the road of its own as a nuisance; the problem that shares tilt and path among all is `together`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from vision.camera import Camera
from vision.geo import FloatArray
from vision.locating.cuboid import (
    BASE,
    HEADING,
    HEIGHT,
    LENGTH,
    PITCH,
    ROLL,
    THING,
    V_EAST,
    WIDTH,
    YAW,
    BoxRows,
    FrameStates,
    linearise,
    robust,
)
from vision.locating.observations import BoolArray, IntArray
from vision.taxonomy import usual_size

OWN = 4  # a thing's own pitch and roll of the road, heading error of the path (radians) and its rate (per second)
UNKNOWN = THING + OWN
_EVERY = np.arange(UNKNOWN)
# Long things stand along the road or across it, give or take.
YAW_SIGMA = np.radians(15.0)
ROUND_YAW_SIGMA = np.radians(60.0)
ELONGATED = 1.3
BASE_SIGMA, RAISED_BASE_SIGMA = 0.1, 0.5
MOVING_SIGMA_MPS = 6.0
# Before looking a thing may stand anywhere about its first rough place.
PLACE_SIGMA_M = 400.0
# So much of a box's miss is its own at least: keeps what it alone holds from dividing by nothing.
_LEAST_LEFT = 1e-6
# How far one round may carry each unknown: metres, radians, logarithms, metres and radians per second.
_STEP_LIMIT = np.array([8.0, 8.0, 0.4, 0.4, 0.4, 0.4, 0.5, 5.0, 5.0, 0.03, 0.06, 0.1, 0.1])


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """What is known of t things before looking: means and sigmas (t, 9) of the cuboid's numbers."""

    mean: FloatArray
    sigma: FloatArray

    def where(self, keep: BoolArray | IntArray) -> Prior:
        """Only the selected things."""
        return Prior(self.mean[keep], self.sigma[keep])

    def followed_by(self, others: Prior) -> Prior:
        """These things and then the others."""
        return Prior(np.concatenate((self.mean, others.mean)), np.concatenate((self.sigma, others.sigma)))


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """t things: cuboids (t, 9), own nuisances (t, 4), robust costs (t,) with priors, information (t, 13, 13), and the
    logarithm of the evidence (t,) by Laplace's approximation."""

    things: FloatArray
    own: FloatArray
    cost: FloatArray
    information: FloatArray
    log_evidence: FloatArray

    def where(self, keep: BoolArray | IntArray) -> Solved:
        """Only the selected things."""
        return Solved(*(getattr(self, name)[keep] for name in self.__slots__))

    @classmethod
    def of_all(cls, parts: Iterable[Solved]) -> Solved:
        """The things of all parts, one part after the other; at least one."""
        columns = zip(*([getattr(part, name) for name in cls.__slots__] for part in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    def better(self, other: Solved) -> Solved:
        """Of two solutions of each thing, the one with more evidence."""
        mine = self.log_evidence >= other.log_evidence

        def pick(first: FloatArray, second: FloatArray) -> FloatArray:
            return np.where(mine.reshape(-1, *[1] * (first.ndim - 1)), first, second)

        return Solved(*(pick(getattr(self, name), getattr(other, name)) for name in self.__slots__))

    def spread(self, numbers: IntArray) -> Solved:
        """Solutions (n,): thing `numbers[i]` at i; where that is −1, zeros and no evidence."""

        def spread(values: FloatArray, empty: float) -> FloatArray:
            full = np.full((len(numbers), *values.shape[1:]), empty)
            full[numbers >= 0] = values[numbers[numbers >= 0]]
            return full

        return Solved(
            spread(self.things, 0.0),
            spread(self.own, 0.0),
            spread(self.cost, 0.0),
            spread(self.information, 0.0),
            spread(self.log_evidence, -np.inf),
        )


def solve_both(
    rows: tuple[BoxRows, BoxRows],
    start: tuple[FloatArray, FloatArray],
    prior: tuple[Prior, Prior],
    frames: FrameStates,
    camera: Camera,
    own_sigma: FloatArray,
) -> tuple[Solved, Solved]:
    """`solve_each` for two lots of things at once, which takes little longer than one."""
    count = len(start[0])
    found = solve_each(
        rows[0].followed_by(rows[1].renumbered(rows[1].thing + count)),
        np.concatenate(start),
        prior[0].followed_by(prior[1]),
        frames,
        camera,
        own_sigma,
    )
    return found.where(np.arange(count)), found.where(np.arange(count, len(found.cost)))


def prior_of(names: list[str], places: FloatArray, yaw: FloatArray, still_mps: float) -> Prior:
    """Priors of things of the named classes at rough places (t, 2), with the long side along `yaw` (t,)."""
    sizes = [usual_size(name) for name in names]
    mean, sigma = np.zeros((len(names), THING)), np.full((len(names), THING), PLACE_SIGMA_M)
    long = np.array([max(s.width, s.depth) for s in sizes])
    short = np.array([min(s.width, s.depth) for s in sizes])
    spread = np.array([s.spread for s in sizes])
    mean[:, :2], mean[:, YAW] = places, yaw
    mean[:, LENGTH], mean[:, WIDTH] = np.log(long), np.log(short)
    mean[:, HEIGHT] = np.log([s.height for s in sizes])
    mean[:, BASE] = [s.base for s in sizes]
    sigma[:, YAW] = np.where(long > ELONGATED * short, YAW_SIGMA, ROUND_YAW_SIGMA)
    sigma[:, LENGTH] = sigma[:, WIDTH] = sigma[:, HEIGHT] = spread
    sigma[:, BASE] = [RAISED_BASE_SIGMA if s.base > 0.5 else BASE_SIGMA for s in sizes]
    sigma[:, V_EAST:] = still_mps
    return Prior(mean, sigma)


def solve_each(
    rows: BoxRows,
    start: FloatArray,
    prior: Prior,
    frames: FrameStates,
    camera: Camera,
    own_sigma: FloatArray,
    rounds: int = 8,
) -> Solved:
    """Solve t things from `start` (t, 9), each with nuisances of its own of sigmas `own_sigma` (4,): pitch, roll and
    heading in radians, heading rate in radians per second."""
    count = len(start)
    mean = np.concatenate([prior.mean, np.zeros((count, OWN))], axis=1)
    weight = 1 / np.concatenate([prior.sigma, np.tile(own_sigma, (count, 1))], axis=1) ** 2
    state = np.concatenate([start, np.zeros((count, OWN))], axis=1)
    rows = rows.where(np.argsort(rows.thing, kind="stable"))
    boxes = _Boxes(rows, frames, count)
    cost, information, gradient = _normal(boxes, state, mean, weight, camera)
    damping = np.full(count, 1e-2)
    open_ = np.arange(count)
    for _ in range(rounds):
        if len(open_) < boxes.count:
            numbers = np.full(count, -1)
            numbers[open_] = np.arange(len(open_))
            part = rows.where(numbers[rows.thing] >= 0)
            boxes = _Boxes(part.renumbered(numbers[part.thing]), frames, len(open_))
        damped = information[open_]
        damped[:, _EVERY, _EVERY] *= 1 + damping[open_, None]
        step = -np.linalg.solve(damped, gradient[open_][..., None])[..., 0]
        trial = state[open_] + np.clip(step, -_STEP_LIMIT, _STEP_LIMIT)
        found = _normal(boxes, trial, mean[open_], weight[open_], camera)
        gain = cost[open_] - found[0]
        good = gain >= 0
        better = open_[good]
        state[better], cost[better] = trial[good], found[0][good]
        information[better], gradient[better] = found[1][good], found[2][good]
        damping[open_] = np.clip(damping[open_] * np.where(good, 0.2, 8.0), 1e-6, 1e6)
        open_ = open_[~(good & (gain < 0.03)) & (damping[open_] < 1e5)]
        if not len(open_):
            break
    _, log_det = np.linalg.slogdet(information)
    evidence = -cost - 0.5 * log_det + 0.5 * np.log(weight).sum(axis=1)
    return Solved(state[:, :THING], state[:, THING:], cost, information, evidence)


class _Boxes:
    """The boxes of `count` things, sorted by thing, in frames of their own: what is the same at all states."""

    def __init__(self, rows: BoxRows, frames: FrameStates, count: int) -> None:
        self.count = count
        self.rows, self._frames = alone(frames, rows)
        boxes = np.bincount(rows.thing, minlength=count)
        self._seen = np.flatnonzero(boxes)
        self._first = (np.cumsum(boxes) - boxes)[self._seen]

    def frames(self, own: FloatArray) -> FrameStates:
        """Their frames when each thing has tilts and heading errors `own` (t, 4)."""
        return bent(self._frames, self.rows, own)

    def summed(self, values: FloatArray) -> FloatArray:
        """What the values (n, …) of each thing come to: (t, …)."""
        if len(self._seen) == self.count:
            return np.add.reduceat(values, self._first, axis=0)
        total = np.zeros((self.count, *values.shape[1:]))
        if len(values):
            total[self._seen] = np.add.reduceat(values, self._first, axis=0)
        return total


def _normal(
    boxes: _Boxes, at: FloatArray, mean: FloatArray, weight: FloatArray, camera: Camera
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Costs (t,), information (t, 13, 13) and gradients (t, 13) at states `at`."""
    off, slope = _slopes(boxes.rows, at, boxes.frames(at[:, THING:]), camera)
    cost, trust = robust(off)
    # With the residuals as one column more, one product has the gradients beside the information.
    products = boxes.summed((slope * trust[..., None]).swapaxes(1, 2) @ np.concatenate([slope, off[..., None]], axis=2))
    information = products[..., :UNKNOWN].copy()
    information[:, _EVERY, _EVERY] += weight
    away = at - mean
    pull = away * weight
    total = boxes.summed(cost.sum(axis=1)) + 0.5 * (away * pull).sum(axis=1)
    return total, information, products[..., UNKNOWN] + pull


def _slopes(rows: BoxRows, at: FloatArray, frames: FrameStates, camera: Camera) -> tuple[FloatArray, FloatArray]:
    """Whitened residuals (n, 4) and their derivatives (n, 4, 13) by the thing and its nuisances, at states (t, 13);
    rows and frames as `apart` has them."""
    off, by_thing, by_frame = linearise(rows, at[:, :THING], frames, camera)
    turn = by_frame[..., HEADING, None]
    rate = turn * rows.elapsed_s[:, None, None]
    return off, np.concatenate([by_thing, by_frame[..., PITCH : ROLL + 1], turn, rate], axis=2)


def against_others(rows: BoxRows, solved: Solved, frames: FrameStates, camera: Camera) -> FloatArray:
    """By how many squared sigmas (n,) each box misses what the other boxes of its thing make expect.

    A lone near box may hold a thing where it wants it, and then fits: its residual r is what its own pull H (the part
    of the solution's information that comes from it) leaves of the miss, which is (I − H)⁻¹ r with covariance
    (I − H)⁻¹ (R. D. Cook and S. Weisberg, Residuals and Influence in Regression, 1982, section 2.2).
    """
    own_rows, own_frames = apart(frames, rows, solved.own)
    off, slope = _slopes(own_rows, np.concatenate([solved.things, solved.own], axis=1), own_frames, camera)
    scale = np.sqrt(robust(off)[1])
    off, slope = off * scale, slope * scale[..., None]
    spread = np.linalg.inv(solved.information)[rows.thing]
    left = np.eye(4) * (1 + _LEAST_LEFT) - slope @ spread @ slope.swapaxes(1, 2)
    return np.asarray(np.einsum("ni,ni->n", off, np.linalg.solve(left, off[..., None])[..., 0]))


def apart(frames: FrameStates, rows: BoxRows, own: FloatArray) -> tuple[BoxRows, FrameStates]:
    """Rows and frames in which every row is a frame of its own, with its thing's own tilt and heading error."""
    own_rows, own_frames = alone(frames, rows)
    return own_rows, bent(own_frames, own_rows, own)


def alone(frames: FrameStates, rows: BoxRows) -> tuple[BoxRows, FrameStates]:
    """Rows and frames in which every row is a frame of its own."""
    places, headings, tilts = frames.place_m[rows.frame], frames.heading[rows.frame], frames.tilt[rows.frame]
    own = replace(frames, place_m=places, heading=headings, tilt=tilts)
    return replace(rows, frame=np.arange(len(rows.frame))), own


def bent(frames: FrameStates, rows: BoxRows, own: FloatArray) -> FrameStates:
    """Frames, one per row, with each thing's own (t, 4) tilt and heading error, and that one's rate."""
    mine = own[rows.thing]
    heading = frames.heading + mine[:, 2] + mine[:, 3] * rows.elapsed_s
    tilt = frames.tilt + mine[:, :2]
    return FrameStates(frames.place_m, frames.lever_m, heading, tilt, frames.log_lens_height, frames.log_focal)
