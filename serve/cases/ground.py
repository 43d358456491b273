"""Small plane geometry about a point: metres east and north, covariances, and cells for looking places up.

Distances here are of tens of metres, where a local plane is exact to millimetres.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

import h3.api.basic_int as h3

from serve.cases.values import Place

# WGS 84 mean radii would do; these are the usual metres per degree of latitude and of longitude at the equator.
_METRES_PER_DEGREE = 111_320.0
# Cells of about 28 m along an edge: a cell and its neighbours hold everything within 20 m of a point in it.
CELL_RESOLUTION = 11
REACH_M = 20.0
# The narrowest width of such a cell; how densely smaller outlines are walked.
_SMALL_RING_M, _STEP_M = 45.0, 5.0

Covariance = tuple[float, float, float]
T = TypeVar("T")


def offset_m(origin: Place, to: Place) -> tuple[float, float]:
    """Metres east and north from `origin` to `to`."""
    return to_plane(origin.longitude_deg, origin.latitude_deg, to.longitude_deg, to.latitude_deg)


def to_plane(lon0: float, lat0: float, lon: float, lat: float) -> tuple[float, float]:
    """Metres east and north of (lon0, lat0), degrees in."""
    east = (lon - lon0) * _METRES_PER_DEGREE * math.cos(math.radians(lat0))
    return east, (lat - lat0) * _METRES_PER_DEGREE


def from_plane(lon0: float, lat0: float, east: float, north: float) -> tuple[float, float]:
    """Longitude and latitude in degrees of a point given in metres east and north of (lon0, lat0)."""
    return lon0 + east / (_METRES_PER_DEGREE * math.cos(math.radians(lat0))), lat0 + north / _METRES_PER_DEGREE


def squared_distance(origin: Place, to: Place, spread_m: float = 0.0) -> float:
    """Squared Mahalanobis distance of two places for their combined error, each axis widened by `spread_m`."""
    east, north = offset_m(origin, to)
    a, b, c = (x + y for x, y in zip(origin.covariance_m2, to.covariance_m2, strict=True))
    a, c = a + spread_m**2, c + spread_m**2
    return quadratic((a, b, c), east, north)


def quadratic(covariance: Covariance, east: float, north: float) -> float:
    """(east, north) · covariance⁻¹ · (east, north)."""
    a, b, c = inverse(covariance)
    return a * east**2 + 2 * b * east * north + c * north**2


def inverse(covariance: Covariance) -> Covariance:
    """The inverse of a symmetric 2×2 matrix given as (xx, xy, yy); a singular one is first widened by 1 cm."""
    a, b, c = covariance
    determinant = a * c - b * b
    if determinant <= 1e-12:
        a, c = a + 1e-4, c + 1e-4
        determinant = max(a * c - b * b, 1e-12)
    return c / determinant, -b / determinant, a / determinant


def fuse(places: Sequence[Place]) -> Place:
    """The places of one thing, each from another pass, as one: weighted by their inverse covariances.

    The order does not matter. Errors of different passes are independent (the satellite error of one pass is in its
    covariance already). Only when the places lie further apart than happens one time in twenty is the result widened,
    by the Birge ratio (R. T. Birge, Phys. Rev. 40, 1932). The radius leaves out for the footprint what the place that
    leaves out least does: how large the thing is was not measured ten times over. Raises ValueError when there are no
    places.
    """
    if not places:
        raise ValueError("no places to fuse")
    if len(places) == 1:
        return places[0]
    lon0 = min(place.longitude_deg for place in places)
    lat0 = min(place.latitude_deg for place in places)
    points = [to_plane(lon0, lat0, place.longitude_deg, place.latitude_deg) for place in places]
    weights = [inverse(place.covariance_m2) for place in places]
    total = (_sum(w[0] for w in weights), _sum(w[1] for w in weights), _sum(w[2] for w in weights))
    pull_east = _sum(w[0] * e + w[1] * n for w, (e, n) in zip(weights, points, strict=True))
    pull_north = _sum(w[1] * e + w[2] * n for w, (e, n) in zip(weights, points, strict=True))
    a, b, c = inverse(total)
    east, north = a * pull_east + b * pull_north, b * pull_east + c * pull_north
    misfit = _sum(
        quadratic(place.covariance_m2, e - east, n - north) for place, (e, n) in zip(places, points, strict=True)
    )
    birge = max(1.0, misfit / _rarely_exceeded(2 * (len(places) - 1)))
    covariance = (a * birge, b * birge, c * birge)
    circles = [(circle_90(place.covariance_m2), place.error_radius_m) for place in places]
    footprint = min(max(circle - radius, 0.0) for circle, radius in circles)
    caution = _middle([max(radius / circle, 1.0) for circle, radius in circles])
    circle = caution * circle_90(covariance)
    lon, lat = from_plane(lon0, lat0, east, north)
    return Place(lon, lat, covariance, max(circle - footprint, 0.25 * circle))


def shared_sigma(places: Sequence[Place], shared_sigmas_m: Sequence[float]) -> float:
    """The sigma per axis that the fused place still shares with its neighbours, when each pass shared its own."""
    weights = [1 / max(place.covariance_m2[0] + place.covariance_m2[2], 1e-6) for place in places]
    total = _sum(weights)
    return math.sqrt(
        _sum((weight / total * sigma) ** 2 for weight, sigma in zip(weights, shared_sigmas_m, strict=True))
    )


# Radius of the circle that holds nine tenths of a plane normal distribution whose larger sigma is 1, for smaller
# sigmas 0.0, 0.1, … 1.0 (computed by numerical integration).
_CIRCLES_90 = (1.6449, 1.6479, 1.6573, 1.6738, 1.6992, 1.7371, 1.7915, 1.8625, 1.9472, 2.0424, 2.1460)


def circle_90(covariance: Covariance) -> float:
    """Radius in metres of the circle about its mean that a plane normal distribution meets nine times of ten."""
    a, b, c = covariance
    middle, spread = (a + c) / 2, math.hypot((a - c) / 2, b)
    large, small = math.sqrt(max(middle + spread, 1e-6)), math.sqrt(max(middle - spread, 0.0))
    place = min(small / large, 1.0) * (len(_CIRCLES_90) - 1)
    i = min(int(place), len(_CIRCLES_90) - 2)
    return large * (_CIRCLES_90[i] + (place - i) * (_CIRCLES_90[i + 1] - _CIRCLES_90[i]))


def _rarely_exceeded(freedom: int) -> float:
    """The 95 % point of the chi-square distribution (E. B. Wilson and M. M. Hilferty, 1931)."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + 1.6449 * math.sqrt(part)) ** 3)


def _middle(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _sum(values: Iterable[float]) -> float:
    """A sum that does not depend on the order."""
    return math.fsum(values)


class Near(Generic[T]):
    """Things by place, so that those within `reach_m` of another place are found without looking at all."""

    def __init__(self, reach_m: float) -> None:
        self._reach_m = reach_m
        self._origin: Place | None = None
        self._squares: defaultdict[tuple[int, int], list[T]] = defaultdict(list)

    def _square(self, place: Place) -> tuple[int, int]:
        self._origin = self._origin or place
        east, north = offset_m(self._origin, place)
        return math.floor(east / self._reach_m), math.floor(north / self._reach_m)

    def add(self, place: Place, thing: T) -> None:
        """Put a thing there."""
        self._squares[self._square(place)].append(thing)

    def around(self, place: Place) -> list[T]:
        """All things within reach, and some up to three times as far."""
        column, row = self._square(place)
        return [
            thing
            for x in (column - 1, column, column + 1)
            for y in (row - 1, row, row + 1)
            for thing in self._squares.get((x, y), ())
        ]


def cell_of(longitude_deg: float, latitude_deg: float) -> int:
    """The cell that holds a point, as a signed 64-bit integer that any database indexes."""
    return int(h3.latlng_to_cell(latitude_deg, longitude_deg, CELL_RESOLUTION))


def cells_around(longitude_deg: float, latitude_deg: float) -> set[int]:
    """The cell of a point and its neighbours: they hold everything within `REACH_M`."""
    return set(h3.grid_disk(cell_of(longitude_deg, latitude_deg), 1))


def cells_of_ring(ring_lonlat: Sequence[tuple[float, float]]) -> set[int]:
    """The cells that an outline touches or holds.

    An outline that fits into a cell's width is walked in steps of `_STEP_M`: it may miss a cell that it only grazes by
    a metre or so. A larger one is filled.
    """
    lon0, lat0 = ring_lonlat[0]
    points = on_plane(lon0, lat0, ring_lonlat)
    east, north = [x for x, _ in points], [y for _, y in points]
    if max(max(east) - min(east), max(north) - min(north)) > _SMALL_RING_M:
        shape = h3.LatLngPoly([(lat, lon) for lon, lat in ring_lonlat])
        return set(h3.polygon_to_cells_experimental(shape, CELL_RESOLUTION, "overlap"))
    cells = set()
    last = points[0]
    left = 0.0
    for point in points:
        length = math.hypot(point[0] - last[0], point[1] - last[1])
        walked = left
        while walked <= length:
            share = walked / length if length else 0.0
            at = from_plane(lon0, lat0, last[0] + share * (point[0] - last[0]), last[1] + share * (point[1] - last[1]))
            cells.add(h3.latlng_to_cell(at[1], at[0], CELL_RESOLUTION))
            walked += _STEP_M
        left = walked - length
        last = point
    return cells


def on_plane(lon0: float, lat0: float, lonlat: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Many points in metres east and north of (lon0, lat0)."""
    per_lon = _METRES_PER_DEGREE * math.cos(math.radians(lat0))
    return [((lon - lon0) * per_lon, (lat - lat0) * _METRES_PER_DEGREE) for lon, lat in lonlat]
