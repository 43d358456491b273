"""Two models compared on the same pictures, the gate before publication, and the way back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from training.errors import TrainingError
from training.evaluation.bootstrap import ap50, interval
from training.evaluation.compare import Difference, compare
from training.evaluation.evaluate import pool_of
from training.release.export import ExportSpec, model_toml
from training.release.publish import judge, measured_model, publish, rollback
from training.sources import Label, Picture
from vision.detecting.model import load_model
from vision.detections import Detections
from vision.errors import ModelError
from vision.taxonomy import CLASSES

SHOWN = dict.fromkeys(CLASSES, 0.5)
BOX = (0.25, 0.25, 0.75, 0.75)


def looks(found: int, count: int = 60) -> list[tuple[Picture, Detections]]:
    """`count` pictures with one bin each, of which the first `found` are detected."""
    rows = []
    for index in range(count):
        picture = Picture(Path(f"{index}.jpg"), "t", "val", (Label("bin", BOX),), frozenset({"structures", "adverts"}))
        seen = Detections.of([("bin", 0.9, (25, 25, 75, 75))] if index < found else [], (100, 100))
        rows.append((picture, seen))
    return rows


def recall_of(differences: list[Difference]) -> Difference:
    """The one recall row."""
    return next(one for one in differences if one.figure == "recall")


def test_a_model_equals_itself() -> None:
    """The difference of a model to itself is exactly nothing."""
    for one in compare(looks(30), looks(30), SHOWN, SHOWN, rounds=50):
        assert (one.low, one.high, one.a - one.b) == (0.0, 0.0, 0.0)


def test_a_clear_loss_lies_below_zero() -> None:
    """From 55 of 60 bins to 35 of 60: recall falls by a third, and the interval knows it."""
    worse = recall_of(compare(looks(55), looks(35), SHOWN, SHOWN, rounds=200))
    assert worse.b - worse.a == pytest.approx(-20 / 60)
    assert worse.low < -20 / 60 < worse.high < -0.2


def test_different_pictures_cannot_be_compared() -> None:
    """Paired means the same pictures in the same order."""
    with pytest.raises(ValueError, match="different pictures"):
        compare(looks(5, 10), looks(5, 9), SHOWN, SHOWN, rounds=5)


def test_intervals_shrink_with_the_number_of_pictures() -> None:
    """Four times the pictures, half the interval; a class without boxes has none."""
    widths = []
    for count in (40, 160):
        low, high = interval(pool_of(looks(count // 2, count), frozenset({"bin"})), ap50, rounds=300)
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.35)
    assert np.isnan(interval(pool_of(looks(3), frozenset({"garbage"})), ap50)).all()


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A sound model folder with made-up weights."""
    return model_at(tmp_path / "candidate", b"one")


def model_at(folder: Path, content: bytes) -> Path:
    """A model folder whose weights are `content`."""
    folder.mkdir(parents=True)
    files = {}
    for kind in ("xml", "bin"):
        (folder / f"w.{kind}").write_bytes(content)
        files |= {kind: f"w.{kind}", f"{kind}_sha256": hashlib.sha256(content).hexdigest()}
    identity = f"street-n-{hashlib.sha256(content).hexdigest()[:8]}"
    (folder / "model.toml").write_text(model_toml(ExportSpec("street-n"), identity, {"openvino": files}, {}))
    (folder / "CARD.md").write_text("# card\n")
    (folder / "metrics.json").write_text("{}\n")
    return folder


def loss(boxes: int, high: float) -> Difference:
    """A fall in recall whose interval ends at `high`."""
    return Difference("bin", "recall", boxes, 0.9, 0.8, -0.2, high)


def test_gate_refuses_a_worse_model(candidate: Path) -> None:
    """A loss of more than a point, nine chances of ten, refuses on 50 boxes, warns on 49, passes when uncertain."""
    assert judge(candidate, [loss(50, -0.02)]).refusals
    few = judge(candidate, [loss(49, -0.02)])
    assert few.passes
    assert "bin" in few.warnings[0]
    assert judge(candidate, [loss(500, -0.005)]).passes


def test_gate_wants_a_card(candidate: Path) -> None:
    """A model without a card, or with broken weights, is not published."""
    (candidate / "CARD.md").write_text("")
    verdict = judge(candidate, [])
    assert verdict.refusals == ("CARD.md is missing or empty",)
    with pytest.raises(TrainingError, match=r"CARD\.md"):
        publish(candidate, candidate.parent / "models", "street-n", verdict)
    (candidate / "w.bin").write_bytes(b"changed")
    with pytest.raises(ModelError):
        judge(candidate, [])


def test_gate_wants_figures_of_this_model(candidate: Path) -> None:
    """metrics.json of another model is no measurement of this one; one that is no JSON is named."""
    identity = load_model(candidate).id
    (candidate / "metrics.json").write_text(f'{{"model": "{identity}"}}')
    assert judge(candidate, []).passes
    assert measured_model(candidate) == identity
    (candidate / "metrics.json").write_text('{"model": "street-n-other"}')
    assert "street-n-other" in judge(candidate, []).refusals[0]
    (candidate / "metrics.json").write_text("{")
    with pytest.raises(TrainingError, match="measures anew"):
        judge(candidate, [])


def test_publish_and_back(candidate: Path, tmp_path: Path) -> None:
    """The second model takes the first one's place; rollback brings the first back, and then there is none left."""
    registry = tmp_path / "models"
    registry.mkdir()
    publish(candidate, registry, "street-n", judge(candidate, []))
    first = load_model(registry / "street-n").id
    with pytest.raises(TrainingError, match="already published"):
        publish(candidate, registry, "street-n", judge(candidate, []))
    second = model_at(tmp_path / "second", b"two")
    publish(second, registry, "street-n", judge(second, []))
    assert load_model(registry / "street-n").id != first
    assert load_model(rollback(registry, "street-n")).id == first
    with pytest.raises(TrainingError, match="no earlier"):
        rollback(registry, "street-n")
