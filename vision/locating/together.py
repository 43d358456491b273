"""All standing things, the road's tilt and the vehicle's path in one robust sparse least-squares problem.

Unknowns: the nine numbers per thing of `vision.locating.cuboid`; the tilt of the vehicle against the road at knots,
an Ornstein-Uhlenbeck process along the way; corrections of the path at knots, with the smoother's own information
matrix where the path was smoothed, so that the receiver's wandering error stays a bias that all things share; and what
the camera file is unsure of. Bearings from several places triangulate, many things fix the tilt and the heading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import block_array, coo_array, csc_array, csr_array, diags_array

from vision.camera import Camera
from vision.geo import FloatArray
from vision.locating.cuboid import (
    HEADING,
    LOG_FOCAL,
    LOG_LENS_HEIGHT,
    PITCH,
    PLACE_EAST,
    ROLL,
    THING,
    V_EAST,
    BoxRows,
    FrameStates,
    linearise,
    robust,
)
from vision.locating.information import Information
from vision.locating.observations import BoolArray, IntArray
from vision.locating.standing import Prior
from vision.tracks.smoothing import STATES, SmoothPath
from vision.tracks.track import SURVEYED_HEADING_SIGMA_DEG, Track

PER_THING = THING
# The road's tilt: one sigma of pitch and roll, and over what way (and time) it changes.
TILT_SIGMA = (np.radians(0.5), np.radians(1.5))
TILT_MEMORY_M, TILT_MEMORY_S = 30.0, 60.0
KNOT_S = 1.0
PATH_MEMORY_S = 30.0
# What all frames share: log lens height, mount yaw, log focal length, mount pitch, mount roll (radians).
S_HEIGHT, S_YAW, S_FOCAL, S_PITCH, S_ROLL = range(5)
_SHARED = 5
_ROUNDS = 12
# What speed a thing may have for free, first and last, and how many of these it takes for the price to level off.
SPEED_SIGMAS, SPEED_BOUND = (1.6, 0.1), 3.0
# How far one round may carry a thing: metres, radians, logarithms, metres per second.
_STEP_LIMIT = np.array([20.0, 20.0, 0.5, 0.5, 0.5, 0.5, 0.5, 5.0, 5.0])
_KEPT = 5  # east, north, yaw, log length, log width


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """The joint solution: cuboids (t, 9), the frames as corrected, and `covariance` (t, 5, 5) of east, north, yaw,
    log length and log width of each thing (zero where it was not asked for); `corrections`: all
    of tilt, path and camera, for a later solution to start from. `shared` (5,) and `shared_covariance` (5, 5): the
    last of these, in the order of `S_HEIGHT` …, with their covariance where it was asked for; `shared_prior` (5,): the
    sigmas that they had before looking; `cost`: minus the logarithm of the likelihood, up to a constant."""

    things: FloatArray
    frames: FrameStates
    covariance: FloatArray
    corrections: FloatArray
    shared: FloatArray
    shared_covariance: FloatArray
    shared_prior: FloatArray
    cost: float


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What the frames share: knots, where each frame lies between them, and the information of tilt and path."""

    knots_s: FloatArray
    knot: IntArray  # (k,) index of the knot before each frame
    share: FloatArray  # (k,) way from that knot to the next
    path_knot: IntArray
    path_share: FloatArray
    path_states: int  # unknowns per path knot; the first three are east, north, heading
    path_count: int
    smooth: SmoothPath | None  # a smoothed path is solved anew together with the things
    information: csc_array  # over tilt knots, path knots (zero for a smoothed path) and the shared numbers
    shared_prior: FloatArray  # (5,): one sigma of each shared number


def ground_of(track: Track, times_s: FloatArray, lens_m: FloatArray, camera: Camera) -> Ground:
    """Knots and priors for frames at `times_s` whose lens was at `lens_m` (k, 2)."""
    low, high = float(times_s[0]), float(times_s[-1])
    knots = (
        np.linspace(low, high, max(2, int(np.ceil(round(high - low, 6) / KNOT_S)) + 1))
        if high > low
        else np.array([low, low + 1.0])
    )
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(lens_m, axis=0), axis=1))])
    way_at = np.interp(knots, times_s, way)
    keep = np.exp(-np.diff(way_at) / TILT_MEMORY_M - np.diff(knots) / TILT_MEMORY_S)
    tilt = _chain(np.tile(keep[:, None], 2), np.tile(TILT_SIGMA, (len(knots), 1)))
    knot, share = _between(times_s, knots)
    smooth = None if track.surveyed else track.path
    if smooth is None:
        accuracy = np.interp(knots, track.time_s, track.accuracy_m)
        sigma = np.stack([accuracy, accuracy, np.full(len(knots), np.radians(SURVEYED_HEADING_SIGMA_DEG))], axis=1)
        path = _chain(np.tile(np.exp(-np.diff(knots) / PATH_MEMORY_S)[:, None], 3), sigma)
        path_knot, path_share, states, count = knot, share, 3, len(knots)
    else:
        path_knot, path_share = _between(times_s, smooth.time_s)
        states, count = STATES, len(smooth.time_s)
        path = csc_array((states * count,) * 2)
    s = camera.sigma
    focal = max(s.focal_px / float(np.mean(camera.focal_xy)), 1e-5)
    shared = np.array(
        [
            max(s.height_above_ground_m / camera.height_m, 1e-4),
            np.radians(max(s.yaw_deg, 1e-3)),
            focal,
            np.radians(max(s.pitch_deg, 1e-3)),
            np.radians(max(s.roll_deg, 1e-3)),
        ]
    )
    information = csc_array(
        block_array([[tilt, None, None], [None, path, None], [None, None, diags_array(shared**-2.0)]])
    )
    return Ground(knots, knot, share, path_knot, path_share, states, count, smooth, information, shared)


def _between(times_s: FloatArray, knots: FloatArray) -> tuple[IntArray, FloatArray]:
    if len(knots) < 2:
        return np.zeros(len(times_s), dtype=np.int64), np.zeros(len(times_s))
    before = np.clip(np.searchsorted(knots, times_s, side="right") - 1, 0, len(knots) - 2)
    return before, np.clip((times_s - knots[before]) / (knots[before + 1] - knots[before]), 0.0, 1.0)


def _chain(keep: FloatArray, sigma: FloatArray) -> csc_array:
    """Information of an Ornstein-Uhlenbeck chain of d numbers per knot: `keep` (k − 1, d), `sigma` (k, d)."""
    count, width = sigma.shape
    fresh = 1 / (sigma[1:] ** 2 * np.maximum(1 - keep**2, 1e-9))
    diagonal = np.zeros((count, width))
    diagonal[0] += 1 / sigma[0] ** 2
    diagonal[1:] += fresh
    diagonal[:-1] += keep**2 * fresh
    beside = (-keep * fresh).ravel()
    return csc_array(diags_array([diagonal.ravel(), beside, beside], offsets=[0, width, -width]))


def _block_places(count: int, width: int, offset: int) -> tuple[IntArray, IntArray]:
    """Rows and columns of block-tridiagonal blocks: those on the diagonal (k, d, d), those right of it (k − 1, d, d),
    and the latter transposed."""
    i, j = np.meshgrid(np.arange(width), np.arange(width), indexing="ij")
    first = offset + np.arange(count)[:, None, None] * width
    rows, columns = [first + i, first[:-1] + i, first[1:] + j], [first + j, first[1:] + j, first[:-1] + i]
    return np.concatenate([part.ravel() for part in rows]), np.concatenate([part.ravel() for part in columns])


# Cost, data of the information matrix, and gradient.
_Normal = tuple[float, FloatArray, FloatArray]
# The parts that make the information matrix.
_BOXES, _THINGS, _GROUND, _PATH = range(4)


def solve_together(
    rows: BoxRows,
    start: FloatArray,
    prior: Prior,
    frames: FrameStates,
    ground: Ground,
    camera: Camera,
    *,
    may_move: BoolArray | None = None,
    after: Together | None = None,
    with_covariance: bool = True,
) -> Together:
    """Solve all of `start` (t, 9) at once; `frames` are the uncorrected ones.

    Those of `may_move` (t,) may have an even motion at a bounded price (Cauchy's loss on
    speed, graduated from loose to tight: Yang et al., Graduated Non-Convexity, RA-L 2020), so that those that stand
    agree on the path and those that move don't bend it.
    """
    count = len(start)
    layout = _Layout(ground, count)
    rows = rows.where(np.lexsort((rows.frame, rows.thing)))
    columns = layout.columns(rows)
    # Rows of one thing between the same knots hang on the same unknowns.
    first = np.flatnonzero(np.any(columns[1:] != columns[:-1], axis=1)) + 1
    first = np.concatenate([[0], first]) if len(columns) else first
    every = np.arange(len(columns))
    alike = csr_array((np.ones(len(columns)), every, np.append(first, len(columns))), shape=(len(first), len(columns)))
    information = layout.information(columns[first])
    thing_weight = 1 / prior.sigma**2
    anchor = np.concatenate([prior.mean.ravel(), np.zeros(layout.size - count * PER_THING)])
    corrections = np.zeros(layout.size - layout.tilt) if after is None else after.corrections
    state = np.concatenate([start.ravel(), corrections])
    sorting = may_move is not None
    slow = SPEED_SIGMAS[0] if sorting else 0.0

    def believed(at: FloatArray, seen: _Normal) -> _Normal:
        """What the boxes say at a state, with what was known before."""
        weight = thing_weight
        if may_move is not None:
            speed2 = np.where(may_move, (layout.things(at)[:, V_EAST:] ** 2).sum(axis=1), 0.0)
            still = np.where(may_move, slow, SPEED_SIGMAS[1])
            weight = thing_weight.copy()
            weight[:, V_EAST:] = (1 / (still**2 + speed2 / SPEED_BOUND**2))[:, None]
        cost, data, gradient = seen
        off = at - anchor
        away = np.concatenate([weight.ravel() * off[: layout.tilt], ground.information @ off[layout.tilt :]])
        data = data.copy()
        data[information.at[_THINGS]] += weight.ravel()
        data[information.at[_GROUND]] += ground.information.data
        return cost + 0.5 * float(off @ away), data, gradient + away

    def measured(at: FloatArray) -> _Normal:
        """What the boxes, and the receiver's fixes, say at a state."""
        now = layout.frames(at, frames)
        off, by_thing, by_frame = linearise(rows, layout.things(at), now, camera)
        cost, trust = robust(off)
        slope = layout.slopes(rows, by_thing, by_frame)
        weighted = (slope * trust[..., None]).swapaxes(1, 2)
        squares = alike @ (weighted @ slope).reshape(len(columns), columns.shape[1] ** 2)
        data = information.added_up(_BOXES, squares.ravel())
        pull = (weighted @ off[..., None]).ravel()
        gradient: FloatArray = np.bincount(columns.ravel(), pull, minlength=layout.size).astype(np.float64)
        total = float(cost.sum())
        if ground.smooth is not None:
            path_cost, path_values, path_gradient = layout.path_factors(at, ground.smooth)
            total += path_cost
            data[information.at[_PATH]] += path_values
            gradient[layout.path : layout.shared] += path_gradient
        return total, data, gradient

    limit = np.tile(_STEP_LIMIT, count)
    seen = measured(state)
    cost, data, gradient = believed(state, seen)
    # Little damping: what only the receiver holds, such as the turn of the whole path, is weak beside what boxes hold.
    damping = 1e-10
    for turn in range(_ROUNDS):
        if sorting and slow > SPEED_SIGMAS[1]:
            slow = max(SPEED_SIGMAS[1], SPEED_SIGMAS[0] * 0.5**turn)
            cost, data, gradient = believed(state, seen)
        damped = data.copy()
        damped[information.diagonal] *= 1 + damping
        step = information.factor(damped).solve(-gradient)
        step[: layout.tilt] = np.clip(step[: layout.tilt], -limit, limit)
        # A first solution, to sort motion or to find the tilt, need not be sharp.
        tolerance = 0.05 + 1e-4 * cost if after else 0.5 + 1e-3 * cost
        graduated = may_move is None or slow <= SPEED_SIGMAS[1]
        trial = measured(state + step)
        trial_cost, trial_data, trial_gradient = believed(state + step, trial)
        if trial_cost > cost + tolerance:  # too far along the right way, as a rule
            step *= 0.3
            trial = measured(state + step)
            trial_cost, trial_data, trial_gradient = believed(state + step, trial)
        if trial_cost > cost:
            # Boxes cut by the picture's edge make the cost rough: two rounds without gain are the end.
            if graduated and (damping > 1e-4 or trial_cost < cost + tolerance):
                break
            damping = 1e-3
            continue
        settled = cost - trial_cost < tolerance
        state, seen = state + step, trial
        cost, data, gradient = trial_cost, trial_data, trial_gradient
        damping = max(damping / 10, 1e-12)
        if settled and graduated:
            break
    covariance: FloatArray = np.zeros((count, _KEPT, _KEPT))
    shared: FloatArray = np.zeros((_SHARED, _SHARED))
    if after and with_covariance:
        factor = information.factor(data)
        covariance = factor.covariance(np.arange(count)[:, None] * PER_THING + np.arange(_KEPT))
        shared = factor.covariance(layout.shared + np.arange(_SHARED)[None])[0]
    return Together(
        layout.things(state),
        layout.frames(state, frames),
        covariance,
        state[layout.tilt :],
        state[layout.shared :],
        shared,
        ground.shared_prior,
        cost,
    )


class _Layout:
    """Where each unknown stands in the long vector: things, tilt knots, path knots, shared numbers."""

    def __init__(self, ground: Ground, count: int) -> None:
        self.ground, self.count = ground, count
        self.tilt = count * PER_THING
        self.path = self.tilt + 2 * len(ground.knots_s)
        self.shared = self.path + ground.path_states * ground.path_count
        self.size = self.shared + _SHARED

    def columns(self, rows: BoxRows) -> IntArray:
        """Unknowns (n, 22) that each row depends on."""
        g, n = self.ground, len(rows.frame)
        thing = rows.thing[:, None] * PER_THING + np.arange(PER_THING)
        tilt = self.tilt + 2 * g.knot[rows.frame][:, None] + np.arange(4)
        last = max(g.path_count - 1, 0)
        before = g.path_knot[rows.frame]
        after = np.minimum(before + 1, last)
        path = self.path + g.path_states * np.stack([before, after], axis=1)[:, :, None] + np.arange(3)
        shared = np.broadcast_to(self.shared + np.arange(_SHARED), (n, _SHARED))
        return np.concatenate([thing, tilt, path.reshape(n, 6), shared], axis=1)

    def information(self, columns: IntArray) -> Information:
        """The pattern that boxes which hang on the unknowns `columns` (g, 22) make with what is known besides."""
        width = columns.shape[1]
        boxes = (np.repeat(columns, width, axis=1).ravel(), np.tile(columns, width).ravel())
        things = np.arange(self.tilt)
        known = coo_array(self.ground.information)
        parts = [boxes, (things, things), (known.row + self.tilt, known.col + self.tilt)]
        if self.ground.smooth is not None:
            parts.append(_block_places(self.ground.path_count, self.ground.path_states, self.path))
        return Information(self.size, parts)

    def slopes(self, rows: BoxRows, by_thing: FloatArray, by_frame: FloatArray) -> FloatArray:
        """Derivatives (n, 4, 22) by those unknowns."""
        g = self.ground
        share = g.share[rows.frame][:, None, None]
        path_share = g.path_share[rows.frame][:, None, None]
        tilt, path = by_frame[..., PITCH : ROLL + 1], by_frame[..., PLACE_EAST : HEADING + 1]
        shared = np.stack(
            [
                by_frame[..., LOG_LENS_HEIGHT],
                by_frame[..., HEADING],
                by_frame[..., LOG_FOCAL],
                by_frame[..., PITCH],
                by_frame[..., ROLL],
            ],
            axis=2,
        )
        return np.concatenate(
            [
                by_thing,
                tilt * (1 - share),
                tilt * share,
                path * (1 - path_share),
                path * path_share,
                shared,
            ],
            axis=2,
        )

    def path_factors(self, state: FloatArray, smooth: SmoothPath) -> tuple[float, FloatArray, FloatArray]:
        """Cost, information (as `_block_places` has its entries) and gradient (over the path's) of the path itself."""
        now = smooth.states + state[self.path : self.shared].reshape(smooth.states.shape)
        cost, diagonal, coupling, gradient = smooth.problem.normal(now)
        values = np.concatenate([diagonal.ravel(), coupling.ravel(), coupling.ravel()])
        return cost, values, gradient.ravel()

    def things(self, state: FloatArray) -> FloatArray:
        """Cuboids (t, 9)."""
        return state[: self.tilt].reshape(self.count, PER_THING)

    def frames(self, state: FloatArray, raw: FrameStates) -> FrameStates:
        """The frames with all corrections."""
        g = self.ground
        knots = state[self.tilt : self.path].reshape(-1, 2)
        tilt = knots[g.knot] * (1 - g.share)[:, None] + knots[g.knot + 1] * g.share[:, None]
        path = state[self.path : self.shared].reshape(g.path_count, g.path_states)[:, :3]
        after = np.minimum(g.path_knot + 1, g.path_count - 1)
        moved = path[g.path_knot] * (1 - g.path_share)[:, None] + path[after] * g.path_share[:, None]
        log_height, yaw, log_focal, pitch, roll = state[self.shared :]
        return FrameStates(
            raw.place_m + moved[:, :2],
            raw.lever_m,
            raw.heading + moved[:, 2] + yaw,
            raw.tilt + tilt + np.array([pitch, roll]),
            raw.log_lens_height + float(log_height),
            raw.log_focal + float(log_focal),
        )
