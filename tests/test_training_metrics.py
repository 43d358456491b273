"""Average precision against cases worked by hand, and against pycocotools where it is installed."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from training.evaluation.metrics import (
    ANY_SIZE,
    IOU_THRESHOLDS,
    Scene,
    best_threshold,
    figures,
    join,
    match,
    operating_points,
    point_at,
)


def scene(
    found: list[tuple[float, float, float, float, float]],
    true: list[tuple[float, float, float, float]],
    ignored: list[tuple[float, float, float, float]] | None = None,
) -> Scene:
    """A scene from plain rows: (x0, y0, x1, y1, score), true boxes, ignored boxes."""
    rows = np.array(found, dtype=np.float64).reshape(len(found), 5)
    boxes = [np.array(b or [], dtype=np.float64).reshape(len(b or []), 4) for b in (true, ignored)]
    return Scene(rows[:, :4], rows[:, 4], boxes[0], boxes[1])


def test_nothing_true_gives_no_figure() -> None:
    """Without a true box there is no recall, so AP is not a number rather than zero."""
    found = figures([scene([(0, 0, 9, 9, 0.9)], [])])
    assert found.boxes == 0
    assert np.isnan(found.ap50)


def test_a_perfect_detector_reaches_one() -> None:
    """Every box found exactly: AP 1 at all thresholds."""
    found = figures([scene([(0, 0, 40, 40, 0.9)], [(0, 0, 40, 40)])])
    assert (found.ap50, found.ap) == (pytest.approx(1.0), pytest.approx(1.0))
    assert found.ap50_by_size["medium"] == pytest.approx(1.0)
    assert np.isnan(found.ap50_by_size["large"])


def test_half_found_with_an_earlier_false_alarm() -> None:
    """One false alarm above the only hit of two boxes: precision 1/2 up to recall 1/2, so AP is 51 · 0.5 / 101."""
    found = figures([scene([(500, 500, 540, 540, 0.9), (0, 0, 40, 40, 0.8)], [(0, 0, 40, 40), (100, 0, 140, 40)])])
    assert found.ap50 == pytest.approx(51 * 0.5 / 101)


def test_iou_thresholds_count_how_exact_a_box_is() -> None:
    """A box with IoU 0.72 is right at .50 to .70 and wrong from .75 on: AP over .5:.95 is one half."""
    found = figures([scene([(0, 0, 100, 72, 0.9)], [(0, 0, 100, 100)])])
    assert found.ap50 == pytest.approx(1.0)
    assert found.ap == pytest.approx(0.5)


def test_a_second_box_on_the_same_thing_is_a_false_alarm() -> None:
    """Only one detection may take a true box."""
    matched = match(scene([(0, 0, 40, 40, 0.9), (1, 0, 41, 40, 0.8)], [(0, 0, 40, 40)]), IOU_THRESHOLDS[:1], ANY_SIZE)
    assert matched.hit.tolist() == [[True, False]]


def test_ignored_places_neither_count_nor_punish() -> None:
    """Any number of detections inside an ignored box changes nothing; outside they are false alarms."""
    alone = figures([scene([(0, 0, 40, 40, 0.5)], [(0, 0, 40, 40)])])
    inside = [(200, 200, 220, 220, 0.9), (205, 205, 230, 230, 0.8), (0, 0, 40, 40, 0.5)]
    assert figures([scene(inside, [(0, 0, 40, 40)], [(190, 190, 260, 260)])]).ap50 == pytest.approx(alone.ap50)
    assert figures([scene(inside, [(0, 0, 40, 40)])]).ap50 == pytest.approx(1 / 3)


def test_operating_points_follow_the_scores() -> None:
    """Precision and recall at a threshold count what is at or above it."""
    scenes = [scene([(0, 0, 40, 40, 0.9), (500, 0, 540, 40, 0.6)], [(0, 0, 40, 40), (100, 0, 140, 40)])]
    points = operating_points(scenes)
    high, low, none = point_at(points, 0.7), point_at(points, 0.1), point_at(points, 0.95)
    assert (high.precision, high.recall) == (1.0, 0.5)
    assert (low.precision, low.recall) == (0.5, 0.5)
    assert (none.precision, none.recall) == (0.0, 0.0)


def test_threshold_parts_hits_from_false_alarms() -> None:
    """With hits above .5 and false alarms below .4, the chosen threshold lies between; few boxes keep the default."""
    scenes = [
        scene([(0, 0, 40, 40, 0.55 + i / 100), (300, 0, 340, 40, 0.35 - i / 100)], [(0, 0, 40, 40)]) for i in range(25)
    ]
    assert 0.36 <= best_threshold(scenes, 0.3) <= 0.6
    assert best_threshold(scenes[:5], 0.3) == 0.3


def test_figures_agree_with_pycocotools_to_four_digits() -> None:
    """Random boxes in 40 pictures, with ignored places as crowds: AP50, AP and AP50 of small boxes agree."""
    pytest.importorskip("pycocotools", reason="pycocotools comes with the [train] extra")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(5)
    scenes, annotations, results = [], [], []
    for image in range(40):
        true = [_random_box(rng) for _ in range(int(rng.integers(0, 6)))]
        ignored = [_random_box(rng) for _ in range(int(rng.integers(0, 2)))]
        found = [(*(np.array(b) + rng.normal(0, 4, 4)).tolist(), float(rng.random())) for b in true + ignored]
        found += [(*_random_box(rng), float(rng.random())) for _ in range(3)]
        found = [row for row in found if row[2] > row[0] + 1 and row[3] > row[1] + 1]
        scenes.append(scene(found, true, ignored))
        for box, crowd in [(b, 0) for b in true] + [(b, 1) for b in ignored]:
            wh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "bbox": wh, "iscrowd": crowd}
            annotations.append(row | {"area": wh[2] * wh[3]})
        for x0, y0, x1, y1, score in found:
            results.append({"image_id": image, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(40)],
            "categories": [{"id": 1, "name": "thing"}],
            "annotations": annotations,
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    ours = figures(scenes)
    assert ours.ap == pytest.approx(judge.stats[0], abs=5e-5)
    assert ours.ap50 == pytest.approx(judge.stats[1], abs=5e-5)
    small = judge.eval["precision"][0, :, 0, 1, 2]
    assert ours.ap50_by_size["small"] == pytest.approx(small.mean(), abs=5e-5)


def _random_box(rng: np.random.Generator) -> tuple[float, float, float, float]:
    x, y, w, h = rng.uniform(0, 400), rng.uniform(0, 400), rng.uniform(8, 120), rng.uniform(8, 120)
    return float(x), float(y), float(x + w), float(y + h)


def test_joining_keeps_the_best_first() -> None:
    """Matches of several pictures are one list by score."""
    parts = [
        match(scene([(0, 0, 9, 9, score)], [(0, 0, 9, 9)]), IOU_THRESHOLDS[:1], ANY_SIZE) for score in (0.2, 0.9, 0.5)
    ]
    joined = join(parts, 1)
    assert joined.scores.tolist() == [0.9, 0.5, 0.2]
    assert joined.truths == 3
