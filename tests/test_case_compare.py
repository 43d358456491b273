"""Two models compared by the cases they come to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from typer.testing import CliRunner

from jiejing import app
from serve.cases.lifecycle import Case
from tests.cases_support import LAT, LON, MATTERS, Books, sighting
from training.errors import TrainingError
from training.evaluation.case_compare import Street, Thing, compare_cases, places_of, read_street
from vision.geo import LocalFrame

SAMPLE = Path(__file__).resolve().parents[1] / "datasets" / "sample-patrol"


def street(*things: tuple[str, float, bool]) -> Street:
    """Things of half a metre at metres east of the origin: class, place, whether they count."""
    made = [Thing(name, shapely.Point(east, 0).buffer(0.25), counts) for name, east, counts in things]
    return Street(Path("street"), LocalFrame(LON, LAT), (), tuple(made))


def cases_at(*places: tuple[str, float]) -> list[Case]:
    """Cases of a class at metres east of the origin."""
    books = Books()
    books.take("p1", [sighting("p1", east, class_name=name) for name, east in places])
    return books.cases()


def test_what_is_found_twice_missed_or_false_is_told_apart() -> None:
    """A finds one of two things and has a false case; B finds both, one of them twice. Kin decides what may be meant,
    and what no pass saw well neither counts nor punishes."""
    truth = street(("garbage", 0, True), ("stall", 30, True), ("garbage", 60, False))
    a = cases_at(("garbage", 0.5), ("garbage", 31), ("garbage", 60))
    b = cases_at(("overflow", 1.0), ("stall", 30.0), ("stall", 31.5))
    recall, precision = compare_cases([places_of(truth, [a, b], MATTERS)])
    assert (recall.a, recall.b, recall.boxes) == (0.5, 1.0, 2)
    assert precision.a == pytest.approx(1 / 2)
    assert precision.b == pytest.approx(2 / len(b))


def test_a_false_case_of_both_is_one_place() -> None:
    """Both models take the same spot for garbage: the draws count it for both or for neither."""
    places = places_of(street(("garbage", 0, True)), [cases_at(("garbage", 20)), cases_at(("garbage", 21))], MATTERS)
    assert places.things.tolist() == [1, 0]
    assert places.cases.tolist() == [[0, 0], [1, 1]]


def test_a_difference_on_many_places_is_more_than_luck() -> None:
    """B finds all of forty things, A every other one: the interval of the gain lies above 0."""
    truth = street(*(("garbage", 20.0 * i, True) for i in range(40)))
    a = cases_at(*(("garbage", 20.0 * i) for i in range(0, 40, 2)))
    b = cases_at(*(("garbage", 20.0 * i) for i in range(40)))
    recall, precision = compare_cases([places_of(truth, [a, b], MATTERS)])
    assert recall.b - recall.a == 0.5
    assert 0 < recall.low < 0.5 < recall.high
    assert (precision.low, precision.high) == (0.0, 0.0)


def test_the_sample_patrol_is_such_a_street() -> None:
    """Two passes; things that open cases, of which some were never seen well."""
    found = read_street(SAMPLE, MATTERS)
    assert [folder.name for folder in found.passes] == ["pass-1", "pass-2"]
    assert {"garbage", "overflow", "shed"} <= {thing.class_name for thing in found.things}
    assert not {"bin", "person", "signboard"} & {thing.class_name for thing in found.things}
    assert {thing.counts for thing in found.things} == {True, False}
    assert np.isfinite([thing.footprint.area for thing in found.things]).all()


def test_a_model_compared_with_itself_through_the_whole_chain(tmp_path: Path) -> None:
    """One pass of the sample patrol: things are found, and the difference is nothing."""
    for name in ("camera.json", "truth.geojson", "pass-1"):
        (tmp_path / name).symlink_to(SAMPLE / name)
    ran = CliRunner().invoke(app, ["compare", "street-n", "street-n", "--patrol", str(tmp_path), "--json"])
    assert ran.exit_code == 0, ran.output
    recall, precision = (json.loads(line) for line in ran.stdout.splitlines())
    assert recall["boxes"] >= 10
    assert recall["a"] == recall["b"] > 0.3
    assert precision["a"] == precision["b"] > 0.5


def test_a_folder_without_truth_is_named(tmp_path: Path) -> None:
    """The error names the folder and how to make one."""
    with pytest.raises(TrainingError, match="simulate patrol"):
        read_street(tmp_path, MATTERS)
