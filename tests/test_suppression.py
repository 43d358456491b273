"""Suppression of a dense output: what stays, what goes, and in which order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vision import boxes
from vision.detecting.suppression import suppress


def dense(*rows: tuple[float, float, float, float, tuple[float, ...]]) -> np.ndarray:
    """An output (4 + classes, places) from one (x_min, y_min, x_max, y_max, scores) per place."""
    return np.array([[*row[:4], *row[4]] for row in rows], np.float32).T


def test_nothing_is_found_in_an_empty_output() -> None:
    """Places without a score above the least give no rows."""
    assert suppress(dense((0, 0, 10, 10, (0.1, 0.2))), 0.3, 0.7, 300).shape == (0, 6)


def test_the_weaker_of_two_alike_goes_and_other_classes_stay() -> None:
    """One class: the strongest box stays; a box of another class at the same place is another thing."""
    rows = suppress(
        dense((0, 0, 10, 10, (0.9, 0.0)), (0, 0, 10, 11, (0.8, 0.5)), (30, 0, 40, 10, (0.4, 0.0))), 0.3, 0.7, 300
    )
    assert rows[:, 4].round(2).tolist() == [0.9, 0.5, 0.4]
    assert rows[:, 5].tolist() == [0, 1, 0]
    assert rows[0, :4].tolist() == [0, 0, 10, 10]


def test_least_scores_may_differ_by_class_and_the_count_is_bounded() -> None:
    """A score counts against its own class's threshold; only the best `most` rows come back."""
    output = dense((0, 0, 10, 10, (0.5, 0.5)), (30, 0, 40, 10, (0.7, 0.0)))
    assert suppress(output, np.array([0.6, 0.4]), 0.7, 300)[:, 5].tolist() == [0, 1]
    assert len(suppress(output, 0.1, 0.7, 1)) == 1


box = st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(4, 40), st.floats(4, 40), st.floats(0.01, 1))


@given(st.lists(box, min_size=1, max_size=25))
def test_survivors_do_not_overlap_and_the_best_survives(found: list[tuple[float, float, float, float, float]]) -> None:
    """No two survivors of a class overlap more than allowed; everything that went overlaps a stronger survivor."""
    output = dense(*((x, y, x + w, y + h, (score,)) for x, y, w, h, score in found))
    rows = suppress(output, 0.0, 0.5, 300)
    overlap = boxes.iou(rows[:, :4], rows[:, :4]) - np.eye(len(rows))
    assert overlap.max(initial=0) <= 0.5 + 1e-4
    assert rows[0, 4] == np.float32(max(score for *_, score in found))
    every = boxes.iou(output[:4].T.astype(np.float64), rows[:, :4])
    stronger = rows[None, :, 4] >= output[4][:, None] - 1e-6
    assert ((every > 0.5 - 1e-4) & stronger).any(axis=1).all()
