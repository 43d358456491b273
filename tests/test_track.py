"""Tracks: reading, the faults of receivers, and poses at any time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenes import ORIGIN, consumer_track, drive, surveyed_track
from vision.errors import TrackError
from vision.geo import wrap_deg
from vision.tracks.fixes import Fix
from vision.tracks.track import Track, read_track, track_from_fixes

GPX = """<?xml version="1.0"?><gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>
{points}</trkseg></trk></gpx>"""


def write(tmp_path: Path, text: str, name: str = "track.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def straight(count: int = 20, **extra: float) -> list[Fix]:
    """One fix a second, 5 m/s east."""
    lon, lat = ORIGIN.to_lonlat(np.stack([np.arange(count) * 5.0, np.zeros(count)], axis=1))
    return [Fix(float(i), float(lon[i]), float(lat[i]), accuracy_m=1.5, **extra) for i in range(count)]


def test_csv_with_clock_times(tmp_path: Path) -> None:
    """`time_utc` gives the start; seconds count from it."""
    rows = "".join(f"2026-11-09T08:00:0{i}+08:00,{31.49 + i * 1e-4},120.31,2\n" for i in range(3))
    track = read_track(write(tmp_path, "time_utc,latitude_deg,longitude_deg,accuracy_m\n" + rows))
    assert track.start == datetime(2026, 11, 9, tzinfo=UTC)
    assert track.time_s.tolist() == [0, 1, 2]
    later = read_track(tmp_path / "track.csv", start=datetime(2026, 11, 8, 23, 59, 50, tzinfo=UTC))
    assert later.time_s.tolist() == [10, 11, 12]


def test_csv_with_seconds(tmp_path: Path) -> None:
    """`time_s` needs no clock; a missing accuracy is assumed and said."""
    track = read_track(write(tmp_path, "time_s,latitude_deg,longitude_deg\n0,31.49,120.31\n1,31.4901,120.31\n"))
    assert track.start is None
    assert any("accuracy" in note for note in track.notes)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "time_utc"),
        ("a,b\n1,2\n", "latitude_deg"),
        ("time_s,latitude_deg,longitude_deg\n", "0 usable"),
        ("time_s,latitude_deg,longitude_deg\n0,31.49,120.31\n", "1 usable"),
        ("time_s,latitude_deg,longitude_deg\n0,nan,120.31\n1,31.4,inf\n2,x,y\n", "0 usable"),
        ("time_s,latitude_deg,longitude_deg\n5,31.49,120.31\n5,31.4901,120.31\n", "1 usable"),
        ("time_utc,latitude_deg,longitude_deg\nyesterday,31.49,120.31\n", "0 usable"),
    ],
)
def test_csv_that_is_no_track(tmp_path: Path, text: str, word: str) -> None:
    """What can't be a track is refused with the file's name and a remedy."""
    with pytest.raises(TrackError, match=word) as caught:
        read_track(write(tmp_path, text))
    assert "track.csv" in str(caught.value)
    assert caught.value.remedy


def test_gpx(tmp_path: Path) -> None:
    """GPX points of all segments in order; points without a time are dropped and said."""
    points = "".join(
        f'<trkpt lat="{31.49 + i * 1e-4}" lon="120.31"><time>2026-11-09T00:00:0{i}Z</time><hdop>1.2</hdop></trkpt>\n'
        for i in range(4)
    )
    track = read_track(write(tmp_path, GPX.format(points=points + '<trkpt lat="31.5" lon="120.3"/>'), "t.gpx"))
    assert len(track.time_s) == 4
    assert track.accuracy_m[0] == pytest.approx(2.55, abs=0.01)
    assert any("without a time" in note for note in track.notes)


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0"?><!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><gpx>&b;</gpx>',
        "<gpx><trk>",
        "<html></html>",
        GPX.format(points='<trkpt lat="NaN" lon="inf"><time>2026-11-09T00:00:00Z</time></trkpt>'),
        GPX.format(points='<trkpt lat="north" lon="1"/>'),
    ],
)
def test_gpx_that_is_no_track(tmp_path: Path, text: str) -> None:
    """Entity bombs, broken XML, other XML and points without a place are refused, not read."""
    with pytest.raises(TrackError):
        read_track(write(tmp_path, text, "t.gpx"))


def test_faulty_fixes_cost_fixes() -> None:
    """Nowhere, 0°/0°, a jump, a repeated time and a clock in the wrong week cost those fixes and are said."""
    good = straight(30)
    bad = [
        Fix(-1024 * 604800.0, good[0].longitude_deg, good[0].latitude_deg),
        *good[:5],
        Fix(5.2, float("nan"), 31.0),
        Fix(5.4, 0.0, 0.0),
        *good[6:12],
        Fix(12.0, good[12].longitude_deg + 0.05, good[12].latitude_deg),
        *good[13:20],
        Fix(3.0, good[3].longitude_deg, good[3].latitude_deg),
        *good[20:],
    ]
    track = track_from_fixes(bad)
    assert len(track.time_s) == 28
    assert len(track.notes) == 5
    assert abs(track.enu_m[-1, 0] - 29 * 5.0) < 0.1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.floats(), st.floats()), max_size=30))
def test_any_fixes_give_a_track_or_its_error(raw: list[tuple[float, float, float]]) -> None:
    """Whatever a receiver writes, the outcome is a track with rising times or a TrackError."""
    try:
        track = track_from_fixes([Fix(*values) for values in raw])
    except TrackError:
        return
    assert (np.diff(track.time_s) > 0).all()
    assert np.isfinite(track.poses_at(track.time_s).enu_m).all()


def test_surveyed_poses_are_interpolated() -> None:
    """Between two fixes of an inertial system the pose lies between theirs, across north too."""
    fixes = [
        Fix(0.0, 120.31, 31.49, 5.0, 0.05, heading_deg=350.0, pitch_deg=1.0, roll_deg=0.0),
        Fix(1.0, 120.31, 31.4901, 5.0, 0.05, heading_deg=10.0, pitch_deg=3.0, roll_deg=0.0),
    ]
    poses = track_from_fixes(fixes).poses_at([0.5])
    assert wrap_deg(poses.heading_deg)[0] == pytest.approx(0.0, abs=1e-6)
    assert poses.pitch_deg[0] == pytest.approx(2.0)
    assert poses.enu_m[0, 1] == pytest.approx(5.54, abs=0.05)


def test_heading_comes_from_motion() -> None:
    """Positions alone tell the heading: 90° when driving east."""
    poses = track_from_fixes(straight()).poses_at([5.0, 10.0])
    assert np.allclose(poses.heading_deg, 90.0, atol=1.0)
    assert poses.known.all()


def test_heading_is_held_while_standing() -> None:
    """A receiver that drifts by half a metre while the vehicle stands does not turn it."""
    moving = straight(15)
    rng = np.random.default_rng(1)
    drift = np.cumsum(rng.normal(0, 0.1, (30, 2)), axis=0)
    lon, lat = ORIGIN.to_lonlat(np.array([70.0, 0.0]) + drift)
    still = [Fix(15.0 + i, float(lon[i]), float(lat[i]), accuracy_m=1.5) for i in range(30)]
    poses = track_from_fixes([*moving, *still]).poses_at(np.arange(20.0, 44.0))
    assert np.abs(wrap_deg(poses.heading_deg - 90.0)).max() < 15.0


@pytest.mark.parametrize("seed", range(4))
def test_a_vehicle_that_backs_out_does_not_turn_round(seed: int) -> None:
    """North, a stop, five metres back, on again, by a consumer receiver: it heads north all the time."""
    speeds = np.concatenate([np.full(2 * s, v) for s, v in ((6, 6.0), (10, 0.0), (6, -0.9), (5, 0.0), (6, 6.0))])
    times = np.arange(len(speeds)) / 2
    north = np.concatenate([[0.0], np.cumsum(speeds[:-1]) / 2])
    track = consumer_track(times, np.stack([np.zeros_like(north), north], axis=1), seed)
    assert np.abs(wrap_deg(track.poses_at(times).heading_deg)).max() < 20.0


def test_a_straight_street_is_driven_straight() -> None:
    """The receiver's white noise is no steering: at 8 m/s it would turn a path through the fixes by some degrees."""
    times, places = drive(seconds=40.0, speed_mps=8.0)
    headings = [consumer_track(times, places, seed).poses_at(times).heading_deg for seed in range(10)]
    off = np.abs((np.concatenate(headings) + 180.0) % 360.0 - 180.0)
    assert np.percentile(off, 90) < 3.2


def test_turning_round_is_still_turning() -> None:
    """Half a circle of eight metres' radius ends heading the other way, forwards."""
    angle = np.linspace(0.0, np.pi, 26)
    bend = np.stack([60.0 + 8.0 * np.sin(angle), 8.0 - 8.0 * np.cos(angle)], axis=1)
    out, back = (
        np.stack([np.arange(0.0, 60.0), np.zeros(60)], axis=1),
        np.stack([np.arange(60.0, 0.0, -1), np.full(60, 16.0)], axis=1),
    )
    places = np.concatenate([out, bend, back])
    poses = consumer_track(np.arange(len(places)) / 4, places, seed=2).poses_at([10.0, 30.0])
    assert np.abs(wrap_deg(poses.heading_deg - [90.0, 270.0])).max() < 10.0


def test_gaps_and_ends_are_unknown() -> None:
    """Nothing is claimed in the middle of a long gap or long after the last fix; just after it, with more doubt."""
    fixes = straight(40)
    track = track_from_fixes([*fixes[:10], *fixes[30:]])
    poses = track.poses_at([5.0, 20.0, 40.5, 60.0])
    assert poses.known.tolist() == [True, False, True, False]
    assert poses.covariance[2, 0, 0] > poses.covariance[0, 0, 0]


def test_a_spike_within_reach_hardly_bends_the_path() -> None:
    """One fix 25 m to the side, which a vehicle could just have reached, moves the path by less than 3 m."""
    fixes = straight(30)
    _, lat = ORIGIN.to_lonlat(np.array([75.0, 25.0]))
    fixes[15] = Fix(15.0, fixes[15].longitude_deg, float(lat), accuracy_m=1.5)
    assert abs(track_from_fixes(fixes).poses_at([15.0]).enu_m[0, 1]) < 3.0


def test_the_path_does_not_average_the_receivers_bias_away() -> None:
    """A hundred fixes with a shared error leave the stated position error near the receiver's own."""
    times, places = drive(seconds=60.0)
    poses = consumer_track(times, places, seed=3).poses_at(times)
    sigma = np.sqrt(poses.covariance[:, 0, 0])
    assert 1.0 < sigma.mean() < 1.8


def test_exact_track_is_kept() -> None:
    """Poses at the fixes of a surveyed track are those fixes."""
    times, places = drive()
    track: Track = surveyed_track(times, places)
    assert np.allclose(track.poses_at(times).enu_m[:, :2], places - places[0], atol=1e-6)
