"""Labelled pictures out again: YOLO lines for training, COCO for other tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from training.labels.values import LabelledBox, LabelledPicture
from training.sources import Label


def clipped(box: LabelledBox, size_wh: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box in fractions of the picture, cut at its edges."""
    w, h = size_wh
    x0, y0, x1, y1 = box.xyxy
    return min(max(x0 / w, 0), 1), min(max(y0 / h, 0), 1), min(max(x1 / w, 0), 1), min(max(y1 / h, 0), 1)


def yolo_text(picture: LabelledPicture) -> str:
    """The label file of a picture whose boxes carry our class names; regions to ignore are not in it."""
    labels = (Label(box.name, clipped(box, picture.size_wh)) for box in picture.boxes if not box.ignore)
    return "".join(label.line() + "\n" for label in labels)


def region_rows(picture: LabelledPicture) -> list[list[str | float]]:
    """The regions to ignore as rows of an extra file: name and corners in fractions."""
    rows: list[list[str | float]] = []
    for box in picture.boxes:
        if box.ignore:
            rows.append([box.name, *(round(value, 6) for value in clipped(box, picture.size_wh))])
    return rows


def coco(pictures: Iterable[LabelledPicture], category_ids: Mapping[str, int]) -> dict[str, Any]:
    """A COCO data set of pictures whose boxes carry the names of `category_ids`; other names are left out, and a box
    to ignore becomes a crowd."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures, start=1):
        w, h = picture.size_wh
        images.append({"id": number, "file_name": picture.name, "width": w, "height": h})
        for box in picture.boxes:
            if box.name not in category_ids:
                continue
            x0, y0, x1, y1 = (v * side for v, side in zip(clipped(box, picture.size_wh), (w, h, w, h), strict=True))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category_ids[box.name],
                    "bbox": [round(x0, 3), round(y0, 3), round(x1 - x0, 3), round(y1 - y0, 3)],
                    "area": round((x1 - x0) * (y1 - y0), 3),
                    "iscrowd": int(box.ignore),
                }
            )
    categories = [{"id": number, "name": name} for name, number in category_ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}
