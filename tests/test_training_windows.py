"""Windows of labelled pictures: where their boxes go."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.composites.windows import cut_windows, window_of
from training.errors import DatasetError
from training.sources import Label, Picture, without_specks


def test_boxes_move_into_the_window_or_are_cut() -> None:
    """A box inside keeps its pixels, one cut in half is ignored, one outside is gone; a region stays a region."""
    labels = (
        Label("bin", (0.25, 0.25, 0.5, 0.75)),
        Label("awning", (0.0, 0.25, 0.3, 0.75)),
        Label("shed", (0.9, 0.0, 1.0, 0.2)),
        Label("waste", (0.0, 0.0, 1.0, 1.0)),
    )
    inside = window_of(labels, (200, 100), (50, 0, 100))
    assert [label.name for label in inside] == ["bin", "ignore", "waste"]
    assert inside[0].box == pytest.approx((0.0, 0.25, 0.5, 0.75))
    assert inside[1].box == pytest.approx((0.0, 0.25, 0.1, 0.75))
    assert inside[2].box == (0.0, 0.0, 1.0, 1.0)


def test_windows_are_cut_from_training_pictures_of_the_named_source(tmp_path: Path) -> None:
    """As many as asked for, square, with the picture's unknown groups; validation pictures give none; seeds repeat."""
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), np.full((90, 160, 3), 120, np.uint8))
    picture = Picture(path, "facades", "train", (Label("signboard", (0.1, 0.1, 0.9, 0.9)),), frozenset({"waste"}))
    held_out = Picture(path, "facades", "val", picture.labels)
    made = cut_windows([picture, held_out], tmp_path / "windows", {"facades": 2, "other": 3})
    assert [one.source for one in made] == ["facades-windows"] * 2
    for one in made:
        pixels = cv2.imread(str(one.path))
        assert pixels is not None
        assert pixels.shape[0] == pixels.shape[1] >= 0.4 * 160
        assert one.unknown == {"waste"}
    assert [one.labels for one in cut_windows([picture], tmp_path / "again", {"facades": 2})] == [
        m.labels for m in made
    ]


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    """What cannot be read ends the command with the file's name."""
    broken = tmp_path / "b.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"b\.jpg"):
        cut_windows([Picture(broken, "s", "train", ())], tmp_path, {"s": 1})


def test_specks_become_places_to_ignore() -> None:
    """What is smaller than the least size is neither learnt nor punished."""
    labels = (Label("garbage", (0.0, 0.0, 0.04, 0.02)), Label("garbage", (0.5, 0.5, 0.7, 0.55)))
    assert [label.name for label in without_specks(labels, (200, 100), 9)] == ["ignore", "garbage"]
