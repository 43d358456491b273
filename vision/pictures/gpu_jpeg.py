"""JPEGs decoded by an NVIDIA GPU, by its JPEG engine where it has one (nvImageCodec); all others as ever by the CPU."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import numpy as np

from vision.pictures.media import Bytes, Picture, Rgb, as_stored, decode, is_plain_jpeg, upright
from vision.pictures.resize import resize

# The engine yields whole pictures; of larger ones the CPU decodes as much as is wanted, which takes less room.
_MOST_PIXELS = 64_000_000


class GpuJpegs:
    """Decodes plain JPEGs on the GPU. Safe to share between threads: one at a time goes there."""

    def __init__(self) -> None:
        """Raises ImportError where nvImageCodec is not installed, RuntimeError where it does not work."""
        self._codec: Any = importlib.import_module("nvidia.nvimgcodec")
        # All its decoders are allowed: it tries the JPEG engine first, then the GPU's cores, then the CPU.
        self._decoder = self._codec.Decoder()
        self._as_stored = self._codec.DecodeParams(apply_exif_orientation=False, color_spec=self._codec.SRGB)
        self._lock = threading.Lock()

    def decode(self, data: Bytes, picture: Picture, min_wh: tuple[int, int] | None = None) -> Rgb:
        """As `media.decode`. The pixels are halved here as long as they stay at least `min_wh` large. What the GPU
        cannot decode, or should not be trusted with, is left to the CPU."""
        width, height = as_stored(picture.size_wh, picture)
        pixels = self._decoded(data) if width * height <= _MOST_PIXELS and is_plain_jpeg(data) else None
        if pixels is None or pixels.shape != (height, width, 3):
            return decode(data, picture, min_wh)
        wanted = as_stored(min_wh, picture) if min_wh else (width, height)
        while width // 2 >= wanted[0] and height // 2 >= wanted[1]:
            width, height = width // 2, height // 2
        return upright(resize(pixels, (width, height)), picture)

    def _decoded(self, data: Bytes) -> Rgb | None:
        try:
            with self._lock:
                image = self._decoder.decode(self._codec.CodeStream(bytes(data)), params=self._as_stored)
                here = None if image is None else image.cpu()
            return None if here is None else np.asarray(here, dtype=np.uint8)
        except RuntimeError:  # the library's own errors
            return None
