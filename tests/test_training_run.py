"""A whole run on drawn pictures: train, be killed, resume, export, detect. Needs the [train] extra."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("ultralytics", reason="ultralytics comes with the [train] extra")
pytest.importorskip("safetensors", reason="safetensors comes with the [train] extra")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own for everything that the trainer's library writes."""
    folder = tmp_path_factory.mktemp("trainer")
    os.environ["YOLO_CONFIG_DIR"] = str(folder)
    return folder


@pytest.fixture(scope="module")
def start(home: Path) -> Path:
    """Untrained COCO-shaped weights, as safetensors."""
    import torch
    from safetensors.torch import save_file

    from training.run.network import ARCHITECTURE, COCO_CLASSES, DetectionModel

    torch.manual_seed(0)
    model = DetectionModel(f"{ARCHITECTURE}.yaml", nc=COCO_CLASSES, verbose=False)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, str(home / "start.safetensors"))
    return home / "start.safetensors"


@pytest.fixture(scope="module")
def data(home: Path) -> Path:
    """Six pictures with one dark bin each on a bright street; adverts are unknown in all of them."""
    from training.sources import Label, Picture, write_run_set

    rng = np.random.default_rng(0)
    pictures = []
    for index in range(6):
        pixels = np.clip(rng.normal(170, 8, (96, 96, 3)), 0, 255).astype(np.uint8)
        left, top = (int(v) for v in rng.integers(8, 48, 2))
        cv2.rectangle(pixels, (left, top), (left + 32, top + 40), (40, 60, 30), cv2.FILLED)
        path = home / f"street{index}.png"
        cv2.imwrite(str(path), pixels)
        box = Label("bin", (left / 96, top / 96, (left + 32) / 96, (top + 40) / 96))
        split = "train" if index < 4 else "val"
        pictures.append(Picture(path, "drawn", split, (box,), frozenset({"adverts"})))
    write_run_set(pictures, home / "data")
    return home / "data"


def test_unfolding_norms_keeps_the_function(start: Path) -> None:
    """Folded batch norms get the statistics of their inputs; the outputs stay the same to a thousandth."""
    import torch

    from training.run.network import coco_model, unfold_norms

    model = coco_model(start)
    pictures = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = model(pictures)[1]["one2one"]["scores"].clone()
    unfold_norms(model, pictures)
    with torch.inference_mode():
        after = model(pictures)[1]["one2one"]["scores"]
    assert torch.allclose(before, after, atol=1e-3)
    norm = model.model[0].bn
    assert not torch.allclose(norm.running_mean, torch.zeros_like(norm.running_mean))


def test_person_and_vehicle_start_from_coco(start: Path, data: Path) -> None:
    """The rows of person and vehicle are COCO's person and car; the model has thirteen classes."""
    import torch

    from training.run.network import COCO_CAR, COCO_PERSON, coco_model, start_model
    from vision.taxonomy import CLASS_IDS, CLASSES

    first = Path((data / "train.txt").read_text().split("\n")[0])
    ours, coco = start_model(start, [first] * 2, 64), coco_model(start)
    assert list(ours.names.values()) == list(CLASSES)
    for level, old in zip(ours.model[-1].one2one_cv3, coco.model[-1].one2one_cv3, strict=True):
        assert torch.equal(level[-1].weight[CLASS_IDS["person"]], old[-1].weight[COCO_PERSON])
        assert torch.equal(level[-1].weight[CLASS_IDS["vehicle"]], old[-1].weight[COCO_CAR])


def test_a_killed_run_resumes_and_becomes_a_model_folder(home: Path, start: Path, data: Path) -> None:
    """Killed after the first of two passes, a run goes on with the second; its export detects through the server's
    runtime, and each export keeps the trainer's detections."""
    from training.release.export import ExportSpec, export
    from training.release.quantise import MAY_LOSE, labelled_pictures
    from training.run.config import TrainConfig
    from training.run.trainer import RunFolder, train
    from vision.detecting.detector import Detector
    from vision.detecting.model import load_model
    from vision.taxonomy import CLASSES

    config = TrainConfig(weights=start, epochs=2, size=64, batch=2, close_mosaic=1, warmup_epochs=0, cache=False)
    run = RunFolder(home / "run")

    class KilledError(RuntimeError):
        pass

    def kill(trainer: object) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        train(config, data, run, on_model_save=kill)
    assert len(_epochs(run)) == 1
    checkpoint = train(config, data, run)
    assert checkpoint == run.last
    assert [row.split(",")[0] for row in _epochs(run)] == ["1", "2"]
    pictures = sorted((data / "images").iterdir())
    spec = ExportSpec("tiny", sizes=((64, 64), (96, 64)), int8=True)
    found = export(checkpoint, home / "model", spec, pictures[:2], pictures, labelled_pictures(data))
    assert found["openvino"]["kept"] == found["onnx"]["kept"] == 1.0
    assert found["mAP50-95"]["float32"] - found["mAP50-95"]["int8"] <= MAY_LOSE
    assert load_model(home / "model", "int8").xml.read_text().count("FakeQuantize") > 50
    detector = Detector.load(home / "model", threads=1)
    seen = detector.detect_file(pictures[0], min_score=0.0)
    assert seen.model == found["id"]
    assert seen.class_names == CLASSES
    assert seen.size_wh == (96, 96)
    assert 0 < len(seen) <= 300


def test_the_mean_of_two_passes_is_a_checkpoint(home: Path, start: Path, data: Path) -> None:
    """A run keeps what each pass ended with; their mean has every weight between them and becomes a start again."""
    import torch

    from training.run.averaging import average, read_part
    from training.run.config import TrainConfig
    from training.run.network import load_checkpoint, start_of
    from training.run.trainer import RunFolder, train

    config = TrainConfig(
        weights=start, epochs=2, size=64, batch=2, close_mosaic=0, warmup_epochs=0, cache=False, keep_every=1
    )
    last = train(config, data, RunFolder(home / "kept"))
    early = last.parent / "epoch0.pt"
    shares = average([read_part(f"{last}=3"), read_part(f"{early}=1")], home / "mean.pt")
    assert sorted(shares.values()) == [0.25, 0.75]
    first, second, mean = (load_checkpoint(path).state_dict() for path in (early, last, home / "mean.pt"))
    moved = 0
    for name, value in mean.items():
        if value.is_floating_point():
            wanted = 0.25 * first[name] + 0.75 * second[name]
            assert torch.allclose(value, wanted, rtol=2e-3, atol=1e-4), name
            moved += not torch.equal(first[name], second[name])
    assert moved > 100
    again = start_of(TrainConfig(weights=home / "mean.pt", size=64), data).state_dict()
    assert all(torch.equal(again[name], value) for name, value in mean.items())


def test_a_mean_says_what_is_wrong_with_its_parts(home: Path, start: Path) -> None:
    """No share, a share of nothing, one part alone, a missing file: each is named with its remedy."""
    from training.errors import TrainingError
    from training.run.averaging import average, read_part

    for word in ("last.pt", "last.pt=", "last.pt=0", "last.pt=-1", "last.pt=inf", "last.pt=nan"):
        with pytest.raises(TrainingError, match="CHECKPOINT=SHARE"):
            read_part(word)
    with pytest.raises(TrainingError, match="at least two"):
        average([read_part(f"{start}=1")], home / "one.pt")
    with pytest.raises(TrainingError, match="no checkpoint"):
        average([read_part(f"{home / 'none.pt'}=1"), read_part(f"{home / 'none.pt'}=1")], home / "one.pt")


def _epochs(run: object) -> list[str]:
    table = run.path / "train" / "results.csv"  # type: ignore[attr-defined]
    return table.read_text().splitlines()[1:]


def test_camera_faults_are_at_work(home: Path, start: Path, data: Path) -> None:
    """The loader holds our transforms, and one of them always applied changes the pixels but no box."""
    from training.run.augment import patrol_camera
    from training.run.config import TrainConfig
    from training.run.trainer import RunFolder, camera_faults, train

    names: list[str] = []
    config = TrainConfig(weights=start, epochs=1, size=64, batch=2, close_mosaic=0, cache=False)
    train(config, data, RunFolder(home / "faults"), lambda trainer: names.extend(map(str, camera_faults(trainer))))
    assert any("ImageCompression" in name for name in names)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    compressed = patrol_camera(3.0)[-1]
    compressed.p = 1.0
    assert (compressed(image=pixels)["image"] != pixels).any()
    assert len(patrol_camera(0)) == 1


def test_same_seed_same_first_loss(home: Path, start: Path, data: Path) -> None:
    """Two runs of one seed report the same loss after their first pass."""
    from training.run.config import TrainConfig
    from training.run.trainer import RunFolder, train

    losses = []
    for name in ("one", "two"):
        config = TrainConfig(weights=start, epochs=1, size=64, batch=2, close_mosaic=0, warmup_epochs=0, cache=False)
        run = RunFolder(home / name)
        train(config, data, run)
        losses.append(_epochs(run)[0].split(",")[2:5])
    assert losses[0] == losses[1]


def test_missing_data_and_weights_are_users_errors(home: Path, data: Path) -> None:
    """Without a gathered folder, or without start weights, the run says what to do."""
    from training.errors import TrainingError
    from training.run.config import TrainConfig
    from training.run.trainer import RunFolder, train

    config = TrainConfig(weights=home / "nothing.safetensors", epochs=1, size=64)
    with pytest.raises(TrainingError, match="dataset gather"):
        train(config, home / "nowhere", RunFolder(home / "three"))
    with pytest.raises(TrainingError, match="no start weights"):
        train(config, data, RunFolder(home / "four"))


@pytest.mark.filterwarnings("ignore")
def test_another_activation_stays_through_a_checkpoint_and_a_rebuilt_network() -> None:
    pytest.importorskip("ultralytics", reason="ultralytics comes with the [train] extra")
    from torch import nn

    from training.run.network import ARCHITECTURE, DetectionModel, set_activation

    def kinds(model: nn.Module) -> set[type]:
        return {type(m.act) for m in model.modules() if hasattr(m, "act")} - {nn.Identity}

    model = DetectionModel(f"{ARCHITECTURE}.yaml", nc=3, verbose=False)
    set_activation(model, "hardswish")
    assert kinds(model) == {nn.Hardswish}
    assert kinds(DetectionModel(model.yaml, nc=3, verbose=False)) == {nn.Hardswish}
    set_activation(model, "silu")
    assert kinds(DetectionModel(model.yaml, nc=3, verbose=False)) == {nn.SiLU}
