"""A model folder: `model.toml` names the classes, the input and the weights, each with its SHA-256."""

from __future__ import annotations

import hashlib
import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from vision.errors import ModelError
from vision.taxonomy import CLASSES, HIDE_FROM

CLASS_DEFAULT_THRESHOLD = 0.25
Device = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Model:
    """A checked model folder.

    `input_sizes`: (width, height) in pixels, multiples of 32, of the static engines; `mean`, `scale` per RGB channel:
    network input = (value - mean) / scale; `thresholds` (one per class, in `classes` order): least score that is shown;
    `nms_iou`: above which overlap the weaker of two boxes of one class goes, None when the output needs no suppression.
    `hide_from` (one per class): least score at which a thing is hidden, infinite for what need not be.
    """

    id: str
    folder: Path
    classes: tuple[str, ...]
    input_sizes: tuple[tuple[int, int], ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    pad: int
    xml: Path
    bin: Path
    thresholds: tuple[float, ...]
    hide_from: tuple[float, ...]
    nms_iou: float | None = None
    onnx: Path | None = None

    @property
    def least_scores(self) -> tuple[float, ...]:
        """One per class: what is seen below it is of no use, neither to show nor to hide."""
        return tuple(min(both) for both in zip(self.thresholds, self.hide_from, strict=True))


def load_model(folder: Path, weights: str = "") -> Model:
    """Read and verify a model folder.

    `weights`: which of its networks, such as "openvino" (16-bit) or "int8"; without it the one for this CPU.

    Raises ModelError when `model.toml` is missing or wrong, or when a weight file is missing or not what its hash says.
    """
    file = folder / "model.toml"
    try:
        fields = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no model.toml", remedy="give a model folder") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{file} cannot be read ({error})", remedy="restore it from the release") from error
    try:
        return _checked(folder, fields, weights)
    except KeyError as error:
        raise ModelError(f"{file} lacks the field {error}", remedy="export the model again") from error
    except (TypeError, ValueError) as error:
        raise ModelError(f"{file}: {error}", remedy="export the model again") from error


def _checked(folder: Path, fields: dict[str, Any], kind: str) -> Model:
    classes = tuple(str(name) for name in fields["classes"])
    sizes = tuple((int(width), int(height)) for width, height in fields["input"]["sizes"])
    if not sizes or any(side < 32 or side % 32 for size in sizes for side in size):
        raise ValueError(f"input sizes must be multiples of 32, got {sizes}")
    networks = fields["weights"]
    files = {"openvino": _network(folder, networks["openvino"])}
    if "int8" in networks:
        files["int8"] = _network(folder, networks["int8"])
    xml, binary = files[kind or _for_this_cpu(networks.get("cpu", "openvino"))]
    onnx = networks.get("onnx")
    thresholds = fields.get("thresholds", {})
    hiding = HIDE_FROM | fields.get("hiding", {})
    unknown = (set(thresholds) | set(fields.get("hiding", {}))) - set(classes)
    if unknown:
        raise ValueError(f"thresholds for unknown classes {sorted(unknown)}")
    nms_iou = fields.get("output", {}).get("nms_iou")
    if nms_iou is not None and not 0 < float(nms_iou) < 1:
        raise ValueError(f"nms_iou must lie between 0 and 1, got {nms_iou}")
    return Model(
        id=str(fields["id"]),
        folder=folder,
        classes=classes,
        input_sizes=sizes,
        mean=tuple(float(v) for v in fields["input"]["mean"]),
        scale=tuple(float(v) for v in fields["input"]["scale"]),
        pad=int(fields["input"].get("pad", 114)),
        xml=xml,
        bin=binary,
        thresholds=tuple(float(thresholds.get(name, CLASS_DEFAULT_THRESHOLD)) for name in classes),
        nms_iou=None if nms_iou is None else float(nms_iou),
        onnx=_verified(folder, str(onnx["file"]), str(onnx["sha256"])) if onnx else None,
        hide_from=tuple(float(hiding.get(name, math.inf)) for name in classes),
    )


@cache
def _for_this_cpu(stated: str) -> str:
    """The network that model.toml states for CPUs; the 16-bit one where the CPU multiplies matrices of bfloat16.

    There (AMX) both take the same time, and INT8 is a little less exact (docs/performance.md).
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return stated
    return "openvino" if "amx_bf16" in flags else stated


def _network(folder: Path, fields: dict[str, Any]) -> tuple[Path, Path]:
    """An OpenVINO network's two files."""
    return (
        _verified(folder, str(fields["xml"]), str(fields["xml_sha256"])),
        _verified(folder, str(fields["bin"]), str(fields["bin_sha256"])),
    )


def _verified(folder: Path, name: str, sha256: str) -> Path:
    if Path(name).name != name:
        raise ValueError(f"weight files lie in the model folder itself, not at {name!r}")
    file = folder / name
    if not file.is_file():
        raise ModelError(f"{file} is missing", remedy="restore it from the release")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256.lower():
        raise ModelError(
            f"{file} is not the file that model.toml names (SHA-256 {found[:12]}…, expected {sha256[:12]}…)",
            remedy="restore it from the release; never edit weights in place",
        )
    return file


def is_ours(model: Model) -> bool:
    """Whether the model sees exactly the thirteen classes in their published order."""
    return model.classes == CLASSES


def check_input(input_wh: tuple[int, int] | None) -> None:
    """Raise ModelError unless an input size (width, height) that replaces the model's own is one it can have."""
    if input_wh and any(side < 32 or side % 32 for side in input_wh):
        raise ModelError(f"input size {input_wh[0]}×{input_wh[1]}", remedy="give multiples of 32, such as 640x640")
