"""What locating costs: milliseconds per frame over drives.

usage: python bench/locate.py [../shared/benchmarks/geo-drives] [--rounds 3]

Over the real drives of a benchmarks folder, or without one over two passes of a simulated city (5 km each, consumer
receiver). Reading the files is not counted. Processor time and wall time, the best of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from vision.camera import Camera, read_camera
from vision.detections import FrameDetections
from vision.locating.locate import locate
from vision.locating.locate_files import read_detections
from vision.tracks.track import Track, read_track

RUNS = (
    ("human boxes, surveyed track", "detections.csv", "track.csv"),
    ("noisy boxes, surveyed track", "detections_noisy.csv", "track.csv"),
    ("human boxes, consumer track", "detections.csv", "track_consumer.csv"),
)
SEED, PASSES = 1, 2
Drive = tuple[Sequence[FrameDetections], Track, Camera]


def real(folder: Path) -> Iterator[tuple[str, list[Drive]]]:
    """The drives of a folder, with each kind of boxes and tracks."""
    drives = sorted(folder.glob("drive-*"))
    if not drives:
        raise SystemExit(f"{folder} holds no drive-*; give the folder of the real drives, or none for a simulated city")
    cameras = [read_camera(drive / "camera.json") for drive in drives]
    for title, detections, track in RUNS:
        yield (
            title,
            [
                (read_detections(drive / detections, camera), read_track(drive / track), camera)
                for drive, camera in zip(drives, cameras, strict=True)
            ],
        )


def simulated() -> Iterator[tuple[str, list[Drive]]]:
    """Passes of a city, with boxes at the model's own rates of errors."""
    from training.city.drive import drive
    from training.city.plan import build_city

    city = build_city(SEED, passes=PASSES)
    passes = [drive(city, number) for number in range(PASSES)]
    yield f"simulated city {SEED}, {PASSES} passes", [(one.frames, one.track, one.camera) for one in passes]


def main() -> None:
    """Measure each kind of input over all drives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drives", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    for title, drives in real(args.drives) if args.drives else simulated():
        frames, boxes = 0, 0
        for found, _, _ in drives:
            frames, boxes = frames + len(found), boxes + sum(len(frame.detections) for frame in found)
        best_cpu = best_wall = float("inf")
        for _ in range(args.rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            for found, track, camera in drives:
                locate(found, track, camera)
            best_cpu = min(best_cpu, time.process_time() - cpu)
            best_wall = min(best_wall, time.perf_counter() - wall)
        sys.stdout.write(
            f"{title}: {frames} frames, {boxes} boxes, {best_cpu * 1e3 / frames:.2f} ms processor time per frame, "
            f"{best_wall * 1e3 / frames:.2f} ms wall time\n"
        )


if __name__ == "__main__":
    main()
