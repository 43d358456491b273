"""The network: YOLO26n from COCO weights, a published folder or a checkpoint; its activation; and how it is exported.

With `trainer` the only place that imports ultralytics, and always the first to. Importing it changes numpy,
torch, OpenCV, the environment and logging, so nothing imports these two except the commands that train or export.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Before the import: never install, never phone home, never run code from a checkpoint.
os.environ |= {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "ULTRALYTICS_SAFE_LOAD": "1"}
os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(os.environ.get("TMPDIR", "/tmp")) / "jiejing-ultralytics"))
Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)

# ruff: noqa: E402, the environment has to be set first
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from ultralytics.nn.modules import Conv
from ultralytics.nn.tasks import DetectionModel

from training.decoding import PAD, as_served
from training.errors import TrainingError
from training.run.config import TrainConfig
from training.run.folder_weights import load_folded, onnx_activation, onnx_graph
from vision.taxonomy import CLASS_IDS, CLASSES

ARCHITECTURE = "yolo26n"
ACTIVATIONS = {"silu": nn.SiLU, "hardswish": nn.Hardswish, "relu": nn.ReLU}
COCO_CLASSES = 80
COCO_PERSON, COCO_CAR = 0, 2


def coco_model(weights: Path) -> DetectionModel:
    """YOLO26n with the plain COCO weights of a safetensors file, in evaluation mode."""
    model = DetectionModel(f"{ARCHITECTURE}.yaml", nc=COCO_CLASSES, verbose=False)
    model.load_state_dict({name: value.float() for name, value in load_file(str(weights)).items()})
    return model.eval()


def unfold_norms(model: nn.Module, pictures: torch.Tensor) -> None:
    """Give batch norms that were folded into identity the statistics of their inputs; the function stays the same.

    Without this the first training step would divide every channel by its spread and lose the pretrained features.
    `pictures` (n, 3, h, w) from 0 to 1. With input mean m and variance v: weight w/√(r+ε) becomes w·√(v+ε)/√(r+ε), the
    bias takes up w·(m − μ)/√(r+ε), the running statistics become m and v.
    """
    sums: dict[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        sums.setdefault(module, []).append((x.mean((0, 2, 3)), x.square().mean((0, 2, 3))))

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    with torch.inference_mode():
        for chunk in pictures.split(8):
            model(chunk)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for norm in norms:
            mean = torch.stack([m for m, _ in sums[norm]]).mean(0)
            var = (torch.stack([s for _, s in sums[norm]]).mean(0) - mean.square()).clamp_min(1e-6)
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            norm.bias += gain * (mean - norm.running_mean)
            norm.weight.copy_(gain * (var + norm.eps).sqrt())
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)


def start_model(weights: Path, pictures: Sequence[Path], size: int) -> DetectionModel:
    """Thirteen classes on COCO features: person and vehicle start as COCO's person and car, the others as the mean row.

    `pictures` are a few training pictures for the statistics of `unfold_norms`, at `size` pixels.
    """
    source = coco_model(weights)
    unfold_norms(source, _pictures(pictures, size))
    for branch in (source.model[-1].cv3, source.model[-1].one2one_cv3):
        for level in branch:
            old = level[-1]
            new = nn.Conv2d(old.in_channels, len(CLASSES), 1)
            with torch.no_grad():
                new.weight.copy_(old.weight.mean(0, keepdim=True).expand_as(new.weight))
                new.weight += 0.01 * torch.randn_like(new.weight)
                new.bias.fill_(float(old.bias.mean()))
                for name, row in (("person", COCO_PERSON), ("vehicle", COCO_CAR)):
                    new.weight[CLASS_IDS[name]] = old.weight[row]
                    new.bias[CLASS_IDS[name]] = old.bias[row]
            level[-1] = new
    _describe(source)
    return source


def from_folder(folder: Path, pictures: Sequence[Path], size: int) -> DetectionModel:
    """A published model as a start, with norms to train by (see `unfold_norms`)."""
    # With the hidden layers of the COCO head, which our models have from their start.
    model = DetectionModel(f"{ARCHITECTURE}.yaml", nc=COCO_CLASSES, verbose=False).eval()
    for branch in (model.model[-1].cv3, model.model[-1].one2one_cv3):
        for level in branch:
            level[-1] = nn.Conv2d(level[-1].in_channels, len(CLASSES), 1)
    _describe(model)
    graph = onnx_graph(folder)
    set_activation(model, onnx_activation(graph))
    load_folded(model, graph, folder)
    unfold_norms(model, _pictures(pictures, size))
    return model


def set_activation(model: DetectionModel, name: str) -> None:
    """Give all convolutions that have one another activation; `name` as in `TrainConfig.activation`."""
    kind = ACTIVATIONS[name]
    for module in model.modules():
        if isinstance(module, Conv) and not isinstance(module.act, nn.Identity):
            module.act = kind()
    model.yaml["activation"] = f"torch.nn.{kind.__name__}()"  # for a run that is resumed


def _describe(model: DetectionModel) -> None:
    head = model.model[-1]
    head.nc, head.no = len(CLASSES), len(CLASSES) + 4 * head.reg_max
    model.nc, model.names = len(CLASSES), dict(enumerate(CLASSES))
    model.yaml["nc"] = len(CLASSES)


def _pictures(paths: Sequence[Path], side: int) -> torch.Tensor:
    """Pictures as a square input has them: (n, 3, side, side), 0 to 1."""
    placed = np.stack([as_served(path, (side, side), PAD) for path in paths])
    return torch.from_numpy(np.ascontiguousarray(placed.transpose(0, 3, 1, 2))).float() / 255


def start_of(config: TrainConfig, data: Path) -> DetectionModel:
    """The network that a run starts from; `data` as for `trainer.train`. Raises TrainingError when it is missing."""
    if not config.weights.exists():
        raise TrainingError(
            f"{config.weights}: no start weights", remedy="name a .safetensors, a checkpoint or a model folder"
        )
    if config.weights.suffix == ".pt":
        model = load_checkpoint(config.weights)
    else:
        torch.manual_seed(config.seed)
        listed = sorted(set((data / "train.txt").read_text(encoding="utf-8").split("\n")) - {""})
        chosen = random.Random(config.seed).sample(listed, min(64, len(listed)))
        make = from_folder if config.weights.is_dir() else start_model
        model = make(config.weights, [Path(path) for path in chosen], config.size)
    if config.activation is not None:
        set_activation(model, config.activation)
    return model


def load_checkpoint(path: Path) -> DetectionModel:
    """The averaged model of a checkpoint, float32, in training form."""
    from ultralytics.nn.tasks import load_checkpoint as load

    model, _ = load(str(path))
    model = model.float()
    for parameter in model.parameters():
        parameter.requires_grad = True
    if math.prod(model.model[-1].cv3[0][-1].weight.shape[:1]) != len(CLASSES):
        raise TrainingError(f"{path}: not a model of {len(CLASSES)} classes", remedy="name one of our checkpoints")
    return model


def export_module(checkpoint: Path) -> nn.Module:
    """The averaged model for export, norms folded; (1, 3, h, w) in, (1, 4 + classes, places) out: corners, then scores.

    The one-to-many head with suppression ships: it finds more than the one-to-one head (docs/experiments.md).
    """
    model = load_checkpoint(checkpoint).eval()
    head = model.model[-1]
    head.end2end, head.xyxy = False, True
    model.fuse(verbose=False)
    head.export, head.dynamic, head.format = True, True, "openvino"
    for parameter in model.parameters():
        parameter.requires_grad = False
    return model


def write_onnx(module: nn.Module, path: Path, example: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    """ONNX with dynamic batch, height and width; input `images`, output `detections`."""
    torch.onnx.export(
        module,
        (torch.from_numpy(example),),
        str(path),
        input_names=["images"],
        output_names=["detections"],
        dynamic_axes={"images": {0: "batch", 2: "height", 3: "width"}, "detections": {0: "batch", 2: "places"}},
        opset_version=18,
        dynamo=False,
    )
