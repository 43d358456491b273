"""Training pictures: many crowded streets, some views of each, labels from what the renderer saw."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.simulate.camera import View
from training.simulate.develop import Exposure, develop, draw_exposure, encode
from training.simulate.kit import Kit
from training.simulate.populate import make_scene
from training.simulate.renderer import open_renderer
from training.simulate.scene import Scene
from training.simulate.truth import TruthBox, boxes_of
from training.simulate.views import hand_held, on_vehicle
from vision.errors import UsageError
from vision.taxonomy import CLASS_IDS, CLASSES

VIEWS_PER_SCENE = 8
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PictureJob:
    """What to draw: `count` pictures of `size_wh` pixels with `samples` rays a pixel, from `seed`."""

    count: int
    size_wh: tuple[int, int]
    samples: int
    seed: int

    def __post_init__(self) -> None:
        width, height = self.size_wh
        if not (64 <= width <= 4096 and 64 <= height <= 4096):
            raise UsageError(
                f"--size {width}x{height} is out of range", remedy="give 64x64 to 4096x4096, such as 640x480"
            )
        if self.count < 1 or self.samples < 1:
            raise UsageError("--count and --samples must be at least 1")


def plan_views(seed: int, scene_number: int, size_wh: tuple[int, int]) -> tuple[Scene, list[tuple[View, Exposure]]]:
    """A scene and its views, half of them hand-held, half from a vehicle: the same for the same numbers."""
    scene = make_scene(seed * 100_003 + scene_number)
    kit = Kit(np.random.default_rng([seed, scene_number, 7]))
    views = []
    for i in range(VIEWS_PER_SCENE):
        moving = i % 2 == 1
        view = (on_vehicle if moving else hand_held)(kit, scene, size_wh)
        views.append((view, draw_exposure(kit.rng, moving=moving)))
    return scene, views


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears complete or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def yolo_lines(boxes: list[TruthBox], size_wh: tuple[int, int]) -> str:
    """YOLO label lines (class, centre and size as shares of the picture) of the boxes that are not to be ignored."""
    width, height = size_wh
    lines = []
    for box in boxes:
        if not box.ignore:
            x1, y1, x2, y2 = box.box_xyxy
            shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(f"{CLASS_IDS[box.class_name]} " + " ".join(f"{v:.6f}" for v in shares) + "\n")
    return "".join(lines)


def make_pictures(
    job: PictureJob, out: Path, *, renderer: str | None = None, threads: int = 1, report: Report | None = None
) -> int:
    """Draw what is still missing under `out` (images/, labels/, truth/, classes.txt); returns how many were drawn.

    A picture is done when its truth file is there, which is written last. Raises UsageError when `out` holds
    pictures of another seed or size, RendererError when there is no renderer or it dies.
    """
    for name in ("images", "labels", "truth"):
        (out / name).mkdir(parents=True, exist_ok=True)
    order = {"seed": job.seed, "size": list(job.size_wh)}
    note = out / "job.json"
    if note.exists() and json.loads(note.read_text()) != order:
        raise UsageError(
            f"{out} holds pictures of another seed or size",
            remedy="choose another folder or repeat its --seed and --size",
        )
    write_whole(note, json.dumps(order).encode())
    write_whole(out / "classes.txt", "\n".join(CLASSES).encode() + b"\n")
    missing = [i for i in range(job.count) if not (out / "truth" / f"{name_of(job.seed, i)}.json").exists()]
    if not missing:
        return 0
    done = job.count - len(missing)
    with open_renderer(renderer, threads) as child:
        for scene_number in sorted({i // VIEWS_PER_SCENE for i in missing}):
            scene, views = plan_views(job.seed, scene_number, job.size_wh)
            child.load(scene)
            for index in (i for i in missing if i // VIEWS_PER_SCENE == scene_number):
                view, exposure = views[index % VIEWS_PER_SCENE]
                drawing = child.draw(view, job.samples, index)
                boxes = boxes_of(scene, view, drawing.ids, drawing.depth)
                rng = np.random.default_rng([job.seed, index, 5])
                picture = develop(drawing, view, scene.lights[0].haze_m, exposure, rng)
                name = name_of(job.seed, index)
                write_whole(out / "images" / f"{name}.jpg", encode(picture, exposure.quality))
                write_whole(out / "labels" / f"{name}.txt", yolo_lines(boxes, job.size_wh).encode())
                truth = {
                    "picture": f"{name}.jpg",
                    "view": "vehicle" if index % 2 else "hand-held",
                    "street": scene.kind,
                    "scene": scene_number,
                    "cpu_s": round(drawing.cpu_s, 2),
                    "things": [box.to_json() for box in boxes],
                }
                write_whole(out / "truth" / f"{name}.json", json.dumps(truth).encode())
                done += 1
                if report is not None:
                    report(done, job.count)
    return len(missing)


def name_of(seed: int, index: int) -> str:
    """The stem of a picture's files."""
    return f"sim{seed}-{index:05d}"
