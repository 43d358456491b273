"""Turn a trained checkpoint into a model folder: OpenVINO (float16, INT8) and ONNX, each checked on real pictures."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.decoding import PAD, as_served
from training.errors import TrainingError
from training.sources import Picture
from vision import boxes
from vision.detecting.suppression import suppress
from vision.taxonomy import CLASSES

LICENCE = "AGPL-3.0-or-later"
NMS_IOU = 0.7
# A detection of the trainer counts as kept when the export has one of its class with this overlap and a near score.
SAME_IOU, SAME_SCORE, SURE = 0.85, 0.15, 0.3

Input = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """What to make: the folder's name, the input sizes (width, height) that the runtime chooses from, and how exact."""

    name: str
    sizes: tuple[tuple[int, int], ...] = ((640, 640), (960, 736))
    int8: bool = False
    least_kept: float = 0.9


def as_input(path: Path, size_wh: tuple[int, int]) -> Input:
    """A picture as the network sees it in the server: letterboxed, centred, (1, 3, height, width) from 0 to 1, RGB.

    Raises MediaError when it cannot be read.
    """
    placed = as_served(path, size_wh, PAD)
    return np.ascontiguousarray(placed.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)


def kept_share(reference: Iterable[npt.NDArray[Any]], exported: Iterable[npt.NDArray[Any]]) -> tuple[float, int]:
    """Of the trainer's sure detections, the share that the export has too, and how many there were.

    Both give rows (n, 6) per picture: x_min, y_min, x_max, y_max, score, class id.
    """
    kept = total = 0
    for ours, theirs in zip(reference, exported, strict=True):
        for row in ours[ours[:, 4] >= SURE]:
            total += 1
            same = theirs[
                (theirs[:, 5].round() == round(float(row[5]))) & (np.abs(theirs[:, 4] - row[4]) <= SAME_SCORE)
            ]
            if len(same) and float(boxes.iou(row[None, :4], same[:, :4]).max()) >= SAME_IOU:
                kept += 1
    return (kept / total if total else 1.0), total


def to_openvino(module: Any, example: Input) -> Any:
    """An OpenVINO model with dynamic height and width, converted from torch (so that SiLU stays one operation)."""
    import openvino as ov
    import torch

    network = ov.convert_model(module, example_input=torch.from_numpy(example), input=[([-1, 3, -1, -1], ov.Type.f32)])
    network.inputs[0].get_tensor().set_names({"images"})
    network.outputs[0].get_tensor().set_names({"detections"})
    return network


def halve_onnx(path: Path) -> None:
    """Store the large weights of an ONNX file in float16; a Cast in front of each keeps the arithmetic float32."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    casts = []
    for index, tensor in enumerate(model.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < 256:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half")
        model.graph.initializer[index].CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def run_network(network: Any, inputs: Iterable[Input]) -> list[npt.NDArray[np.float64]]:
    """Rows (n, 6) for each input, suppressed as in the server; computed in float32 where the network is not INT8."""
    import openvino as ov

    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [rows(compiled(one)[0][0]) for one in inputs]


def rows(dense: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """What survives suppression in one output (4 + classes, places), down to half the score that counts as sure."""
    return suppress(dense, SURE / 2, NMS_IOU, 300)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_toml(
    spec: ExportSpec, identity: str, weights: Mapping[str, Mapping[str, str]], thresholds: Mapping[str, float]
) -> str:
    """The text of model.toml, as `vision.detecting.model` reads it."""
    sizes = ", ".join(f"[{width}, {height}]" for width, height in spec.sizes)
    lines = [
        f'id = "{identity}"',
        'architecture = "yolo26n"',
        f'licence = "{LICENCE}"',
        "classes = [" + ", ".join(f'"{name}"' for name in CLASSES) + "]",
        "",
        "[input]",
        f"sizes = [{sizes}]  # width, height; the runtime picks by aspect ratio",
        "mean = [0.0, 0.0, 0.0]",
        "scale = [255.0, 255.0, 255.0]  # pixel = (value - mean) / scale, RGB",
        f"pad = {PAD}",
        "",
        "[output]",
        f"nms_iou = {NMS_IOU}  # dense output: above this overlap the weaker of two boxes of one class goes",
        "",
    ]
    if "int8" in weights:
        lines += ["[weights]", 'cpu = "int8"  # what a CPU runs, where 16-bit matrices are not as fast', ""]
    for kind, fields in weights.items():
        lines += [f"[weights.{kind}]", *(f'{key} = "{value}"' for key, value in fields.items()), ""]
    lines += ["[thresholds]  # the least score that is shown, chosen on validation pictures"]
    lines += [f"{name} = {thresholds.get(name, 0.3):.2f}" for name in CLASSES]
    return "\n".join(lines) + "\n"


def set_thresholds(folder: Path, thresholds: Mapping[str, float]) -> None:
    """Replace the thresholds in a folder's model.toml; everything else stays as it is."""
    path = folder / "model.toml"
    head, _, rest = path.read_text(encoding="utf-8").partition("[thresholds]")
    after = rest.find("\n[")
    lines = ["[thresholds]  # the least score that is shown, chosen on validation pictures"]
    lines += [f"{name} = {thresholds[name]:.2f}" for name in CLASSES]
    tail = rest[after:] if after >= 0 else ""
    path.write_text(head + "\n".join(lines) + "\n" + tail, encoding="utf-8")
    tomllib.loads(path.read_text(encoding="utf-8"))


def export(
    checkpoint: Path,
    folder: Path,
    spec: ExportSpec,
    calibration: Sequence[Path],
    check: Sequence[Path],
    labelled: Sequence[Picture] = (),
) -> dict[str, Any]:
    """Write the model folder; returns what the checks found.

    `check` are real pictures on which each export must keep at least `spec.least_kept` of the trainer's sure
    detections; otherwise TrainingError, and nothing is written. INT8 is calibrated on `calibration`, training pictures,
    and must not lose more than a point of mAP50-95 on `labelled`; otherwise TrainingError, and the folder holds the
    16-bit network alone.
    Old weight files in the folder are removed, CARD.md and metrics.json stay.
    """
    import openvino as ov

    from training.run.network import export_module, write_onnx

    module = export_module(checkpoint)
    inputs = [as_input(path, spec.sizes[0]) for path in check]
    reference = run_module(module, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "incoming"
    scratch.mkdir(exist_ok=True)
    network = to_openvino(module, inputs[0])
    ov.save_model(network, scratch / "weights.xml", compress_to_fp16=True)
    write_onnx(module, scratch / "weights.onnx", inputs[0])
    halve_onnx(scratch / "weights.onnx")
    found: dict[str, Any] = {}
    for kind, file in (("openvino", "weights.xml"), ("onnx", "weights.onnx")):
        read = ov.Core().read_model(scratch / file)
        read.reshape([1, 3, spec.sizes[0][1], spec.sizes[0][0]])
        share, count = kept_share(reference, run_network(read, inputs))
        found[kind] = {"kept": round(share, 4), "detections": count}
        if share < spec.least_kept:
            for leftover in scratch.iterdir():
                leftover.unlink()
            scratch.rmdir()
            raise TrainingError(
                f"the {kind} export keeps only {share:.0%} of {count} detections",
                remedy="report this as a bug: both are the same network",
            )
    identity = f"{spec.name}-{sha256(scratch / 'weights.bin')[:8]}"
    for old in (*folder.glob("*.xml"), *folder.glob("*.bin"), *folder.glob("*.onnx")):
        old.unlink()
    for suffix in ("xml", "bin", "onnx"):
        (scratch / f"weights.{suffix}").rename(folder / f"{identity}.{suffix}")
    scratch.rmdir()
    xml, binary, onnx = (folder / f"{identity}.{suffix}" for suffix in ("xml", "bin", "onnx"))
    weights = {
        "openvino": {"xml": xml.name, "xml_sha256": sha256(xml), "bin": binary.name, "bin_sha256": sha256(binary)},
        "onnx": {"file": onnx.name, "sha256": sha256(onnx)},
    }
    (folder / "model.toml").write_text(model_toml(spec, identity, weights, {}), encoding="utf-8")
    found["id"] = identity
    if spec.int8:
        found["mAP50-95"] = _add_int8(folder, spec, identity, weights, network, calibration, labelled)
    return found


def _add_int8(
    folder: Path,
    spec: ExportSpec,
    identity: str,
    weights: Mapping[str, Mapping[str, str]],
    network: Any,
    calibration: Sequence[Path],
    labelled: Sequence[Picture],
) -> dict[str, float]:
    import openvino as ov

    from training.release.quantise import judge, quantised

    inputs = [as_input(path, spec.sizes[0]) for path in calibration]
    xml, binary = folder / f"{identity}-int8.xml", folder / f"{identity}-int8.bin"
    ov.save_model(quantised(network, inputs), xml, compress_to_fp16=True)
    fields = {"xml": xml.name, "xml_sha256": sha256(xml), "bin": binary.name, "bin_sha256": sha256(binary)}
    plain = model_toml(spec, identity, weights, {})
    (folder / "model.toml").write_text(model_toml(spec, identity, {**weights, "int8": fields}, {}), encoding="utf-8")
    try:
        return judge(folder, labelled)
    except TrainingError:
        (folder / "model.toml").write_text(plain, encoding="utf-8")
        xml.unlink()
        binary.unlink()
        raise


def run_module(module: Any, inputs: Iterable[Input]) -> list[npt.NDArray[np.float64]]:
    """Rows (n, 6) of the torch module for each input."""
    import torch

    with torch.inference_mode():
        return [rows(module(torch.from_numpy(one))[0].numpy()) for one in inputs]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON with stable order, two spaces, a newline at the end."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
