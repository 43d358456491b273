"""Which frames are kept as evidence: few, and every thing is well seen in some."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.detections import Detections
from vision.patrol.views import ENOUGH, MOST_EVIDENCE, Promising, View, choose_evidence, promise
from vision.pictures.draw import shown_wh
from vision.sightings import EvidenceBox
from vision.taxonomy import CLASSES


def thing(worth: dict[str, float]) -> tuple[View, ...]:
    views = [View(w, EvidenceBox(frame, 0.0, 0.5, (0.0, 0.0, 1.0, 1.0))) for frame, w in worth.items()]
    return tuple(sorted(views, key=lambda view: -view.worth))


def frames(evidence: tuple[EvidenceBox, ...]) -> list[str]:
    return [box.frame for box in evidence]


def test_a_frame_that_shows_two_things_is_preferred_to_two_that_show_one_a_little_better() -> None:
    bag = thing({"a": 1.0, "both": 0.8, "also": 0.9})
    bin_ = thing({"z": 1.0, "both": 0.75, "also": 0.8})
    assert [frames(e) for e in choose_evidence([bag, bin_])] == [["also"], ["also"]]


def test_a_view_that_is_much_worse_than_the_best_is_not_enough() -> None:
    bag = thing({"far": 0.1, "near": 1.0, "nearer": 0.9})
    bin_ = thing({"far": 1.0, "other": 0.9})
    found = choose_evidence([bag, bin_])
    assert frames(found[0]) == ["near", "far"]
    assert frames(found[1]) == ["far"]


def test_a_frame_that_is_ready_is_preferred_unless_it_shows_the_thing_badly() -> None:
    views = [("near", 1.0, False), ("ready", 0.7, True), ("far", 0.2, True)]
    bag = tuple(View(w, EvidenceBox(frame, 0.0, 0.5, (0.0, 0.0, 1.0, 1.0)), ready) for frame, w, ready in views)
    assert [frames(e) for e in choose_evidence([bag])] == [["ready"]]
    assert [frames(e) for e in choose_evidence([(bag[0], bag[2])])] == [["near"]]


def told(*promised: tuple[float, ...]) -> list[int]:
    """Which of the frames are promising, by what they show of each class."""
    promising: Promising[int] = Promising()
    rows = [np.array(row) for row in (*promised, (0.0,) * len(promised[0]))]
    found = [promising.add(at if at < len(promised) else None, row) for at, row in enumerate(rows)]
    assert found[0] is None
    assert [one.frame for one in found if one is not None] == list(range(len(promised)))
    return [one.frame for one in found if one is not None and one.wanted]


def test_frames_promise_much_when_they_show_what_the_next_does_not_or_more_than_their_neighbours() -> None:
    assert told((0.2,), (0.2,), (0.1,)) == []
    assert told((0.5,), (0.8,), (0.5,), (0.0,)) == [1, 2]
    assert told((1.0,), (1.2,), (1.1,), (1.0,)) == [1, 3]
    assert told((3.0,), (2.5,), (3.5,), (3.5,)) == [0, 2, 3]
    assert told((0.6, 0.0), (0.0, 0.6), (0.0, 0.6), (0.0, 0.0)) == [0, 2]
    assert told((5.0, 0.4), (6.0, 0.0), (7.0, 0.0)) == [2]


def test_sure_large_whole_things_promise_most_and_people_nothing() -> None:
    def promised(name: str, score: float, box: tuple[float, float, float, float]) -> float:
        return float(promise(Detections.of([(name, score, box)], (1000, 750))).sum())

    whole = promised("garbage", 0.8, (100, 100, 160, 160))
    assert whole == promised("garbage", 0.8, (100, 100, 400, 400)) == pytest.approx(0.8)
    assert promised("garbage", 0.4, (100, 100, 160, 160)) == pytest.approx(whole / 2)
    assert promised("garbage", 0.8, (100, 100, 130, 130)) == pytest.approx(whole / 2)
    assert promised("garbage", 0.8, (0, 100, 60, 160)) == pytest.approx(whole / 2)
    assert promised("person", 0.8, (100, 100, 160, 160)) == 0.0
    assert promise(Detections.empty((1000, 750))).tolist() == [0.0] * len(CLASSES)


worths = st.dictionaries(st.sampled_from("abcdefghijkl"), st.floats(0.01, 1.0), min_size=1)


@given(st.lists(worths, max_size=8))
def test_every_thing_has_a_good_view_its_best_ones_first_and_at_most_five(
    drawn: list[dict[str, float]],
) -> None:
    things = [thing(worth) for worth in drawn]
    for views, worth, evidence in zip(things, drawn, choose_evidence(things), strict=True):
        seen = [worth[name] for name in frames(evidence)]
        assert seen == sorted(seen, reverse=True)
        good = sum(w >= 0.6 * views[0].worth for w in worth.values())
        assert min(ENOUGH, good) <= sum(w >= 0.6 * views[0].worth for w in seen)
        assert 1 <= len(evidence) <= MOST_EVIDENCE


def test_a_picture_is_shown_at_eighths_that_a_jpeg_decoder_knows_where_they_are_large_enough() -> None:
    for longest in range(200, 9000, 37):
        width, height = shown_wh((longest, longest * 3 // 4))
        assert min(longest, 1280) <= width <= 1920
        assert abs(width * 3 / 4 - height) <= 1.5
    assert shown_wh((4000, 3000)) == (1500, 1125)
    assert shown_wh((2160, 3840)) == (1080, 1920)
