"""Pictures for training as serving sees them: the same decoder, the same scaled decoding, the same resize."""

from __future__ import annotations

from pathlib import Path

from vision.detecting.detector import Letterbox
from vision.pictures.media import Rgb, decode, picture_header, read_bytes

# The grey around a picture that does not fill the input.
PAD = 114


def as_served(path: Path, input_wh: tuple[int, int], pad: int) -> Rgb:
    """A picture file as the server's input: upright RGB (height, width, 3), letterboxed, centred.

    Raises MediaError when it cannot be read.
    """
    pixels, letterbox, _ = _read(path, input_wh)
    return letterbox.place(pixels, pad)


def fitted(path: Path, side: int) -> tuple[Rgb, tuple[int, int]]:
    """The picture as it lies in a square input, without the padding; and its own (width, height).

    Raises MediaError when it cannot be read.
    """
    pixels, letterbox, size_wh = _read(path, (side, side))
    whole = Letterbox(letterbox.inner_wh, letterbox.inner_wh, (0, 0))
    return whole.place(pixels, 0), size_wh


def _read(path: Path, input_wh: tuple[int, int]) -> tuple[Rgb, Letterbox, tuple[int, int]]:
    data = read_bytes(path)
    picture = picture_header(data, path)
    letterbox = Letterbox.fit(picture.size_wh, input_wh)
    return decode(data, picture, letterbox.inner_wh), letterbox, picture.size_wh
