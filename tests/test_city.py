"""The simulated city, and the release gate: cases scored against it on fixed seeds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from serve.cases.matters import read_matters
from training.city.drive import CAMERA, GNSS_SIGMA_M, drive
from training.city.evaluation import CaseFigures, evaluate_cases, table
from training.city.plan import ORIGIN, build_city, read_rates
from training.errors import TrainingError

SMALL = {"km": 0.8, "things": 30, "passes": 4}


def test_a_city_is_its_seed() -> None:
    """The same seed gives the same city and the same drive; another gives another."""
    one, same, other = (build_city(seed, **SMALL) for seed in (3, 3, 4))
    assert one.things == same.things
    assert one.things != other.things
    first, again = drive(one, 2), drive(same, 2)
    assert [f.detections.boxes_xyxy.tolist() for f in first.frames] == [
        f.detections.boxes_xyxy.tolist() for f in again.frames
    ]
    assert (first.track.enu_m == again.track.enu_m).all()


def test_what_the_city_holds() -> None:
    """Asked for thirty things it has thirty, besides bins and clutter; nothing stands on another thing or on the
    carriageway; every fate occurs; rows of equal things are a metre to five apart."""
    city = build_city(1, km=2.0, things=100, passes=8)
    things = [thing for thing in city.things if thing.real and thing.class_name != "bin"]
    assert len(things) == 100
    assert sum(not thing.real for thing in city.things) == round(city.rates.clutter_per_km * 2)
    places = np.array([(thing.east, thing.north) for thing in city.things])
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 99 * np.eye(len(places))
    assert apart.min() >= 0.99
    middle = np.hypot(*(places[:, None] - city.route[None]).transpose(2, 0, 1)).min(axis=1)
    assert middle.min() > 4.5
    assert {len(thing.spans) for thing in things} == {1, 2}
    assert {thing.stands(0.0) for thing in things} == {True, False}
    assert abs(city.length_m - 2000) < 1


@pytest.mark.parametrize("seed", [25, 31, 37, 38])
def test_a_route_never_stands_still(seed: int) -> None:
    """Rounded corners take metres away; the last street makes up for them."""
    steps = np.hypot(*np.diff(build_city(seed).route, axis=0).T)
    assert steps.min() > 0.4


def test_no_street_is_driven_backwards() -> None:
    """A drive on which the receiver's wandering at a stop had once turned the vehicle round for the 240 m behind it:
    what moves twenty metres in three seconds heads where it goes."""
    track = drive(build_city(34), 8).track
    poses = track.poses_at(np.arange(0.0, 835.0))
    east, north = (poses.enu_m[3:, :2] - poses.enu_m[:-3, :2]).T
    heading = np.radians(poses.heading_deg[1:-2])
    ahead = east * np.sin(heading) + north * np.cos(heading)
    assert (ahead[np.hypot(east, north) > 20.0] > 0).all()


def test_a_city_too_full_is_refused() -> None:
    """More things than fit is an error that says what to do."""
    with pytest.raises(TrainingError, match="fewer things or more kilometres"):
        build_city(1, km=0.3, things=400)


def test_rates_that_miss_a_field_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A rates file names its missing and unknown fields."""
    path = tmp_path / "rates.toml"
    path.write_text("best_recall = 0.9\nspeed = 3\n", "utf-8")
    with pytest.raises(TrainingError, match=r"clutter_per_km.*speed"):
        read_rates(path)


def test_boxes_show_what_stands_there() -> None:
    """What went is shown by no box, and every box lies in the picture; a thing's box is where the camera sees it."""
    rates = replace(read_rates(), jitter_px=1e-6, jitter_share=0.0, false_per_frame=0.0, flip_rate=0.0)
    city = build_city(5, **SMALL, rates=rates)
    patrol = drive(city, 3)
    gone = {thing.number for thing in city.things if not thing.stands(3.0)}
    assert gone
    assert not gone & set(patrol.shown.values())
    for frame in patrol.frames:
        boxes = frame.detections.boxes_xyxy
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes >= 0).all()
        assert (boxes[:, 2:] <= np.array(CAMERA.size_wh) - 1).all()
    shown = {number for number in patrol.shown.values() if 0 <= number < len(city.things)}
    assert {number for number in range(len(city.things)) if patrol.clear[number] >= 8} - gone <= shown


def test_the_receiver_errs_as_it_says() -> None:
    """Over several passes the track lies off the lane by about its stated sigma, and the error changes slowly."""
    city = build_city(5, **SMALL)
    off = []
    for number in range(4):
        track = drive(city, number).track
        lon, lat = track.frame.to_lonlat(track.enu_m[:, :2])
        path = ORIGIN.to_enu(lon, lat)[:, :2]
        to_middle = np.hypot(*(path[:, None] - city.route[None]).transpose(2, 0, 1)).min(axis=1)
        off.append(to_middle - 1.75)
        assert np.abs(np.diff(to_middle)).mean() < GNSS_SIGMA_M
    assert 0.5 * GNSS_SIGMA_M < np.std(np.concatenate(off)) < 1.6 * GNSS_SIGMA_M


def test_corners_are_taken_slowly_both_ways() -> None:
    """Within five metres of a corner the track moves by no more than 6 m/s, whichever way the pass goes."""
    city = build_city(5, **SMALL)
    corners, _ = city.along(city.corners_m)
    assert len(corners) > 0
    for number in range(4):
        track = drive(city, number).track
        lon, lat = track.frame.to_lonlat(track.enu_m[:, :2])
        path = ORIGIN.to_enu(lon, lat)[:, :2]
        speed = np.hypot(*np.diff(path, axis=0).T)
        near = np.hypot(*(path[:-1, None] - corners[None]).transpose(2, 0, 1)).min(axis=1) < 5
        assert near.any()
        assert speed[near].max() < 6.0 < speed.max()


def test_the_same_evaluation_twice_gives_the_same_figures() -> None:
    """Figures depend on the seed alone, and come as JSON and as a table."""
    first, again = (evaluate_cases(2, **SMALL, known_places=True) for _ in range(2))
    assert first == again
    assert json.loads(json.dumps({"recall": first.recall}))["recall"] == first.recall
    assert "wrongly_closed" in table([first])


def test_a_detector_that_sees_nothing_has_no_recall() -> None:
    """The score is of what was seen: a blind detector opens no case and its shares are empty or nought."""
    blind = replace(read_rates(), best_recall=0.0, false_per_frame=0.0, clutter_per_km=0.0)
    figures = evaluate_cases(2, **SMALL, rates=blind, known_places=True)
    assert (figures.cases, figures.recall, figures.precision) == (0, 0.0, None)


def test_rules_that_never_join_are_found_out() -> None:
    """With places said to be surer than they are, things are opened again and again: duplicates show it."""
    matters = read_matters()
    strict = replace(matters, by_class={k: replace(m, gone_below=0.9) for k, m in matters.by_class.items()})
    hasty = evaluate_cases(2, km=1.0, things=40, passes=5, matters=strict, known_places=True)
    usual = evaluate_cases(2, km=1.0, things=40, passes=5, known_places=True)
    assert hasty.wrongly_closed is not None
    assert usual.wrongly_closed is not None
    assert hasty.wrongly_closed > usual.wrongly_closed


@pytest.fixture(scope="module")
def gate() -> list[CaseFigures]:
    """Four cities: ten passes over two kilometres with eighty things, places with honest errors."""
    return [evaluate_cases(seed, km=2.0, things=80, passes=10, known_places=True) for seed in range(2026, 2030)]


def test_release_gate_of_the_case_rules(gate: list[CaseFigures]) -> None:
    """With honest places: precision and recall of 95 % or more; duplicates, cases closed wrongly (1 %) and what is gone
    without a note at the first pass that could see (5 %) are no more than such rates bring about by chance, nineteen
    times of twenty."""
    counts = {name: sum(one.counts[name] for one in gate) for name in gate[0].counts}
    things = sum(one.things for one in gate)
    assert counts["right cases"] >= 0.95 * sum(one.cases for one in gate)
    assert all(one.recall is not None and one.recall >= 0.95 for one in gate)
    assert counts["duplicates"] <= binom.ppf(0.95, things, 0.01)
    assert counts["wrongly closed"] <= binom.ppf(0.95, things, 0.01)
    assert counts["gone"] > 50
    assert counts["gone"] - counts["gone and noted"] <= binom.ppf(0.95, counts["gone"], 0.05)
    assert all(one.median_error_m is not None and one.median_error_m <= 1.5 for one in gate)
