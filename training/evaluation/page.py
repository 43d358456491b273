"""One page about one evaluation: figures, parts, calibration, and the worst mistakes as pictures.

It shows the sources' pictures, so it belongs into a run folder and never into a repository.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from training.errors import TrainingError
from training.evaluation.mistakes import Mistake
from vision.pictures.draw import shrink, to_jpeg
from vision.pictures.media import Rgb, decode, picture_header, read_bytes

TEMPLATE = "page.html"
SHOWN_PX = 360
RED, WHITE = (230, 40, 30), (255, 255, 255)


def check_place(target: Path) -> None:
    """Pictures of others stay out of repositories. Raises TrainingError when the page would lie in one.

    A folder `runs/` is no part of a repository; neither is one beside it.
    """
    folders = [target.resolve(), *target.resolve().parents]
    home = next((folder for folder in folders if (folder / ".git").exists()), None)
    if home is not None and "runs" not in target.resolve().relative_to(home).parts[:-1]:
        raise TrainingError(
            f"{target}: the page shows pictures of the sources and would lie in a repository",
            remedy="write it into the run's folder, such as runs/a/evaluation.html",
        )


def crop(pixels: Rgb, box_xyxy: tuple[float, float, float, float]) -> Rgb:
    """The box with three times its size around it, drawn in red on white; at most `SHOWN_PX` large."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box_xyxy
    half = max(x1 - x0, y1 - y0, 0.1 * max(width, height)) * 1.5
    left, top = (round(max(0.0, (a + b) / 2 - half)) for a, b in ((x0, x1), (y0, y1)))
    right, bottom = round(min(width, (x0 + x1) / 2 + half)), round(min(height, (y0 + y1) / 2 + half))
    small, factor = shrink(np.ascontiguousarray(pixels[top:bottom, left:right]), SHOWN_PX)
    drawn = small.copy()
    at = [round((v - o) * factor) for v, o in ((x0, left), (y0, top), (x1, left), (y1, top))]
    for colour, thickness in ((WHITE, 4), (RED, 2)):
        cv2.rectangle(drawn, (at[0], at[1]), (at[2], at[3]), colour, thickness)
    return drawn


def _entry(one: Mistake) -> dict[str, Any]:
    data = read_bytes(one.path)
    pixels = decode(data, picture_header(data, one.path))
    x0, y0, x1, y1 = one.box_xyxy
    return {
        "jpeg": base64.b64encode(to_jpeg(crop(pixels, one.box_xyxy), 80)).decode("ascii"),
        "name": one.path.name,
        "class_name": one.class_name,
        "score": one.score,
        "instead": one.instead,
        "size": f"{x1 - x0:.0f}×{y1 - y0:.0f}",
    }


def write_page(target: Path, metrics: Mapping[str, Any], missed: Sequence[Mistake], alarms: Sequence[Mistake]) -> Path:
    """Write the page about `metrics` (as from `breakdown.measure`); every picture is inside the file.

    Raises TrainingError when the page would lie in a repository, MediaError when a picture is gone.
    """
    check_place(target)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    text = environment.get_template(TEMPLATE).render(
        metrics=metrics, missed=[_entry(one) for one in missed], alarms=[_entry(one) for one in alarms]
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target
