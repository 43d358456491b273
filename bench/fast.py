"""The other figures of the fast path, one command each.

    python -m bench.fast latency|video|start|patrol|scale [--weights CHECKPOINT --python TRAIN_PYTHON] [--rounds 5]
                         [--work DIR] [-o RESULT.json]

latency  one decoded picture of 12 megapixels to boxes; ours with one request on all cores
video    a minute of 1080p (30 frames and one keyframe a second) at one frame a second: CPU per minute of video
start    a fresh process: `jiejing detect ONE` and `YOLO(weights).predict(ONE)`; time until it ends, and its memory
         (proportional set size of the process and its children, highest of a look every 20 ms)
patrol   `run_patrol` end to end (decode, detect, join, locate, redact, write) and detection alone on the same files:
         the sample's dense street, and a longer drive with five things in a hundred metres
scale    10 to 10,000 pictures: time and memory of `jiejing detect`
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.interleave import ROOT, Side, machine, middle, ratio, rounds, tell
from bench.material import CLIP_FPS, draw_clip, draw_patrol, draw_pictures, draw_sparse_patrol, sources

PREDICT = "import sys; from ultralytics import YOLO; print(len(YOLO(sys.argv[1]).predict(sys.argv[2])[0].boxes))"


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and its children, in megabytes; 0 when it is gone."""
    total = 0.0
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) / 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(memory_mb(int(child)) for child in (task / "children").read_text().split())
    return total


def watched(command: list[str], every_s: float = 0.02) -> dict[str, Any]:
    """Run a command to its end: wall seconds, highest memory, and how the memory went (seconds, megabytes)."""
    begin = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}
    with subprocess.Popen(command, env=environment, **quiet) as process:
        course = []
        while process.poll() is None:
            course.append((time.perf_counter() - begin, memory_mb(process.pid)))
            time.sleep(every_s)
        wall = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {"wall": wall, "memory": max(mb for _, mb in course), "course": course}


def sides_of(args: argparse.Namespace, size: int = 640) -> dict[str, Side]:
    """Ours, and stock ultralytics when there are weights."""
    sides = {"ours": Side("ours", sys.executable, {"input_wh": args.input_wh, "model": args.model})}
    if args.weights:
        sides["predict"] = Side("ultralytics", args.python, {"weights": str(args.weights), "size": size})
    return sides


def summary(taken: dict[str, list[dict[str, Any]]], *keys: str) -> dict[str, Any]:
    """Medians of some figures for each side, and the medians of the ratios."""
    result: dict[str, Any] = {side: {key: middle(rows, key) for key in keys} for side, rows in taken.items()}
    if "predict" in taken:
        result["ratio"] = {key: ratio(taken, "predict", key) for key in keys}
    return result


def latency(args: argparse.Namespace) -> dict[str, Any]:
    picture = draw_pictures(args.work / "12mp", 1)[0]
    return summary(rounds(sides_of(args), args.rounds, "latency", path=str(picture), times=15), "median")


def video(args: argparse.Namespace) -> dict[str, Any]:
    clip = draw_clip(args.work / "clip.mp4")
    args.input_wh = (640, 384)
    taken = rounds(sides_of(args), args.rounds, "video", path=str(clip), stride=CLIP_FPS)
    frames = {side: rows[0]["frames"] for side, rows in taken.items()}
    return {"megabytes": round(clip.stat().st_size / 1e6, 1), "frames": frames, **summary(taken, "cpu", "wall")}


def start(args: argparse.Namespace) -> dict[str, Any]:
    picture = str(draw_pictures(args.work / "12mp", 1)[0])
    out = str(args.work / "one.json")
    wanted = ["--model", args.model] if args.model else []
    mine = [sys.executable, "-m", "jiejing", "detect", picture, "--input", "640x480", "-o", out, *wanted]
    commands = {"ours": mine}
    if args.weights:
        commands["predict"] = [args.python, "-c", PREDICT, str(args.weights), picture]
    taken: dict[str, list[dict[str, Any]]] = {side: [] for side in commands}
    for _ in range(args.rounds + 1):
        for side, command in commands.items():
            taken[side].append(watched(command))
    taken = {side: rows[1:] for side, rows in taken.items()}  # the first round warms the disk's cache
    return summary(taken, "wall", "memory")


def patrol(args: argparse.Namespace) -> dict[str, Any]:
    drives = {"dense": draw_patrol(args.work / "patrol"), "sparse": draw_sparse_patrol(args.work / "sparse")}
    return {name: _against_detection(args, *drive) for name, drive in drives.items()}


def _against_detection(args: argparse.Namespace, pictures: Path, track: Path, camera: Path) -> dict[str, Any]:
    side = Side("ours", sys.executable, {"model": args.model})  # at the model's own input size: 12 MP of 4:3
    fields = {"path": str(pictures), "track": str(track), "camera": str(camera)}
    side.do("folder", path=str(pictures))
    taken: dict[str, list[dict[str, Any]]] = {"detect": [], "patrol": []}
    for _ in range(args.rounds):
        taken["detect"].append(side.do("folder", path=str(pictures)))
        taken["patrol"].append(side.do("patrol", **fields))
    share = {
        key: round(statistics.median(a[key] / b[key] for a, b in zip(taken["detect"], taken["patrol"], strict=True)), 3)
        for key in ("wall", "cpu")
    }
    side.close()
    told = {key: taken["patrol"][0][key] for key in ("frames", "judged", "sightings", "evidence")}
    spent = {key: {name: middle(rows, key) for name, rows in taken.items()} for key in ("wall", "cpu")}
    return {**told, "seconds": spent, "share_of_detection": share}


def scale(args: argparse.Namespace) -> dict[str, Any]:
    frames, steps = sources(), []
    for count in (10, 100, 1000, 10000):
        folder = args.work / f"many-{count}"
        folder.mkdir(exist_ok=True)
        for i in range(count):
            link = folder / f"{i:05d}.jpg"
            if not link.exists():  # it may lead to another checkout that is gone
                link.unlink(missing_ok=True)
                link.symlink_to(frames[i % len(frames)].resolve())
        out = str(args.work / "many.json")
        command = [sys.executable, "-m", "jiejing", "detect", str(folder), "--input", "640x480", "-o", out]
        command += ["--model", args.model] if args.model else []
        seen = watched(command, 0.1)
        late = [mb for second, mb in seen["course"] if second > seen["wall"] / 2]
        steps.append({"pictures": count, "seconds": round(seen["wall"], 2), "peak_mb": round(seen["memory"])})
        steps[-1]["second_half_mb"] = [round(min(late)), round(max(late))]
    return {"steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {"latency": latency, "video": video, "start": start, "patrol": patrol, "scale": scale}
    parser.add_argument("what", choices=kinds)
    parser.add_argument("--model", help="model folder of ours; the shipped one without it")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with the [train] extra, for the peer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    args.input_wh = (640, 480)
    with tempfile.TemporaryDirectory() as scratch:
        args.work = args.work or Path(scratch)
        result = kinds[args.what](args)
    tell({"what": args.what, "machine": machine(args.python), "rounds": args.rounds, **result}, args.out)


if __name__ == "__main__":
    main()
