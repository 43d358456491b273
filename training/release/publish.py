"""The gate between a trained model and the one that is shipped, and the way back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError
from training.evaluation.compare import Difference
from training.evaluation.evaluate import ENOUGH_BOXES
from vision.detecting.model import load_model

NEEDED = ("CARD.md", "metrics.json", "model.toml")
# Recall may fall by this much; more, with nine chances of ten, and the model is refused.
ALLOWED_LOSS = -0.01
HISTORY = ".history"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a model may not be published, and what to keep an eye on."""

    refusals: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether nothing stands against publishing."""
        return not self.refusals


def judge(folder: Path, differences: Sequence[Difference]) -> Verdict:
    """Hold a candidate against the gate; `differences` are candidate minus published, none for a first model.

    Raises ModelError when the folder is no sound model folder.
    """
    identity = load_model(folder).id
    refusals = [f"{name} is missing or empty" for name in NEEDED if not _has(folder / name)]
    measured = measured_model(folder)
    if measured not in (None, identity):
        refusals.append(f"metrics.json is about {measured}, not about {identity}")
    warnings: list[str] = []
    for one in differences:
        if one.figure != "recall" or one.high >= ALLOWED_LOSS:
            continue
        change = f"recall {one.a:.3f} → {one.b:.3f} ({one.low:+.3f} to {one.high:+.3f})"
        text = f"{one.class_name}: {change} on {one.boxes} boxes"
        # Fewer boxes can only warn.
        (refusals if one.boxes >= ENOUGH_BOXES else warnings).append(text)
    return Verdict(tuple(refusals), tuple(warnings))


def measured_model(folder: Path) -> str | None:
    """The model that a folder's metrics.json is about; None without one. Raises TrainingError when it is no JSON."""
    path = folder / "metrics.json"
    if not _has(path):
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path}: {error}", remedy="delete it; `jiejing publish` measures anew") from None
    return str(found["model"]) if "model" in found else None


def _has(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def publish(folder: Path, registry: Path, name: str, verdict: Verdict) -> Path:
    """Put a model folder in its place as `registry/name`; the one before is kept for `rollback`.

    Raises TrainingError when the verdict refuses it, or when it is already the published one.
    """
    if not verdict.passes:
        raise TrainingError(
            f"{folder} is refused: " + "; ".join(verdict.refusals), remedy="train on, or add what lacks"
        )
    target = registry / name
    if target.is_dir() and load_model(target).id == load_model(folder).id:
        raise TrainingError(f"{load_model(folder).id} is already published", remedy="nothing to do")
    incoming = registry / f".incoming-{name}"
    if incoming.is_dir():
        shutil.rmtree(incoming)
    shutil.copytree(folder, incoming)
    if target.is_dir():
        _keep(target, registry, name)
    incoming.rename(target)
    return target


def _keep(target: Path, registry: Path, name: str) -> None:
    history = registry / HISTORY / name
    history.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.name.split("-", 1)[0]) for path in history.iterdir()), default=0)
    target.rename(history / f"{number:04d}-{load_model(target).id}")


def rollback(registry: Path, name: str) -> Path:
    """Put the model before the published one back; the one taken down is deleted. Raises TrainingError without one."""
    history = registry / HISTORY / name
    kept = sorted(history.iterdir()) if history.is_dir() else []
    if not kept:
        raise TrainingError(f"no earlier {name} is kept in {history}", remedy="publish another model instead")
    load_model(kept[-1])
    target = registry / name
    if target.is_dir():
        shutil.rmtree(target)
    kept[-1].rename(target)
    return target
