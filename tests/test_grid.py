"""The unit grid: which cell holds a case, and who may see it then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import jiejing
from serve.access import Role
from serve.cases.grid import Grid, overlaps, read_grid
from serve.store.database import Database
from tests.access_support import bearer, context_of, key_for
from tests.serve_support import LAT, START, cases_of, days, east, picture, running, send, thing

CITY = "320200"
WEST, MIDDLE, EAST = "320211001001001", "320211001002001", "320213004001001"


def square(cell_id: str, west_m: float, east_m: float, **about: Any) -> dict[str, Any]:
    """A cell of 200 m north to south, from so many metres east of the usual place to so many."""
    south, north = LAT - 100 / 111_320, LAT + 100 / 111_320
    ring = [[east(x), y] for x, y in ((west_m, south), (east_m, south), (east_m, north), (west_m, north))]
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    return {"type": "Feature", "properties": {"grid_id": cell_id, **about}, "geometry": geometry}


def collection(*features: dict[str, Any]) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features})


THREE = collection(
    square(EAST, 200, 400, unit="Street B"),
    square(WEST, -100, 100, name="Bridge Lane", unit="Street A"),
    square(MIDDLE, 100, 200),
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "FeatureCollection"),
        ('{"type": "FeatureCollection", "features": []}', "FeatureCollection"),
        (collection({"type": "Feature"}), "15 digits"),
        (collection(square("12345", 0, 1)), "15 digits"),
        (collection(square(WEST, 0, 1), square(WEST, 1, 2)), "feature 1: the id 320211001001001 was there before"),
        (collection({**square(WEST, 0, 1), "geometry": {"type": "Point", "coordinates": [1, 2]}}), "Polygon"),
        (collection({**square(WEST, 0, 1), "geometry": {"type": "Polygon", "coordinates": "x"}}), "cannot be read"),
        (collection({**square(WEST, 0, 1), "geometry": {"type": "Polygon", "coordinates": []}}), "not valid"),
        (
            collection(
                {
                    **square(WEST, 0, 1),
                    "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
                }
            ),
            "not valid: Self-intersection",
        ),
        (
            collection(
                {
                    **square(WEST, 0, 1),
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [[[5e5, 3e6], [6e5, 3e6], [6e5, 4e6], [5e5, 3e6]]],
                    },
                }
            ),
            "degrees of WGS 84",
        ),
    ],
)
def test_what_is_no_grid_is_refused_with_the_feature_at_fault(text: str, said: str) -> None:
    """No JSON, no polygons, ids of another length or given twice, outlines that cross themselves or are in metres."""
    with pytest.raises(ValueError, match=said):
        read_grid(text)


def test_names_that_cities_tools_use_are_understood() -> None:
    """`BGCode`, `DeptName1` in any case, a feature's own `id`, and outlines with heights or of several parts."""
    feature = square("", 0, 10, BGCode=WEST, name="桥巷", DEPTNAME1="街道办")
    del feature["properties"]["grid_id"]
    high = [[[[*point, 3.0] for point in ring] for ring in feature["geometry"]["coordinates"]]]
    feature["geometry"] = {"type": "MultiPolygon", "coordinates": high}
    other = {**square(EAST, 10, 20), "id": int(EAST), "properties": None}
    west, right = read_grid(collection(other, feature))
    assert (west.id, west.name, west.unit) == (WEST, "桥巷", "街道办")
    assert (right.id, right.name, right.unit) == (EAST, "", None)


def test_ground_that_two_cells_claim_is_told_and_goes_to_the_smaller_id() -> None:
    """A shared border is no overlap; a strip of 5 m by 200 m is 1,000 m²."""
    cells = read_grid(THREE)
    assert list(overlaps(cells)) == []
    ((one, other, area_m2),) = overlaps(read_grid(collection(square(WEST, 0, 105), square(MIDDLE, 100, 200))))
    assert (one, other) == (WEST, MIDDLE)
    assert area_m2 == pytest.approx(1000, rel=0.01)
    grid = Grid(read_grid(collection(square(MIDDLE, 100, 200), square(WEST, 0, 105))))
    assert grid.at(east(102), LAT).id == WEST  # type: ignore[union-attr]


@given(x=st.floats(-300, 600), y=st.floats(-300, 300))
def test_a_point_lies_in_the_cell_around_it(x: float, y: float) -> None:
    """Every point, borders included, is in the cell that plain arithmetic names, and in none outside of all."""
    cell = Grid(read_grid(THREE)).at(east(x), LAT + y / 111_320)
    margin = 1e-3
    if min(abs(x - edge) for edge in (-100, 100, 200, 400)) < margin or abs(abs(y) - 100) < margin:
        return
    inside = abs(y) < 100
    expected = WEST if -100 < x < 100 else MIDDLE if 100 < x < 200 else EAST if 200 < x < 400 else None
    assert (cell.id if cell else None) == (expected if inside else None)


def test_cases_find_their_cell_and_areas_their_cases(tmp_path: Path) -> None:
    """Imported before or after, the grid names each case's cell and unit; a key of an area sees its cells' cases and
    no others, and a case that further patrols place elsewhere goes with its place."""
    (tmp_path / "grid.geojson").write_text(THREE, "utf-8")
    run = CliRunner(env={"JIEJING_JURISDICTION": CITY, "JIEJING_DATA": str(tmp_path / "data")}).invoke
    with running(tmp_path / "data", jurisdiction=CITY, require_keys=True) as client:
        client.headers |= bearer(key_for(client, Role.ADMIN, CITY))
        send(client, {"a.jpg": picture(thing(at_m=0), thing("overflow", at_m=300), thing(at_m=900), name="a")})
        assert {case["properties"]["grid_id"] for case in cases_of(client)} == {None}
        done = run(jiejing.app, ["grid", "import", str(tmp_path / "grid.geojson")])
        assert done.exit_code == 0, done.output
        assert "3 cells; 2 cases changed their cell, 1 lie in none" in done.output
        send(client, {"b.jpg": picture(thing("shed", at_m=50), name="b")}, started_at=START + days(0.01))
        placed = {
            case["properties"]["class"]: case["properties"] for case in cases_of(client, near=f"{east(0)},{LAT},450")
        }
        assert {name: (one["grid_id"], one["unit"]) for name, one in placed.items()} == {
            "garbage": (WEST, "Street A"),
            "overflow": (EAST, "Street B"),
            "shed": (WEST, "Street A"),
        }
        for area, expected in (("320211", {"garbage", "shed"}), ("320213004", {"overflow"}), ("110101", set())):
            client.headers |= bearer(key_for(client, Role.HANDLER, CITY, area=area))
            assert {case["properties"]["class"] for case in cases_of(client)} == expected
        listed = json.loads(run(jiejing.app, ["grid", "list", "--json"]).output)
        assert [(cell["id"], cell["cases"]) for cell in listed["cells"]] == [(WEST, 2), (MIDDLE, 0), (EAST, 1)]
        assert listed["outside"] == 1
        # Another city's books know nothing of this grid.
        with context_of(client).database.reading("110000") as desk:
            from serve.store import grid

            assert grid.counts(desk) == []
            assert grid.place_all(desk, [(east(0), LAT)]) == [{"grid_id": None, "unit": None}]


def test_a_grid_at_fault_changes_nothing(tmp_path: Path) -> None:
    """A file with one wrong feature is refused whole; the grid before it stays."""
    (tmp_path / "good.geojson").write_text(THREE, "utf-8")
    (tmp_path / "bad.geojson").write_text(collection(square(WEST, 0, 10), square("1", 10, 20)), "utf-8")
    run = CliRunner(env={"JIEJING_DATA": str(tmp_path / "data")}).invoke
    assert run(jiejing.app, ["grid", "import", str(tmp_path / "good.geojson")]).exit_code == 0
    for file in ("bad.geojson", "none.geojson"):
        assert run(jiejing.app, ["grid", "import", str(tmp_path / file)]).exit_code != 0
    database = Database(f"sqlite:///{tmp_path / 'data' / 'jiejing.sqlite'}")
    with database.reading("000000") as desk:
        from serve.store import grid

        assert [cell["id"] for cell in grid.counts(desk)] == [WEST, MIDDLE, EAST]
    database.close()
