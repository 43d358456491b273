"""The score on decided cases, and a published model as a start for training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pictures import jpeg, street
from training.errors import DatasetError
from training.evaluation.decided import (
    DECISIONS,
    Decision,
    agreement,
    agreements,
    decided_difference,
    decisions_text,
    read_decisions,
)
from vision.detections import Detections

BOX = (10.0, 10.0, 60.0, 60.0)
CONFIRMED = Decision("a.jpg", "confirm", "garbage", BOX, "garbage", BOX)
REJECTED = replace(CONFIRMED, verdict="reject", present="")
RECLASSED = replace(CONFIRMED, verdict="reclass", present="bin")
MOVED = replace(CONFIRMED, verdict="move", box=(100.0, 100.0, 150.0, 150.0))


def seen(*rows: tuple[str, float, tuple[float, float, float, float]]) -> Detections:
    """What was found in a picture of 200×200 pixels."""
    return Detections.of(list(rows), (200, 200))


def test_agreement_is_how_sure_the_model_is_of_what_was_said() -> None:
    """A garbage box of .8 agrees .8 with a confirmation, .2 with a rejection; a moved thing counts where it is."""
    found = seen(("garbage", 0.8, BOX), ("garbage", 0.9, (150, 0, 190, 40)))
    assert agreement(CONFIRMED, found) == pytest.approx(0.8)
    assert agreement(REJECTED, found) == pytest.approx(0.2)
    assert agreement(MOVED, found) == 0.0
    assert agreement(RECLASSED, found) == pytest.approx(0.1)
    assert agreement(RECLASSED, seen(("bin", 0.7, BOX))) == pytest.approx(0.85)


def test_without_detections_only_a_rejection_is_right() -> None:
    """An empty picture agrees wholly with a rejected alarm and not at all with a confirmed thing."""
    assert [agreement(one, seen()) for one in (CONFIRMED, REJECTED, RECLASSED)] == [0.0, 1.0, 0.5]


def test_decisions_are_read_back(tmp_path: Path) -> None:
    """What an import writes comes back the same; a folder without them is named with its remedy."""
    (tmp_path / DECISIONS).write_text(decisions_text([CONFIRMED, MOVED]))
    assert read_decisions(tmp_path) == [CONFIRMED, MOVED]
    with pytest.raises(DatasetError, match="from-server"):
        read_decisions(tmp_path / "nowhere")
    (tmp_path / DECISIONS).write_text(json.dumps([{"picture": "a.jpg"}]))
    with pytest.raises(DatasetError, match="from-server"):
        read_decisions(tmp_path)


def test_every_picture_is_looked_at_once(tmp_path: Path) -> None:
    """Two decisions about one picture cost one detection."""
    asked: list[Path] = []

    class Fixed:
        def detect_file(self, path: Path, *, min_score: float | None = None) -> Detections:
            asked.append(path)
            assert min_score == 0.001
            return seen(("garbage", 0.8, BOX))

    assert agreements(Fixed(), tmp_path, [CONFIRMED, REJECTED]) == [pytest.approx(0.8), pytest.approx(0.2)]
    assert asked == [tmp_path / "images" / "a.jpg"]


def test_a_gain_has_an_interval_over_pictures() -> None:
    """Thirty pictures that all gain .2 gain .2 for sure; a model against itself gains nothing."""
    decisions = [replace(CONFIRMED, picture=f"{number}.jpg") for number in range(30)]
    gained = decided_difference(decisions, [0.5] * 30, [0.7] * 30)
    assert (gained.boxes, gained.a, gained.b) == (30, pytest.approx(0.5), pytest.approx(0.7))
    assert (gained.low, gained.high) == (pytest.approx(0.2), pytest.approx(0.2))
    none = decided_difference(decisions, [0.5] * 30, [0.5] * 30)
    assert (none.low, none.high) == (0.0, 0.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_model_folder_starts_a_run_where_the_model_ended(tmp_path: Path) -> None:
    """The shipped folder's ONNX weights in the network, with norms unfolded, give the boxes of the shipped model."""
    pytest.importorskip("ultralytics", reason="ultralytics comes with the [train] extra")
    pytest.importorskip("onnx", reason="onnx comes with the [train] extra")
    import numpy as np
    import openvino as ov
    import torch

    from training.errors import TrainingError
    from training.release.export import as_input
    from training.run.network import from_folder
    from vision.detecting.model import load_model
    from vision.shipped import model_folder

    pictures = []
    for number in range(4):
        pictures.append(tmp_path / f"{number}.jpg")
        pictures[-1].write_bytes(jpeg(street(320, 320, seed=number)))
    folder = model_folder("street-n")
    model = from_folder(folder, pictures, 320)
    head = model.model[-1]
    assert torch.equal(head.cv3[0][-1].weight, head.one2one_cv3[0][-1].weight)
    head.end2end, head.xyxy = False, True
    inputs = [as_input(path, (320, 320)) for path in pictures]
    with torch.inference_mode():
        ours = [model(torch.from_numpy(one))[0][0].numpy() for one in inputs]
    network = ov.Core().read_model(load_model(folder, "openvino").xml)
    network.reshape([1, 3, 320, 320])
    served = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for one, dense in zip(inputs, ours, strict=True):
        theirs = served(one)[0][0]
        assert dense.shape == theirs.shape == (17, dense.shape[1])
        assert np.abs(dense[4:] - theirs[4:]).max() < 0.02  # scores; large weights are stored in float16
        assert np.abs(dense[:4] - theirs[:4]).max() < 3.0  # corners, pixels
    (tmp_path / "model.toml").write_text("")
    with pytest.raises(TrainingError, match="no ONNX weights"):
        from_folder(tmp_path, pictures, 320)
