"""A vehicle's path from position fixes alone: one least-squares problem over the whole track.

State at each knot: east, north (metres), heading (radians clockwise from north), speed (m/s), curvature (1/m) and the
receiver's wandering error east and north (metres). The vehicle drives where it points and steers by curvature, so its
heading is held while it stands. The receiver's error is a first-order Gauss-Markov process plus white noise: it is
shared by neighbouring fixes and does not average away. Factor-graph form of the Rauch-Tung-Striebel smoother, iterated
(Dellaert and Kaess, Factor Graphs for Robot Perception, 2017, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solveh_banded

from vision.geo import FloatArray, wrap_rad

STATES = 7  # east, north, heading, speed, curvature, error east, error north
# A car in town: braking and pulling off by 1 m/s per root second; bends of 8 m radius at most, or 2.5 m/s² sideways,
# held for some seconds.
SPEED_WALK = 1.0
TIGHTEST_CURVATURE, SIDEWAYS_MPS2, BEND_S = 0.12, 2.5, 3.0
# Mostly the wheel is held: from knot to knot it is turned by this share of what bends need, but Cauchy's tails leave
# room for corners: a fifth errs less on the straight, and enters bends late.
STEADY = 0.35
SLIP_M, HEADING_WALK = 0.05, np.radians(0.3)
# A phone's receiver: most of its error wanders with the satellites and the facades, a fifth of it is white.
ERROR_MEMORY_S, WHITE_SHARE = 30.0, 0.2
HEADING_FIX_SIGMA, SPEED_FIX_SIGMA = np.radians(3.0), 0.3
# Fixes that over this time to either side move no faster than so are taken for standing (a zero-velocity update), or
# the heading would follow the receiver's wandering.
STANDING_S, STANDING_MPS, STANDING_SIGMA = 3.0, 0.6, 0.1
# Knots, and how far the path goes on before the first fix and after the last.
KNOT_S, REACH_S = 0.5, 2.0
# What it costs to change between forward and backward, and to drive a metre backwards (vehicles back some ten metres,
# not streets): minus logarithms of how likely. A direction told by a few metres may be off by so many radians.
GEAR_PRICE, BACKWARDS_PRICE, _LOOSE_TURN = 6.0, 0.1, 0.3
_ROUNDS = 25


@dataclass(frozen=True, slots=True, eq=False)
class SmoothPath:
    """Knots of the smoothed path: `states` (k, 7) as in the module's text; `diagonal` (k, 7, 7) and `coupling`
    (k − 1, 7, 7): the blocks of its information matrix; `covariance` (k, 7, 7): marginals at each knot; `problem`: what
    was solved, for those who have more to add to it."""

    time_s: FloatArray
    states: FloatArray
    diagonal: FloatArray
    coupling: FloatArray
    covariance: FloatArray
    problem: PathProblem


def smooth_fixes(
    time_s: FloatArray,
    east_north_m: FloatArray,
    accuracy_m: FloatArray,
    heading: FloatArray | None = None,
    speed_mps: FloatArray | None = None,
) -> SmoothPath:
    """Smooth fixes with strictly increasing times; `accuracy_m` is one sigma per axis.

    `heading` (radians) and `speed_mps` are what the receiver itself says, NaN where it says nothing; its heading counts
    only while it moves.
    """
    knots, at = _knots(time_s)
    states = _first_guess(knots, time_s, east_north_m, accuracy_m)
    if speed_mps is None:
        speed_mps = np.where(_standing(time_s, east_north_m), 0.0, np.nan)
    problem = PathProblem(knots, at, east_north_m, accuracy_m, heading, speed_mps, np.abs(states[:, 3]))
    damping = 1e-3
    cost, diagonal, coupling, gradient = problem.normal(states)
    for _ in range(_ROUNDS):
        step = _solve(diagonal, coupling, -gradient, damping)
        trial = states + step
        trial_cost, *there = problem.normal(trial)
        if trial_cost > cost:
            damping *= 10
            if damping > 1e6:
                break
            continue
        settled = cost - trial_cost < 1e-4 * max(cost, 1.0)
        states, cost, damping = trial, trial_cost, damping / 10
        diagonal, coupling, gradient = there
        if settled:
            break
    return SmoothPath(knots, states, diagonal, coupling, marginals(diagonal, coupling), problem)


def _standing(time_s: FloatArray, east_north_m: FloatArray) -> npt.NDArray[np.bool_]:
    """At which fixes (n,) the vehicle stands: the straight line through those around hardly moves."""
    low = np.searchsorted(time_s, time_s - STANDING_S - 1e-6)
    high = np.searchsorted(time_s, time_s + STANDING_S + 1e-6)
    since = time_s - time_s[0]
    columns = (since, since**2, *east_north_m.T, *(east_north_m.T * since))
    sums = [np.concatenate([[0.0], np.cumsum(column)]) for column in columns]
    count = high - low
    t, tt, x, y, xt, yt = (total[high] - total[low] for total in sums)
    spread = tt - t * t / count
    slope = np.hypot(xt - x * t / count, yt - y * t / count) / np.maximum(spread, 1e-9)
    return np.asarray((slope < STANDING_MPS) & (count >= 4) & (spread > 2.0))


def _knots(time_s: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Knots at the fixes, every half second inside a short gap and beyond both ends; where each fix is among them."""
    beyond = np.arange(KNOT_S, REACH_S + KNOT_S / 2, KNOT_S)
    filled = [time_s, time_s[0] - beyond, time_s[-1] + beyond]
    gaps = np.diff(time_s)
    for i in np.flatnonzero((gaps > 1.5 * KNOT_S) & (gaps <= 10.0)):
        filled.append(np.linspace(time_s[i], time_s[i + 1], int(np.ceil(gaps[i] / KNOT_S - 0.01)) + 1)[1:-1])
    knots = np.sort(np.concatenate(filled))
    return knots, np.searchsorted(knots, time_s)


def _first_guess(knots: FloatArray, time_s: FloatArray, east_north: FloatArray, accuracy: FloatArray) -> FloatArray:
    """Positions through the fixes, headings along chords long enough to tell them, held while standing."""
    states = np.zeros((len(knots), STATES))
    place = np.stack([np.interp(knots, time_s, east_north[:, axis]) for axis in (0, 1)], axis=1)
    for end, inner in ((0, np.searchsorted(time_s, time_s[0] + 3.0)), (-1, np.searchsorted(time_s, time_s[-1] - 3.0))):
        inner = min(int(inner), len(time_s) - 1)
        elapsed = time_s[end] - time_s[inner]
        if elapsed:
            velocity = (east_north[end] - east_north[inner]) / elapsed
            outside = (knots < time_s[0]) if end == 0 else (knots > time_s[-1])
            place[outside] = east_north[end] + (knots[outside, None] - time_s[end]) * velocity
    chord = max(2.0, 2.0 * float(np.median(accuracy)))
    heading = np.full(len(knots), np.nan)
    low = high = 0
    for i in range(len(knots)):
        # the nearest knots before and after that lie half a chord away
        low, high = max(low, 0), max(high, i)
        while low < i and np.hypot(*(place[low + 1] - place[i])) > chord / 2:
            low += 1
        while high < len(knots) - 1 and np.hypot(*(place[high] - place[i])) < chord / 2:
            high += 1
        across = place[high] - place[low]
        # A chord that takes longer than that is the receiver's wandering about a vehicle that stands.
        if np.hypot(*across) >= max(chord / 2, STANDING_MPS * (knots[high] - knots[low])):
            heading[i] = np.arctan2(across[0], across[1])
    moved = np.flatnonzero(np.isfinite(heading))
    if len(moved):
        driven = np.hypot(*np.diff(place[moved], axis=0).T)
        turns = np.unwrap(heading[moved] + np.pi * _backwards(heading[moved], driven))
        heading = np.interp(knots, knots[moved], turns)
    else:
        heading = np.zeros(len(knots))
    states[:, :2], states[:, 2] = place, heading
    if len(knots) > 1:
        velocity = np.gradient(place, knots, axis=0)
        states[:, 3] = velocity[:, 0] * np.sin(heading) + velocity[:, 1] * np.cos(heading)
    return states


def _backwards(direction: FloatArray, driven_m: FloatArray) -> npt.NDArray[np.bool_]:
    """At which of m knots the vehicle drives backwards, from the directions (m,) in which it goes, radians, and the
    metres (m − 1,) from each to the next: what would turn it on the spot is a change of gear (Viterbi's algorithm)."""
    gears = np.array([0.0, np.pi])
    turn = np.abs(wrap_rad(np.diff(direction)[:, None, None] + gears[None, None, :] - gears[None, :, None]))
    free = TIGHTEST_CURVATURE * driven_m + _LOOSE_TURN
    prices = (np.maximum(turn - free[:, None, None], 0.0) / _LOOSE_TURN) ** 2
    prices += GEAR_PRICE * (1 - np.eye(2)) + BACKWARDS_PRICE * driven_m[:, None, None] * np.array([0.0, 1.0])
    cost, came_from = np.zeros(2), np.zeros((len(direction), 2), dtype=np.int64)
    for i, price in enumerate(prices, start=1):
        ways = cost[:, None] + price
        came_from[i] = ways.argmin(axis=0)
        cost = ways.min(axis=0)
    gear = int(cost.argmin())
    backwards = np.zeros(len(direction), dtype=bool)
    for i in range(len(direction) - 1, -1, -1):
        backwards[i] = gear
        gear = int(came_from[i, gear])
    return backwards


class PathProblem:
    """The factors between and at the knots: what the fixes and the way vehicles drive say about the states (k, 7)."""

    def __init__(
        self,
        knots: FloatArray,
        at: npt.NDArray[np.int64],
        east_north: FloatArray,
        accuracy: FloatArray,
        heading: FloatArray | None,
        speed: FloatArray | None,
        rough_speed: FloatArray,
    ) -> None:
        self.dt = np.diff(knots)
        self.at, self.fix = at, east_north
        self.white = WHITE_SHARE * accuracy
        self.heading = np.full(len(at), np.nan) if heading is None else heading
        self.speed = np.full(len(at), np.nan) if speed is None else speed
        self.speed_sigma = np.where(self.speed == 0.0, STANDING_SIGMA, SPEED_FIX_SIGMA)
        self.accuracy = np.interp(knots, knots[at], accuracy)
        self.keep = np.exp(-self.dt / ERROR_MEMORY_S)
        self.bend_keep = np.exp(-self.dt / BEND_S)
        self.bend = np.minimum(TIGHTEST_CURVATURE, SIDEWAYS_MPS2 / np.maximum(rough_speed, 1e-3) ** 2)

    def _between(self, s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Whitened residuals (k − 1, 7) of one knot to the next and their derivatives by both, (k − 1, 7, 7)."""
        a, b, dt = s[:-1], s[1:], self.dt
        speed, turn = (a[:, 3] + b[:, 3]) / 2, (a[:, 2] + b[:, 2]) / 2
        bend = (a[:, 4] + b[:, 4]) / 2
        sin, cos = np.sin(turn), np.cos(turn)
        r = np.stack(
            [
                b[:, 0] - a[:, 0] - speed * sin * dt,
                b[:, 1] - a[:, 1] - speed * cos * dt,
                b[:, 2] - a[:, 2] - bend * speed * dt,
                b[:, 3] - a[:, 3],
                b[:, 4] - self.bend_keep * a[:, 4],
                b[:, 5] - self.keep * a[:, 5],
                b[:, 6] - self.keep * a[:, 6],
            ],
            axis=1,
        )
        to = np.zeros((len(dt), STATES, STATES))
        from_ = np.zeros_like(to)
        eye = np.arange(STATES)
        to[:, eye, eye], from_[:, eye, eye] = 1.0, -1.0
        from_[:, 4, 4] = -self.bend_keep
        from_[:, 5, 5] = from_[:, 6, 6] = -self.keep
        for block in (to, from_):
            block[:, 0, 3] = -sin * dt / 2
            block[:, 1, 3] = -cos * dt / 2
            block[:, 0, 2] = -speed * cos * dt / 2
            block[:, 1, 2] = speed * sin * dt / 2
            block[:, 2, 3] = -bend * dt / 2
            block[:, 2, 4] = -speed * dt / 2
        wander = self.accuracy[1:] * np.sqrt(np.maximum(1 - self.keep**2, 1e-9))
        place = np.sqrt(SPEED_WALK**2 * dt**3 / 12 + SLIP_M**2 * dt)
        bending = (self.bend[1:] + self.bend[:-1]) / 2 * np.sqrt(1 - self.bend_keep**2)
        turning = np.sqrt(HEADING_WALK**2 * dt + (bending * speed * dt) ** 2 / 12)
        sigma = np.stack([place, place, turning, SPEED_WALK * np.sqrt(dt), STEADY * bending, wander, wander], axis=1)
        r, from_, to = r / sigma, from_ / sigma[:, :, None], to / sigma[:, :, None]
        # Cauchy weights: r² w² = 2 r² / (1 + r²).
        weight = np.sqrt(2 / (1 + r[:, 4] ** 2))
        r[:, 4] *= weight
        from_[:, 4] *= weight[:, None]
        to[:, 4] *= weight[:, None]
        return r, from_, to

    def _alone(self, s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Whitened residuals (k, 7) of a fix and of the priors at each knot, and the derivatives (k, 7, 7)."""
        r, j = np.zeros((len(s), STATES)), np.zeros((len(s), STATES, STATES))
        for axis in (0, 1):
            r[self.at, axis] = (s[self.at, axis] + s[self.at, 5 + axis] - self.fix[:, axis]) / self.white
            j[self.at, axis, axis] = j[self.at, axis, 5 + axis] = 1 / self.white
        for row, state, said, sigma in ((2, 2, self.heading, HEADING_FIX_SIGMA), (3, 3, self.speed, self.speed_sigma)):
            off = s[self.at, state] - said
            weight = np.where(np.isfinite(off), 1 / sigma, 0.0)
            if row == 2:
                off, weight = wrap_rad(off), weight * (np.abs(s[self.at, 3]) > 1.0)
            r[self.at, row], j[self.at, row, state] = np.nan_to_num(off) * weight, weight
        r[0, 4], j[0, 4, 4] = s[0, 4] / self.bend[0], 1 / self.bend[0]
        for row in (5, 6):  # the wandering error starts from its own long-run spread
            r[0, row], j[0, row, row] = s[0, row] / self.accuracy[0], 1 / self.accuracy[0]
        # Fixes that jump count little (Cauchy weights, both axes together).
        jump2 = (r[:, :2] ** 2).sum(axis=1)
        weight = 1 / np.sqrt(1 + jump2 / 9.0)
        r[:, :2] *= weight[:, None]
        j[:, :2] *= weight[:, None, None]
        return r, j

    def normal(self, s: FloatArray) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """The cost (half the sum of squares, with the robust loss on fixes), blocks of JᵀJ, diagonal (k, 7, 7) and
        coupling (k − 1, 7, 7), and the gradient (k, 7)."""
        r, j = self._alone(s)
        diagonal = np.swapaxes(j, 1, 2) @ j
        gradient = np.einsum("kri,kr->ki", j, r)
        between, a, b = self._between(s)
        diagonal[:-1] += np.swapaxes(a, 1, 2) @ a
        diagonal[1:] += np.swapaxes(b, 1, 2) @ b
        gradient[:-1] += np.einsum("kri,kr->ki", a, between)
        gradient[1:] += np.einsum("kri,kr->ki", b, between)
        diagonal += np.eye(STATES) * 1e-9
        return _cost(r, between), diagonal, np.swapaxes(a, 1, 2) @ b, gradient


def _cost(alone: FloatArray, between: FloatArray) -> float:
    """Half the sum of whitened residuals (k, 7) and (k − 1, 7), with the robust loss on fixes."""
    # r² w² = x² / (1 + x²/9); undo to x², then the Cauchy loss.
    w2 = (alone[:, :2] ** 2).sum(axis=1)
    x2 = w2 / np.maximum(1 - w2 / 9.0, 1e-9)
    # Likewise of steering, whose r² w² = 2 x² / (1 + x²).
    steering2 = between[:, 4] ** 2
    steered = 2 * np.log1p(steering2 / np.maximum(2 - steering2, 1e-9)) - steering2
    alone2, between2 = (alone[:, 2:] ** 2).sum(), (between**2).sum()
    return float((9.0 * np.log1p(x2 / 9.0)).sum() + alone2 + between2 + steered.sum()) / 2


def _solve(diagonal: FloatArray, coupling: FloatArray, right: FloatArray, damping: float) -> FloatArray:
    """Solve the damped block-tridiagonal system; all (k, 7)."""
    k, n = right.shape
    banded = np.zeros((2 * n, k * n))  # lower form of solveh_banded
    for i in range(n):
        for j in range(n):
            if i >= j:
                banded[i - j, j::n] = diagonal[:, i, j] * (1 + damping if i == j else 1.0)
            banded[n + i - j, j : (k - 1) * n : n] = coupling[:, j, i]
    return np.asarray(solveh_banded(banded, right.ravel(), lower=True)).reshape(k, n)


def marginals(diagonal: FloatArray, coupling: FloatArray) -> FloatArray:
    """Covariance (k, n, n) of each block of a block-tridiagonal information matrix."""
    count = len(diagonal)
    gains, forward = [], np.array(diagonal[0])
    inverses = []
    eye = np.eye(diagonal.shape[1])
    for i in range(count):
        factor = cho_factor(forward)
        inverses.append(cho_solve(factor, eye))
        if i + 1 < count:
            gains.append(cho_solve(factor, coupling[i]))
            forward = diagonal[i + 1] - coupling[i].T @ gains[i]
    covariance = np.empty_like(diagonal)
    covariance[-1] = inverses[-1]
    for i in range(count - 2, -1, -1):
        covariance[i] = inverses[i] + gains[i] @ covariance[i + 1] @ gains[i].T
    return covariance
