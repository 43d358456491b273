"""The plain values: boxes, detections, the class list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision import boxes
from vision.detections import Detections
from vision.taxonomy import ADVERTS, CLASSES, PRIVATE, STRUCTURES, USUAL_SIZES, WASTE, usual_size

NOTHING = np.zeros((0, 4))


def test_iou_of_nothing_is_empty() -> None:
    """No boxes give an empty table, whichever side is empty."""
    assert boxes.iou(NOTHING, NOTHING).shape == (0, 0)
    assert boxes.iou(np.array([[0.0, 0, 1, 1]]), NOTHING).shape == (1, 0)


def test_iou_of_worked_cases() -> None:
    """Equal boxes share all, half-shifted ones a third, distant ones nothing, empty ones nothing."""
    one = np.array([[0.0, 0, 10, 10]])
    others = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]])
    assert boxes.iou(one, others)[0] == pytest.approx([1, 1 / 3, 0, 0])


def test_inside_out_boxes_have_no_area() -> None:
    """A box whose maximum lies before its minimum has area 0, not a negative one."""
    assert boxes.area(np.array([[10.0, 10, 0, 0], [0, 0, 2, 3]])).tolist() == [0, 6]


@given(
    st.lists(st.floats(0, 4000), min_size=4, max_size=4),
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
)
def test_scaling_there_and_back_changes_nothing(
    box: list[float], small: tuple[int, int], large: tuple[int, int]
) -> None:
    """Boxes scaled to another picture size and back are the same boxes."""
    there = boxes.scale(np.array([box]), small, large)
    assert boxes.scale(there, large, small)[0] == pytest.approx(box, abs=1e-6)


def test_the_class_order_is_the_published_one() -> None:
    """Label files and COCO category ids rest on this order."""
    assert CLASSES.index("garbage") == 0
    assert CLASSES.index("projecting_sign") == 8
    assert CLASSES.index("vehicle") == 12
    assert set(CLASSES) == WASTE | STRUCTURES | ADVERTS | PRIVATE
    assert set(CLASSES) <= set(USUAL_SIZES)


def test_unknown_classes_have_a_default_size() -> None:
    """A class that nobody listed is taken to be about a metre across."""
    assert usual_size("piano").width == 1.0


def test_detections_from_no_rows_are_empty() -> None:
    """A picture without finds is a value like any other."""
    nothing = Detections.of([], (640, 480))
    assert len(nothing) == 0
    assert nothing.names() == []
    assert len(nothing.of_classes(WASTE)) == 0


def test_detections_can_be_chosen_by_class() -> None:
    """Choosing by class keeps boxes and scores together."""
    rows = [("bin", 0.9, (0.0, 0.0, 5.0, 5.0)), ("person", 0.8, (1.0, 1.0, 2.0, 2.0)), ("garbage", 0.5, (3.0, 3, 4, 4))]
    waste = Detections.of(rows, (640, 480)).of_classes(WASTE)
    assert waste.names() == ["bin", "garbage"]
    assert waste.scores.tolist() == [0.9, 0.5]


@pytest.mark.parametrize(
    ("boxes_xyxy", "scores", "ids", "message"),
    [
        (np.zeros((2, 4)), np.zeros(1), np.zeros(1, dtype=np.int64), "expected shape"),
        (np.zeros((1, 4)), np.zeros(1), np.zeros(2, dtype=np.int64), "class_ids"),
        (np.zeros((1, 4)), np.full(1, 1.5), np.zeros(1, dtype=np.int64), "scores"),
        (np.full((1, 4), np.nan), np.zeros(1), np.zeros(1, dtype=np.int64), "finite"),
        (np.zeros((1, 4)), np.zeros(1), np.full(1, 13), "class_ids"),
    ],
)
def test_wrong_arrays_are_refused(boxes_xyxy: object, scores: object, ids: object, message: str) -> None:
    """A value that would lie is never built, and the message says what was expected."""
    with pytest.raises(ValueError, match=message):
        Detections(boxes_xyxy, scores, ids, (640, 480))  # type: ignore[arg-type]
