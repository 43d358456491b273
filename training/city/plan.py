"""A city of known truth, drawn from a seed: streets, and things that stand, go and come back along them.

Units and frames: metres east and north of `ORIGIN`; yaw in radians anticlockwise from east; time in days, one pass a
day. Things lie beyond the parked vehicles, on both sides; some are rows of equal overflowing bins.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path

import numpy as np

from training.errors import TrainingError
from vision.geo import FloatArray, LocalFrame
from vision.taxonomy import usual_size

ORIGIN = LocalFrame(120.30, 31.57)
_STEP_M, _CORNER_RADIUS_M = 0.5, 9.0
# From the street's middle: beyond the parked vehicles to the facades.
_KERB_M, _FACADE_M = 5.6, 8.5
_CORNER_FREE_M, _APART_M = 14.0, 3.0
_ROW_SHARE, _BINS_PER_THING = 0.2, 0.15
# Share of things that stay for good, that go for good, that appear, and that go and come back.
FATES = (("stays", 0.45), ("goes", 0.22), ("appears", 0.15), ("returns", 0.18))


@dataclass(frozen=True, slots=True)
class Rates:
    """How the detector errs and what the city holds; the fields are explained in `rates.toml`."""

    best_recall: float
    half_height_px: float
    height_spread: float
    hard_things: float
    hard_passes: float
    jitter_px: float
    jitter_share: float
    vehicle_recall: float
    false_per_frame: float
    clutter_per_km: float
    clutter_recall: float
    flip_rate: float
    blur_share: float
    blur_quality: float
    classes: Mapping[str, float]
    confused: Mapping[str, list[str]]


def read_rates(path: Path | None = None) -> Rates:
    """The rates from `path`, or those that ship. Raises TrainingError that names the file and the field."""
    shipped = resources.files("training.city").joinpath("rates.toml")
    try:
        table = tomllib.loads((path or shipped).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{path}: cannot be read ({error})", remedy="take training/city/rates.toml as a pattern"
        ) from error
    names = {field.name for field in fields(Rates)}
    if wrong := sorted(set(table) ^ names):
        raise TrainingError(
            f"{path}: {', '.join(wrong)}: missing or unknown", remedy="take training/city/rates.toml as a pattern"
        )
    return Rates(**table)


@dataclass(frozen=True, slots=True)
class Thing:
    """One upright cuboid on the ground. `spans`: the days from and before which it stands there; `hard`: logits by
    which it is harder to see than others; `real`: False for a spot that merely looks like a thing at times."""

    number: int
    class_name: str
    east: float
    north: float
    yaw: float
    size: tuple[float, float, float]
    spans: tuple[tuple[float, float], ...]
    hard: float = 0.0
    real: bool = True

    def stands(self, day: float) -> bool:
        """Whether it is there on that day."""
        return any(begin <= day < end for begin, end in self.spans)

    def distance_m(self, east: float, north: float) -> float:
        """From a point to its footprint; 0 inside."""
        along = (east - self.east) * np.cos(self.yaw) + (north - self.north) * np.sin(self.yaw)
        across = (north - self.north) * np.cos(self.yaw) - (east - self.east) * np.sin(self.yaw)
        return float(np.hypot(max(abs(along) - self.size[0] / 2, 0.0), max(abs(across) - self.size[1] / 2, 0.0)))


@dataclass(frozen=True, slots=True, eq=False)
class City:
    """`route` (n, 2): the middle of all streets in one line, every `step_m` metres; `corners_m`: where it turns,
    metres along it."""

    route: FloatArray
    corners_m: FloatArray
    things: tuple[Thing, ...]
    passes: int
    rates: Rates
    seed: int
    step_m: float = _STEP_M

    @property
    def length_m(self) -> float:
        """Metres of street."""
        return (len(self.route) - 1) * self.step_m

    def along(self, at_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points (n, 2) and directions (n,) in radians anticlockwise from east, at metres along the route."""
        grid = np.arange(len(self.route)) * self.step_m
        points = np.stack([np.interp(at_m, grid, self.route[:, axis]) for axis in (0, 1)], axis=1)
        ahead = np.stack([np.interp(at_m + 0.5, grid, self.route[:, axis]) for axis in (0, 1)], axis=1)
        behind = np.stack([np.interp(at_m - 0.5, grid, self.route[:, axis]) for axis in (0, 1)], axis=1)
        return points, np.arctan2(*(ahead - behind).T[::-1])


def build_city(seed: int, *, km: float = 5.0, things: int = 200, passes: int = 10, rates: Rates | None = None) -> City:
    """Draw a city. The same arguments give the same city.

    Raises TrainingError when there is no room for so many things on so little street.
    """
    rates = rates or read_rates()
    rng = np.random.default_rng([seed, 1])
    route, corners = _route(rng, km * 1000.0)
    bare = City(route, corners, (), passes, rates, seed)
    builder = _Builder(bare, rng)
    while builder.left(things) > 0:
        if rng.random() < _ROW_SHARE / 4.5:
            count = min(int(rng.integers(3, 7)), builder.left(things))
            builder.row("overflow", count, float(rng.uniform(1.0, 5.0)))
        else:
            names, shares = list(rates.classes), np.array(list(rates.classes.values()))
            builder.single(str(rng.choice(names, p=shares / shares.sum())), builder.fate())
    always = ((-np.inf, np.inf),)
    for _ in range(round(things * _BINS_PER_THING)):
        builder.single("bin", always)
    for _ in range(round(rates.clutter_per_km * km)):
        builder.single("garbage", always, real=False)
    return City(route, corners, tuple(builder.things), passes, rates, seed)


def straight_street(seed: int, *, metres: float = 400.0, things: int = 20, rates: Rates | None = None) -> City:
    """A single straight street with things that stay: what a camera and a clock can be tried on."""
    rates = rates or read_rates()
    rng = np.random.default_rng([seed, 9])
    east = np.arange(0.0, metres + _STEP_M / 2, _STEP_M)
    bare = City(np.stack([east, np.zeros_like(east)], axis=1), np.zeros(0), (), 1, rates, seed)
    builder = _Builder(bare, rng)
    while builder.left(things) > 0:
        builder.single(str(rng.choice(list(rates.classes))), ((-np.inf, np.inf),))
    return replace(bare, things=tuple(builder.things))


def street_of_rows(seed: int, pitches_m: Sequence[float], *, passes: int = 10, rates: Rates | None = None) -> City:
    """A straight street with rows of three to six equal overflowing bins that stay, one row for each pitch."""
    rates = rates or read_rates()
    rng = np.random.default_rng([seed, 10])
    east = np.arange(0.0, 60.0 * (len(pitches_m) + 1), _STEP_M)
    bare = City(np.stack([east, np.zeros_like(east)], axis=1), np.zeros(0), (), passes, rates, seed)
    builder = _Builder(bare, rng)
    for pitch_m in pitches_m:
        builder.row("overflow", int(rng.integers(3, 7)), pitch_m)
    return replace(bare, things=tuple(builder.things))


def _route(rng: np.random.Generator, length_m: float) -> tuple[FloatArray, FloatArray]:
    """Streets laid like a furrow, so that none crosses another; corners rounded."""
    corner = np.zeros(2)
    corners = [corner]
    heading, turn, total = 0.0, 1, 0.0
    long = True
    while total < length_m + 50.0:
        leg = rng.uniform(250, 450) if long else rng.uniform(70, 130)
        corner = corner + leg * np.array([np.cos(heading), np.sin(heading)])
        corners.append(corner)
        total += leg
        heading += turn * np.pi / 2
        if not long:
            turn = -turn
        long = not long
    points = [corners[0]]
    bends = []
    for before, here, beyond in zip(corners, corners[1:], corners[2:], strict=False):
        into, out = here - before, beyond - here
        into, out = into / np.linalg.norm(into), out / np.linalg.norm(out)
        t = np.linspace(0, np.pi / 2, 30)
        centre = here - _CORNER_RADIUS_M * into + _CORNER_RADIUS_M * out
        arc = centre + _CORNER_RADIUS_M * (np.sin(t)[:, None] * into - np.cos(t)[:, None] * out)
        points.extend(arc)
        bends.append(len(points) - 15)
    points.append(corners[-1])
    line = np.array(points)
    # Rounding made it shorter: the last street goes on as far as is needed.
    missing = length_m + _STEP_M - np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    if missing > 0:
        ahead = line[-1] - line[-2]
        line[-1] += missing * ahead / np.linalg.norm(ahead)
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    grid = np.arange(0.0, length_m + _STEP_M / 2, _STEP_M)
    route = np.stack([np.interp(grid, walked, line[:, axis]) for axis in (0, 1)], axis=1)
    at = walked[bends]
    return route, at[at < length_m]


class _Builder:
    """Places things one after the other, none on another."""

    def __init__(self, city: City, rng: np.random.Generator) -> None:
        self.city, self.rng = city, rng
        self.things: list[Thing] = []

    def left(self, wanted: int) -> int:
        """How many of the wanted things are still to be placed."""
        return wanted - len(self.things)

    def fate(self) -> tuple[tuple[float, float], ...]:
        """The days on which a thing stands there; changes happen between passes."""
        passes = self.city.passes
        kind = self.rng.choice([name for name, _ in FATES], p=[share for _, share in FATES])
        first, second = sorted(self.rng.choice(np.arange(1, max(passes, 3)), 2, replace=False) - 0.5)
        return {
            "stays": ((-np.inf, np.inf),),
            "goes": ((-np.inf, float(first)),),
            "appears": ((float(first), np.inf),),
            "returns": ((-np.inf, float(first)), (float(second), np.inf)),
        }[str(kind)]

    def single(self, class_name: str, spans: tuple[tuple[float, float], ...], *, real: bool = True) -> None:
        """One thing somewhere."""
        self._put(1, 0.0, class_name, spans, real=real)

    def row(self, class_name: str, count: int, pitch_m: float) -> None:
        """Equal things in a row along the kerb, their middles `pitch_m` apart; they stay."""
        self._put(count, pitch_m, class_name, ((-np.inf, np.inf),))

    def _put(
        self, count: int, pitch_m: float, class_name: str, spans: tuple[tuple[float, float], ...], *, real: bool = True
    ) -> None:
        usual = usual_size(class_name)
        scale = self.rng.uniform(0.8, 1.25)
        size = (usual.width * scale, usual.depth * scale, usual.height * scale)
        if count > 1:
            size = (0.6, 0.6, 1.2)
        for _ in range(400):
            side = 1 if self.rng.random() < 0.5 else -1
            lateral = side * (self.rng.uniform(_KERB_M, _FACADE_M) + size[1] / 2)
            start = self.rng.uniform(0, self.city.length_m - count * pitch_m)
            at = start + pitch_m * np.arange(count)
            if (np.abs(at[:, None] - self.city.corners_m[None]) < _CORNER_FREE_M).any():
                continue
            points, yaw = self.city.along(at)
            points = points + lateral * np.stack([-np.sin(yaw), np.cos(yaw)], axis=1)
            if self._free(points, size):
                break
        else:
            raise TrainingError(
                f"no room for {len(self.things) + count} things on {self.city.length_m / 1000:g} km of street",
                remedy="ask for fewer things or more kilometres",
            )
        for point, direction in zip(points, yaw, strict=True):
            hard = float(self.rng.normal(0, self.city.rates.hard_things))
            self.things.append(
                Thing(
                    len(self.things),
                    class_name,
                    float(point[0]),
                    float(point[1]),
                    float(direction),
                    size,
                    spans,
                    hard,
                    real,
                )
            )

    def _free(self, points: FloatArray, size: tuple[float, float, float]) -> bool:
        for other in self.things:
            gap = np.hypot(points[:, 0] - other.east, points[:, 1] - other.north).min()
            if gap < _APART_M + (size[0] + other.size[0]) / 2:
                return False
        return True
