"""The city's unit grid (单元网格): which cell holds a place, and whose it is.

A cell's id has 15 digits: district 6, street 3, community 3, sequence 3 (the unit grid id, SZDYWGBSM, of a matter).
Polygons are WGS 84 degrees; CGCS2000 equals it within decimetres.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely import Geometry, Point, STRtree
from shapely.geometry import mapping, shape

from serve.cases.ground import to_plane

_ID = re.compile(r"\d{15}")
# Properties that hold a cell's id, its name and the body that answers for it, in lower case: our names, and those that
# published tables of components have (BGCode, DeptName1); not checked against a standard's own text.
_ID_NAMES = ("grid_id", "id", "bgcode", "szdywgbsm")
_NAME_NAMES = ("name",)
_UNIT_NAMES = ("unit", "deptname1")
_LONGEST_NAME = 100
# Neighbours digitised one after the other overlap by a hand's breadth; more is a mistake.
_OVERLAP_M2 = 25.0
_AREAS = ("Polygon", "MultiPolygon")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. `outline`: a shapely polygon or several, degrees; `unit`: who answers for it, if the file says so."""

    id: str
    name: str
    unit: str | None
    outline: Geometry

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        west, south, east, north = self.outline.bounds
        return west, south, east, north

    def geojson(self) -> dict[str, Any]:
        """The outline as a GeoJSON geometry."""
        return dict(mapping(self.outline))


def read_grid(text: str) -> list[Cell]:
    """The cells of a GeoJSON FeatureCollection of polygons, by id.

    The id is a property `grid_id`, `id`, `BGCode` or `SZDYWGBSM`, or the feature's own `id`; name and unit are `name`,
    and `unit` or `DeptName1`; upper and lower case are the same. Raises ValueError that names the feature at fault.
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from error
    features = said.get("features") if isinstance(said, dict) else None
    if not isinstance(features, list) or said.get("type") != "FeatureCollection" or not features:
        raise ValueError("is no GeoJSON FeatureCollection with features")
    cells: dict[str, Cell] = {}
    for place, feature in enumerate(features):
        try:
            cell = _cell(feature)
        except ValueError as error:
            raise ValueError(f"feature {place}: {error}") from error
        if cell.id in cells:
            raise ValueError(f"feature {place}: the id {cell.id} was there before")
        cells[cell.id] = cell
    return [cells[cell_id] for cell_id in sorted(cells)]


def _cell(feature: Any) -> Cell:
    if not isinstance(feature, dict) or not isinstance(feature.get("properties") or {}, dict):
        raise ValueError("is no GeoJSON feature")
    about = {name.lower(): value for name, value in (feature.get("properties") or {}).items()}
    cell_id = str(_first(about, _ID_NAMES) or feature.get("id") or "")
    if not _ID.fullmatch(cell_id):
        raise ValueError(f"the id {cell_id[:40]!r} does not have 15 digits")
    name, unit = _first(about, _NAME_NAMES), _first(about, _UNIT_NAMES)
    return Cell(
        cell_id, str(name or "")[:_LONGEST_NAME], str(unit)[:_LONGEST_NAME] if unit else None, _outline(feature)
    )


def _outline(feature: Mapping[str, Any]) -> Geometry:
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict) or geometry.get("type") not in _AREAS:
        raise ValueError(f"its geometry is none of {', '.join(_AREAS)}")
    try:
        outline = shapely.force_2d(shape(geometry))
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"its outline cannot be read ({error})") from error
    if outline.is_empty or not outline.is_valid:
        raise ValueError(f"its outline is not valid: {shapely.is_valid_reason(outline)}")
    west, south, east, north = outline.bounds
    if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
        raise ValueError("its outline is not in degrees of WGS 84 (longitude first)")
    return outline


def _first(about: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((about[name] for name in names if about.get(name) not in (None, "")), None)


def overlaps(cells: Sequence[Cell]) -> Iterator[tuple[str, str, float]]:
    """Pairs of cells that share more than a border, with how many square metres; of such ground the smaller id has
    it."""
    tree = STRtree([cell.outline for cell in cells])
    for i, j in tree.query([cell.outline for cell in cells], predicate="intersects").T:
        if i < j:
            shared = cells[i].outline.intersection(cells[j].outline)
            area = _area_m2(shared)
            if area > _OVERLAP_M2:
                yield cells[i].id, cells[j].id, area


def _area_m2(outline: Geometry) -> float:
    if outline.is_empty:
        return 0.0
    lon0, lat0 = shapely.get_coordinates(outline)[0]
    east, north = to_plane(lon0, lat0, lon0 + 1.0, lat0 + 1.0)
    return float(outline.area * east * north)


class Grid:
    """Cells by place."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._cells = sorted(cells, key=lambda cell: cell.id)
        self._tree = STRtree([cell.outline for cell in self._cells])

    def at(self, longitude_deg: float, latitude_deg: float) -> Cell | None:
        """The cell that holds a point, borders included, the one with the smallest id where several do; None where
        none does."""
        found = self._tree.query(Point(longitude_deg, latitude_deg), predicate="intersects")
        return self._cells[min(found)] if len(found) else None
