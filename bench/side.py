"""One side of a comparison in a process of its own: `python bench/side.py WHAT SETTINGS`, told what to do by lines.

Reads JSON lines {"do": task, …} from stdin; answers each with {"wall": s, "cpu": s, …} on stdout. The CPU time is that
of this process and of its children together. WHAT is `ours`, `ultralytics` or `floor`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

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


def floor(settings: dict[str, Any]) -> dict[str, Task]:
    """What no detector can do without, in as many threads as ours has, so that the machine is as busy."""
    import openvino as ov
    import simplejpeg
    from openvino import opset13 as op

    def coefficients(file: Path) -> None:
        """Hardly more than entropy decoding: an eighth of the size, in grey."""
        simplejpeg.decode_jpeg(file.read_bytes(), "GRAY", min_height=1, min_width=1, min_factor=1)

    rng = np.random.default_rng(0)
    data = op.parameter([1, 256, 80, 80], ov.Type.f32)
    scaled = op.fake_quantize(data, *(np.float32(v) for v in (0, 1, 0, 1)), 256)
    weights = op.convert(op.constant(rng.integers(-127, 127, (256, 256, 3, 3)).astype(np.int8)), "f32")
    weights = op.multiply(weights, op.constant(np.full((256, 1, 1, 1), 0.01, np.float32)))
    result = op.convolution(scaled, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    again = op.fake_quantize(result, *(np.float32(v) for v in (-1, 1, -1, 1)), 256)
    options = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True}
    request = ov.Core().compile_model(ov.Model([again], [data]), "CPU", options).create_infer_request()
    inputs, operations = [rng.random((1, 256, 80, 80), np.float32)], 2.0 * 256 * 80 * 80 * 256 * 9

    def folder(task: dict[str, Any]) -> dict[str, Any]:
        """CPU seconds of entropy decoding, and the operations a second that one thread reaches in a large INT8
        convolution (3×3, 256 channels, 80×80), the best of many runs."""
        files = sorted(Path(task["path"]).iterdir())
        begin = time.process_time()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(coefficients, files))
        entropy, took = time.process_time() - begin, []
        for _ in range(30):
            request.infer(inputs)
            nodes = request.get_profiling_info()
            took += [node.real_time.total_seconds() for node in nodes if node.node_type == "Convolution"]
        return {"entropy": entropy, "operations_per_s": operations / min(took)}

    return {"folder": folder}


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
    tasks = {"ours": ours, "ultralytics": ultralytics, "floor": floor}[sys.argv[1]](json.loads(sys.argv[2]))
    for line in sys.stdin:
        task = json.loads(line)
        wall, cpu = time.perf_counter(), cpu_s()
        answer = tasks[task["do"]](task)
        answer |= {"wall": time.perf_counter() - wall, "cpu": cpu_s() - cpu}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
