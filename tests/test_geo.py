"""Earth, plane, rotations and cameras."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.camera import Camera, Mount, assumed_camera, camera_json, camera_of, read_camera
from vision.errors import CameraError
from vision.geo import LocalFrame, heading_deg, median, rotation, unwrap_deg, wrap_deg

GOOD = {"width": 1200, "height": 800, "fx": 900, "fy": 900, "cx": 599.5, "cy": 399.5, "height_above_ground_m": 1.6}


@given(st.floats(-180, 179.999), st.floats(-80, 80), st.floats(-20_000, 20_000), st.floats(-20_000, 20_000))
def test_plane_round_trip(longitude: float, latitude: float, east: float, north: float) -> None:
    """Metres to degrees and back are the same metres to a micrometre, across the date line too."""
    frame = LocalFrame(longitude, latitude)
    lon, lat = frame.to_lonlat(np.array([east, north]))
    assert np.allclose(frame.to_enu(lon, lat)[:2], [east, north], atol=1e-5)


def test_a_degree_of_latitude() -> None:
    """At 45° a degree of latitude is 111,132 m and one of longitude 78,847 m on WGS 84 (published table values)."""
    east, north = LocalFrame(0.0, 45.0).metres_per_degree
    assert north == pytest.approx(111_132, abs=1.5)
    assert east == pytest.approx(78_847, abs=1.5)


def test_headings() -> None:
    """East is 90°, and a series across north does not jump."""
    assert heading_deg(1.0, 0.0) == pytest.approx(90.0)
    assert wrap_deg(190.0) == pytest.approx(-170.0)
    assert unwrap_deg([359.0, 1.0])[1] == pytest.approx(361.0)


@given(st.floats(-180, 180), st.floats(-80, 80), st.floats(-180, 180))
def test_rotation_is_a_rotation(yaw: float, pitch: float, roll: float) -> None:
    """Rotations keep lengths and handedness."""
    turn = rotation(yaw, pitch, roll)
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) == pytest.approx(1.0)


def test_rotation_signs() -> None:
    """Yaw turns left, pitch lifts the nose, roll lifts the left side."""
    forward, left = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    assert (rotation(10, 0, 0) @ forward)[1] > 0
    assert (rotation(0, 10, 0) @ forward)[2] > 0
    assert (rotation(0, 0, 10) @ left)[2] > 0


CAMERAS = {
    "pinhole": Camera((1200, 800), (900, 900), (599.5, 399.5), 1.6, mount=Mount(yaw_deg=10, pitch_deg=-4, roll_deg=2)),
    "distorted": Camera((1200, 800), (900, 880), (610, 390), 1.6, distortion=(-0.25, 0.08, 0.001, -0.0005, -0.01)),
    "fisheye": Camera((1200, 800), (400, 400), (599.5, 399.5), 1.6, (-0.02, 0.004, -0.001, 0.0001), "fisheye"),
}


@pytest.mark.parametrize("name", sorted(CAMERAS))
@given(x=st.floats(0, 1199), y=st.floats(0, 799), distance=st.floats(1, 60))
def test_pixel_round_trip(name: str, x: float, y: float, distance: float) -> None:
    """A pixel's ray leads back to the pixel, at any distance along it."""
    camera = CAMERAS[name]
    back = camera.project(camera.rays(np.array([x, y])) * distance)
    assert np.allclose(back, [x, y], atol=1e-4)


@pytest.mark.parametrize("name", sorted(CAMERAS))
@given(forward=st.floats(3, 40), left=st.floats(-3, 3))
def test_ground_to_pixel_to_ground(name: str, forward: float, left: float) -> None:
    """A spot on the road that is in the picture is found again where its pixel's ray meets the road."""
    camera = CAMERAS[name]
    spot = np.array([forward, left, -camera.height_m])
    if camera.sees(spot):
        ray = camera.rays(camera.project(spot))
        assert np.allclose(ray * (camera.height_m / -ray[2]), spot, rtol=1e-4, atol=1e-3)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_median_is_the_library_s(values: list[float]) -> None:
    assert median(np.array(values)) == np.median(values)


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_gradient_is_the_slope_of_project(name: str) -> None:
    """The gradient predicts how the pixel moves when the point does."""
    camera, point, step = CAMERAS[name], np.array([-1.0, 1.2, 9.0]), np.array([2e-3, -1e-3, 1e-3])
    moved = camera.pixels_of(point + step) - camera.pixels_of(point)
    slope = camera.gradient(np.tile(point[:, None, None], (1, 2, 1)), np.array([0, 1]))[..., 0]
    assert np.allclose(slope.T @ step, moved, atol=5e-3)


def test_behind_the_camera_is_far_outside() -> None:
    """A point behind a pinhole comes out beyond the picture on its own side, so that clipping is right."""
    pixel = CAMERAS["pinhole"].project(np.array([-1.0, 2.0, 0.0]))
    assert pixel[0] < -1000
    assert not CAMERAS["pinhole"].sees(np.array([-1.0, 2.0, 0.0]))


def test_scaled_camera_sees_the_same() -> None:
    """In a picture of half the size a thing is at half the pixel coordinates, counted from the corner."""
    camera = CAMERAS["distorted"]
    point = np.array([10.0, -2.0, -0.5])
    small = camera.scaled((600, 400)).project(point)
    assert np.allclose((small + 0.5) * 2, camera.project(point) + 0.5)


def test_camera_file_round_trip(tmp_path: Path) -> None:
    """A camera written as JSON is read back equal."""
    camera = replace(CAMERAS["fisheye"], mount=Mount(1, 2, 3, 4, 5, 6))
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(camera_json(camera)))
    assert read_camera(path) == camera


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"fx": None}, "fx"),
        ({"height_above_ground_m": -1}, "height_above_ground_m"),
        ({"width": 0}, "width"),
        ({"fx": float("nan")}, "NaN"),
        ({"mount": {"yaw": 3}}, "mount"),
        ({"model": "fisheye", "distortion": [0, 0, 0, 0, 0]}, "distortion"),
        ({"model": "magic"}, "model"),
        ({"lens": 1}, "lens"),
    ],
)
def test_bad_camera_files(change: dict[str, object], word: str) -> None:
    """A wrong field is named, with a remedy."""
    data = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(CameraError, match=word) as caught:
        camera_of(data, source="c.json")
    assert "c.json" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "[]", "{", "nonsense", '{"width": 1e999}'])
def test_camera_files_that_are_none(tmp_path: Path, text: str) -> None:
    """What is not a camera file is refused as one, and so is a missing file."""
    path = tmp_path / "camera.json"
    path.write_text(text)
    with pytest.raises(CameraError):
        read_camera(path)
    with pytest.raises(CameraError):
        read_camera(tmp_path / "none.json")


def test_assumed_camera_says_what_it_assumes() -> None:
    """Without a camera file height and focal length are said to be assumed, with sigmas that admit it."""
    camera, said = assumed_camera((4000, 3000), None)
    assert len(said) == 2
    assert camera.sigma.height_above_ground_m > 0.1
    assert camera.sigma.focal_px > 100
    known, said_less = assumed_camera((4000, 3000), 3000.0)
    assert known.focal_xy == (3000.0, 3000.0)
    assert len(said_less) == 1
