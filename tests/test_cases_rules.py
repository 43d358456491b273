"""Which sighting opens a case, what the table of matters may hold, and the plane geometry under both."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.cases.assignment import cheapest
from serve.cases.ground import cell_of, cells_around, cells_of_ring, from_plane, fuse, squared_distance, to_plane
from serve.cases.matters import read_matters
from serve.cases.rules import why_no_case
from tests.cases_support import LAT, LON, MATTERS, place, sighting
from vision.taxonomy import CLASSES, PRIVATE


def test_every_class_that_may_leave_vision_has_a_row() -> None:
    """The shipped table knows each class but those that serve redaction only."""
    assert set(MATTERS.by_class) == set(CLASSES) - PRIVATE


def test_default_rules() -> None:
    """Garbage, overflow and what stands on the street open cases; bins, awnings and adverts give sightings."""
    opening = {name for name in MATTERS.by_class if why_no_case(sighting(class_name=name), MATTERS.of(name)) is None}
    assert opening == {"garbage", "overflow", "stall", "shed", "hoarding", "material_pile"}


def test_codes_are_the_standards() -> None:
    """Exposed garbage is 06010, an overflowing bin 06042."""
    assert (MATTERS.of("garbage").code, MATTERS.of("garbage").name) == ("06010", "暴露垃圾")
    assert (MATTERS.of("overflow").code, MATTERS.of("overflow").name) == ("06042", "垃圾站（箱）满溢")


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (sighting(score=0.1), "its score of 0.10 is below 0.45"),
        (sighting(score=0.4499), "its score of 0.44 is below 0.45"),
        (sighting(frames=1), "seen in 1 frame only"),
        (replace(sighting(), place=place(radius_m=5.01)), "known to 5.1 m only; a case of 06010 暴露垃圾 needs 5.0 m"),
        (sighting(class_name="bin"), "never a case"),
        (sighting(class_name="awning"), "permit register"),
        (sighting(class_name="elephant"), "no row 'elephant'"),
    ],
)
def test_every_refusal_has_a_sentence(one: object, expected: str) -> None:
    """A sighting that opens no case says why in words."""
    refusal = why_no_case(one, MATTERS.of(one.class_name))  # type: ignore[arg-type, attr-defined]
    assert refusal is not None
    assert expected in refusal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[class.garbage]\nkin = 'waste'\nopens = true\n", "5-digit code"),
        ("[class.garbage]\nkin = 'waste'\nopens = false\n", "why_not"),
        ("[class.garbage]\nkin = 'waste'\nopens = false\nwhy_not = 'x'\nprice = 3\n", "unknown price"),
        ("[class.garbage]\nopens = false\nwhy_not = 'x'\n", "kin missing"),
        ("[class.bin]\nkin = 'bin'\nopens = false\nwhy_not = 'x'\nmin_frames = 0\n", "min_frames"),
    ],
)
def test_a_wrong_table_names_its_row(tmp_path: Path, text: str, expected: str) -> None:
    """A city's own table is checked when it is read."""
    path = tmp_path / "matters.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=expected) as caught:
        read_matters(path)
    assert "class " in str(caught.value)


@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(-170, 170), st.floats(-70, 70))
def test_plane_and_back(east: float, north: float, lon: float, lat: float) -> None:
    """Metres to degrees and back is the identity."""
    again = to_plane(lon, lat, *from_plane(lon, lat, east, north))
    assert again == pytest.approx((east, north), abs=1e-6)


@given(st.floats(0, 19.9), st.floats(0, 2 * math.pi), st.floats(-1, 1), st.floats(-1, 1))
def test_neighbouring_cells_hold_everything_within_reach(
    distance: float, angle: float, lon_shift: float, lat_shift: float
) -> None:
    """Looking a place up by its cell and the cells around it misses nothing that may join."""
    lon, lat = LON + lon_shift, LAT + lat_shift
    other = from_plane(lon, lat, distance * math.cos(angle), distance * math.sin(angle))
    assert cell_of(*other) in cells_around(lon, lat)


def test_cells_of_a_small_ring() -> None:
    """A ring smaller than a cell still has the cells that it touches."""
    ring = tuple(from_plane(LON, LAT, x, y) for x, y in [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)])
    assert cell_of(LON, LAT) in cells_of_ring(ring)


def test_fusing_halves_the_variance_whatever_the_order() -> None:
    """Two passes that agree are twice as sure; three in any order give the same place."""
    pair = fuse([place(0.0, sigma_m=1.0, radius_m=2.0), place(0.1, sigma_m=1.0, radius_m=2.0)])
    assert pair.covariance_m2[0] == pytest.approx(0.5)
    # 2.146 sigmas hold nine tenths; the footprint, 0.146 m of it here, does not shrink.
    assert pair.error_radius_m == pytest.approx(2.146 / math.sqrt(2) - 0.146)
    assert to_plane(LON, LAT, pair.longitude_deg, pair.latitude_deg)[0] == pytest.approx(0.05)
    three = [place(0.0), place(0.4, 0.1, sigma_m=0.8), place(-0.2, 0.3, sigma_m=0.3)]
    assert len({fuse(list(order)) for order in itertools.permutations(three)}) == 1


def test_fusing_places_that_disagree_widens_the_radius() -> None:
    """Passes that contradict each other don't make the case surer than they are."""
    agreed = fuse([place(0.0), place(0.1)])
    contradicting = fuse([place(0.0), place(4.0)])
    assert contradicting.error_radius_m > 2 * agreed.error_radius_m


def test_distance_counts_in_combined_sigmas() -> None:
    """Two metres at one metre sigma each are squared distance two."""
    assert squared_distance(place(0, sigma_m=1), place(2, sigma_m=1)) == pytest.approx(2.0)
    assert squared_distance(place(0, sigma_m=1), place(2, sigma_m=1), spread_m=math.sqrt(2)) == pytest.approx(1.0)


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(st.floats(0, 100), min_size=5, max_size=5), min_size=n, max_size=n)
    )
)
def test_assignment_is_the_cheapest_there_is(costs: list[list[float]]) -> None:
    """The assignment costs no more than any other one-to-one assignment."""
    chosen = cheapest(costs)
    assert len(set(chosen)) == len(costs)
    paid = sum(costs[row][column] for row, column in enumerate(chosen))
    best = min(
        sum(costs[row][column] for row, column in enumerate(columns))
        for columns in itertools.permutations(range(5), len(costs))
    )
    assert paid == pytest.approx(best)


def test_assignment_of_nothing() -> None:
    """No rows, no assignment; a row without a column left is an error."""
    assert cheapest([]) == []
    with pytest.raises(ValueError, match="no column left"):
        cheapest([[math.inf, math.inf], [1.0, 1.0]])
