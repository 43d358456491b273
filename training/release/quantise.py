"""INT8 beside the 16-bit network: quantised after training, and judged by what it costs in mAP50-95."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.evaluation.evaluate import look, report
from training.sources import Picture, read_yolo
from vision.detecting.detector import Detector
from vision.detecting.model import load_model
from vision.taxonomy import CLASSES

# Mean mAP50-95 that INT8 may lose against float32.
MAY_LOSE = 0.01
# Classes with fewer boxes than this swing by more than that from luck alone.
ENOUGH_BOXES = 50
# What stays float: the last 1×1 convolutions of the head, whose outputs are boxes and scores, and the decoding behind
# them, where one step of an 8-bit scale over the whole picture is several pixels. `one2one_` for one-to-one heads.
FLOAT = (r".*model\.23\.(one2one_)?cv[23]\.\d\.2/.*", r".*model\.23/.*")


def quantised(network: Any, calibration: Sequence[Any]) -> Any:
    """An OpenVINO network converted from torch (so that SiLU is one operation, fused into its convolution) in INT8.

    `calibration`: inputs (1, 3, height, width) from 0 to 1 of training pictures. Per-channel weights, asymmetric
    activations (SiLU is), layer-by-layer bias correction: the fast one costs half a point of mAP50-95.
    """
    import nncf

    return nncf.quantize(
        network,
        nncf.Dataset(list(calibration)),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
        fast_bias_correction=False,
        ignored_scope=nncf.IgnoredScope(patterns=list(FLOAT), validate=False),
    )


def labelled_pictures(data: Path) -> list[Picture]:
    """The validation pictures of a gathered data folder with their boxes."""
    classes = dict(enumerate(CLASSES))
    paths = [Path(line) for line in (data / "val.txt").read_text(encoding="utf-8").splitlines()]
    return [Picture(p, "val", "val", read_yolo(data / "labels" / f"{p.stem}.txt", classes)) for p in paths]


def mean_ap(detector: Detector, pictures: Sequence[Picture]) -> float:
    """Mean mAP50-95 through the server's runtime over the classes with enough boxes (over all that have any, when none
    has enough)."""
    entries = report(look(detector, pictures), dict.fromkeys(CLASSES, 0.3))["classes"].values()
    counted = [entry for entry in entries if entry["boxes"] >= ENOUGH_BOXES] or [e for e in entries if e["boxes"]]
    if not counted:
        raise TrainingError("no labelled picture to judge INT8 by", remedy="gather sources with validation pictures")
    return float(sum(entry["mAP50-95"] for entry in counted) / len(counted))


def judge(folder: Path, pictures: Sequence[Picture]) -> dict[str, float]:
    """mAP50-95 of a folder's two networks on the same pictures: the 16-bit one in float32 arithmetic, and INT8.

    Raises TrainingError when INT8 loses more than a point.
    """
    exact = mean_ap(Detector(load_model(folder, "openvino"), exact=True), pictures)
    fast = mean_ap(Detector(load_model(folder, "int8")), pictures)
    if exact - fast > MAY_LOSE:
        raise TrainingError(
            f"INT8 loses {exact - fast:.3f} of mAP50-95 ({exact:.3f} in float32)",
            remedy="use the 16-bit network, or calibrate on more pictures",
        )
    return {"float32": round(exact, 4), "int8": round(fast, 4)}
