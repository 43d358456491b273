"""Pictures from disk: what their headers say, and their pixels at the size that is wanted.

Headers are checked before anything is decoded, so that a hostile or broken file costs little and becomes one clear
line.
All pixels leave this room as RGB uint8 arrays of shape (height, width, 3), upright after EXIF orientation.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from vision import MAX_PIXELS
from vision.errors import MediaError

Rgb = npt.NDArray[np.uint8]
Bytes = bytes | memoryview

MAX_PICTURE_BYTES = 256 * 1024 * 1024
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".mpo"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".avi"})
# What decoding one picture may hold, so that a process with the detector in it stays below half a gigabyte; from where
# on one is decoded at a time; and how many pixels all scans of a JPEG may go over: a small file may have very many.
_MOST_HELD_BYTES, _MUCH_HELD_BYTES, _MOST_SCANNED_PIXELS = 150_000_000, 40_000_000, 600_000_000
_ONE_BY_ONE = threading.Lock()
# Bytes per pixel, as measured: a PNG is held twice, a JPEG of several scans by its coefficients, and one for printers
# as Pillow does it.
_PNG_HELD, _PRINT_HELD = 6, 10
_COEFFICIENTS_HELD = {"420": 3, "411": 3, "422": 4, "440": 4, "Gray": 2}
_JPEG_MAGIC = b"\xff\xd8\xff"
_PRINT_COLOURS = frozenset({"CMYK", "YCCK"})
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_APP1, _SOS, _EOI = 0xE1, 0xDA, 0xD9
_PLAIN_FRAMES = frozenset({0xC0, 0xC1})
# The segments before the pixels fit in here: camera makers put a thumbnail and notes into them.
_HEAD_BYTES = 256 * 1024
# Up to this size a picture is read into memory that its thread keeps.
_REUSED_BYTES = 16 * 1024 * 1024
_OF_THREAD = threading.local()
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_ORIENTATION, _DATE_TIME = 0x0112, 0x9003
_OFFSET_TIME, _SUBSEC, _FOCAL_35MM = 0x9011, 0x9291, 0xA405
# What some cameras write behind a picture's end.
_TRAILER_BYTES = 4096
# EXIF orientation -> how to turn the stored pixels upright: (quarter turns counter-clockwise, then mirror left-right)
_UPRIGHT = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}
# What Pillow raises on broken files.
_PILLOW_ERRORS = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    KeyError,
    TypeError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class GpsFix:
    """Where EXIF says the picture was taken: WGS 84 degrees, metres above sea level."""

    longitude_deg: float
    latitude_deg: float
    altitude_m: float | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's header.

    `size_wh`: pixels after EXIF orientation; `taken_at`: with a zone when the file states one, else naive local time;
    `time_sigma_s`: half a second when the file has no sub-seconds; `focal_px`: focal length in pixels of the upright
    full-resolution picture, from EXIF's 35 mm equivalent.
    """

    path: Path
    size_wh: tuple[int, int]
    orientation: int
    taken_at: datetime | None
    time_sigma_s: float
    gps: GpsFix | None
    focal_px: float | None

    @property
    def name(self) -> str:
        return self.path.name


def find_media(paths: Sequence[Path], suffixes: frozenset[str] = PICTURE_SUFFIXES) -> list[Path]:
    """The files themselves, and those with a fitting suffix inside folders, in natural order (2 before 10).

    A path that does not exist stays in the list: reading it gives the fault for the report.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
            found += sorted(inside, key=lambda file: natural_key(str(file.relative_to(path))))
        else:
            found.append(path)
    return found


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """A sort key that reads digits as numbers."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def read_bytes(path: Path, most: int = -1) -> bytes:
    """The file's bytes, or the first `most` of them. Raises MediaError when it is missing, unreadable, empty or beyond
    the size limit."""
    try:
        size = path.stat().st_size
        if size > MAX_PICTURE_BYTES:
            raise MediaError(f"the file has {size / 1e6:.0f} MB", remedy="pictures may have up to 256 MB")
        with path.open("rb") as stream:
            data = stream.read(most)
    except OSError as error:
        raise MediaError(f"cannot be read ({error.strerror})", remedy="check the path and its permissions") from error
    if not data:
        raise MediaError("the file is empty", remedy="copy it again from the camera")
    return data


def read_for_now(path: Path) -> Bytes:
    """The file's bytes in memory that this thread uses again: they last until its next call. As large as pictures are,
    fresh memory costs more than reading. Raises MediaError as `read_bytes` does."""
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        if 0 < size <= _REUSED_BYTES:
            held: bytearray = _OF_THREAD.__dict__.setdefault("buffer", bytearray())
            if len(held) < size:
                _OF_THREAD.buffer = held = bytearray(min(_REUSED_BYTES, 2 * size))
            view, filled = memoryview(held)[:size], 0
            while filled < size and (more := stream.readinto(view[filled:])):
                filled += more
            if filled:
                return view[:filled]
    return read_bytes(path)  # it says what is wrong


def read_picture(path: Path) -> Picture:
    """The header of a picture file. Raises MediaError when it is no JPEG or PNG picture within the limits."""
    head = read_bytes(path, _HEAD_BYTES)
    return picture_header(head if _is_plain(head) else read_bytes(path), path)


def picture_header(data: Bytes, path: Path, *, for_pixels: bool = False) -> Picture:
    """The header of a picture given as bytes; `path` only names it. `for_pixels`: without when, where and through which
    lens it was taken, which decoding does not need. Raises MediaError as `read_picture` does."""
    if not (_is_jpeg(data) or _is_png(data)):
        raise MediaError("not a JPEG or PNG picture, whatever its name says", remedy="convert it to JPEG or PNG")
    stored_wh = _stored_size(data)
    if stored_wh[0] * stored_wh[1] > MAX_PIXELS:
        raise MediaError(
            f"{stored_wh[0]}×{stored_wh[1]} pixels are too many",
            remedy=f"shrink it below {MAX_PIXELS // 1_000_000} megapixels",
        )
    _check_cost(data, stored_wh)
    exif, gps = _exif(data, for_pixels)
    orientation = int(exif.get(_ORIENTATION) or 1) if exif.get(_ORIENTATION) in _UPRIGHT else 1
    turned = _UPRIGHT[orientation][0] % 2 == 1
    taken_at, sigma_s = _taken_at(exif)
    focal_mm = _number(exif.get(_FOCAL_35MM))
    # The 35 mm equivalent is stated for the frame's diagonal of 43.27 mm (CIPA DCG-001).
    focal_px = focal_mm / 43.27 * float(np.hypot(*stored_wh)) if focal_mm and focal_mm > 0 else None
    return Picture(
        path=path,
        size_wh=(stored_wh[1], stored_wh[0]) if turned else stored_wh,
        orientation=orientation,
        taken_at=taken_at,
        time_sigma_s=sigma_s,
        gps=_gps_fix(gps),
        focal_px=focal_px,
    )


def _is_jpeg(data: Bytes) -> bool:
    return data[: len(_JPEG_MAGIC)] == _JPEG_MAGIC


def _is_png(data: Bytes) -> bool:
    return data[: len(_PNG_MAGIC)] == _PNG_MAGIC


def _stored_size(data: Bytes) -> tuple[int, int]:
    if _is_png(data):
        if len(data) < 33 or data[12:16] != b"IHDR":
            raise MediaError("the PNG header is cut off", remedy="copy it again from the camera")
        width, height = struct.unpack(">II", data[16:24])
        if not width or not height:
            raise MediaError("the PNG header states no size", remedy="copy it again from the camera")
        return width, height
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError) as error:  # KeyError: it looks up the colour space of a header it could not read
        raise MediaError("the JPEG header is cut off or broken", remedy="copy it again from the camera") from error
    return width, height


def _check_cost(data: Bytes, stored_wh: tuple[int, int]) -> None:
    """Raise MediaError for a picture within the limit of pixels that takes too much memory or time all the same."""
    held_bytes, scanned_pixels = _cost(data, stored_wh)
    if held_bytes > _MOST_HELD_BYTES or scanned_pixels > _MOST_SCANNED_PIXELS:
        raise MediaError(
            f"a file of this kind with {stored_wh[0]}×{stored_wh[1]} pixels takes too much memory or time",
            remedy="shrink it, or convert it to a plain (baseline, RGB) JPEG",
        )


def _cost(data: Bytes, size_wh: tuple[int, int]) -> tuple[int, int]:
    """What decoding holds, in bytes beside the pixels that are wanted, and over how many pixels its scans go."""
    pixels = size_wh[0] * size_wh[1]
    if not _is_jpeg(data):
        return pixels * _PNG_HELD, pixels
    _, _, colours, sampling = simplejpeg.decode_jpeg_header(data, strict=False)
    scans = 1 if _is_plain(data) else _scans(data, _first_scan(data))
    held = _COEFFICIENTS_HELD.get(sampling, 6) if scans > 1 else 0
    held += _PRINT_HELD if colours.upper() in _PRINT_COLOURS else 0
    return pixels * held, pixels * scans


def _is_plain(data: Bytes) -> bool:
    """Whether the first scan of a JPEG holds all its colours at full precision: libjpeg reads one scan of such a file,
    and refuses a second. False too when that scan's header is not in `data`."""
    colours: Bytes = b""
    for kind, start, end in _segments(data):
        if kind in _PLAIN_FRAMES:
            colours = data[start + 9 : start + 10]
        elif kind == _SOS:
            return end <= len(data) and colours == data[start + 4 : start + 5]
    return False


def _scans(data: Bytes, start: int) -> int:
    """How often the marker of a scan comes from `start` on. (`bytes.count` takes eight times as long as this.)"""
    halves = (np.frombuffer(data, "<u2", (len(data) - at) // 2, at) for at in (start, start + 1))
    return sum(int(np.count_nonzero(pairs == int.from_bytes(b"\xff\xda", "little"))) for pairs in halves)


def _segments(data: Bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each segment of a JPEG up to its first scan, or to where its segments are odd."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], at, end
        if data[at + 1] in (_SOS, _EOI):
            return
        at = end


def _first_scan(data: Bytes) -> int:
    """Where the first scan of a JPEG begins, behind the thumbnail that its EXIF may hold; 0 when its segments are odd,
    so that whatever looks like a scan counts."""
    return next((start for kind, start, _ in _segments(data) if kind == _SOS), 0)


def _exif(data: Bytes, for_pixels: bool) -> tuple[dict[int, Any], dict[int, Any]]:
    """The EXIF fields of the main and Exif blocks, and those of the GPS block; empty where there are none.

    `for_pixels`: only the orientation.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF blocks; what can be read is enough
            if _is_jpeg(data):
                exif = Image.Exif()
                exif.load(_exif_block(data))
            else:
                with Image.open(io.BytesIO(data)) as image:
                    exif = image.getexif()
            if for_pixels:
                return {_ORIENTATION: exif.get(_ORIENTATION)}, {}
            return {**exif, **exif.get_ifd(_EXIF_IFD)}, dict(exif.get_ifd(_GPS_IFD))
    except _PILLOW_ERRORS:
        # A picture with broken metadata is still a picture.
        return {}, {}


def _exif_block(data: Bytes) -> bytes:
    """The Exif block of a JPEG, empty where there is none (JEITA CP-3451: an APP1 segment before the pixels).

    Opening the picture with Pillow finds it too, but costs as much as a fiftieth of looking for things in it.
    """
    for kind, start, end in _segments(data):
        if kind == _APP1 and data[start + 4 : start + 10] == b"Exif\x00\x00":
            return bytes(data[start + 4 : end])
    return b""


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if np.isfinite(number) else None


def _taken_at(exif: dict[int, Any]) -> tuple[datetime | None, float]:
    try:
        taken = datetime.strptime(str(exif.get(_DATE_TIME, "")).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None, 0.5
    digits = re.fullmatch(r"(\d{1,6})\d*", str(exif.get(_SUBSEC, "")).strip("\0 "))
    if digits:
        taken += timedelta(microseconds=int(digits[1].ljust(6, "0")))
    zone = re.fullmatch(r"([+-])(\d{2}):(\d{2})", str(exif.get(_OFFSET_TIME, "")).strip("\0 "))
    if zone:
        minutes = int(zone[2]) * 60 + int(zone[3])
        if minutes < 24 * 60:
            taken = taken.replace(tzinfo=timezone(timedelta(minutes=-minutes if zone[1] == "-" else minutes)))
            taken = taken.astimezone(UTC)
    return taken, 0.02 if digits else 0.5


def _gps_fix(gps: dict[int, Any]) -> GpsFix | None:
    def degrees(values: Any, reference: Any) -> float | None:
        try:
            d, m, s = (_number(v) for v in values)
        except (TypeError, ValueError):
            return None
        if d is None or m is None:
            return None
        angle = d + m / 60 + (s or 0.0) / 3600
        return -angle if str(reference).upper()[:1] in {"S", "W"} else angle

    latitude = degrees(gps.get(2), gps.get(1, "N"))
    longitude = degrees(gps.get(4), gps.get(3, "E"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    if latitude == 0 and longitude == 0:  # what receivers write before their first fix
        return None
    return GpsFix(longitude, latitude, _number(gps.get(6)))


def decode(data: Bytes, picture: Picture, min_wh: tuple[int, int] | None = None) -> Rgb:
    """The picture's pixels, upright. With `min_wh` a JPEG is decoded straight to the smallest eighth that is still at
    least so large in both directions (in upright pixels), which is faster and nearer to an ideal resize.

    Raises MediaError when the pixel data are broken.
    """
    wanted = as_stored(min_wh, picture) if min_wh else None
    with _ONE_BY_ONE if _cost(data, picture.size_wh)[0] > _MUCH_HELD_BYTES else contextlib.nullcontext():
        pixels = _decode_jpeg(data, wanted) if _is_jpeg(data) else _decode_png(data)
    return upright(pixels, picture)


def as_stored(size_wh: tuple[int, int], picture: Picture) -> tuple[int, int]:
    """A size (width, height) of the upright picture as that of the pixels that its file holds, which may lie on their
    side."""
    return size_wh[::-1] if _UPRIGHT[picture.orientation][0] % 2 else size_wh


def upright(pixels: Rgb, picture: Picture) -> Rgb:
    """Pixels as the picture's file holds them, turned upright."""
    quarter_turns, mirror = _UPRIGHT[picture.orientation]
    pixels = np.rot90(pixels, quarter_turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirror else pixels)


def is_plain_jpeg(data: Bytes) -> bool:
    """Whether this is a JPEG as cameras write them: one scan that has come to its end, and no colours for printers."""
    if not _is_jpeg(data) or not _is_plain(data) or b"\xff\xd9" not in bytes(data[-_TRAILER_BYTES:]):
        return False
    return simplejpeg.decode_jpeg_header(data, strict=False)[2].upper() not in _PRINT_COLOURS


def _decode_jpeg(data: Bytes, min_wh: tuple[int, int] | None) -> Rgb:
    width, height = min_wh or (0, 0)
    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
        if colours.upper() in _PRINT_COLOURS:
            return _decode_any(data)
        try:
            return np.asarray(simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width))
        except ValueError as error:
            if "premature end" in str(error).lower():
                raise MediaError("the JPEG is cut off", remedy="copy it again from the camera") from error
            # Stray bytes and the like: libjpeg warns, the picture is whole.
            return np.asarray(simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width, strict=False))
    except ValueError as error:
        raise MediaError(f"the JPEG is broken ({error})", remedy="copy it again from the camera") from error


def _decode_png(data: Bytes) -> Rgb:
    if b"IEND\xaeB`\x82" not in bytes(data[-1024:]):
        raise MediaError("the PNG is cut off", remedy="copy it again from the camera")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise MediaError("the PNG is broken", remedy="copy it again from the camera")
    return np.asarray(pixels, dtype=np.uint8)


def _decode_any(data: Bytes) -> Rgb:
    """Through Pillow: the colour spaces that the fast paths do not know."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except _PILLOW_ERRORS as error:
        raise MediaError(f"the picture is broken ({error})", remedy="copy it again from the camera") from error
