"""NMEA logs and the telemetry inside videos; what receivers do wrong costs fixes, never the track."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.scenes import ORIGIN
from vision.errors import TrackError
from vision.tracks.nmea import nmea_fixes
from vision.tracks.track import Track, in_the_right_week, read_track

START = datetime(2026, 11, 9, 8, 0, 0, tzinfo=UTC)
GOPRO = Path(__file__).resolve().parents[2] / "shared" / "data" / "media" / "gopro-gps.mp4"


def summed(body: str) -> str:
    """A sentence with its checksum."""
    return f"${body}*{reduce(xor, body.encode()):02X}\r\n"


def dm(degrees: float, digits: int) -> str:
    """Degrees as dddmm.mmmmm."""
    whole = int(abs(degrees))
    return f"{whole:0{digits}d}{(abs(degrees) - whole) * 60:08.5f}"


def rmc(at: datetime, lon: float, lat: float, speed_mps: float = 5.0, course: float = 90.0, status: str = "A") -> str:
    """One RMC sentence."""
    return summed(
        f"GNRMC,{at:%H%M%S}.{at.microsecond // 10000:02d},{status},{dm(lat, 2)},{'N' if lat >= 0 else 'S'},"
        f"{dm(lon, 3)},{'E' if lon >= 0 else 'W'},{speed_mps * 3600 / 1852:.3f},{course:.1f},{at:%d%m%y},,,A"
    )


def gga(at: datetime, lon: float, lat: float, quality: int = 1, hdop: float = 0.9) -> str:
    """One GGA sentence."""
    return summed(
        f"GPGGA,{at:%H%M%S}.00,{dm(lat, 2)},{'N' if lat >= 0 else 'S'},{dm(lon, 3)},{'E' if lon >= 0 else 'W'},"
        f"{quality},10,{hdop},12.5,M,0.0,M,,"
    )


def log(count: int = 30, start: datetime = START) -> list[str]:
    """A second of RMC, GGA and VTG per line of the list, driving east at 5 m/s."""
    lon, lat = ORIGIN.to_lonlat(np.stack([np.arange(count) * 5.0, np.zeros(count)], axis=1))
    moments = [start + timedelta(seconds=i) for i in range(count)]
    return [
        rmc(at, x, y) + gga(at, x, y) + summed("GPVTG,90.0,T,,M,9.72,N,18.0,K,A")
        for at, x, y in zip(moments, lon, lat, strict=True)
    ]


def read(tmp_path: Path, lines: list[str], start: datetime | None = None) -> Track:
    path = tmp_path / "log.nmea"
    path.write_bytes("".join(lines).encode())
    return read_track(path, start=start)


def test_sentences_of_one_second_are_one_fix(tmp_path: Path) -> None:
    """Position, time, altitude, dilution, speed and course come together, in SI units."""
    track = read(tmp_path, log())
    assert track.start == START
    assert track.time_s.tolist() == list(range(30))
    assert np.allclose(track.enu_m[:, 0], np.arange(30) * 5.0, atol=0.05)
    assert track.accuracy_m[0] == pytest.approx(0.9 * 3 / 2**0.5, abs=0.01)
    assert track.speed_mps is not None
    assert np.allclose(track.speed_mps, 5.0, atol=0.01)
    assert track.heading_deg is not None
    assert np.allclose(track.heading_deg, 90.0)
    assert track.altitude_m[0] == 12.5


@settings(max_examples=100, deadline=None)
@given(
    lon=st.floats(-179.99, 179.99),
    lat=st.floats(-89.9, 89.9),
    speed=st.floats(1.1, 60.0),
    course=st.floats(0.0, 359.9),
    at=st.datetimes(datetime(1981, 1, 1), datetime(2079, 12, 31)),
)
@example(lon=0.0, lat=1.999999999999993, speed=2.0, course=0.0, at=datetime(2000, 1, 1))
def test_what_is_written_is_read_back(lon: float, lat: float, speed: float, course: float, at: datetime) -> None:
    """RMC keeps position to a centimetre or two, time to a hundredth of a second, in every hemisphere and year."""
    raw = nmea_fixes(rmc(at.replace(tzinfo=UTC), lon, lat, speed, course).encode(), None)
    assert raw.start is not None
    assert abs((raw.start - at.replace(tzinfo=UTC)).total_seconds()) < 0.011
    fix = raw.fixes[0]
    assert (fix.longitude_deg, fix.latitude_deg) == (pytest.approx(lon, abs=2e-7), pytest.approx(lat, abs=2e-7))
    assert (fix.speed_mps, fix.heading_deg) == (pytest.approx(speed, abs=1e-3), pytest.approx(course, abs=0.051))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([s.encode() for s in log(6)])), max_size=12))
def test_any_bytes_are_read_or_left_out(parts: list[bytes]) -> None:
    """Noise between sentences costs at most what it touches; nothing raises."""
    raw = nmea_fixes(b"".join(parts), None)
    assert all(np.isfinite([f.time_s, f.longitude_deg, f.latitude_deg]).all() for f in raw.fixes)


@settings(max_examples=60, deadline=None)
@given(where=st.integers(0, 60), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(where: int, bit: int) -> None:
    """A sentence with one wrong bit never gives another position: it is dropped, or the bit was not in it."""
    good = rmc(START, 120.31, 31.49).encode()
    broken = bytearray(good)
    broken[where % len(good)] ^= 1 << bit
    fixes = nmea_fixes(good + bytes(broken), None).fixes
    assert {(round(f.longitude_deg, 6), round(f.latitude_deg, 6)) for f in fixes} == {(120.31, 31.49)}


def test_faults_of_receivers_cost_fixes(tmp_path: Path) -> None:
    """No satellites, 0°/0°, spikes, a cold start in the wrong week, a cut-off line and a gap: the rest is a track."""
    lines = log(60)
    at = [START + timedelta(seconds=i) for i in range(60)]
    lines[3] = rmc(at[3], 120.31, 31.49, status="V") + gga(at[3], 120.31, 31.49, quality=0)
    lines[5] = rmc(at[5], 0.0, 0.0)
    lines[8] = rmc(at[8], 120.9, 31.49)
    lines[10] = lines[10][:30]
    cold = [rmc(START - timedelta(weeks=1024) + timedelta(seconds=i), 120.31, 31.49) for i in range(3)]
    track = read(tmp_path, [*cold, *lines[:20], *lines[40:]])
    assert len(track.time_s) == 36
    assert track.start == START
    said = " ".join(track.notes)
    for word in ("checksum", "no position", "0°", "any vehicle drives", "wrong week"):
        assert word in said
    assert track.poses_at([2.0, 30.0, 45.0]).known.tolist() == [True, False, True]


@pytest.mark.parametrize("date", ["20,11,99999999999", "99999999999,11,2026", "31,12,9999", "01,01,0001"])
def test_a_date_that_no_receiver_says_is_none(date: str, tmp_path: Path) -> None:
    """Years and days of many digits, years long before or after ours: the sentence dates nothing, the others do."""
    path = tmp_path / "a.nmea"
    path.write_bytes("".join([summed(f"GPZDA,080000,{date},00,00"), *log(5)]).encode())
    assert read_track(path).start == START


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-22T08:00:00+50:09"]
)
def test_a_moment_that_no_zone_has_costs_its_fix(moment: str, tmp_path: Path) -> None:
    """At the ends of the calendar, or with a zone that is days off: its fix is dropped, in CSV and GPX, the track
    stays."""
    times = ["2026-11-20T08:00:00Z", "2026-11-20T08:00:09Z", "2026-11-20T08:00:12Z", moment]
    rows = "".join(f"{time},31.5,120.{index}\n" for index, time in enumerate(times, start=3000))
    (tmp_path / "a.csv").write_text(f"time_utc,latitude_deg,longitude_deg\n{rows}")
    points = "".join(
        f'<trkpt lat="31.5" lon="120.{index}"><time>{time}</time></trkpt>'
        for index, time in enumerate(times, start=3000)
    )
    (tmp_path / "a.gpx").write_text(
        f'<?xml version="1.0"?><gpx version="1.1" creator="x"><trk><trkseg>{points}</trkseg></trk></gpx>'
    )
    for name in ("a.csv", "a.gpx"):
        assert len(read_track(tmp_path / name).time_s) == 3


def test_midnight_in_a_log_whose_positions_have_no_date(tmp_path: Path) -> None:
    """GGA gives the time of day alone: the day is that of the neighbours, and midnight goes on to the next."""
    late = datetime(2026, 12, 31, 23, 59, 50, tzinfo=UTC)
    lon, lat = ORIGIN.to_lonlat(np.stack([np.arange(20) * 5.0, np.zeros(20)], axis=1))
    lines = [gga(late + timedelta(seconds=i), lon[i], lat[i]) for i in range(20)]
    dated = read(tmp_path, [summed(f"GPZDA,{late:%H%M%S}.00,31,12,2026,00,00"), *lines])
    assert dated.start == late
    assert dated.time_s.tolist() == list(range(20))
    undated = read(tmp_path, lines)
    assert undated.start is None
    assert undated.time_s.tolist() == list(range(20))
    by_start = read(tmp_path, lines, start=late + timedelta(seconds=15))
    assert by_start.time_s.tolist() == list(range(-15, 5))


def test_a_receiver_older_than_the_rollover(tmp_path: Path) -> None:
    """Dates 1,024 weeks back are put right when the pictures say so, and it is said; a year off is left alone."""
    old = read(tmp_path, log(10, START - timedelta(weeks=1024)))
    right = in_the_right_week(old, START + timedelta(hours=2), keep_start=False)
    assert right.start == START
    assert "1024 weeks" in right.notes[-1]
    fixed = in_the_right_week(
        read(tmp_path, log(10, START - timedelta(weeks=1024)), start=START), START, keep_start=True
    )
    assert fixed.start == START
    assert fixed.time_s.tolist() == list(range(10))
    assert in_the_right_week(old, old.start + timedelta(days=365), keep_start=False) is old  # type: ignore[operator]


def test_a_video_without_the_reader_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error says how to install it."""
    monkeypatch.setitem(sys.modules, "mapillary_tools", None)
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    with pytest.raises(TrackError, match="mapillary_tools") as caught:
        read_track(path)
    assert "jiejing[telemetry]" in caught.value.remedy


def test_telemetry_of_a_gopro() -> None:
    """The sample clip's 191 fixes lie within some metres of each other, on the video's own clock."""
    pytest.importorskip("mapillary_tools", reason="the extra `telemetry` is not installed")
    if not GOPRO.is_file():
        pytest.skip("the sample clip is not beside this checkout")
    track = read_track(GOPRO)
    assert len(track.time_s) == 191
    assert track.start is not None
    assert track.start.year == 2019
    assert 10.0 < track.time_s[-1] < 11.0
    assert np.abs(track.enu_m[:, :2]).max() < 20.0


def test_a_video_without_telemetry_is_refused(tmp_path: Path) -> None:
    """A video that carries no position is an error that says what to give instead."""
    pytest.importorskip("mapillary_tools", reason="the extra `telemetry` is not installed")
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    with pytest.raises(TrackError, match="no position telemetry"):
        read_track(path)
