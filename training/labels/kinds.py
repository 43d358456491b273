"""The formats, and every kind of fault of a data set by a stable id: how grave it is and what to do about it.

A `fault` keeps a picture out of an import; a `warning` is repaired there or left to the reader's judgement; an `info`
is worth knowing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Severity = Literal["fault", "warning", "info"]

# kind -> (severity, remedy)
KINDS: dict[str, tuple[Severity, str]] = {
    # Files
    "picture-missing": ("fault", "add the picture or delete its entry"),
    "picture-ambiguous": ("fault", "give the pictures unique names, or paths in the annotation"),
    "picture-doubled-stem": ("fault", "rename one of them: label files are matched by the name without suffix"),
    "picture-empty": ("fault", "copy it again from the source"),
    "picture-not": ("fault", "convert it to JPEG or PNG, or remove it"),
    "picture-huge": ("fault", "shrink it, together with its boxes when they are in pixels"),
    "picture-cut-off": ("fault", "copy it again from the source"),
    "picture-unreadable": ("fault", "copy it again, check its permissions"),
    "picture-suffix": ("warning", "rename it after what it is"),
    "picture-covered": ("fault", "nothing: what is hidden cannot teach"),
    "picture-changed": ("fault", "decide again about the picture that is there now"),
    "picture-not-labelled": ("info", "label it, or leave it out: nothing is known about it"),
    "labels-missing": ("fault", "write an empty label file when nothing is there, or remove the picture"),
    "labels-without-picture": ("fault", "add the picture or delete the labels"),
    "labels-empty": ("info", "nothing, when the picture is meant as one without any thing"),
    "labels-unreadable": ("fault", "export it again"),
    # Lines of label files
    "line-too-short": ("fault", "give a class and four numbers"),
    "line-too-long": ("fault", "give a class and four numbers, or a polygon of pairs; no score"),
    "line-not-numbers": ("fault", "correct or delete it"),
    "class-not-integer": ("fault", "give the class as a whole number"),
    "class-out-of-range": ("fault", "add the class to the list of names, or correct the number"),
    "class-unknown": ("fault", "name it in the class list or in the class map"),
    "class-map-target": ("fault", "map onto a class of ours, `ignore`, or nothing"),
    "shape-unsupported": ("fault", "draw an upright box or a polygon"),
    "annotations-several": ("warning", "keep one annotation per picture; the last one was taken"),
    # Boxes
    "box-not-finite": ("fault", "draw it again"),
    "box-in-pixels": ("fault", "divide by the picture's width and height: YOLO wants shares from 0 to 1"),
    "box-negative-size": ("fault", "swap its corners"),
    "box-no-area": ("fault", "draw it again or delete it"),
    "box-outside": ("fault", "check that boxes and pictures belong together"),
    "box-partly-outside": ("warning", "clip it at the picture's edge; an import does"),
    "box-tiny": ("warning", "delete it, or keep it as `ignore`: under 2 pixels nothing can be learnt"),
    "box-everything": ("warning", "check that a box was meant and not a word about the whole picture"),
    "box-doubled": ("warning", "delete one; an import keeps one"),
    "box-two-classes": ("fault", "decide for one class"),
    "box-rotated": ("fault", "draw an upright box"),
    # Sizes
    "size-mismatch": ("fault", "use the pictures that were labelled, not resized or cropped ones"),
    "size-scaled": ("info", "nothing: the boxes were scaled to the file's size"),
    "exif-rotated": ("fault", "turn the pixels, drop the EXIF orientation, and label again or export again"),
    "exif-unverified": ("warning", "look at a preview: nothing tells whether the boxes are of the upright picture"),
    # Doubles and splits
    "duplicate-exact": ("warning", "keep one"),
    "duplicate-near": ("warning", "keep them in one group (`jiejing dataset split`)"),
    "duplicate-labels-differ": ("fault", "label the picture once"),
    "leak-exact": ("fault", "keep one, or put both into one split"),
    "leak-near": ("fault", "put them into one split (`jiejing dataset split`)"),
    "leak-group": ("fault", "put the whole group into one split (`jiejing dataset split`)"),
    "split-missing": ("fault", "name the picture in the split file"),
    "split-ghost": ("fault", "delete the row or add the picture"),
    "split-unknown": ("fault", "use train, val or test"),
    # Manifest
    "manifest-missing": ("warning", "import the set (`jiejing dataset import`), which writes one"),
    "manifest-unreadable": ("fault", "correct the manifest"),
    "manifest-licence": ("fault", "state the licence, or that it is unknown and who said so"),
    "manifest-checksum": ("fault", "fetch the data again, or import anew when the change was meant"),
}


class Format(StrEnum):
    """What labelled pictures come in."""

    yolo = "yolo"
    coco = "coco"
    voc = "voc"
    label_studio = "label-studio"
    cvat = "cvat"


@dataclass(frozen=True, slots=True)
class LabelFault:
    """One fault: `file` is what to open (with `:line` or the entry), `picture` the one whose labels it concerns."""

    kind: str
    file: str
    reason: str
    picture: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of KINDS, got {self.kind!r}")

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind][0]

    @property
    def remedy(self) -> str:
        return KINDS[self.kind][1]

    def record(self) -> dict[str, str]:
        """As one JSON object."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "file": self.file,
            "reason": self.reason,
            "remedy": self.remedy,
            "picture": self.picture,
        }

    def __str__(self) -> str:
        return f"{self.severity} {self.kind}: {self.file}: {self.reason} ({self.remedy})"
