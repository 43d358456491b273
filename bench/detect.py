"""Pictures to boxes: ours and stock ultralytics, interleaved in one run.

    python bench/detect.py --weights runs/NAME/best.pt [--rounds 5] [--pictures 50] [--input 640]

Each round times one side after the other on the same 12-megapixel JPEGs (drawn from the sample patrol, with sensor
noise); the median of the per-round ratios is reported, CPU time beside wall time. Without `--weights`, or without the
[train] extra, only ours is measured, and the output says so. The peer runs as shipped: `predict(folder, stream=True)`
with its own thread settings; ours with two threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from vision.batch import detect_files
from vision.detector import Detector
from vision.shipped import dataset_folder

WIDTH, HEIGHT = 4000, 3000


def draw_pictures(folder: Path, count: int) -> list[Path]:
    """Sample frames enlarged to 12 megapixels with noise, so that entropy decoding costs what a camera's files cost."""
    sources = sorted(dataset_folder("sample-patrol").glob("pass-*/*.jpg"))
    rng = np.random.default_rng(0)
    files = []
    for i in range(count):
        pixels = simplejpeg.decode_jpeg(sources[i % len(sources)].read_bytes())
        large = cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        noise = cv2.resize(rng.normal(0, 9, (HEIGHT // 2, WIDTH // 2, 3)).astype(np.float32), (WIDTH, HEIGHT))
        files.append(folder / f"{i:03d}.jpg")
        noisy = np.clip(large + noise, 0, 255).astype(np.uint8)
        files[-1].write_bytes(simplejpeg.encode_jpeg(noisy, quality=88, colorsubsampling="420"))
    return files


def timed(run: Callable[[], int]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def ours(files: list[Path], input_px: int) -> Callable[[], int]:
    """Our batch detection at the smallest 4:3 input with the longest side asked for."""
    detector = Detector.load(threads=2, input_wh=(input_px, -(-input_px * 3 // 4 // 32) * 32))
    return lambda: sum(1 for _ in detect_files(files, detector))


def peer(folder: Path, weights: Path, input_px: int) -> Callable[[], int] | None:
    """Stock ultralytics, as shipped; None where it is not installed."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    try:
        from ultralytics import YOLO
    except ImportError:
        return None
    model = YOLO(str(weights))
    return lambda: sum(1 for _ in model.predict(str(folder), stream=True, imgsz=input_px, verbose=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--input", type=int, default=640)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        files = draw_pictures(Path(name), args.pictures)
        sides = {"ours": ours(files, args.input)}
        other = peer(Path(name), args.weights, args.input) if args.weights else None
        if other:
            sides["ultralytics"] = other
        for run in sides.values():
            run()  # compile and warm the caches
        times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for _ in range(args.rounds):
            for side, run in sides.items():
                times[side].append(timed(run))
        result = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "pictures": len(files),
            "megabytes_each": round(statistics.mean(file.stat().st_size for file in files) / 1e6, 2),
            "input_px": args.input,
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "seconds_per_picture": {
                side: {
                    "wall": round(statistics.median(wall for wall, _ in rows) / len(files), 4),
                    "cpu": round(statistics.median(cpu for _, cpu in rows) / len(files), 4),
                }
                for side, rows in times.items()
            },
        }
        if other:
            pairs = zip(times["ultralytics"], times["ours"], strict=True)
            result["times_faster"] = round(statistics.median(theirs[0] / mine[0] for theirs, mine in pairs), 2)
        else:
            result["peer"] = "not measured: give --weights, and install the [train] extra"
        print(json.dumps(result, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
