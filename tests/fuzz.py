"""What a stranger's bytes can reach, under atheris: `python -m tests.fuzz TARGET -runs=1000000` (`make fuzz` runs all).

A target fails when anything but one of our own errors comes out, when an input takes too long, or too much memory.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vision", "serve", "gpxpy", "defusedxml", "mapillary_tools"]):
    from starlette.requests import Request

    from serve.cases.grid import overlaps, read_grid
    from serve.doors import cases, uploads
    from serve.intake.gates import check_track
    from vision.camera import camera_of
    from vision.errors import JiejingError
    from vision.pictures.media import decode, picture_header
    from vision.pictures.video_reader import _frames, _header
    from vision.tracks import telemetry

import contextlib

from tests import pictures
from tests.hostile import _gpx, _mp4, gopro, gpmf_sample

_FOLDER = Path(tempfile.mkdtemp(prefix="jiejing-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
_LON, _LAT = 120.301, 31.574
_START = datetime(2026, 11, 20, 8, tzinfo=UTC)


def _file(data: bytes, suffix: str) -> Path:
    path = _FOLDER / f"input{suffix}"
    path.write_bytes(data)
    return path


def _track(data: bytes, suffix: str) -> None:
    """A track that has arrived, as the server looks at it."""
    check_track(_file(data, suffix), f"track{suffix}", _START, "p1")


def gpx(data: bytes) -> None:
    """A track in GPX."""
    _track(b"<" + data, ".gpx")


def nmea(data: bytes) -> None:
    """A receiver's log."""
    _track(data, ".nmea")


def csv(data: bytes) -> None:
    """A track in CSV, with seconds or with moments."""
    clock = b"time_s" if data[:1] < b"\x80" else b"time_utc"
    _track(clock + b",latitude_deg,longitude_deg,heading_deg\n" + data[1:], ".csv")


def gpmf(data: bytes) -> None:
    """The telemetry of a GoPro video, GPMF inside of an MP4 that is otherwise good; in the product this runs in a
    process of its own, if the extra `telemetry` is installed."""
    telemetry._read(_file(gopro(data), ".mp4"), _START)


def geojson(data: bytes) -> None:
    """A city's grid."""
    with contextlib.suppress(ValueError):
        list(overlaps(read_grid(data.decode("utf-8", "replace"))))


def exif(data: bytes) -> None:
    """EXIF of an otherwise good JPEG."""
    block = b"Exif\0\0" + data[:60_000]
    good = _JPEG
    picture_header(good[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + good[2:], Path("a.jpg"))


def image(data: bytes) -> None:
    """The gate for pictures, and what comes through it."""
    picture = picture_header(data, Path("a.jpg"))
    if picture.size_wh[0] * picture.size_wh[1] <= 1_000_000:
        decode(data, picture)


def mp4(data: bytes) -> None:
    """A video's header, and its first frames; in the product this runs in a process of its own, with as little memory
    as here (see `main`), and what asks for more is told to be too large."""
    with contextlib.suppress(MemoryError):
        _video(data)


def _video(data: bytes) -> None:
    path = _file(data, ".mp4")
    header = _header(path)
    if header["width"] * header["height"] <= 1_000_000:
        for _, (_, _) in zip(range(3), _frames(path, 0.5, (header["width"], header["height"]), (64, 64)), strict=False):
            pass


def tus(data: bytes) -> None:
    """The headers of resumable uploads."""
    first, _, second = data.partition(b"\n")
    headers = [(b"upload-checksum", first), (b"upload-length", second), (b"upload-metadata", data)]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers})
    for read in (
        lambda: uploads._checksum(request),
        lambda: uploads._number(request, "upload-length"),
        lambda: uploads._metadata(request.headers["upload-metadata"]),
    ):
        _ours_only(read)


def camera(data: bytes) -> None:
    """A camera file, as a vehicle sends it."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(said, dict):
        camera_of(said)


def query(data: bytes) -> None:
    """Places and cursors in the address of a list of cases."""
    text = data.decode("utf-8", "replace")
    for read in (cases._bbox, cases._near, cases._read_cursor):
        _ours_only(lambda read=read: read(text))  # type: ignore[misc]


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one for one in (gpx, nmea, csv, gpmf, exif, image, mp4, tus, camera, query, geojson)
}
_JPEG = pictures.jpeg(pictures.street(64, 48), taken=datetime(2026, 11, 20, 8), lonlat=(_LON, _LAT))
_POINT = f'<trkpt lat="{_LAT}" lon="{_LON}"><ele>3</ele><time>2026-11-20T08:00:00Z</time><hdop>1</hdop></trkpt>'
_CAMERA = {"model": "pinhole", "width": 800, "height": 600, "fx": 700.0, "fy": 700.0, "height_above_ground_m": 2.0}
_RING = [[_LON, _LAT], [_LON + 1, _LAT], [_LON + 1, _LAT + 1], [_LON, _LAT]]
_GRID = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"grid_id": f"32021100100100{number}", "name": "n", "unit": "u"},
            "geometry": {"type": kind, "coordinates": [_RING] if kind == "Polygon" else [[_RING]]},
        }
        for number, kind in enumerate(("Polygon", "MultiPolygon"))
    ],
}
SEEDS: dict[str, list[bytes]] = {
    "gpx": [_gpx(_POINT + _POINT.replace("08:00:00", "08:00:05"))[1:]],
    "nmea": [
        b"$GPRMC,080000.00,A,3134.44000,N,12018.06000,E,5.0,90.0,201126,,,A*5C\r\n"
        b"$GPGGA,080001.00,3134.44000,N,12018.07000,E,1,08,1.0,3.0,M,,,,*1B\r\n$GPZDA,080002,20,11,2026,00,00*4B\r\n"
    ],
    "csv": [f" 0,{_LAT},{_LON},90\n1,{_LAT},{_LON + 1e-4},\n".encode()],
    "gpmf": [gpmf_sample()],
    "geojson": [json.dumps(_GRID).encode()],
    "exif": [_JPEG[_JPEG.index(b"Exif\0\0") + 6 :][:400]],
    "image": [_JPEG, b"\x89PNG\r\n\x1a\n" + bytes(40)],
    "mp4": [_mp4(320, 240, 0), _mp4(16, 16, 1)],
    "tus": [b"sha256 3q2+7w==\n100\npatrol cDE=,sha256 YQ=="],
    "camera": [json.dumps(_CAMERA).encode()],
    "query": [b"120.1,31.5,120.3,31.7", b"120.3,31.5,200", b"MjAyNi0xMS0yMFQwODowMDowMCswMDowMHxjMQ=="],
}


def _ours_only(run: Callable[[], object]) -> None:
    with contextlib.suppress(JiejingError):
        run()


def main() -> None:
    """The command: a target's name, then libFuzzer's own options."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        raise SystemExit(f"one of {', '.join(TARGETS)}")
    if name == "gpmf" and importlib.util.find_spec("mapillary_tools") is None:
        sys.stderr.write("gpmf is left out: the extra `telemetry` is not installed\n")
        return
    corpus = _FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[name]):
        (corpus / str(number)).write_bytes(seed)
    if name == "mp4":
        # Beside the fuzzer's own 250 MB what `vision.pictures.confined` gives the process that reads videos.
        resource.setrlimit(resource.RLIMIT_DATA, (700 * 1024**2,) * 2)
    options = ["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1"]
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *options, *sys.argv[2:], str(corpus)], lambda data: _ours_only(lambda: target(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
