"""The trainer: ultralytics' own with the masked loss, our data set and our start.

Imported only by the commands that train: see `training.run.network`, which has to be imported before ultralytics.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The environment has to be set before ultralytics is imported.
# isort: off
from training.run.network import ARCHITECTURE, start_of

# isort: on
import numpy as np
import torch
from torch import nn
from ultralytics.data import YOLODataset
from ultralytics.data.augment import Albumentations, Compose, RandomPerspective
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss
from ultralytics.utils.tal import make_anchors
from ultralytics.utils.torch_utils import unwrap_model

from training.decoding import fitted
from training.errors import TrainingError
from training.run.augment import patrol_camera
from training.run.config import TrainConfig
from training.run.masked_loss import MaskedBCE, known_mask, split_regions
from training.run.several import gpus, is_worker, launch
from training.sources import HIDES, LABEL_NAMES
from vision.taxonomy import CLASS_IDS, CLASSES

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
    """The transforms of `augment` as they are at work in the loader; ultralytics swallows any error in them.

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
        start = start_of(config, data)
    trainer = StreetTrainer(config, overrides, start)
    trainer.add_callback("on_train_start", _on_train_start)
    trainer.add_callback("on_train_batch_start", _on_train_batch_start)
    if on_model_save is not None:
        trainer.add_callback("on_model_save", on_model_save)
    trainer.train()
    return run.last
