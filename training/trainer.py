"""The one place that imports ultralytics: YOLO26 with the masked loss, started from plain weights.

Importing ultralytics changes numpy, torch, OpenCV, the environment and logging, so nothing imports this module
except the commands that train or export.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before the import: never install, never phone home, never run code from a checkpoint.
os.environ |= {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "ULTRALYTICS_SAFE_LOAD": "1"}
os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(os.environ.get("TMPDIR", "/tmp")) / "jiejing-ultralytics"))
Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)

# ruff: noqa: E402, the environment has to be set first
import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from ultralytics.data import YOLODataset
from ultralytics.data.augment import Albumentations, Compose, RandomPerspective
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss
from ultralytics.utils.tal import make_anchors
from ultralytics.utils.torch_utils import unwrap_model

from training.augment import patrol_camera
from training.config import TrainConfig
from training.decoding import fitted
from training.errors import TrainingError
from training.folder_weights import load_folded
from training.masked_loss import MaskedBCE, known_mask, split_regions
from training.several import gpus, is_worker, launch
from training.sources import HIDES, LABEL_NAMES
from vision.taxonomy import CLASS_IDS, CLASSES

ARCHITECTURE = "yolo26n"
COCO_CLASSES = 80
COCO_PERSON, COCO_CAR = 0, 2
# What each region hides, by region id - len(CLASSES).
HIDDEN: tuple[tuple[int, ...], ...] = tuple(
    tuple(sorted(CLASS_IDS[name] for name in classes)) for classes in HIDES.values()
)


class MaskedDetectionLoss(v8DetectionLoss):  # type: ignore[misc]  # ultralytics has no types
    """The stock detection loss, silent where a class is unknown."""

    def __init__(self, model: nn.Module, **options: Any) -> None:
        super().__init__(model, **options)
        self.bce = MaskedBCE()

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """As upstream, after the regions became the mask of `self.bce`."""
        real, regions = split_regions(batch, self.nc)
        anchors, strides = make_anchors(preds["feats"], self.stride, 0.5)
        height, width = (side * float(self.stride[0]) for side in preds["feats"][0].shape[2:])
        fractions = anchors * strides / torch.tensor([width, height], device=anchors.device)
        self.bce.known = known_mask(regions, fractions, len(preds["scores"]), HIDDEN, self.nc)
        return super().loss(preds, real)  # type: ignore[no-any-return]


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
    batch = torch.stack([_square(path, size) for path in pictures])
    unfold_norms(source, batch)
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
    load_folded(model, folder)
    unfold_norms(model, torch.stack([_square(path, size) for path in pictures]))
    return model


def _describe(model: DetectionModel) -> None:
    head = model.model[-1]
    head.nc, head.no = len(CLASSES), len(CLASSES) + 4 * head.reg_max
    model.nc, model.names = len(CLASSES), dict(enumerate(CLASSES))
    model.yaml["nc"] = len(CLASSES)


def _square(path: Path, size: int) -> torch.Tensor:
    picture = cv2.imread(str(path))
    if picture is None:
        raise TrainingError(f"{path}: not a picture", remedy="run `jiejing dataset check`")
    resized = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(resized[:, :, ::-1].transpose(2, 0, 1))).float() / 255


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one run keeps its files."""

    path: Path

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "train" / "weights" / "last.pt"


class ServedAffine(RandomPerspective):  # type: ignore[misc]  # ultralytics has no types
    """The stock random placement, but the middle of a picture falls on whole pixels, as in the server's letterbox.

    Upstream centres an odd number of padded rows half a pixel off, which interpolates every pixel of the picture.
    """

    def _compute_affine_matrix(
        self, img: np.ndarray[Any, Any], size: tuple[int, int]
    ) -> tuple[np.ndarray[Any, Any], float]:
        placed, scale = super()._compute_affine_matrix(img, size)
        half = np.eye(3, dtype=np.float32)
        half[0, 2], half[1, 2] = -((size[0] - img.shape[1]) % 2) / 2, -((size[1] - img.shape[0]) % 2) / 2
        return placed @ half, scale


class StreetDataset(YOLODataset):  # type: ignore[misc]  # ultralytics has no types
    """The stock data set with the server's eyes: decoded and resized by `vision`, in training and validation."""

    def build_transforms(self, hyp: Any = None) -> Any:
        """As upstream, with `ServedAffine` for each random placement."""
        transforms = super().build_transforms(hyp)
        waiting = [transforms]
        while waiting:
            steps = waiting.pop().transforms
            for index, step in enumerate(steps):
                if isinstance(step, Compose):
                    waiting.append(step)
                elif type(step) is RandomPerspective:
                    steps[index] = ServedAffine(**vars(step))
        return transforms

    def load_image(
        self, i: int, rect_mode: bool = True, resize_short: bool = False
    ) -> tuple[np.ndarray[Any, Any], tuple[int, int], tuple[int, int]]:
        """As upstream (BGR, its own and its resized height and width), but for how the pixels are come by."""
        if self.ims[i] is None:
            pixels, (width, height) = fitted(Path(self.im_files[i]), self.imgsz)
            shown = np.ascontiguousarray(pixels[:, :, ::-1])
            if not self.augment or self.cache == "ram":  # the cache keeps what it asked for by itself
                return shown, (height, width), shown.shape[:2]
            # Mosaics draw from the latest pictures, which upstream keeps in this way.
            self.ims[i], self.im_hw0[i], self.im_hw[i] = shown, (height, width), shown.shape[:2]
            self.buffer.append(i)
            if 1 < len(self.buffer) >= self.max_buffer_length:
                oldest = self.buffer.pop(0)
                self.ims[oldest], self.im_hw0[oldest], self.im_hw[oldest] = None, None, None
            return shown, (height, width), shown.shape[:2]
        return self.ims[i], self.im_hw0[i], self.im_hw[i]


class StreetTrainer(DetectionTrainer):  # type: ignore[misc]  # ultralytics has no types
    """The stock trainer with our start, our classes, our loss, and bfloat16 on a CPU that has it."""

    def __init__(self, config: TrainConfig, overrides: dict[str, Any], start: DetectionModel | None) -> None:
        self.config, self.start = config, start
        super().__init__(overrides=overrides)
        if start is not None:
            self.model = start

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> DetectionModel:
        """For resuming: the checkpoint's model has our classes already."""
        model = DetectionModel(cfg, nc=len(CLASSES), verbose=False)
        model.names = dict(enumerate(CLASSES))
        if weights is not None:
            model.load(weights, verbose=False)
        return model

    def set_model_attributes(self) -> None:
        """The data set has more ids than the model has classes: the regions."""
        self.model.nc, self.model.names, self.model.args = len(CLASSES), dict(enumerate(CLASSES)), self.args

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> StreetDataset:
        """As upstream for detection, with our data set."""
        return StreetDataset(
            img_path=img_path,
            imgsz=self.args.imgsz,
            batch_size=batch,
            augment=mode == "train",
            hyp=self.args,
            rect=self.args.rect or mode == "val",
            cache=self.args.cache or None,
            single_cls=False,
            stride=max(int(unwrap_model(self.model).stride.max()), 32),
            pad=0.0 if mode == "train" else 0.5,
            prefix=f"{mode}: ",
            task=self.args.task,
            data=self.data,
        )

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As upstream; channels last, which is what a CPU's bfloat16 kernels want."""
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def validate(self) -> Any:
        """As upstream, in the arithmetic of training: on a CPU stock validation would be float32."""
        with torch.autocast(self.device.type, enabled=self.amp):
            return super().validate()


def camera_faults(trainer: StreetTrainer) -> list[Any]:
    """The transforms of `training.augment` as they are at work in the loader; ultralytics swallows any error in them.

    Raises TrainingError when they are not.
    """
    steps = [step for step in trainer.train_loader.dataset.transforms.transforms if isinstance(step, Albumentations)]
    if not steps or any(step.transform is None for step in steps):
        raise TrainingError("the camera's faults are not applied", remedy="install albumentations==2.0.8")
    return [transform for step in steps for transform in step.transform.transforms]


def _on_train_start(trainer: StreetTrainer) -> None:
    camera_faults(trainer)
    model = unwrap_model(trainer.model)
    criterion = E2ELoss(model, MaskedDetectionLoss)
    if trainer.start_epoch > 0:
        criterion.updates = trainer.start_epoch - 1
        criterion.update()
    if trainer.config.o2o_gain is not None:
        # A short run on pretrained heads needs no long reign of the one-to-many branch.
        criterion.o2m_copy = criterion.o2m = 1.0 - trainer.config.o2o_gain
        criterion.o2o = trainer.config.o2o_gain
    model.criterion = criterion
    if trainer.device.type == "cpu":
        trainer.model.to(memory_format=torch.channels_last)
        trainer.amp = trainer.config.bfloat16  # autocast on a CPU means bfloat16


def _on_train_batch_start(trainer: StreetTrainer) -> None:
    torch.set_num_threads(trainer.config.threads)  # ultralytics sets it back to all cores but one


def train(
    config: TrainConfig, data: Path, run: RunFolder, on_model_save: Callable[[StreetTrainer], None] | None = None
) -> Path:
    """Train, or go on where a killed run stopped; returns the last checkpoint.

    `on_model_save` is called after each checkpoint. `data` is a folder from `training.sources.write_run_set`. Raises
    TrainingError when it is not, or when the start weights are missing.
    """
    for name in ("train.txt", "val.txt"):
        if not (data / name).is_file():
            raise TrainingError(f"{data}: no {name}", remedy="make it with `jiejing dataset gather`")
    table = run.path / "data.yaml"
    if not is_worker():
        run.path.mkdir(parents=True, exist_ok=True)
        names = json.dumps(dict(enumerate(LABEL_NAMES)), ensure_ascii=False)
        table.write_text(f"train: {data / 'train.txt'}\nval: {data / 'val.txt'}\nnames: {names}\n", encoding="utf-8")
        (run.path / "config.json").write_text(config.model_dump_json(indent=1), encoding="utf-8")
        if gpus(config) > 1:
            launch(config, data, run.path)
            return run.last
    overrides: dict[str, Any] = config.overrides() | {
        "model": f"{ARCHITECTURE}.yaml",
        "data": str(table),
        "project": str(run.path),
        "name": "train",
        "exist_ok": True,
        "augmentations": patrol_camera(config.camera_faults),
    }
    start: DetectionModel | None = None
    if run.last.is_file():
        overrides |= {"resume": str(run.last), "model": str(run.last)}
    else:
        start = _start(config, data)
    trainer = StreetTrainer(config, overrides, start)
    trainer.add_callback("on_train_start", _on_train_start)
    trainer.add_callback("on_train_batch_start", _on_train_batch_start)
    if on_model_save is not None:
        trainer.add_callback("on_model_save", on_model_save)
    trainer.train()
    return run.last


def _start(config: TrainConfig, data: Path) -> DetectionModel:
    if not config.weights.exists():
        raise TrainingError(
            f"{config.weights}: no start weights", remedy="name a .safetensors, a checkpoint or a model folder"
        )
    if config.weights.suffix == ".pt":
        return load_checkpoint(config.weights)
    torch.manual_seed(config.seed)
    listed = sorted(set((data / "train.txt").read_text(encoding="utf-8").split("\n")) - {""})
    chosen = random.Random(config.seed).sample(listed, min(64, len(listed)))
    make = from_folder if config.weights.is_dir() else start_model
    return make(config.weights, [Path(path) for path in chosen], config.size)


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
