"""One side of a comparison in a process of its own: `python bench/side.py WHAT SETTINGS`, told what to do by lines.

Reads JSON lines {"do": task, …} from stdin; answers each with {"wall": s, "cpu": s, …} on stdout. The CPU time is that
of this process and of its children together. WHAT is `ours` or `ultralytics`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
Task = Callable[[dict[str, Any]], dict[str, Any]]


def cpu_s() -> float:
    """CPU seconds of this process and its children, running or not."""
    own = os.times()
    used = own.user + own.system + own.children_user + own.children_system
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) * TICK_S
    return used


def boxes_of(rows: Iterable[tuple[Any, Any, Any]]) -> list[list[float]]:
    """x_min, y_min, x_max, y_max, score, class id per detection."""
    return [[*map(float, box), float(score), float(name)] for box, score, name in rows]


def ours(settings: dict[str, Any]) -> dict[str, Task]:
    """The fast path: `vision.detecting.workers`, as `jiejing detect` uses it."""
    from vision.detecting.batch import detect_files
    from vision.detecting.detector import Detector
    from vision.detecting.model import load_model
    from vision.detecting.workers import Job, Workers
    from vision.errors import Fault
    from vision.patrol import frames
    from vision.pictures.media import decode, find_media, picture_header
    from vision.pictures.video import read_video
    from vision.pipeline import run_patrol
    from vision.shipped import model_folder

    wh = tuple(settings["input_wh"]) if settings.get("input_wh") else None
    workers = Workers(settings.get("model"), threads=2, input_wh=wh)

    def folder(task: dict[str, Any]) -> dict[str, Any]:
        found = 0
        for _, answer in detect_files(find_media([Path(task["path"])]), workers):
            found += -1000000 if isinstance(answer, Fault) else len(answer)
        return {"found": found}

    def accuracy(task: dict[str, Any]) -> dict[str, Any]:
        files = [Path(path) for path in task["files"]]
        answers = detect_files(files, workers, min_score=0.001)
        return {
            "boxes": [
                [] if isinstance(a, Fault) else boxes_of(zip(a.boxes_xyxy, a.scores, a.class_ids, strict=True))
                for _, a in answers
            ]
        }

    def latency(task: dict[str, Any]) -> dict[str, Any]:
        detector = Detector(load_model(model_folder(settings.get("model"))), threads=1, cores=2, input_wh=wh)
        data = Path(task["path"]).read_bytes()
        pixels = decode(data, picture_header(data, Path(task["path"])))
        return {"median": median_s(lambda: detector.detect(pixels), task["times"])}

    def video(task: dict[str, Any]) -> dict[str, Any]:
        every = frames.of_video(read_video(Path(task["path"])), 1.0, workers.decoded_wh)
        jobs = workers.look_at_all(every, lambda f: Job(f.name, pixels=f.pixels, size_wh=f.size_wh))
        return {"frames": sum(1 for _ in jobs)}

    def patrol(task: dict[str, Any]) -> dict[str, Any]:
        paths = (Path(task[name]) for name in ("track", "camera"))
        result = run_patrol([Path(task["path"])], workers=workers, **dict(zip(("track", "camera"), paths, strict=True)))
        found = {"sightings": len(result.sightings), "evidence": len(result.evidence)}
        return {"frames": result.frames_read, "judged": result.frames_judged, **found}

    return {"folder": folder, "accuracy": accuracy, "latency": latency, "video": video, "patrol": patrol}


def ultralytics(settings: dict[str, Any]) -> dict[str, Task]:
    """Stock `YOLO(weights)`, its own thread settings, its own decoding."""
    os.environ |= {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}
    import cv2
    from ultralytics import YOLO

    model, size = YOLO(settings["weights"], task="detect"), settings["size"]

    def folder(task: dict[str, Any]) -> dict[str, Any]:
        return {"found": sum(len(r.boxes) for r in model.predict(task["path"], stream=True, imgsz=size, verbose=False))}

    def accuracy(task: dict[str, Any]) -> dict[str, Any]:
        found = []
        for path in task["files"]:
            (result,) = model.predict(path, imgsz=size, conf=0.001, verbose=False)
            boxes = result.boxes
            found.append(boxes_of(zip(boxes.xyxy.tolist(), boxes.conf.tolist(), boxes.cls.tolist(), strict=True)))
        return {"boxes": found}

    def latency(task: dict[str, Any]) -> dict[str, Any]:
        pixels = cv2.imread(task["path"])
        return {"median": median_s(lambda: model.predict(pixels, imgsz=size, verbose=False), task["times"])}

    def video(task: dict[str, Any]) -> dict[str, Any]:
        options = {"stream": True, "vid_stride": task["stride"], "imgsz": size, "verbose": False}
        return {"frames": sum(1 for _ in model.predict(task["path"], **options))}

    return {"folder": folder, "accuracy": accuracy, "latency": latency, "video": video}


def median_s(run: Callable[[], Any], times: int) -> float:
    """Median wall seconds of one call."""
    run()
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        run()
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print; answers must not mix with that
    tasks = {"ours": ours, "ultralytics": ultralytics}[sys.argv[1]](json.loads(sys.argv[2]))
    for line in sys.stdin:
        task = json.loads(line)
        wall, cpu = time.perf_counter(), cpu_s()
        answer = tasks[task["do"]](task)
        answer |= {"wall": time.perf_counter() - wall, "cpu": cpu_s() - cpu}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
