"""Whether a pass saw the place of a case well enough to say that the thing was not there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shapely import Point, Polygon
from shapely.ops import unary_union

from serve.cases.ground import to_plane
from serve.cases.values import Look, Place

GOOD_QUALITY = 0.5
# How much of the circle in which the thing may stand must have been seen.
COVERED_SHARE = 0.9
_LEAST_RADIUS_M = 0.5


def good_view(place: Place, looks: Sequence[Look]) -> tuple[datetime, float] | None:
    """When these looks of one pass last saw the whole place, and the best quality; None when they did not.

    The place counts as seen when `COVERED_SHARE` of its error circle lies in ground that looks of at least
    `GOOD_QUALITY` cover together.
    """
    lon0, lat0 = place.longitude_deg, place.latitude_deg
    circle = Point(0.0, 0.0).buffer(max(place.error_radius_m, _LEAST_RADIUS_M))
    touching: list[tuple[Look, Polygon]] = []
    for look in looks:
        if look.quality < GOOD_QUALITY or len(look.ring_lonlat) < 4:
            continue
        ground = Polygon([to_plane(lon0, lat0, lon, lat) for lon, lat in look.ring_lonlat]).buffer(0)
        if ground.intersects(circle):
            touching.append((look, ground))
    if not touching:
        return None
    covered = unary_union([ground for _, ground in touching]).intersection(circle).area
    if covered < COVERED_SHARE * circle.area:
        return None
    return max(look.seen_at for look, _ in touching), max(look.quality for look, _ in touching)
