"""What the benchmarks look at: pictures, a clip and a patrol, all made from the simulated sample patrol."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from vision.shipped import dataset_folder

WIDTH, HEIGHT = 4000, 3000
CLIP_FPS, CLIP_SECONDS = 30, 60


def sources(which: str = "pass-*") -> list[Path]:
    """The frames of the sample patrol."""
    return sorted(dataset_folder("sample-patrol").glob(f"{which}/*.jpg"))


def enlarged(source: Path, seed: int) -> bytes:
    """A frame at 12 megapixels with sensor noise, 2.7 MB, so that entropy decoding costs what a camera's files cost.

    It keeps the source's EXIF."""
    data = source.read_bytes()
    large = cv2.resize(simplejpeg.decode_jpeg(data), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(seed)
    noise = cv2.resize(rng.normal(0, 10.5, (HEIGHT // 2, WIDTH // 2, 3)).astype(np.float32), (WIDTH, HEIGHT))
    pixels = np.clip(large + noise, 0, 255).astype(np.uint8)
    jpeg = simplejpeg.encode_jpeg(pixels, quality=90, colorsubsampling="420")
    at = data.find(b"\xff\xe1")
    exif = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")] if at > 0 else b""
    return jpeg[:2] + exif + jpeg[2:]


def draw_pictures(folder: Path, count: int) -> list[Path]:
    """`count` pictures of 12 megapixels."""
    folder.mkdir(parents=True, exist_ok=True)
    frames, files = sources(), [folder / f"{i:03d}.jpg" for i in range(count)]
    for i, file in enumerate(files):
        if not file.exists():
            file.write_bytes(enlarged(frames[i % len(frames)], i))
    return files


def draw_patrol(folder: Path) -> tuple[Path, Path, Path]:
    """The sample's first pass at 12 megapixels: (pictures, track, camera)."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    frames = sources("pass-1")
    for i, source in enumerate(frames):
        if not (pictures / source.name).exists():
            (pictures / source.name).write_bytes(enlarged(source, i))
    sample = dataset_folder("sample-patrol")
    camera = json.loads((sample / "camera.json").read_text(encoding="utf-8"))
    factor = WIDTH / camera["width"]
    for name in ("fx", "fy", "cx", "cy", "width", "height"):
        camera[name] = type(camera[name])(camera[name] * factor)
    (folder / "camera.json").write_text(json.dumps(camera), encoding="utf-8")
    return pictures, next((sample / "pass-1").glob("track*")), folder / "camera.json"


def draw_clip(file: Path) -> Path:
    """A minute of 1080p, H.264, 30 frames and one keyframe a second, panning over the sample's frames."""
    if file.exists():
        return file
    import av

    stills = [cv2.resize(simplejpeg.decode_jpeg(path.read_bytes()), (2160, 1620)) for path in sources()[:20]]
    noise = np.random.default_rng(0).normal(0, 4, (8, 1080, 1920, 3)).astype(np.int16)
    part = file.with_name(f"part-{file.name}")  # a clip that was cut off is no clip
    with av.open(str(part), "w") as container:
        stream = container.add_stream("libx264", rate=CLIP_FPS, options={"g": str(CLIP_FPS), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 1920, 1080, "yuv420p", 12_000_000
        for i in range(CLIP_FPS * CLIP_SECONDS):
            still, shift = stills[i // (3 * CLIP_FPS)], 2 * (i % (3 * CLIP_FPS))
            view = still[shift : shift + 1080, shift : shift + 1920].astype(np.int16) + noise[i % 8]
            frame = av.VideoFrame.from_ndarray(np.clip(view, 0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return part.rename(file)
