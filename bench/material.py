"""What the benchmarks look at: pictures, a clip and a patrol, all made from the simulated sample patrol."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from vision.pictures.media import Rgb
from vision.shipped import dataset_folder
from vision.taxonomy import PRIVATE, WASTE

WIDTH, HEIGHT = 4000, 3000
CLIP_FPS, CLIP_SECONDS = 30, 60
# The drive with few things: how often the sample's street comes, how long it takes, and what is left of it each time.
LAPS, LAP_S, LEFT = 6, 13, 3


def sources(which: str = "pass-*") -> list[Path]:
    """The frames of the sample patrol."""
    return sorted(dataset_folder("sample-patrol").glob(f"{which}/*.jpg"))


def enlarged(source: Path, seed: int, pixels: Rgb | None = None) -> bytes:
    """A frame at 12 megapixels with sensor noise, 2.7 MB, so that entropy decoding costs what a camera's files cost.

    It keeps the source's EXIF, and shows `pixels` instead where they are given."""
    data = source.read_bytes()
    small = simplejpeg.decode_jpeg(data) if pixels is None else pixels
    large = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(seed)
    noise = cv2.resize(rng.normal(0, 10.5, (HEIGHT // 2, WIDTH // 2, 3)).astype(np.float32), (WIDTH, HEIGHT))
    noisy = np.clip(large + noise, 0, 255).astype(np.uint8)
    jpeg = simplejpeg.encode_jpeg(noisy, quality=90, colorsubsampling="420")
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
    return pictures, next((dataset_folder("sample-patrol") / "pass-1").glob("track*")), draw_camera(folder)


def draw_camera(folder: Path) -> Path:
    """The sample's camera file at 12 megapixels."""
    sample = dataset_folder("sample-patrol")
    camera = json.loads((sample / "camera.json").read_text(encoding="utf-8"))
    factor = WIDTH / camera["width"]
    for name in ("fx", "fy", "cx", "cy", "width", "height"):
        camera[name] = type(camera[name])(camera[name] * factor)
    (folder / "camera.json").write_text(json.dumps(camera), encoding="utf-8")
    return folder / "camera.json"


def draw_sparse_patrol(folder: Path) -> tuple[Path, Path, Path]:
    """A longer drive with few things, as `draw_patrol`: the sample's street again and again, in a row, every
    third frame (1.2 s and 5 m apart), and in each lap all things painted over but three: five in a hundred metres."""
    pictures, sample = folder / "pictures", dataset_folder("sample-patrol")
    pictures.mkdir(parents=True, exist_ok=True)
    truth = json.loads((sample / "truth_boxes.json").read_text(encoding="utf-8"))["pass-1"]
    waste = sorted({row["thing"] for rows in truth.values() for row in rows if row["class"] in WASTE})
    rng = np.random.default_rng(0)
    for lap in range(LAPS):
        left = set(rng.choice(waste, LEFT, replace=False).tolist())
        for i, source in enumerate(sources("pass-1")[::3]):
            file = pictures / f"{lap}-{source.name}"
            if not file.exists():
                data = enlarged(source, 100 * lap + i, painted_over(source, truth.get(source.name, []), left))
                file.write_bytes(later(data, lap * LAP_S))
    (folder / "track.csv").write_text(lapped((sample / "pass-1/track.csv").read_text("utf-8")), encoding="utf-8")
    return pictures, folder / "track.csv", draw_camera(folder)


def painted_over(source: Path, rows: list[dict[str, Any]], left: set[int]) -> Rgb:
    """A frame without its things but those `left`, people and vehicles: what is around them is drawn over them, blurred
    so that no edges are left to be taken for things."""
    pixels = np.asarray(simplejpeg.decode_jpeg(source.read_bytes()))
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for stays in (False, True):
        for row in rows:
            if (row["thing"] in left or row["class"] in PRIVATE) == stays:
                x_min, y_min, x_max, y_max = row["box"]
                mask[max(0, y_min - 3) : y_max + 3, max(0, x_min - 3) : x_max + 3] = 0 if stays else 255
    drawn = cv2.inpaint(pixels, mask, 3, cv2.INPAINT_TELEA)
    soft = cv2.GaussianBlur((mask > 0).astype(np.float32), (0, 0), 3)[..., None]
    share = np.maximum(soft, mask[..., None] > 0)
    return np.asarray(drawn * (1 - share) + cv2.GaussianBlur(drawn, (0, 0), 25) * share, dtype=np.uint8)


def later(jpeg: bytes, by_s: int) -> bytes:
    """A picture with the times of its EXIF moved by whole seconds."""

    def moved(found: re.Match[bytes]) -> bytes:
        moment = datetime.strptime(found[0].decode(), "%Y:%m:%d %H:%M:%S") + timedelta(seconds=by_s)
        return moment.strftime("%Y:%m:%d %H:%M:%S").encode()

    return re.sub(rb"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", moved, jpeg[:4096]) + jpeg[4096:]


def lapped(track_csv: str) -> str:
    """A track driven on from where it is after a lap, `LAPS` times."""
    fixes = list(csv.DictReader(io.StringIO(track_csv)))
    step = {at: float(fixes[LAP_S][at]) - float(fixes[0][at]) for at in ("latitude_deg", "longitude_deg")}
    out = io.StringIO()
    writer = csv.DictWriter(out, list(fixes[0]))
    writer.writeheader()
    for lap in range(LAPS):
        for fix in fixes[: LAP_S if lap < LAPS - 1 else None]:
            moment = datetime.fromisoformat(fix["time_utc"]) + timedelta(seconds=lap * LAP_S)
            moved = {at: f"{float(fix[at]) + lap * by:.9f}" for at, by in step.items()}
            writer.writerow({**fix, **moved, "time_utc": moment.isoformat()})
    return out.getvalue()


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
