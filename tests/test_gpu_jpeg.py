"""Decoding JPEGs on a GPU: a stand-in for NVIDIA's library, which asks for a GPU even to decode on the CPU."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from tests import pictures
from vision.detecting import detector, worker
from vision.detecting.detector import Detector
from vision.detecting.runtime import CpuRuntime
from vision.detecting.workers import Job, Seen
from vision.errors import MediaError
from vision.pictures import gpu_jpeg
from vision.pictures.gpu_jpeg import GpuJpegs
from vision.pictures.media import decode, picture_header


class Picture:
    """Pixels on the device, which only `cpu` brings here."""

    def __init__(self, pixels: Any) -> None:
        self._pixels = pixels

    def cpu(self) -> Any:
        return self._pixels


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The library's stand-in; what it was asked to decode. A picture with `hopeless` in it is too much for it, and one
    with `broken` is an error."""
    asked: list[bytes] = []
    codec: Any = ModuleType("nvidia.nvimgcodec")

    class Decoder:
        def decode(self, stream: bytes, *, params: dict[str, Any]) -> Picture | None:
            assert params == {"apply_exif_orientation": False, "color_spec": codec.SRGB}
            asked.append(stream)
            if b"broken" in stream:
                raise RuntimeError("nvImageCodec failure")
            return None if b"hopeless" in stream else Picture(simplejpeg.decode_jpeg(stream, "RGB"))

    codec.Decoder, codec.CodeStream, codec.DecodeParams, codec.SRGB = Decoder, bytes, dict, 1
    monkeypatch.setitem(sys.modules, "nvidia", ModuleType("nvidia"))
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", codec)
    return asked


def saved(pixels: Any, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def both(data: bytes, min_wh: tuple[int, int] | None) -> tuple[Any, Any]:
    """The picture as the GPU and as the CPU decode it."""
    picture = picture_header(data, Path("a.jpg"))
    return GpuJpegs().decode(memoryview(data), picture, min_wh), decode(data, picture, min_wh)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_whole_picture_upright(decoded: list[bytes], orientation: int) -> None:
    data = pictures.jpeg(pictures.street(160, 96), orientation=orientation)
    gpu, cpu = both(data, None)
    assert decoded == [data]
    assert np.array_equal(gpu, cpu)


@pytest.mark.parametrize(
    ("orientation", "min_wh", "shape"),
    [(1, (100, 60), (120, 160)), (1, (90, 70), (120, 160)), (1, (80, 60), (60, 80)), (6, (60, 80), (80, 60))],
)
def test_pixels_are_halved_while_they_suffice(
    decoded: list[bytes], orientation: int, min_wh: tuple[int, int], shape: tuple[int, int]
) -> None:
    """Nearly what the CPU decodes at that size."""
    data = pictures.jpeg(pictures.street(320, 240), orientation=orientation)
    gpu, _ = both(data, min_wh)
    assert decoded == [data]
    assert gpu.shape[:2] == shape
    assert gpu.shape[1] >= min_wh[0]
    assert gpu.shape[0] >= min_wh[1]
    _, cpu = both(data, gpu.shape[1::-1])
    assert np.abs(gpu.astype(int) - cpu).mean() < 3.0


def test_what_the_gpu_cannot_do_the_cpu_does(decoded: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other formats and colours, very large pictures, files that are cut off and progressive ones never reach it; what
    it refuses comes back."""
    street = pictures.street(160, 96)
    plain = pictures.jpeg(street)
    hopeless, broken = (plain[:2] + b"\xff\xfe\x00\x0a" + word + plain[2:] for word in (b"hopeless", b"broken.."))
    for data in (hopeless, broken):
        gpu, cpu = both(data, (64, 32))
        assert decoded.pop() == data
        assert np.array_equal(gpu, cpu)
    for data in (saved(street, "PNG"), saved(street, "JPEG", progressive=True), pictures.jpeg(street, mode="CMYK")):
        gpu, cpu = both(data, None)
        assert not decoded
        assert np.array_equal(gpu, cpu)
    with pytest.raises(MediaError, match="cut off"):
        both(plain[: len(plain) // 2], None)
    monkeypatch.setattr(gpu_jpeg, "_MOST_PIXELS", 160 * 96 - 1)
    both(plain, None)
    assert not decoded


def test_a_detector_on_a_gpu_decodes_there(decoded: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it looks at; one on the CPU does not."""
    monkeypatch.setattr(detector, "GpuRuntime", lambda model: CpuRuntime(model, threads=1, cores=1))
    data = pictures.jpeg()
    on_gpu, on_cpu = (Detector.load(input_wh=(160, 160), device=device) for device in ("gpu", "cpu"))
    assert on_gpu.detect_bytes(data).size_wh == (320, 240)
    assert decoded == [data]
    seen = worker.look(Job("a", data=data), on_gpu, worker.Kept(1))
    assert isinstance(seen, Seen)
    assert decoded == [data, data]
    on_cpu.detect_bytes(data)
    assert decoded == [data, data]


def test_without_the_library_there_is_no_such_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia", None)
    with pytest.raises(ImportError):
        GpuJpegs()
