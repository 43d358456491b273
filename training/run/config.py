"""One typed configuration of a training run: the same fields in a TOML file and on the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import TrainingError


class TrainConfig(BaseModel):
    """What a run is made of; bounds are checked, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path = Field(description="start: COCO weights (.safetensors), a checkpoint (.pt) or a model folder")
    epochs: int = Field(8, ge=1, description="passes over the training pictures")
    size: int = Field(480, ge=64, multiple_of=32, description="side of the square training input, pixels")
    batch: int = Field(16, ge=1, description="pictures per step")
    rate: float = Field(6e-4, gt=0, le=1, description="highest learning rate (AdamW)")
    final_rate: float = Field(0.05, gt=0, le=1, description="last learning rate as a share of the highest")
    weight_decay: float = Field(5e-4, ge=0, description="AdamW's weight decay")
    warmup_epochs: float = Field(0.5, ge=0, description="passes in which the learning rate rises")
    mosaic: float = Field(0.6, ge=0, le=1, description="share of training inputs made of four pictures")
    close_mosaic: int = Field(2, ge=0, description="last passes without mosaics")
    scale: float = Field(0.5, ge=0, lt=1, description="zoom in and out by up to this share")
    camera_faults: float = Field(1.0, ge=0, le=3, description="how often blur, noise, rain, JPEG are applied; 0 never")
    o2o_gain: float | None = Field(None, gt=0, lt=1, description="first weight of the one-to-one branch; stock 0.2")
    activation: Literal["silu", "hardswish", "relu"] | None = Field(
        None, description="of all convolutions; hardswish and relu cost a CPU far less; as the start has it without one"
    )
    keep_every: int = Field(0, ge=0, description="keep every so-many-th pass for `jiejing average`; 0 none")
    freeze: int = Field(0, ge=0, le=22, description="layers from the input on that stay as they are")
    threads: int = Field(2, ge=1, description="CPU threads")
    bfloat16: bool = Field(True, description="bfloat16 arithmetic on a CPU (2.5 times faster where AMX is there)")
    device: str = Field("cpu", description="cpu, 0, or 0,1 for two GPUs")
    cache: bool = Field(True, description="keep decoded pictures in memory")
    seed: int = Field(0, ge=0, description="seed of everything random")

    def overrides(self) -> dict[str, Any]:
        """The fields under the trainer's names."""
        return {
            "epochs": self.epochs,
            "imgsz": self.size,
            "batch": self.batch,
            "nbs": self.batch,
            "optimizer": "AdamW",
            "lr0": self.rate,
            "lrf": self.final_rate,
            "momentum": 0.9,
            "weight_decay": self.weight_decay,
            "warmup_epochs": self.warmup_epochs,
            "warmup_bias_lr": 0.0,
            "cos_lr": True,
            "mosaic": self.mosaic,
            "close_mosaic": self.close_mosaic,
            "scale": self.scale,
            "freeze": self.freeze or None,
            "device": self.device,
            "workers": 0 if self.device == "cpu" else 8,
            "cache": "ram" if self.cache else False,
            "seed": self.seed,
            "amp": self.device != "cpu",
            "plots": False,
            "nms": False,  # the curves show the one-to-one head; `jiejing evaluate` measures what ships
            "deterministic": True,
            "patience": self.epochs,
            "save_period": self.keep_every or -1,
        }


def read_config(path: Path | None, settings: Sequence[str] = ()) -> TrainConfig:
    """The configuration of a TOML file, changed by `name=value` settings.

    Raises TrainingError with the field's name and what it takes.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TrainingError(f"{path}: {error}", remedy="name a readable TOML file") from None
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise TrainingError(f"--set {setting}: no value", remedy="write name=value")
        values[name.strip()] = value.strip()
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        known = TrainConfig.model_fields.get(name)
        remedy = known.description or "" if known else f"use one of {', '.join(TrainConfig.model_fields)}"
        raise TrainingError(f"{path or 'settings'}: {name}: {first['msg']}", remedy=remedy) from None
