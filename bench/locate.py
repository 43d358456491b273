"""What locating costs: milliseconds per frame over the real drives of a benchmarks folder.

usage: python bench/locate.py ../shared/benchmarks/geo-drives [--rounds 3]

Reading the files is not counted. Processor time and wall time, the best of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from vision.camera import read_camera
from vision.locating.locate import locate
from vision.locating.locate_files import read_detections
from vision.tracks.track import read_track

RUNS = (
    ("human boxes, surveyed track", "detections.csv", "track.csv"),
    ("noisy boxes, surveyed track", "detections_noisy.csv", "track.csv"),
    ("human boxes, consumer track", "detections.csv", "track_consumer.csv"),
)


def main() -> None:
    """Measure each kind of input over all drives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drives", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    drives = sorted(args.drives.glob("drive-*"))
    for title, detections, track in RUNS:
        best_cpu = best_wall = float("inf")
        frames = boxes = 0
        for _ in range(args.rounds):
            cpu = wall = 0.0
            frames = boxes = 0
            for drive in drives:
                camera = read_camera(drive / "camera.json")
                found, path = read_detections(drive / detections, camera), read_track(drive / track)
                wall_0, cpu_0 = time.perf_counter(), time.process_time()
                locate(found, path, camera)
                cpu, wall = cpu + time.process_time() - cpu_0, wall + time.perf_counter() - wall_0
                frames, boxes = frames + len(found), boxes + sum(len(frame.detections) for frame in found)
            best_cpu, best_wall = min(best_cpu, cpu), min(best_wall, wall)
        sys.stdout.write(
            f"{title}: {frames} frames, {boxes} boxes, {best_cpu * 1e3 / frames:.2f} ms processor time per frame, "
            f"{best_wall * 1e3 / frames:.2f} ms wall time\n"
        )


if __name__ == "__main__":
    main()
