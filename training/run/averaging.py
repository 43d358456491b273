"""The mean of several checkpoints of one network: what each has learnt by itself alone averages out.

Weights that started alike lie in one valley, and their mean is sounder than any of them on pictures unlike those
trained on, at no cost when serving (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903,
and "Model soups", arXiv 2203.05482). Here weights of an early pass, still close to the COCO start, bring most of it:
docs/experiments.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.errors import TrainingError
from training.run.network import load_checkpoint


@dataclass(frozen=True, slots=True)
class Part:
    """One checkpoint and its share of the mean, greater than 0; shares are divided by their sum."""

    checkpoint: Path
    share: float


def read_part(word: str) -> Part:
    """`CHECKPOINT=SHARE`. Raises TrainingError when it is not that."""
    path, equals, share = word.rpartition("=")
    try:
        value = float(share) if equals else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise TrainingError(f"{word}: no share", remedy="write CHECKPOINT=SHARE, such as last.pt=0.6")
    return Part(Path(path), value)


def average(parts: Sequence[Part], out: Path) -> dict[str, float]:
    """Write the mean of the checkpoints' averaged models as a checkpoint that `export` and `train` take.

    The activation is the first part's, the running statistics of the norms are averaged like the weights (taken anew on
    close-ups they made things worse). Returns each part's share by the SHA-256 of its file, which the new checkpoint
    keeps under "averaged". Raises TrainingError when a checkpoint is missing or of another shape.
    """
    if len(parts) < 2:
        raise TrainingError("a mean of fewer than two", remedy="name at least two CHECKPOINT=SHARE")
    for part in parts:
        if not part.checkpoint.is_file():
            raise TrainingError(f"{part.checkpoint}: no checkpoint", remedy="name a last.pt or epochN.pt of a run")
    whole = sum(part.share for part in parts)
    model = load_checkpoint(parts[0].checkpoint)
    mean = {name: value.clone() for name, value in model.state_dict().items()}
    for value in mean.values():
        if value.is_floating_point():
            value *= parts[0].share / whole
    for part in parts[1:]:
        other = load_checkpoint(part.checkpoint).state_dict()
        if {n: v.shape for n, v in other.items()} != {n: v.shape for n, v in mean.items()}:
            raise TrainingError(f"{part.checkpoint}: another network", remedy="average checkpoints of one architecture")
        for name, value in mean.items():
            if value.is_floating_point():
                value += other[name] * (part.share / whole)
    model.load_state_dict(mean)
    shares: dict[str, float] = {}
    for part in parts:
        digest = hashlib.sha256(part.checkpoint.read_bytes()).hexdigest()
        shares[digest] = shares.get(digest, 0.0) + part.share / whole
    checkpoint: dict[str, Any] = {"epoch": -1, "model": model.half(), "ema": None, "optimizer": None}
    checkpoint |= {"train_args": {}, "averaged": shares}
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, out)
    return shares
