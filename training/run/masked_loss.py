"""A classification loss that says nothing where nobody labelled: per place and class, known or unknown.

Label files carry regions (see `training.sources`) as boxes with ids behind the real classes. Before the loss they are
taken out and become a mask over anchors and classes; a class that is unknown at an anchor is neither rewarded nor
punished there, unless a labelled box was assigned to that very anchor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


def split_regions(batch: Mapping[str, Any], classes: int) -> tuple[dict[str, Any], torch.Tensor]:
    """The batch with its real boxes only, and the regions (n, 6): picture, region id - `classes`, x, y, w, h.

    The boxes of a batch are centres and sizes in fractions of the input picture.
    """
    ids = batch["cls"].view(-1)
    is_region = ids >= classes
    regions = torch.cat(
        (
            batch["batch_idx"].view(-1, 1)[is_region].float(),
            ids[is_region].view(-1, 1).float() - classes,
            batch["bboxes"][is_region].float(),
        ),
        dim=1,
    )
    real = dict(batch)
    for key in ("cls", "bboxes", "batch_idx"):
        real[key] = batch[key][~is_region]
    return real, regions


def known_mask(
    regions: torch.Tensor, anchors_xy: torch.Tensor, pictures: int, hidden: Sequence[Sequence[int]], classes: int
) -> torch.Tensor:
    """Where each class is known: (pictures, anchors, classes), 1 known, 0 unknown.

    `regions` (n, 6) as from `split_regions`; `anchors_xy` (anchors, 2) in fractions of the input picture; `hidden[k]`
    lists the class ids that region id k hides.
    """
    known = torch.ones(pictures, len(anchors_xy), classes, device=anchors_xy.device)
    for picture, kind, x, y, w, h in regions.tolist():
        inside = ((anchors_xy[:, 0] - x).abs() <= w / 2) & ((anchors_xy[:, 1] - y).abs() <= h / 2)
        columns = torch.tensor(hidden[int(kind)], device=anchors_xy.device)
        known[int(picture), inside.nonzero().view(-1, 1), columns] = 0.0
    return known


class MaskedBCE(nn.Module):  # type: ignore[misc]  # torch's types are not read (pyproject.toml)
    """Binary cross-entropy with logits, element by element, zero where `known` is 0 and the target is not above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.known: torch.Tensor | None = None

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Losses of the shape of `logits` (pictures, anchors, classes)."""
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
        if self.known is None:
            return loss
        return loss * torch.where(targets > 0, torch.ones_like(self.known), self.known)
