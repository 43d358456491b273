"""Evaluation of a detector on labelled pictures: what is unknown is left out, what is ignored does not punish."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from training.evaluation.evaluate import calibration, confusion, look, report, scenes_of, thresholds
from training.release.export import ExportSpec, kept_share, model_toml, set_thresholds
from training.sources import Label, Picture
from vision.detections import Detections
from vision.taxonomy import CLASSES, STRUCTURES, WASTE

SHOWN = dict.fromkeys(CLASSES, 0.3)
EVERYTHING_ELSE = frozenset({"structures", "adverts", "private"})


def picture(name: str, labels: tuple[Label, ...], unknown: frozenset[str] = EVERYTHING_ELSE) -> Picture:
    """A validation picture that only knows its waste."""
    return Picture(Path(name), "test", "val", labels, unknown)


class Fixed:
    """A detector that answers by file name."""

    def __init__(self, answers: dict[str, Detections]) -> None:
        self.answers = answers
        self.least: list[float | None] = []

    def detect_file(self, path: Path, *, min_score: float | None = None) -> Detections:
        """The prepared answer."""
        self.least.append(min_score)
        return self.answers[path.name]


def test_every_score_down_to_a_thousandth_is_asked_for() -> None:
    """Measuring ignores the shipped thresholds."""
    detector = Fixed({"a.jpg": Detections.empty((10, 10))})
    look(detector, [picture("a.jpg", ())])
    assert detector.least == [0.001]


def test_pictures_that_do_not_know_a_class_are_left_out() -> None:
    """A shed found where nobody judged structures is neither right nor wrong."""
    seen = Detections.of([("shed", 0.9, (0, 0, 50, 50))], (100, 100))
    looks = [(picture("a.jpg", ()), seen), (picture("b.jpg", (), frozenset()), seen)]
    assert len(scenes_of(looks, frozenset({"shed"}))) == 1
    assert len(scenes_of(looks, frozenset({"bin"}))) == 2


def test_report_counts_boxes_and_forgives_in_ignored_places() -> None:
    """Two bins of 100×100 pixels, one found; a false bin inside an ignored place costs nothing."""
    labels = (
        Label("bin", (0.0, 0.0, 0.25, 0.25)),
        Label("bin", (0.5, 0.0, 0.75, 0.25)),
        Label("ignore", (0.0, 0.5, 0.5, 1.0)),
    )
    seen = Detections.of([("bin", 0.9, (20, 250, 120, 350)), ("bin", 0.8, (0, 0, 100, 100))], (400, 400))
    found = report([(picture("a.jpg", labels), seen)], SHOWN)
    entry = found["classes"]["bin"]
    assert entry["boxes"] == 2
    assert entry["mAP50"] == pytest.approx(51 / 101, abs=1e-4)
    assert entry["at_threshold"] == {"threshold": 0.3, "precision": 1.0, "recall": 0.5}
    assert found["classes"]["shed"]["mAP50"] is None
    assert found["means"]["waste"]["mAP50"] == entry["mAP50"]
    assert found["confusion"]["bin"] == {"bin": 1, "missed": 1}


def test_a_family_counts_neighbours_as_right() -> None:
    """A shed called a stall is wrong for both classes and right for the structures as one family."""
    known = picture("a.jpg", (Label("shed", (0.0, 0.0, 0.5, 0.5)),), frozenset())
    seen = Detections.of([("stall", 0.9, (0, 0, 50, 50))], (100, 100))
    found = report([(known, seen)], SHOWN)
    assert found["classes"]["shed"]["mAP50"] == 0.0
    assert found["families"]["structures"]["mAP50"] == pytest.approx(1.0)
    assert scenes_of([(known, seen)], STRUCTURES)[0].found.shape == (1, 4)
    assert confusion([(known, seen)], SHOWN) == {"shed": {"stall": 1}}
    assert found["neighbours"] == [{"true": "shed", "found": "stall", "count": 1, "of": 1, "share": 1.0}]


def test_calibration_compares_score_with_share_of_right_ones() -> None:
    """Ten detections at .8 of which five are right are 0.3 too sure."""
    looks = []
    for index in range(10):
        label = (Label("bin", (0.0, 0.0, 0.5, 0.5)),) if index < 5 else ()
        looks.append((picture(f"{index}.jpg", label), Detections.of([("bin", 0.8, (0, 0, 50, 50))], (100, 100))))
    found = calibration(looks, WASTE)
    assert found["error"] == pytest.approx(0.3, abs=1e-4)
    assert found["steps"] == [{"score": 0.8, "right": 0.5, "count": 10}]


def test_thresholds_of_rare_classes_stay_at_the_default() -> None:
    """With one box nothing can be chosen."""
    looks = [(picture("a.jpg", (Label("bin", (0.0, 0.0, 0.5, 0.5)),)), Detections.empty((100, 100)))]
    assert thresholds(looks) == SHOWN


def test_kept_share_wants_class_place_and_score() -> None:
    """Of three sure detections one is kept, one has another class, one a far lower score; weak ones do not matter."""
    ours = np.array([[0, 0, 50, 50, 0.9, 1], [60, 0, 90, 50, 0.8, 1], [0, 60, 50, 90, 0.7, 2], [0, 0, 9, 9, 0.1, 1]])
    theirs = np.array([[1, 0, 50, 50, 0.85, 1], [60, 0, 90, 50, 0.8, 2], [0, 60, 50, 90, 0.3, 2]])
    assert kept_share([ours], [theirs]) == (pytest.approx(1 / 3), 3)
    assert kept_share([ours[3:]], [theirs]) == (1.0, 0)


def test_model_toml_is_what_the_runtime_reads(tmp_path: Path) -> None:
    """Classes, sizes, hashes and thresholds come back; replacing the thresholds leaves the rest alone."""
    files = {"xml": "a.xml", "xml_sha256": "00", "bin": "a.bin", "bin_sha256": "11"}
    text = model_toml(
        ExportSpec("street-n", ((640, 640), (960, 736))), "street-n-1", {"openvino": files}, {"bin": 0.41}
    )
    text += "\n[hiding]\nperson = 0.01\n"
    (tmp_path / "model.toml").write_text(text)
    before = tomllib.loads(text)
    assert tuple(before["classes"]) == CLASSES
    assert before["input"]["sizes"] == [[640, 640], [960, 736]]
    assert before["weights"]["openvino"] == files
    assert (before["thresholds"]["bin"], before["thresholds"]["shed"]) == (0.41, 0.3)
    set_thresholds(tmp_path, SHOWN | {"shed": 0.22})
    after = tomllib.loads((tmp_path / "model.toml").read_text())
    assert after["thresholds"]["shed"] == 0.22
    assert {key: after[key] for key in after if key != "thresholds"} == {
        k: before[k] for k in before if k != "thresholds"
    }
