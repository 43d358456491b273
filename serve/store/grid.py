"""The unit grid of each jurisdiction: its cells, and the cases that lie in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from shapely.geometry import shape

from serve.cases.grid import Cell, Grid
from serve.store.database import Desk
from serve.store.tables import cases, grid_cells

_BATCH = 500


def replace(desk: Desk, cells: Sequence[Cell]) -> int:
    """Put these cells in the place of the jurisdiction's former ones, and every case into its cell; gives how many
    cases changed theirs."""
    desk.connection.execute(grid_cells.delete().where(_mine(desk)))
    rows = [_row(desk, cell) for cell in cells]
    for start in range(0, len(rows), _BATCH):
        desk.connection.execute(grid_cells.insert(), rows[start : start + _BATCH])
    grid = Grid(cells)
    moved = []
    for row in desk.connection.execute(
        sa.select(cases.c.id, cases.c.longitude_deg, cases.c.latitude_deg, cases.c.grid_id, cases.c.unit).where(
            cases.c.jurisdiction == desk.jurisdiction
        )
    ):
        place = _place(grid, row.longitude_deg, row.latitude_deg)
        if place != {"grid_id": row.grid_id, "unit": row.unit}:
            moved.append({"this_case": row.id, **place})
    update = cases.update().where(cases.c.id == sa.bindparam("this_case"))
    named: dict[str, Any] = {"grid_id": sa.bindparam("grid_id"), "unit": sa.bindparam("unit")}
    for start in range(0, len(moved), _BATCH):
        desk.connection.execute(update.values(named), moved[start : start + _BATCH])
    return len(moved)


def place_all(desk: Desk, points: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    """For points given as (longitude, latitude) in degrees the columns `grid_id` and `unit` of a case there."""
    grid = Grid(_around(desk, points)) if points else Grid(())
    return [_place(grid, longitude_deg, latitude_deg) for longitude_deg, latitude_deg in points]


def counts(desk: Desk) -> list[dict[str, Any]]:
    """The cells by id, each with its name, its unit and how many cases lie in it."""
    rows = desk.connection.execute(
        sa.select(grid_cells.c.id, grid_cells.c.name, grid_cells.c.unit, sa.func.count(cases.c.id).label("cases"))
        .outerjoin(cases, (cases.c.grid_id == grid_cells.c.id) & (cases.c.jurisdiction == grid_cells.c.jurisdiction))
        .where(_mine(desk))
        .group_by(grid_cells.c.id, grid_cells.c.name, grid_cells.c.unit)
        .order_by(grid_cells.c.id)
    )
    return [dict(row._mapping) for row in rows]


def outside(desk: Desk) -> int:
    """How many cases lie in no cell."""
    query = sa.select(sa.func.count()).where(cases.c.jurisdiction == desk.jurisdiction, cases.c.grid_id.is_(None))
    return int(desk.connection.scalar(query) or 0)


def _around(desk: Desk, points: Iterable[tuple[float, float]]) -> list[Cell]:
    """The cells whose bounds touch those of all the points: a patrol's cases lie close together."""
    longitudes, latitudes = zip(*points, strict=True)
    rows = desk.connection.execute(
        sa.select(grid_cells).where(
            _mine(desk),
            grid_cells.c.west <= max(longitudes),
            grid_cells.c.east >= min(longitudes),
            grid_cells.c.south <= max(latitudes),
            grid_cells.c.north >= min(latitudes),
        )
    )
    return [Cell(row.id, row.name, row.unit, shape(row.outline)) for row in rows]


def _place(grid: Grid, longitude_deg: float, latitude_deg: float) -> dict[str, Any]:
    cell = grid.at(longitude_deg, latitude_deg)
    return {"grid_id": cell.id if cell else None, "unit": cell.unit if cell else None}


def _mine(desk: Desk) -> sa.ColumnElement[bool]:
    return grid_cells.c.jurisdiction == desk.jurisdiction


def _row(desk: Desk, cell: Cell) -> dict[str, Any]:
    west, south, east, north = cell.bounds
    return {
        "jurisdiction": desk.jurisdiction,
        "id": cell.id,
        "name": cell.name,
        "unit": cell.unit,
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "outline": cell.geojson(),
    }
