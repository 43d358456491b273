"""Whether a pass saw the place of a case well enough to say that the thing was not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from shapely import Point, Polygon, STRtree, covers, polygons
from shapely.ops import unary_union

from serve.cases.ground import on_plane, to_plane
from serve.cases.lifecycle import View
from serve.cases.values import Look, Place

GOOD_QUALITY = 0.5
# How much of the circle in which the thing may stand must have been seen. It rather stands in the middle than at the
# rim, so eight tenths of the area hold some nine tenths of what the circle holds.
COVERED_SHARE = 0.8
_LEAST_RADIUS_M = 0.5


class Coverage:
    """The ground that the looks of one pass saw at `GOOD_QUALITY` or better."""

    def __init__(self, looks: Sequence[Look]) -> None:
        good = [look for look in looks if look.quality >= GOOD_QUALITY and len(look.ring_lonlat) >= 4]
        # One plane for the whole pass: over tens of kilometres its error stays below that of the outlines themselves,
        # since place and outline are distorted alike.
        self._origin = min((look.ring_lonlat[0] for look in good), default=(0.0, 0.0))
        by_length: defaultdict[int, list[Look]] = defaultdict(list)
        for look in good:
            by_length[len(look.ring_lonlat)].append(look)
        # Outlines of as many corners each are built in one go, which is many times as fast.
        self._looks = [look for alike in by_length.values() for look in alike]
        self._grounds: list[Polygon] = []
        for alike in by_length.values():
            built = polygons([on_plane(*self._origin, look.ring_lonlat) for look in alike])
            self._grounds += [_valid(ground) for ground in built]
        self._tree = STRtree(self._grounds)
        self._views: dict[Place, View | None] = {}

    def view(self, place: Place) -> View | None:
        """When the pass last saw the place, how well, and in how many looks; None when it did not see enough. How well:
        the best quality, less what was not seen of the place.

        The place counts as seen when `COVERED_SHARE` of its error circle lies in the ground that was seen.
        """
        if not self._looks:
            return None
        if place not in self._views:
            self._views[place] = self._view(place)
        return self._views[place]

    def _view(self, place: Place) -> View | None:
        centre = to_plane(*self._origin, place.longitude_deg, place.latitude_deg)
        circle = Point(*centre).buffer(max(place.error_radius_m, _LEAST_RADIUS_M))
        touching = [int(i) for i in self._tree.query(circle, predicate="intersects")]
        if not touching:
            return None
        grounds = [self._grounds[i] for i in touching]
        share = 1.0 if covers(grounds, circle).any() else unary_union(grounds).intersection(circle).area / circle.area
        if share < COVERED_SHARE:
            return None
        quality = max(self._looks[i].quality for i in touching)
        looks = max(int(covers(grounds, Point(*centre)).sum()), 1)
        return View(max(self._looks[i].seen_at for i in touching), quality * min(share, 1.0), looks)


def _valid(ground: Polygon) -> Polygon:
    """An outline that crosses itself is taken as the areas that it encloses."""
    return ground if ground.is_valid else ground.buffer(0)


def good_view(place: Place, looks: Sequence[Look]) -> View | None:
    """What `Coverage.view` says of these looks of one pass."""
    return Coverage(looks).view(place)
