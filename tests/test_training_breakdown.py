"""Figures part by part, their intervals, and the list of mistakes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.pictures import jpeg, street
from training.errors import TrainingError
from training.evaluation.bootstrap import Pool, ap, ap50, draws, interval, mean_interval, precision_above, recall_above
from training.evaluation.breakdown import measure
from training.evaluation.conditions import Conditions, conditions
from training.evaluation.evaluate import Looks, pool_of
from training.evaluation.metrics import IOU_THRESHOLDS, average_precisions, join
from training.evaluation.mistakes import false_alarms, misses, tally, worst
from training.evaluation.page import check_place, crop, write_page
from training.sources import Label, Picture
from vision.detections import Detections
from vision.taxonomy import CLASSES

SHOWN = dict.fromkeys(CLASSES, 0.3)
WASTE_ONLY = frozenset({"structures", "adverts", "private"})
Row = tuple[str, float, tuple[float, float, float, float]]


def look(name: str, labels: tuple[Label, ...], found: list[Row], unknown: frozenset[str] = WASTE_ONLY) -> Looks:
    """One picture of 400×400 pixels and what was found in it."""
    return [(Picture(Path(name), "t", "val", labels, unknown), Detections.of(found, (400, 400)))]


def bin_at(x: float, y: float, side: float) -> Label:
    """A true bin, in pixels of a 400×400 picture."""
    return Label("bin", (x / 400, y / 400, (x + side) / 400, (y + side) / 400))


def random_looks(pictures: int = 12) -> Looks:
    """Bins, half of them found, some false alarms; every score its own."""
    rng = np.random.default_rng(3)
    looks: Looks = []
    for index in range(pictures):
        true = [(float(x), float(y), 60.0) for x, y in rng.uniform(0, 300, (int(rng.integers(0, 4)), 2))]
        rows: list[Row] = [
            ("bin", float(rng.random()), (x + float(rng.normal(0, 6)), y, x + 60, y + 60)) for x, y, _ in true
        ]
        rows += [("bin", float(rng.random()), (0.0, 0.0, 30.0, 30.0))]
        looks = [*looks, *look(f"{index}.jpg", tuple(bin_at(*one) for one in true), rows)]
    return looks


def test_a_weighted_pool_is_the_list_drawn_with_copies() -> None:
    """Counting each picture's matches as often as it was drawn gives the AP of the list that holds the copies."""
    looks = random_looks()
    pool = pool_of(looks, frozenset({"bin"}))
    parts = [pool_of([one], frozenset({"bin"})).matched for one in looks]
    for times in draws(len(looks), 5, seed=1):
        copies = [part for part, count in zip(parts, times, strict=True) for _ in range(int(count))]
        expected = average_precisions(join(copies, len(IOU_THRESHOLDS)))
        assert ap(pool, times) == pytest.approx(expected.mean())
        assert ap50(pool, times) == pytest.approx(expected[0])


def test_precision_and_recall_of_a_pool() -> None:
    """Two bins, one found above the threshold, one below it, one false alarm above it."""
    labels = (bin_at(0, 0, 60), bin_at(200, 200, 60))
    rows: list[Row] = [
        ("bin", 0.9, (0, 0, 60, 60)),
        ("bin", 0.2, (200, 200, 260, 260)),
        ("bin", 0.8, (300, 0, 340, 40)),
    ]
    pool = pool_of(look("a.jpg", labels, rows), frozenset({"bin"}))
    once = pool.once()
    assert (precision_above(0.3)(pool, once), recall_above(0.3)(pool, once)) == (0.5, 0.5)
    assert (precision_above(0.1)(pool, once), recall_above(0.1)(pool, once)) == (pytest.approx(2 / 3), 1.0)
    assert np.isnan(precision_above(0.95)(pool, once))


def test_a_mean_over_classes_has_the_interval_of_its_only_class() -> None:
    """Classes without boxes do not count; without any the interval is not a number."""
    pool, none = pool_of(random_looks(), frozenset({"bin"})), pool_of(random_looks(), frozenset({"garbage"}))
    assert mean_interval([pool, none], ap50, rounds=30) == interval(pool, ap50, rounds=30)
    assert np.isnan(mean_interval([none], ap50, rounds=3)).all()
    assert Pool.of([]).pictures == 0


def test_parts_hold_all_boxes_once() -> None:
    """Three bins of 20, 60 and 200 pixels: one per size; a dark blurred picture and a bright sharp one share them."""
    first = look("a.jpg", (bin_at(0, 0, 20), bin_at(100, 100, 200)), [("bin", 0.9, (100, 100, 300, 300))])
    second = look("b.jpg", (bin_at(50, 50, 60),), [("bin", 0.8, (50, 50, 110, 110))])
    found = measure([*first, *second], [Conditions(60, 100), Conditions(200, 5000)], SHOWN, rounds=20)
    parts = found["breakdowns"]
    sizes = {name: part["classes"]["bin"] for name, part in parts["size"].items()}
    assert {name: row["boxes"] for name, row in sizes.items()} == {"small": 1, "medium": 1, "large": 1}
    assert [sizes[name]["recall"] for name in ("small", "medium", "large")] == [0.0, 1.0, 1.0]
    assert {name: part["pictures"] for name, part in parts["light"].items()} == {"dark": 1, "normal": 0, "bright": 1}
    assert {name: part["pictures"] for name, part in parts["sharpness"].items()} == {
        "blurred": 1,
        "medium": 0,
        "sharp": 1,
    }
    assert parts["light"]["normal"]["classes"] == {}
    assert parts["light"]["dark"]["classes"]["bin"]["recall"] == 0.5
    at = found["classes"]["bin"]["at_threshold"]
    assert at["recall_interval"][0] <= at["recall"] == 0.6667 <= at["recall_interval"][1]
    assert found["means"]["waste"]["mAP50_interval"] == found["classes"]["bin"]["mAP50_interval"]
    assert found["classes"]["shed"]["mAP50_interval"] is None


def test_light_and_sharpness_follow_the_picture(tmp_path: Path) -> None:
    """Darkened, a picture is dark; blurred, its sharpness falls, and its size does not matter."""
    pixels = street(640, 480, seed=2)
    (tmp_path / "a.jpg").write_bytes(jpeg(pixels))
    (tmp_path / "dark.jpg").write_bytes(jpeg((pixels * 0.3).astype(np.uint8)))
    (tmp_path / "soft.jpg").write_bytes(jpeg(cv2.GaussianBlur(pixels, (0, 0), 3)))
    plain, dark, soft = (conditions(tmp_path / f"{name}.jpg") for name in ("a", "dark", "soft"))
    assert dark.light == "dark"
    assert dark.luminance == pytest.approx(0.3 * plain.luminance, rel=0.05)
    assert soft.laplacian < 0.2 * plain.laplacian
    (tmp_path / "large.jpg").write_bytes(jpeg(cv2.resize(pixels, (1280, 960), interpolation=cv2.INTER_CUBIC)))
    assert conditions(tmp_path / "large.jpg").luminance == pytest.approx(plain.luminance, rel=0.02)


def test_mistakes_are_told_with_what_was_there_instead() -> None:
    """An overflow called a bin is a miss of the one and an alarm of the other; an unseen bin has no score; what lies in
    an ignored place, or belongs to a group nobody labelled, is no mistake."""
    labels = (
        Label("overflow", (0.0, 0.0, 0.25, 0.25)),
        bin_at(200, 200, 150),
        Label("ignore", (0.5, 0.0, 1.0, 0.25)),
    )
    rows: list[Row] = [
        ("bin", 0.9, (0, 0, 100, 100)),
        ("overflow", 0.2, (0, 0, 100, 98)),
        ("garbage", 0.7, (300, 0, 340, 40)),
        ("garbage", 0.6, (0, 300, 40, 340)),
        ("shed", 0.9, (0, 300, 40, 340)),
    ]
    looks = look("a.jpg", labels, rows)
    missed = misses(looks, SHOWN)
    assert [(one.class_name, one.score, one.instead) for one in missed] == [
        ("bin", 0.0, "nothing"),
        ("overflow", 0.2, "bin"),
    ]
    assert missed[0].share == pytest.approx(150**2 / 400**2)
    alarms = false_alarms(looks, SHOWN)
    assert [(one.class_name, one.score, one.instead) for one in alarms] == [
        ("bin", 0.9, "overflow"),
        ("garbage", 0.6, "nothing"),
    ]
    assert tally(alarms) == {"garbage": {"nothing": 1}, "bin": {"overflow": 1}}
    assert worst([*alarms, *alarms], most=3, most_of_a_class=1) == alarms


def test_alarms_are_what_matching_calls_wrong() -> None:
    """As in the matching: a second box on one bin is an alarm on that bin."""
    looks = look("a.jpg", (bin_at(0, 0, 60),), [("bin", 0.9, (0, 0, 60, 60)), ("bin", 0.5, (0, 0, 60, 58))])
    assert [(one.score, one.instead) for one in false_alarms(looks, SHOWN)] == [(0.5, "bin")]


def test_the_page_holds_its_pictures_and_stays_out_of_repositories(tmp_path: Path) -> None:
    """Every picture is inside the file; a place in a repository is refused unless it is its runs/ folder."""
    (tmp_path / "a.jpg").write_bytes(jpeg(street(400, 400, seed=1)))
    looks = look(str(tmp_path / "a.jpg"), (bin_at(200, 200, 150),), [("garbage", 0.8, (390, 0, 400, 9))])
    report = {"model": "m-1"} | measure(looks, [Conditions(120, 400)], SHOWN, rounds=5)
    page = write_page(tmp_path / "run" / "page.html", report, misses(looks, SHOWN), false_alarms(looks, SHOWN))
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 2
    assert "http" not in text.split("</style>")[1]
    assert "not seen" in text
    repository = tmp_path / "repository"
    repository.mkdir()
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    with pytest.raises(TrainingError, match="runs/"):
        check_place(repository / "page.html")
    check_place(repository / "runs" / "a" / "page.html")


def test_a_crop_shows_the_box_in_its_surroundings() -> None:
    """A box in the corner: the crop ends at the picture's edge, is at most 360 pixels large and holds red."""
    drawn = crop(street(1920, 1080, seed=4), (1900.0, 1060.0, 1920.0, 1080.0))
    assert max(drawn.shape[:2]) <= 360
    assert (np.abs(drawn.astype(int) - (230, 40, 30)).max(axis=2) < 10).any()
