"""Two hundred files that somebody might send to do harm, drawn by script: bombs, crafted headers, traversal names."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests import pictures


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/jiejing-was-here",)


def _png(width: int, height: int, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def _jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    data = bytearray(pictures.jpeg(pictures.street(64, 64)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _gpx(inside: str, head: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?>{head}<gpx version="1.1" creator="x"><trk><trkseg>{inside}</trkseg></trk></gpx>'.encode()
    )


def _entities(depth: int) -> bytes:
    lines = ['<!ENTITY a0 "lol">'] + [f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, depth)]
    return _gpx(f"&a{depth - 1};", f"<!DOCTYPE gpx [{''.join(lines)}]>")


def _box(kind: bytes, *inside: bytes) -> bytes:
    body = b"".join(inside)
    return struct.pack(">I", len(body) + 8) + kind + body


def gopro(payload: bytes, samples: int = 1) -> bytes:
    """A GoPro's container whose telemetry is `payload`; more than one sample are said to be there, and are not."""
    start = _box(b"ftyp", b"isom", bytes(4), b"isom")
    entry = _box(b"gpmd", bytes(6), b"\0\1", bytes(4))
    table = _box(
        b"stbl",
        _box(b"stsd", bytes(4), struct.pack(">I", 1), entry),
        _box(b"stts", bytes(4), struct.pack(">III", 1, samples, 1)),
        _box(b"stsc", bytes(4), struct.pack(">IIII", 1, 1, 1, 1)),
        _box(b"stsz", bytes(4), struct.pack(">II", len(payload), samples)),
        _box(b"stco", bytes(4), struct.pack(">II", 1, len(start) + 8)),
    )
    media = _box(
        b"mdia",
        _box(b"mdhd", bytes(12), struct.pack(">II", 1000, 1000), bytes(4)),
        _box(b"hdlr", bytes(8), b"meta", bytes(13)),
        _box(b"minf", table),
    )
    return start + _box(b"mdat", payload) + _box(b"moov", _box(b"trak", _box(b"tkhd", bytes(84)), media))


def gpmf_sample() -> bytes:
    """One second of a GoPro's positions."""

    def klv(key: bytes, kind: bytes, size: int, *values: bytes) -> bytes:
        data = b"".join(values)
        return key + kind + bytes([size]) + struct.pack(">H", len(data) // size) + data + bytes(-len(data) % 4)

    fixes = [struct.pack(">5i", 315_740_000, 1_203_010_000 + 100 * i, 9_000, 5_000, 500) for i in range(2)]
    stream = klv(
        b"STRM",
        b"\0",
        1,
        klv(b"GPSF", b"L", 4, struct.pack(">I", 3)),
        klv(b"GPSU", b"U", 16, b"261120080000.000"),
        klv(b"GPSP", b"S", 2, struct.pack(">H", 150)),
        klv(b"SCAL", b"l", 4, struct.pack(">5i", 10**7, 10**7, 1000, 1000, 100)),
        klv(b"GPS5", b"l", 20, *fixes),
    )
    return klv(b"DEVC", b"\0", 1, klv(b"DVID", b"L", 4, struct.pack(">I", 1)), stream)


def _mp4(width: int, height: int, seed: int) -> bytes:
    """A container with a video track of that size and rubbish for pictures."""
    dice = random.Random(seed)
    box = _box

    entry = bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HH", width & 0xFFFF, height & 0xFFFF) + bytes(50)
    avcc = box(b"avcC", b"\1\x64\0\x1f\xff\xe1\0\4gd\0\x1f\1\0\4h\xee\0\0")
    samples = 2**28 if seed % 3 else 5
    table = box(
        b"stbl",
        box(b"stsd", bytes(4), struct.pack(">I", 1), box(b"avc1", entry, avcc)),
        box(b"stts", bytes(4), struct.pack(">III", 1, samples, 1)),
        box(b"stsc", bytes(4), struct.pack(">IIII", 1, 1, 1, 1)),
        box(b"stsz", bytes(4), struct.pack(">II", 64, samples)),
        box(b"stco", bytes(4), struct.pack(">II", 1, 48)),
    )
    media = box(
        b"mdia",
        box(b"mdhd", bytes(12), struct.pack(">II", 1000, 4_000_000_000), bytes(4)),
        box(b"hdlr", bytes(8), b"vide", bytes(13)),
        box(b"minf", table),
    )
    head = box(b"tkhd", b"\0\0\0\7", bytes(72), struct.pack(">II", width << 16 & 0xFFFFFFFF, height << 16 & 0xFFFFFFFF))
    rubbish = box(b"mdat", bytes(dice.randrange(256) for _ in range(400)))
    return box(b"ftyp", b"isom", bytes(4), b"isom") + rubbish + box(b"moov", box(b"trak", head, media))


def costly() -> Iterator[tuple[str, bytes]]:
    """Small files within the limit of pixels that are dear to decode, and some that just are allowed."""

    def drawn(mode: str, side: int, form: str = "JPEG", **options: object) -> bytes:
        stream = io.BytesIO()
        Image.new(mode, (side, side)).save(stream, form, **options)
        return stream.getvalue()

    def repeated(data: bytes, times: int) -> bytes:
        last = data.rfind(b"\xff\xda")
        return data[:last] + data[last:-2] * times + data[-2:]

    for mode, side in (("L", 4_900), ("RGB", 4_900), ("L", 7_900)):
        yield f"just-allowed-{mode}-{side}.png", drawn(mode, side, "PNG")
    for number, (sampling, side) in enumerate([(2, 7_000), (0, 4_900), (0, 7_900)]):
        yield f"progressive{number}.jpg", drawn("RGB", side, progressive=True, subsampling=sampling)
        yield f"baseline{number}.jpg", drawn("RGB", side, subsampling=sampling)
    for side in (3_800, 7_900):
        yield f"print{side}.jpg", drawn("CMYK", side)
        yield f"print-progressive{side}.jpg", drawn("CMYK", side, progressive=True)
    for side, times in ((7_000, 2), (7_900, 200), (2_500, 80), (500, 2_300), (500, 5_000)):
        yield f"scans{side}-{times}.jpg", repeated(drawn("RGB", side, progressive=True), times)


def hostile_files() -> Iterator[tuple[str, bytes]]:
    """(name, bytes): the names that a vehicle would give, most with a usual suffix."""
    dice = random.Random(2026)
    good = pictures.jpeg(pictures.street(160, 120))
    for number, (width, height) in enumerate(
        [
            (60_000, 60_000),
            (65_500, 65_500),
            (50_000, 2_000),
            (2**31 - 1, 1),
            (1, 2**31 - 1),
            (0, 9),
            (9, 0),
            (30_000, 3_000),
        ]
    ):
        yield f"bomb{number}.png", _png(width, height, bytes(10_000_000))
    for number, (width, height) in enumerate(
        [(65_500, 65_500), (65_500, 1), (30_000, 30_000), (1, 65_500), (0, 0), (9_000, 9_000)]
    ):
        yield f"bomb{number}.jpg", _jpeg_of(width, height)
    yield from costly()
    for number in range(50):
        data = bytearray(good)
        for _ in range(dice.randrange(1, 40)):
            data[dice.randrange(2, len(data))] = dice.randrange(256)
        yield f"flipped{number}.jpg", bytes(data)
    for number in range(20):
        yield f"cut{number}.jpg", good[: dice.randrange(1, len(good))]
    for number in range(20):
        exif = b"Exif\0\0" + bytes(dice.randrange(256) for _ in range(dice.randrange(8, 4000)))
        yield f"exif{number}.jpg", good[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + good[2:]
    pickled = pickle.dumps(_Runs())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickled)
    for suffix in ("pt", "pth", "jpg", "csv", "gpx", "mp4", "pkl", "npy", "json"):
        yield f"model.{suffix}", archive.getvalue()
        yield f"pickle.{suffix}", pickled
    for depth in (3, 9, 30):
        yield f"entities{depth}.gpx", _entities(depth)
    yield "external.gpx", _gpx("&x;", '<!DOCTYPE gpx [<!ENTITY x SYSTEM "file:///etc/passwd">]>')
    yield "remote.gpx", _gpx("", '<!DOCTYPE gpx SYSTEM "http://127.0.0.1:9/x.dtd">')
    yield "deep.gpx", b"<gpx>" + b"<a>" * 200_000
    for number, value in enumerate(("NaN", "inf", "1e999", "-91", "9" * 5000, "", "0x10", "--")):
        point = f'<trkpt lat="{value}" lon="{value}"><time>2026-11-20T08:00:00Z</time></trkpt>'
        yield f"values{number}.gpx", _gpx(point * 3)
        yield f"values{number}.csv", f"time_s,latitude_deg,longitude_deg\n0,{value},{value}\n1,{value},9\n".encode()
    yield "times.csv", b"time_utc,latitude_deg,longitude_deg\n9999-12-31T23:59:59Z,1,1\n0001-01-01T00:00:00Z,1,1\n"
    yield "wide.csv", b"time_s," + b"a," * 300_000 + b"\n" + b"1," * 300_000
    yield "long.csv", b"time_s,latitude_deg,longitude_deg\n" + b"9" * 8_000_000
    yield "quotes.csv", b'time_s,latitude_deg,longitude_deg\n"' + b"x\n" * 500_000
    for number in range(10):
        lines = b"".join(b"$GPRMC," + bytes(dice.randrange(32, 127) for _ in range(80)) + b"\r\n" for _ in range(500))
        yield f"log{number}.nmea", lines
    for number, size in enumerate([(1920, 1080), (65_535, 65_535), (0, 0), (16, 65_535), (7_680, 4_320)] * 5):
        yield f"film{number}.mp4", _mp4(*size, number)
    for number, samples in enumerate((1, 2**20, 2**28, 2**32 - 1)):
        yield f"gopro{number}.track.mp4", gopro(gpmf_sample(), samples)
    yield "playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\nhttp://127.0.0.1:9/x.ts\n"
    yield "concat.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "zeros.mp4", bytes(5_000_000)
    yield "empty.jpg", b""
    for number in range(20):
        suffix = ("jpg", "png", "mp4", "gpx", "csv")[number % 5]
        yield f"noise{number}.{suffix}", bytes(dice.randrange(256) for _ in range(20_000))


NAMES = (
    "../../etc/passwd.jpg",
    "..\\..\\windows.jpg",
    "/etc/cron.d/x.jpg",
    "a/../../b.jpg",
    ".hidden.jpg",
    "..",
    ".",
    "nul\x00byte.jpg",
    "line\nbreak.jpg",
    "a" * 300 + ".jpg",
    "%2e%2e%2fpasswd.jpg/..",
    "",
)


def _open_it(path: Path) -> str:
    """Everything that the product does with a file of that name before it looks at pixels, decoded as small as the
    detector wants it; what came of it."""
    from vision.errors import JiejingError
    from vision.patrol import frames
    from vision.pictures.media import PICTURE_SUFFIXES
    from vision.pictures.video import read_video
    from vision.tracks.track import read_track

    try:
        if path.suffix in PICTURE_SUFFIXES:
            shots = frames.gather([path])
            for fault in shots.faults:
                return f"refused: {fault.reason}"
            return f"taken: {shots.pictures[0].load((1280, 736)).shape}"
        if path.suffix == ".mp4" and ".track" not in path.name:
            return f"taken: {sum(1 for _ in frames.of_video(read_video(path), 0.5))} frames"
        read_track(path)
    except JiejingError as error:
        return f"refused: {error.message}"
    return "taken"


def _cpu_s() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_mb(pid: int) -> float:
    """The most memory that a process has had at a time, in MiB. Not `ru_maxrss`: that begins with what the process that
    started it had, so that within a large test run it tells how large the test run was."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def main(folder: Path) -> None:
    """Open every file of a folder and print, as JSON, CPU and clock seconds and outcome of each, and the peaks."""
    _open_it(Path(__file__))  # libraries load before the clock runs
    found = {}
    for path in sorted(folder.iterdir()):
        cpu_s, began = _cpu_s(), time.monotonic()
        outcome = _open_it(path)
        found[path.name] = (round(_cpu_s() - cpu_s, 3), round(time.monotonic() - began, 3), outcome)
    children_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"files": found, "peak_mb": max(peak_mb(os.getpid()), children_mb)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
