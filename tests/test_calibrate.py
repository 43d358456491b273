"""What a drive tells of the camera's clock and mount, on simulated patrols with the real model's error rates."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jiejing import app
from training.city.drive import Patrol, drive
from training.city.plan import build_city, straight_street
from vision.camera import camera_json, read_camera
from vision.detections import FrameDetections
from vision.locating.calibrate import FIELDS, calibrate, turned
from vision.locating.locate import locate
from vision.tracks.clock import ClockOffset, agreed, forced


@cache
def patrol_of(kind: str, seed: int = 1) -> Patrol:
    """Half a kilometre with two turns, or 400 m straight on with one stop or none."""
    if kind == "turns":
        return drive(build_city(seed, km=0.55, things=22), 0, stops_m=())
    return drive(straight_street(seed), 0, stops_m=(200.0,) if kind == "stop" else (), steady=kind == "steady")


def clock_of(patrol: Patrol, offset_s: float) -> ClockOffset:
    """What is done about a camera whose clock is `offset_s` behind the track's."""
    times = np.array([frame.time_s - offset_s for frame in patrol.frames])
    return agreed(times, [frame.detections for frame in patrol.frames], patrol.track, patrol.camera, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "offset_s"), [("turns", 3.0), ("stop", -3.0)])
def test_an_offset_of_seconds_is_found_by_turns_or_a_stop(kind: str, offset_s: float) -> None:
    """Three seconds are found to 0.2 s by two turns, and by one stop."""
    clock = clock_of(patrol_of(kind), offset_s)
    assert clock.observed
    assert clock.offset_s == pytest.approx(offset_s, abs=0.2)
    assert "put right" in clock.note


@pytest.mark.slow
def test_a_steady_straight_drive_tells_no_offset() -> None:
    """Where nothing tells the offset the report says so, nothing is shifted, and the radii are wider than with a
    clock that is known."""
    patrol = patrol_of("steady")
    clock = clock_of(patrol, 2.0)
    assert not clock.observed
    assert clock.offset_s == 0.0
    doubting = locate(patrol.frames, patrol.track, patrol.camera, clock=clock)
    knowing = locate(patrol.frames, patrol.track, patrol.camera, clock=forced(0.0))
    assert any("can't be observed" in note for note in doubting.notes)
    radii = [np.median([s.error_radius_m for s in located.sightings]) for located in (doubting, knowing)]
    assert radii[0] > 1.3 * radii[1]


def test_a_forced_offset_shifts_the_times() -> None:
    """Times told to be two seconds late count as the right ones."""
    patrol = patrol_of("turns")
    late = [replace(frame, time_s=frame.time_s + 2.0) for frame in patrol.frames]
    right = locate(patrol.frames, patrol.track, patrol.camera)
    put_right = locate(late, patrol.track, patrol.camera, clock=forced(-2.0))
    assert [look.time_s for look in right.looks] == pytest.approx([look.time_s for look in put_right.looks])
    assert abs(len(right.sightings) - len(put_right.sightings)) <= 1
    assert "as told" in " ".join(put_right.notes)


@pytest.mark.parametrize(("kind", "seed", "off_deg"), [("turns", 1, -3.0), ("stop", 1, 3.0), ("turns", 2, 3.0)])
def test_a_pitch_wrong_by_three_degrees_is_found(kind: str, seed: int, off_deg: float) -> None:
    """To half a degree, from two turns or a stop; and locating with the wrong file says that the mount looks wrong."""
    patrol = patrol_of(kind, seed)
    wrong = turned(patrol.camera, off_deg, 0.0, 1.0)
    found = calibrate(patrol.frames, patrol.track, wrong, ["pitch_deg"])
    assert found.findings[0].observed
    assert found.camera.mount.pitch_deg == pytest.approx(patrol.camera.mount.pitch_deg, abs=0.5)
    assert found.camera.sigma.pitch_deg < 0.5
    notes = " ".join(locate(patrol.frames, patrol.track, wrong).notes)
    assert ("higher" if off_deg < 0 else "lower") in notes
    assert "camera calibrate" in notes
    assert "camera calibrate" not in " ".join(locate(patrol.frames, patrol.track, found.camera).notes)


def test_height_and_roll_are_found_together_with_pitch() -> None:
    """A lens taken 20 % too high, looking 2° too high and turned by 4°: all three come back."""
    patrol = patrol_of("turns")
    found = calibrate(patrol.frames, patrol.track, turned(patrol.camera, 2.0, 4.0, 1.2), FIELDS).camera
    assert found.mount.pitch_deg == pytest.approx(0.0, abs=0.5)
    assert found.mount.roll_deg == pytest.approx(0.0, abs=1.5)
    assert found.height_m == pytest.approx(patrol.camera.height_m, rel=0.06)


def test_a_parked_vehicle_tells_nothing() -> None:
    """Without driving past things nothing is claimed: values stay, and their sigmas admit that nobody measured them."""
    patrol = patrol_of("stop")
    times = np.array([frame.time_s for frame in patrol.frames])
    there = patrol.track.poses_at(times).enu_m[:, :2]
    still = np.hypot(*(there - there[len(there) // 2]).T) < 1.0
    frames = [frame for frame, stays in zip(patrol.frames, still, strict=True) if stays][:20]
    found = calibrate(frames, patrol.track, patrol.camera)
    assert not any(finding.observed for finding in found.findings)
    assert found.camera.mount == patrol.camera.mount
    assert found.camera.sigma.pitch_deg > 2.0


def test_the_command_writes_a_camera_file(tmp_path: Path) -> None:
    """`camera calibrate` reads what `locate` reads and writes a camera file that `locate` reads."""
    patrol = patrol_of("turns")
    rows = ["frame,time_s,class,score,x_min,y_min,x_max,y_max"]
    for frame in patrol.frames:
        rows += _rows(frame)
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    lon, lat = patrol.track.longitude_deg, patrol.track.latitude_deg
    fixes = [
        f"{t},{y:.9f},{x:.9f},{a}"
        for t, x, y, a in zip(patrol.track.time_s, lon, lat, patrol.track.accuracy_m, strict=True)
    ]
    (tmp_path / "track.csv").write_text("\n".join(["time_s,latitude_deg,longitude_deg,accuracy_m", *fixes]))
    (tmp_path / "camera.json").write_text(json.dumps(camera_json(turned(patrol.camera, 3.0, 0.0, 1.0))))
    options = [f"--{name}={tmp_path / file}" for name, file in _FILES.items()]
    run = CliRunner().invoke(
        app, ["camera", "calibrate", *options, "--only", "pitch", "-o", str(tmp_path / "new.json"), "--json"]
    )
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["findings"][0]["observed"]
    assert read_camera(tmp_path / "new.json").mount.pitch_deg == pytest.approx(0.0, abs=0.5)


_FILES = {"detections": "boxes.csv", "track": "track.csv", "camera": "camera.json"}


def _rows(frame: FrameDetections) -> list[str]:
    found = frame.detections
    return [
        f"{frame.frame},{frame.time_s},{name},{score:.3f},{','.join(f'{edge:.2f}' for edge in box)}"
        for name, score, box in zip(found.names(), found.scores, found.boxes_xyxy, strict=True)
    ]
