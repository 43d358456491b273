"""Locating: standing things once, moving ones never, the radius honest, whatever the order of the frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import Point, Polygon

from tests.scenes import CAMERA, NAMES, ORIGIN, Thing, consumer_track, drive, frames_of, surveyed_track
from vision.camera import Camera, assumed_camera
from vision.detections import Detections, FrameDetections
from vision.errors import UsageError
from vision.locating.locate import locate
from vision.locating.locate_files import locate_files
from vision.sightings import Sighting
from vision.tracks.fixes import Fix
from vision.tracks.track import track_from_fixes

STREET = [
    Thing("bin", 4.0, 25.0),
    Thing("garbage", -3.5, 18.0, (0.5, 0.4, 0.3)),
    Thing("car", 5.5, 38.0, (4.2, 1.8, 1.5), yaw_deg=90.0),
    Thing("car", -5.0, 45.0, (4.0, 1.7, 1.5), yaw_deg=90.0),
    Thing("stall", 6.0, 52.0, (2.0, 1.2, 1.8)),
]


def place(sighting: Sighting) -> np.ndarray:
    return ORIGIN.to_enu(sighting.longitude_deg, sighting.latitude_deg)[:2]


def distance(sighting: Sighting, thing: Thing) -> float:
    """Metres from the reported point to the thing's footprint."""
    corners = thing.corners(0.0)[:, :2]
    return float(Polygon(corners[[0, 2, 6, 4]]).distance(Point(*place(sighting))))


def nearest(sightings: tuple[Sighting, ...], thing: Thing) -> Sighting:
    return min((s for s in sightings if s.class_name == thing.name), key=lambda s: distance(s, thing))


def test_each_standing_thing_once_and_where_it_stands() -> None:
    """Exact boxes and an exact track: every thing is reported once, within 0.3 m of its footprint's centre."""
    times, places = drive()
    found = locate(frames_of(STREET, times, places), surveyed_track(times, places), CAMERA)
    assert len(found.sightings) == len(STREET)
    for thing in STREET:
        assert np.linalg.norm(place(nearest(found.sightings, thing)) - [thing.east_m, thing.north_m]) < 0.3


def test_the_roads_tilt_is_found() -> None:
    """A camera that looks 1° higher and rolls 2° against what its file says still places things within 0.6 m."""
    times, places = drive()
    frames = frames_of(STREET, times, places, tilt_deg=(1.0, 2.0))
    found = locate(frames, surveyed_track(times, places), CAMERA)
    assert len(found.sightings) == len(STREET)
    for thing in STREET:
        assert distance(nearest(found.sightings, thing), thing) < 0.6


def test_a_noisy_detector() -> None:
    """Two pixels of jitter and every fifth box missing: each thing once, within its radius or 0.3 m."""
    times, places = drive()
    frames = frames_of(STREET, times, places, jitter_px=2.0, miss=0.2, seed=4)
    found = locate(frames, surveyed_track(times, places), CAMERA)
    assert len(found.sightings) == len(STREET)
    for thing in STREET:
        sighting = nearest(found.sightings, thing)
        assert distance(sighting, thing) <= max(sighting.error_radius_m, 0.3)


def test_what_moves_is_not_reported() -> None:
    """An oncoming car, one driving ahead and one crossing are dropped; the parked ones stay."""
    times, places = drive()
    moving = [
        Thing("car", -3.0, 80.0, (4.2, 1.8, 1.5), 90.0, (0.0, -8.0)),
        Thing("car", 0.5, 15.0, (4.2, 1.8, 1.5), 90.0, (0.0, 5.5)),
        Thing("car", -25.0, 60.0, (4.2, 1.8, 1.5), 0.0, (6.0, 0.0)),
    ]
    found = locate(frames_of([*STREET, *moving], times, places), surveyed_track(times, places), CAMERA)
    assert sorted(s.class_name for s in found.sightings) == sorted(thing.name for thing in STREET)


def test_the_order_of_frames_does_not_matter() -> None:
    """Shuffled frames give the very same result."""
    times, places = drive(seconds=5.0)
    frames = frames_of(STREET, times, places, jitter_px=1.5, seed=2)
    track = surveyed_track(times, places)
    shuffled = [frames[i] for i in np.random.default_rng(7).permutation(len(frames))]
    assert locate(frames, track, CAMERA) == locate(shuffled, track, CAMERA)


def test_sparse_frames() -> None:
    """One frame a second at 5 m/s is enough to report each thing once and within its radius or half a metre."""
    times, places = drive(seconds=12.0, rate_hz=1.0)
    dense, path = drive(seconds=12.0)
    found = locate(frames_of(STREET, times, places), surveyed_track(dense, path), CAMERA)
    assert len(found.sightings) == len(STREET)
    for thing in STREET:
        sighting = nearest(found.sightings, thing)
        assert distance(sighting, thing) <= max(sighting.error_radius_m, 0.5)


def test_one_box_has_a_wider_radius() -> None:
    """A thing seen once is reported with a radius several times that of the same thing seen often."""
    times, places = drive()
    frames = frames_of([STREET[0]], times, places)
    track = surveyed_track(times, places)
    far = next(f for f in frames if len(f.detections))
    once = locate([far], track, CAMERA).sightings
    often = locate(frames, track, CAMERA).sightings
    assert len(once) == len(often) == 1
    assert once[0].error_radius_m > 3 * often[0].error_radius_m
    assert distance(once[0], STREET[0]) <= once[0].error_radius_m


def test_a_row_of_equal_bins() -> None:
    """Four bins 1.2 m apart are four sightings."""
    times, places = drive()
    row = [Thing("bin", 4.0, 24.0 + 1.2 * i) for i in range(4)]
    found = locate(frames_of(row, times, places, jitter_px=1.0), surveyed_track(times, places), CAMERA)
    assert len(found.sightings) == 4
    north = sorted(place(s)[1] for s in found.sightings)
    assert np.allclose(np.diff(north), 1.2, atol=0.35)


def test_class_flips_are_one_thing() -> None:
    """A bin that the detector takes for an overflowing one in every third frame is one thing, a bin."""
    times, places = drive()
    frames = frames_of([STREET[0]], times, places)
    flipped = []
    for k, frame in enumerate(frames):
        found = frame.detections
        ids = np.full(len(found), NAMES.index("overflow")) if k % 3 == 0 else found.class_ids
        flipped.append(replace(frame, detections=replace(found, class_ids=ids)))
    sightings = locate(flipped, surveyed_track(times, places), CAMERA).sightings
    assert [s.class_name for s in sightings] == ["bin"]


def test_single_false_boxes_are_dropped() -> None:
    """Boxes that appear in one of many frames that should show them are no sighting."""
    times, places = drive()
    frames = frames_of([STREET[0]], times, places)
    rng = np.random.default_rng(5)
    noisy = []
    for k, frame in enumerate(frames):
        rows = list(zip(frame.detections.names(), frame.detections.scores, frame.detections.boxes_xyxy, strict=True))
        if k % 8 == 0:
            x, y = rng.uniform(100, 900), rng.uniform(450, 600)
            rows.append(("garbage", 0.4, np.array([x, y, x + 60, y + 40])))
        noisy.append(
            replace(
                frame,
                detections=Detections.of(
                    [(n, float(s), tuple(b)) for n, s, b in rows], CAMERA.size_wh, class_names=NAMES
                ),
            )
        )
    sightings = locate(noisy, surveyed_track(times, places), CAMERA).sightings
    assert [s.class_name for s in sightings] == ["bin"]


def test_raised_things_are_triangulated() -> None:
    """An awning 2.5 m up is placed by its bearings, not where its lower edge would meet the road."""
    times, places = drive()
    awning = Thing("awning", 6.0, 30.0, (1.2, 3.0, 0.6), base_m=2.5)
    found = locate(frames_of([awning, *STREET], times, places), surveyed_track(times, places), CAMERA)
    sighting = nearest(found.sightings, awning)
    assert distance(sighting, awning) <= max(sighting.error_radius_m, 0.5)


def test_boxes_cut_by_the_picture() -> None:
    """A car that is only seen cut by the picture's edge is not placed nearer than it is by more than its radius."""
    times, places = drive()
    car = Thing("car", 4.0, 30.0, (4.2, 1.8, 1.5), 90.0)
    frames = [
        f
        for f in frames_of([car], times, places)
        if not len(f.detections) or f.detections.boxes_xyxy[0, 2] >= CAMERA.size_wh[0] - 1
    ]
    for sighting in locate(frames, surveyed_track(times, places), CAMERA).sightings:
        assert distance(sighting, car) <= sighting.error_radius_m + 1.0


def test_a_consumer_track_keeps_its_bias_in_the_radius() -> None:
    """With a phone's receiver the radius holds most things over many drives, and is not generous."""
    times, places = drive()
    held, radii, count = [], [], 0
    for seed in range(8):
        frames = frames_of(STREET, times, places, jitter_px=1.0, seed=seed)
        found = locate(frames, consumer_track(times, places, seed), CAMERA)
        count += len(found.sightings)
        for thing in STREET:
            same = [s for s in found.sightings if s.class_name == thing.name]
            if same:
                sighting = min(same, key=lambda s: distance(s, thing))
                held.append(distance(sighting, thing) <= sighting.error_radius_m)
                radii.append(sighting.error_radius_m)
    assert count >= 0.9 * 8 * len(STREET)
    assert np.mean(held) >= 0.7
    assert 1.0 < np.median(radii) < 3.5


def test_only_the_classes_asked_for() -> None:
    """`classes` keeps others from being reported."""
    times, places = drive()
    found = locate(
        frames_of(STREET, times, places), surveyed_track(times, places), CAMERA, classes=frozenset({"garbage", "bin"})
    )
    assert {s.class_name for s in found.sightings} == {"garbage", "bin"}


def test_unknown_classes_and_sizes_of_picture() -> None:
    """A class without a usual size is located too, and boxes of a picture at half the size are the same boxes."""
    times, places = drive()
    frames = frames_of([STREET[0]], times, places)
    half = []
    for frame in frames:
        found = frame.detections
        renamed = Detections(
            (found.boxes_xyxy + 0.5) / 2 - 0.5, found.scores, found.class_ids * 0, (600, 400), "", ("lantern",)
        )
        half.append(replace(frame, detections=renamed))
    sightings = locate(half, surveyed_track(times, places), CAMERA).sightings
    assert [s.class_name for s in sightings] == ["lantern"]
    assert np.linalg.norm(place(sightings[0]) - [4.0, 25.0]) < 0.6


@pytest.mark.parametrize("case", ["no frames", "empty frames", "out of time", "standing still"])
def test_nothing_to_locate(case: str) -> None:
    """Without frames, boxes, poses or a heading there is no sighting, and the notes say which frames were left out."""
    times, places = drive(seconds=3.0)
    track = surveyed_track(times, places)
    frames = frames_of(STREET, times, places)
    if case == "no frames":
        frames = []
    elif case == "empty frames":
        frames = [replace(f, detections=Detections.empty(CAMERA.size_wh)) for f in frames]
    elif case == "out of time":
        frames = [replace(f, time_s=f.time_s + 1000) for f in frames]
    else:
        track = track_from_fixes([Fix(float(i), 120.31, 31.49, accuracy_m=3.0) for i in range(4)])
    found = locate(frames, track, CAMERA)
    assert found.sightings == ()
    if case in ("out of time", "standing still"):
        assert any("left out" in note for note in found.notes)


def test_looks_cover_the_road_ahead_and_stop_at_vehicles() -> None:
    """The ground ahead is seen up to 25 m, and what a van hides is not claimed."""
    times, places = drive(seconds=2.0, speed_mps=1.0)
    track = surveyed_track(times, places)
    free = locate(frames_of([], times, places), track, CAMERA).looks
    blocked = locate(frames_of([Thing("van", 0.0, 12.0, (5.0, 2.0, 2.2), 90.0)], times, places), track, CAMERA).looks
    assert len(free) == len(blocked) == 1

    def ground(look: tuple[tuple[float, float], ...]) -> Polygon:
        lonlat = np.array(look)
        return Polygon(ORIGIN.to_enu(lonlat[:, 0], lonlat[:, 1])[:, :2])

    open_, cut = ground(free[0].ring_lonlat), ground(blocked[0].ring_lonlat)
    assert open_.is_valid
    assert cut.is_valid
    assert open_.contains(Point(0.0, 20.0))
    assert not cut.contains(Point(0.0, 20.0))
    assert cut.contains(Point(0.0, 7.0))


def test_an_assumed_camera_widens_the_radius() -> None:
    """What is not known about the camera is in the radius."""
    times, places = drive()
    camera: Camera = replace(CAMERA, mount=replace(CAMERA.mount, pitch_deg=0.0, forward_m=0.0, left_m=0.0))
    frames = frames_of([STREET[0]], times, places, camera)
    assumed, _ = assumed_camera(CAMERA.size_wh, 900.0)
    track = surveyed_track(times, places)
    known = locate(frames, track, camera).sightings[0]
    guessed = locate(frames, track, assumed).sightings[0]
    assert guessed.error_radius_m >= known.error_radius_m
    assert distance(guessed, STREET[0]) <= guessed.error_radius_m + 0.3


def write_detections(path: Path, frames: list[FrameDetections]) -> None:
    lines = ["frame,time_s,class,score,x_min,y_min,x_max,y_max"]
    for frame in frames:
        for name, score, box in zip(
            frame.detections.names(), frame.detections.scores, frame.detections.boxes_xyxy, strict=True
        ):
            lines.append(",".join([frame.frame, f"{frame.time_s}", name, f"{score}", *(f"{v:.2f}" for v in box)]))
    path.write_text("\n".join(lines) + "\n")


def test_files_in_geojson_out(tmp_path: Path) -> None:
    """The command's files give points with the published properties."""
    from vision.camera import camera_json

    times, places = drive()
    write_detections(tmp_path / "d.csv", frames_of(STREET, times, places))
    (tmp_path / "c.json").write_text(json.dumps(camera_json(CAMERA)))
    lon, lat = ORIGIN.to_lonlat(places)
    rows = [f"{t},{y:.9f},{x:.9f},5.0,0,0,0,0.03" for t, x, y in zip(times, lon, lat, strict=True)]
    header = "time_s,latitude_deg,longitude_deg,altitude_m,heading_deg,pitch_deg,roll_deg,accuracy_m"
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    collection, _ = locate_files(tmp_path / "d.csv", tmp_path / "t.csv", tmp_path / "c.json")
    assert collection["type"] == "FeatureCollection"
    assert len(collection["features"]) == len(STREET)
    properties = collection["features"][0]["properties"]
    assert set(properties) == {"class", "score", "error_radius_m", "frames", "first_seen_s", "last_seen_s"}
    json.dumps(collection, allow_nan=False)


@pytest.mark.parametrize(
    "text",
    [
        "frame,time_s,class\n",
        "frame,time_s,class,score,x_min,y_min,x_max,y_max\n0,zero,car,1,0,0,5,5\n",
        "frame,time_s,class,score,x_min,y_min,x_max,y_max\n0,0,car,7,0,0,5,5\n",
        "frame,time_s,class,score,x_min,y_min,x_max,y_max\n0,0,car,1,0,0,nan,5\n",
        "frame,time_s,class,score,x_min,y_min,x_max,y_max\n0,0,car,1,0\n",
    ],
)
def test_bad_detections_files(tmp_path: Path, text: str) -> None:
    """A detections file that can't be used is refused with its line and the format."""
    path = tmp_path / "d.csv"
    path.write_text(text)
    from vision.locating.locate_files import read_detections

    with pytest.raises(UsageError, match=r"d\.csv"):
        read_detections(path, CAMERA)


@pytest.mark.parametrize("seed", range(6))
def test_any_boxes_give_finite_places(seed: int) -> None:
    """Nonsense boxes, tiny, huge, inside out or above the horizon, never break locating, and places stay numbers."""
    rng = np.random.default_rng(seed)
    times, places = drive(
        seconds=3.0, rate_hz=float(rng.choice([1.0, 5.0, 10.0])), speed_mps=float(rng.choice([0.0, 9.0]))
    )
    frames = []
    for k, time_s in enumerate(times):
        count = int(rng.integers(0, 9))
        corners = rng.uniform(-20, 1220, (count, 2, 2)) * [1.0, 0.67]
        box = corners.reshape(count, 4) if k % 5 == 0 else np.concatenate([corners.min(1), corners.max(1)], axis=1)
        ids = rng.integers(0, len(NAMES), count)
        found = Detections(box, rng.uniform(0, 1, count), ids, CAMERA.size_wh, "", NAMES)
        frames.append(FrameDetections(f"{k}", float(time_s), found, 0.5))
    track = (
        surveyed_track(times, places)
        if seed % 2
        else consumer_track(np.arange(0, 5, 0.1), places[:1].repeat(50, 0), seed)
    )
    found = locate(frames, track, CAMERA)
    for sighting in found.sightings:
        numbers = [sighting.longitude_deg, sighting.latitude_deg, sighting.error_radius_m, *sighting.covariance_m2]
        assert np.isfinite(numbers).all()
        assert sighting.error_radius_m > 0
        assert 0 <= sighting.score <= 1
        assert 1 <= len(sighting.evidence) <= 5
