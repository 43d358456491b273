"""The masked loss: nothing is learnt where nobody labelled. Needs torch, which comes with the [train] extra."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch comes with the [train] extra")

from training.run.masked_loss import MaskedBCE, known_mask, split_regions  # noqa: E402

HIDDEN = ((0, 1, 2), (0,), (1, 2))  # region 0 hides every class, 1 the first, 2 the others


def test_regions_are_taken_out_of_the_batch() -> None:
    """Boxes with ids behind the classes become regions; the real ones stay, in order."""
    batch = {
        "cls": torch.tensor([[0.0], [4.0], [2.0]]),
        "bboxes": torch.tensor([[0.1] * 4, [0.5, 0.5, 1.0, 1.0], [0.3] * 4]),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "img": "untouched",
    }
    real, regions = split_regions(batch, 3)
    assert real["cls"].view(-1).tolist() == [0.0, 2.0]
    assert real["batch_idx"].tolist() == [0.0, 1.0]
    assert real["img"] == "untouched"
    assert regions.tolist() == [[0.0, 1.0, 0.5, 0.5, 1.0, 1.0]]
    assert len(batch["cls"]) == 3


def test_mask_hides_the_classes_of_a_region_inside_it_only() -> None:
    """A region over the left half hides its classes at the left anchor of its own picture, nothing else."""
    anchors = torch.tensor([[0.25, 0.5], [0.75, 0.5]])
    regions = torch.tensor([[1.0, 2.0, 0.25, 0.5, 0.5, 1.0]])
    known = known_mask(regions, anchors, 2, HIDDEN, 3)
    assert known[0].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert known[1].tolist() == [[1, 0, 0], [1, 1, 1]]


def test_an_ignored_place_hides_everything() -> None:
    """Region id 0 hides all classes where it lies."""
    known = known_mask(torch.tensor([[0.0, 0.0, 0.5, 0.5, 1.0, 1.0]]), torch.tensor([[0.5, 0.5]]), 1, HIDDEN, 3)
    assert known.sum() == 0


def test_unknown_classes_get_no_gradient() -> None:
    """A hidden class is neither pushed up nor down; known ones are, and a labelled box always teaches its class."""
    loss = MaskedBCE()
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    targets = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.8, 0.0]]])
    loss.known = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    loss(logits, targets).sum().backward()
    assert logits.grad.ne(0).tolist() == [[[True, False, False], [True, True, False]]]


def test_without_a_mask_it_is_plain_cross_entropy() -> None:
    """Before any batch the loss equals torch's own."""
    logits, targets = torch.randn(1, 4, 3), torch.rand(1, 4, 3)
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    assert torch.equal(MaskedBCE()(logits, targets), plain)
