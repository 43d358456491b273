"""What `detect` writes: JSON records, the COCO results list, or YOLO text files. Results stream; nothing piles up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from vision.detections import Detections
from vision.errors import Fault, UsageError


def record(file: str, detections: Detections) -> dict[str, Any]:
    """One picture as a JSON record: boxes are x_min, y_min, x_max, y_max in pixels after EXIF orientation."""
    return {
        "file": file,
        "width": detections.size_wh[0],
        "height": detections.size_wh[1],
        "model": detections.model,
        "detections": [
            {"class": name, "score": round(float(score), 4), "box": [round(float(v), 2) for v in box]}
            for name, score, box in zip(detections.names(), detections.scores, detections.boxes_xyxy, strict=True)
        ],
    }


def coco_rows(image_id: str, detections: Detections) -> list[dict[str, Any]]:
    """One picture in the COCO results format: bbox is x, y, width, height in pixels."""
    return [
        {
            "image_id": image_id,
            "category_id": int(class_id),
            "bbox": [round(float(v), 2) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
            "score": round(float(score), 5),
        }
        for class_id, score, box in zip(detections.class_ids, detections.scores, detections.boxes_xyxy, strict=True)
    ]


def yolo_lines(detections: Detections) -> str:
    """One picture as YOLO text: class, box centre and size as shares of the picture, score; a line per box."""
    width, height = detections.size_wh
    lines = []
    for class_id, score, box in zip(detections.class_ids, detections.scores, detections.boxes_xyxy, strict=True):
        x, y, w, h = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]
        lines.append(f"{class_id} {x / width:.6f} {y / height:.6f} {w / width:.6f} {h / height:.6f} {score:.5f}\n")
    return "".join(lines)


def image_ids(files: list[Path], roots: list[Path], by: str) -> dict[Path, str]:
    """The id of each picture: its file name without suffix (`by` stem), or its path under the folder given (`path`).

    Raises UsageError when two pictures would share an id.
    """
    ids: dict[Path, str] = {}
    seen: dict[str, Path] = {}
    for file in files:
        name = file.stem if by == "stem" else _under(file, roots).with_suffix("").as_posix()
        if name in seen and seen[name] != file:
            raise UsageError(
                f"two pictures would share the id {name!r}: {seen[name]} and {file}",
                remedy="use --id path" if by == "stem" else "give folders whose relative paths differ",
            )
        ids[file], seen[name] = name, file
    return ids


def _under(file: Path, roots: list[Path]) -> Path:
    root = next((root for root in roots if root in file.parents), None)
    return file.relative_to(root) if root else Path(file.name)


class ListWriter:
    """Writes a JSON array element by element; a file appears under its name only when it is complete."""

    def __init__(self, out: Path | None, stream: TextIO) -> None:
        self._out = out
        self._part = out.with_name(out.name + ".part") if out else None
        if self._part:
            self._part.parent.mkdir(parents=True, exist_ok=True)
        self._stream: TextIO = self._part.open("w", encoding="utf-8") if self._part else stream
        self._first = True

    def __enter__(self) -> Self:
        self._stream.write("[")
        return self

    def add(self, element: dict[str, Any]) -> None:
        """Append one element."""
        self._stream.write("\n" if self._first else ",\n")
        self._stream.write(json.dumps(element, ensure_ascii=False))
        self._first = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.write("\n]\n")
        if self._out and self._part:
            self._stream.close()
            if kind is None:
                self._part.replace(self._out)
            else:
                self._part.unlink(missing_ok=True)


def adder(format_: str, writer: ListWriter, ids: dict[Path, str]) -> Callable[[Path, Detections | Fault], None]:
    """How one picture's outcome enters the list: as a JSON record, or as COCO rows (which have no place for faults)."""

    def add_record(file: Path, outcome: Detections | Fault) -> None:
        if isinstance(outcome, Fault):
            writer.add({"file": str(file), "error": outcome.reason, "remedy": outcome.remedy})
        else:
            writer.add(record(str(file), outcome))

    def add_coco(file: Path, outcome: Detections | Fault) -> None:
        if isinstance(outcome, Detections):
            for row in coco_rows(ids[file], outcome):
                writer.add(row)

    return add_coco if format_ == "coco" else add_record
