"""One thing stays one: hidden for a while, taken for another class, or one of a row of equal things."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cases_support import Books, ids, sighting
from tests.scenes import CAMERA, NAMES, ORIGIN, Thing, consumer_track, drive, frames_of, surveyed_track
from vision.detections import Detections, FrameDetections
from vision.geo import FloatArray
from vision.locating.locate import Located, locate

STREET = [
    Thing("bin", 4.0, 25.0),
    Thing("garbage", -3.5, 18.0, (0.5, 0.4, 0.3)),
    Thing("stall", 6.0, 45.0, (2.0, 1.2, 1.8)),
    Thing("bin", -4.5, 38.0),
]


def without(frames: list[FrameDetections], name: str, from_s: float, to_s: float) -> list[FrameDetections]:
    """The frames in which things of that class go unnoticed for a while."""
    kept = []
    for frame in frames:
        found = frame.detections
        keep = np.array([n != name for n in found.names()], dtype=bool) | (not from_s <= frame.time_s < to_s)
        part = replace(found, **{key: getattr(found, key)[keep] for key in ("boxes_xyxy", "scores", "class_ids")})
        kept.append(replace(frame, detections=part))
    return kept


def along(located: Located, name: str) -> list[float]:
    """Metres north of the sightings of a class, rising."""
    places = [ORIGIN.to_enu(s.longitude_deg, s.latitude_deg)[1] for s in located.sightings if s.class_name == name]
    return sorted(float(north) for north in places)


@pytest.mark.parametrize("kind", ["surveyed", "consumer"])
def test_what_is_lost_from_sight_for_a_while_is_one_thing(kind: str) -> None:
    """A stall that nobody notices for three seconds of driving past is one sighting, whatever the receiver."""
    times, places = drive()
    track = surveyed_track(times, places) if kind == "surveyed" else consumer_track(times, places, 3)
    frames = without(frames_of(STREET, times, places, jitter_px=1.5, seed=3), "stall", 2.5, 5.5)
    located = locate(frames, track, CAMERA)
    assert len(along(located, "stall")) == 1
    assert len(located.sightings) == len(STREET)


def test_what_hides_a_thing_from_a_waiting_vehicle_drives_on() -> None:
    """Ten seconds before a red light, half of them with the bin hidden: one sighting."""
    times, places = drive(seconds=20.0, rate_hz=5.0)
    stands = (times > 2.0) & (times < 12.0)
    north = np.concatenate([[0.0], np.cumsum(np.where(stands, 0.0, 1.0)[:-1])])
    places = np.stack([np.zeros_like(north), north], axis=1)
    frames = without(frames_of(STREET, times, places, jitter_px=1.5, seed=1), "bin", 4.0, 9.0)
    located = locate(frames, consumer_track(times, places, 1), CAMERA)
    assert len(along(located, "bin")) == 2


def test_a_heap_taken_for_a_pile_now_and_then_is_one_thing() -> None:
    """Every fourth box says material_pile where garbage lies: one sighting, of garbage."""
    times, places = drive()
    names = (*NAMES, "material_pile")
    frames = []
    for k, frame in enumerate(frames_of([STREET[1]], times, places, jitter_px=1.0, seed=2)):
        found = frame.detections
        flipped = np.full(len(found), names.index("material_pile")) if k % 4 == 0 else found.class_ids
        frames.append(replace(frame, detections=replace(found, class_ids=flipped, class_names=names)))
    located = locate(frames, surveyed_track(times, places), CAMERA)
    assert [s.class_name for s in located.sightings] == ["garbage"]


@pytest.mark.parametrize("seed", range(3))
def test_a_row_in_sparse_frames_is_counted_right(seed: int) -> None:
    """Six bins 3.4 m apart, seen twice a second at 8 m/s by a detector that misses one in ten, behind a receiver that
    wanders: six sightings, in their order and distances."""
    times, places = drive(seconds=10.0, rate_hz=2.0, speed_mps=8.0)
    row = [Thing("bin", 5.0, 35.0 + 3.4 * i) for i in range(6)]
    frames = frames_of(row, times, places, jitter_px=1.5, miss=0.1, seed=seed)
    north = along(locate(frames, consumer_track(times, places, seed), CAMERA), "bin")
    assert len(north) == 6
    assert np.allclose(np.diff(north), 3.4, atol=0.9)


def test_what_no_frame_shows_together_may_be_one_case() -> None:
    """A second sighting of a pass joins the case of the first when no frame shows both; seen together they are two."""
    for together, cases in ((False, 1), (True, 2)):
        books = Books()
        books.take("p0", [sighting("p0")])
        whole = replace(sighting("p1", 0.2, day=1), seen_in=frozenset({"a", "b", "c"}))
        piece = replace(sighting("p1", 1.0, 0.9, day=1), seen_in=frozenset({"c", "d"} if together else {"d", "e"}))
        books.take("p1", [whole, piece])
        assert len(books.cases()) == cases
        assert ids([whole, piece]) <= {part.sighting_id for case in books.cases() for part in case.seen}


def rounded(located: Located) -> list[tuple[str, float, float, float, int]]:
    """What is reported: class, metres east and north, radius, frames."""
    found = []
    for one in located.sightings:
        east, north, _ = ORIGIN.to_enu(one.longitude_deg, one.latitude_deg)
        found.append((one.class_name, round(float(east), 6), round(float(north), 6), one.error_radius_m, one.frames))
    return sorted(found)


@pytest.mark.parametrize(("both", "cases"), [(1, 1), (2, 2)])
def test_one_frame_of_three_that_shows_both_is_no_proof(both: int, cases: int) -> None:
    """Pieces of six and three frames, two metres apart: one shared frame may hold a false box, two hold two things."""
    first = replace(sighting("p1", sigma_m=1.0), seen_in=frozenset("abcdef"))
    names = frozenset([*"ef"[:both], *"xyz"[: 3 - both]])
    second = replace(sighting("p1", 2.0, frames=3, sigma_m=1.0), seen_in=names)
    books = Books()
    books.take("p1", [first, second])
    assert len(books.cases()) == cases


@settings(deadline=None, max_examples=5)
@given(st.randoms(use_true_random=False), st.integers(0, 50))
def test_the_order_of_frames_changes_nothing(chance: object, seed: int) -> None:
    """Frames in any order give the very same things, behind either kind of receiver."""
    times, places = drive(seconds=4.0, rate_hz=5.0)
    frames = frames_of(STREET, times, places, jitter_px=1.5, miss=0.1, seed=seed)
    mixed = chance.sample(frames, len(frames))  # type: ignore[attr-defined]
    for track in (surveyed_track(times, places), consumer_track(times, places, seed)):
        assert rounded(locate(frames, track, CAMERA)) == rounded(locate(mixed, track, CAMERA))


@settings(deadline=None, max_examples=5)
@given(st.integers(6, 60), st.integers(-86_400, 86_400), st.integers(0, 50))
def test_units_never_mix(twentieths: int, later_s: int, seed: int) -> None:
    """Pictures of another size in pixels, and clocks that count from another moment, give the same metres."""
    times, places = drive(seconds=4.0, rate_hz=5.0)
    frames = frames_of(STREET, times, places, jitter_px=1.0, seed=seed)
    expected = rounded(locate(frames, surveyed_track(times, places), CAMERA))
    factor, size = twentieths / 20, (60 * twentieths, 40 * twentieths)
    resized = [
        replace(
            frame,
            time_s=frame.time_s + later_s,
            detections=_resized(frame.detections, factor, size),
        )
        for frame in frames
    ]
    found = rounded(locate(resized, surveyed_track(times + later_s, places), CAMERA))
    assert [one[0] for one in found] == [one[0] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[1:4] == pytest.approx(other[1:4], abs=2e-3)


def _resized(found: Detections, factor: float, size: tuple[int, int]) -> Detections:
    """The same boxes in a picture so many times as large; pixel centres are whole numbers."""
    boxes: FloatArray = (found.boxes_xyxy + 0.5) * factor - 0.5
    return replace(found, boxes_xyxy=boxes, size_wh=size)


@pytest.mark.parametrize("off", [(1.0, -13.0), (1.5, -16.0), (-1.0, -12.0)])
@pytest.mark.parametrize("seed", range(2))
def test_a_false_box_does_not_say_where_a_far_thing_stands(off: tuple[float, float], seed: int) -> None:
    """A bin seen from afar and then no more, and one false box near its line of sight: with it the bin would stand
    ten metres off and sure of it."""
    times, places = drive(rate_hz=5.0)
    thing = Thing("bin", 4.0, 52.0)
    ghost = Thing("garbage", thing.east_m + off[0], thing.north_m + off[1], (0.7, 0.6, 0.6))
    frames = [f for f in frames_of([thing], times, places, jitter_px=1.5, seed=seed) if f.time_s < 2.5]
    frames += [f for f in frames_of([], times, places) if f.time_s >= 2.5]
    frames[19] = frames_of([ghost], times, places, jitter_px=1.5, seed=seed)[19]
    for found in locate(frames, consumer_track(times, places, seed), CAMERA).sightings:
        if found.frames > 2:
            east, north, _ = ORIGIN.to_enu(found.longitude_deg, found.latitude_deg)
            assert np.hypot(east - thing.east_m, north - thing.north_m) < 1.5 * found.error_radius_m
