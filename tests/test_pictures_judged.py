"""Footage, redaction and drawing."""

from __future__ import annotations

import numpy as np
import pytest

from tests import pictures
from vision.detections import Detections
from vision.pictures import draw, footage, redact
from vision.pictures.packed import Packed
from vision.taxonomy import CLASSES, HIDE_FROM


def rows(*named: tuple[str, float, tuple[float, float, float, float]]) -> Detections:
    return Detections.of(list(named), (320, 240))


def test_a_street_can_be_judged() -> None:
    """An ordinary picture is good enough."""
    verdict = footage.judge(Packed.of(pictures.street()))
    assert verdict.reason == ""
    assert verdict.quality > 0.9


@pytest.mark.parametrize(("level", "reason"), [(2, "dark"), (255, "overexposed"), (128, "no detail")])
def test_useless_pictures_say_why(level: int, reason: str) -> None:
    """Black, white and even grey pictures are refused, each for its own reason."""
    verdict = footage.judge(Packed.of(np.full((240, 320, 3), level, dtype=np.uint8)))
    assert reason in verdict.reason
    assert verdict.quality == 0


def test_blur_lowers_the_quality() -> None:
    """The same street out of focus is worth less."""
    import cv2

    sharp = pictures.street(640, 480)
    soft = cv2.GaussianBlur(sharp, (0, 0), 6)
    assert footage.judge(Packed.of(soft)).quality < footage.judge(Packed.of(sharp)).quality


HIDE_FROM_PER_CLASS = tuple(HIDE_FROM.get(name, np.inf) for name in CLASSES)


def test_people_and_vehicles_are_hidden_and_nothing_else() -> None:
    """Inside a person's box no detail survives; outside not a pixel changes."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (240, 320, 3)).astype(np.uint8)
    found = rows(("person", 0.06, (100.0, 50.0, 140.0, 170.0)), ("garbage", 0.9, (10.0, 10.0, 40.0, 40.0)))
    hidden = redact.hide(noise, redact.private_only([found], HIDE_FROM_PER_CLASS))
    inside = hidden[50:170, 100:140]
    assert len(np.unique(inside.reshape(-1, 3), axis=0)) <= 60
    untouched = np.ones((240, 320), bool)
    untouched[26:194, 92:148] = False
    assert (hidden[untouched] == noise[untouched]).all()
    assert (hidden[10:40, 10:40] == noise[10:40, 10:40]).all()


def test_hiding_reaches_beyond_the_box_and_stays_in_the_picture() -> None:
    """A margin round the box is hidden too, also for a box at the picture's edge."""
    noise = np.random.default_rng(2).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    hidden = redact.hide(noise, rows(("person", 0.9, (280.0, 180.0, 320.0, 240.0))))
    assert (hidden[180:240, 273] != noise[180:240, 273]).any()
    assert hidden.shape == noise.shape


def test_hiding_in_place_hides_the_same() -> None:
    """The picture itself is changed, unless it cannot be; otherwise it stays as it was."""
    noise = np.random.default_rng(3).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    person = rows(("person", 0.9, (280.0, 180.0, 320.0, 240.0)))
    before = noise.copy()
    wanted = redact.hide(noise, person)
    assert (noise == before).all()
    noise.flags.writeable = False
    assert (redact.hide(noise, person, in_place=True) == wanted).all()
    assert (noise == before).all()
    noise.flags.writeable = True
    assert redact.hide(noise, person, in_place=True) is noise
    assert (noise == wanted).all()
    assert (wanted != before).any()


def test_hiding_scales_with_the_picture() -> None:
    """Boxes are full-resolution pixels; on a half-size copy the same place is hidden."""
    noise = np.random.default_rng(3).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    hidden = redact.hide(noise, rows(("person", 0.9, (200.0, 100.0, 240.0, 200.0))))
    assert (hidden[60:90, 105:115] != noise[60:90, 105:115]).any()
    assert (hidden[:, :90] == noise[:, :90]).all()


def test_what_lies_within_coarser_blocks_is_hidden_by_them() -> None:
    """A person in a larger box of one is not drawn again; in a vehicle, whose blocks are finer, it is."""
    noise = np.random.default_rng(4).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    large, small = ("person", 0.9, (100.0, 50.0, 300.0, 400.0)), ("person", 0.9, (150.0, 100.0, 250.0, 300.0))
    car = ("vehicle", 0.9, (50.0, 40.0, 350.0, 420.0))
    assert (redact.hide(noise, rows(small, large, large)) == redact.hide(noise, rows(large))).all()
    assert len(redact.regions(rows(small, large, car), (640, 480))) == 2
    assert len(redact.regions(rows(small, car), (640, 480))) == 2
    far = ("vehicle", 0.9, (150.0, 100.0, 250.0, 200.0))
    assert len(redact.regions(rows(far, small, large), (640, 480))) == 1


def test_low_scores_below_the_hiding_threshold_stay() -> None:
    """A person at 0.01 is noise, one at 0.03 is hidden; a vehicle needs more."""
    found = rows(
        ("person", 0.03, (0.0, 0.0, 9.0, 9.0)),
        ("vehicle", 0.03, (0.0, 0.0, 9.0, 9.0)),
        ("person", 0.01, (0.0, 0.0, 9.0, 9.0)),
    )
    assert redact.private_only([found], HIDE_FROM_PER_CLASS).names() == ["person"]


def test_a_person_over_the_evidence_is_noticed() -> None:
    """Overlap is flagged, distance is not."""
    private = rows(("person", 0.9, (100.0, 50.0, 140.0, 170.0)))
    assert redact.overlaps_person(np.array([[120.0, 100, 180, 170]]), private, (320, 240))
    assert not redact.overlaps_person(np.array([[200.0, 100, 260, 170]]), private, (320, 240))
    assert not redact.overlaps_person(np.zeros((0, 4)), private, (320, 240))


def test_drawing_marks_the_box_on_a_copy() -> None:
    """The original stays as it is; the drawn copy differs along the box."""
    plain = pictures.street()
    drawn = draw.draw(plain, rows(("bin", 0.7, (50.0, 60.0, 120.0, 200.0))))
    assert (plain == pictures.street()).all()
    assert (drawn[60:200, 50] != plain[60:200, 50]).any()


def test_shrinking_never_enlarges() -> None:
    """A small picture stays; a large one ends with its longest side at the limit."""
    same, factor = draw.shrink(pictures.street(320, 240), 1920)
    assert (same.shape, factor) == ((240, 320, 3), 1.0)
    small, factor = draw.shrink(pictures.street(320, 240), 160)
    assert (small.shape, factor) == ((120, 160, 3), 0.5)
