"""The error that all sightings of a pass share and that wanders slowly along it.

Satellite errors are the same for neighbouring frames: a whole row of things comes out shifted one way. The shift is
taken as a first-order Gauss-Markov process on either axis (one sigma per sighting, memory `MEMORY_S`), so that what
some sightings tell of it holds for those seen soon before and after.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# Consumer receivers' errors keep for some tens of seconds.
MEMORY_S = 30.0


@dataclass(frozen=True, slots=True)
class Shift:
    """Metres east and north by which sightings lie off, and the variance (m²) of that knowledge on either axis."""

    east: float
    north: float
    variance_east: float
    variance_north: float


def drift(variance: float, elapsed_s: float) -> float:
    """The variance (m²) by which a shift of stationary variance `variance` has changed after `elapsed_s` seconds."""
    return variance * -math.expm1(-2 * abs(elapsed_s) / MEMORY_S)


class Wander:
    """What sightings in the order of time tell each other of their shifts.

    `times_s`, `variances` (m²): of n sightings, when and how large their shift usually is; `clues`: by index, the
    offset that a sighting shows against something known, with the variance of that offset without the shift.
    """

    def __init__(self, times_s: Sequence[float], variances: Sequence[float], clues: Mapping[int, Shift]) -> None:
        self._times = times_s
        self._scales = [math.sqrt(max(variance, 1e-6)) for variance in variances]
        order = range(len(times_s))
        self._before = self._sweep(order, clues)
        self._after = self._sweep(reversed(order), clues)

    def _sweep(self, order: Iterable[int], clues: Mapping[int, Shift]) -> dict[int, _Told]:
        """For each sighting what those earlier in `order` tell, in units of its own scale: a Kalman filter."""
        told: dict[int, _Told] = {}
        east, north, p_east, p_north = 0.0, 0.0, 1.0, 1.0
        last: float | None = None
        for i in order:
            time = self._times[i]
            if last is not None and time != last:
                keep = math.exp(-abs(time - last) / MEMORY_S)
                lost = 1 - keep * keep
                east, north = keep * east, keep * north
                p_east, p_north = keep * keep * p_east + lost, keep * keep * p_north + lost
            last = time
            told[i] = (east, north, p_east, p_north)
            clue = clues.get(i)
            if clue is not None:
                scale = self._scales[i]
                east, p_east = _update(east, p_east, clue.east / scale, clue.variance_east / scale**2)
                north, p_north = _update(north, p_north, clue.north / scale, clue.variance_north / scale**2)
        return told

    def before(self, i: int) -> Shift:
        """The shift of sighting `i`, told by those before it alone."""
        east, north, p_east, p_north = self._before[i]
        scale = self._scales[i]
        return Shift(scale * east, scale * north, scale**2 * p_east, scale**2 * p_north)

    def around(self, first: int, last: int) -> Shift:
        """The shift of sightings `first` to `last`, told by all the others and by none of these."""
        a, b = self._before[first], self._after[last]
        scale = self._scales[first]
        east, p_east = _both(a[0], a[2], b[0], b[2])
        north, p_north = _both(a[1], a[3], b[1], b[3])
        return Shift(scale * east, scale * north, scale**2 * p_east, scale**2 * p_north)


# East, north and the variances of either.
_Told = tuple[float, float, float, float]


def _update(mean: float, variance: float, seen: float, noise: float) -> tuple[float, float]:
    gain = variance / (variance + noise)
    return mean + gain * (seen - mean), (1 - gain) * variance


def _both(a: float, p_a: float, b: float, p_b: float) -> tuple[float, float]:
    """Two estimates that share the prior of mean 0 and variance 1 as one."""
    information = max(1 / p_a + 1 / p_b - 1, 1.0)
    return (a / p_a + b / p_b) / information, 1 / information
