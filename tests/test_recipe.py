"""The script that holds our recipe against stock settings, from the first picture to the curves, on tiny pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.recipe import auc, auc_difference, stock_data
from tests.labelled import tiny_set
from tests.pictures import jpeg, street

ROOT = Path(__file__).resolve().parents[1]


def view(folder: Path) -> Path:
    """Four pictures from a vehicle: two with a box, two clean."""
    (folder / "images").mkdir(parents=True)
    truth = {}
    for number in range(4):
        (folder / "images" / f"v{number}.jpg").write_bytes(jpeg(street(192, 108, seed=number)))
        truth[f"v{number}.jpg"] = [[10, 60, 30, 80]] if number < 2 else []
    (folder / "garbage.json").write_text(json.dumps(truth))
    return folder


def test_auc_counts_pairs() -> None:
    """Of four pairs three are in order and one is a tie; a picture that counts twice counts twice."""
    score, dirty = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    assert auc(score, dirty, np.ones(4)) == pytest.approx(3.5 / 4)
    assert auc(score, dirty, np.array([1.0, 0.0, 1.0, 1.0])) == 1.0


def test_auc_of_two_is_paired(tmp_path: Path) -> None:
    """Scores of the same pictures: a model against itself gains exactly nothing."""
    folder = view(tmp_path)
    scores = {"v0": 0.9, "v1": 0.2, "v2": 0.3, "v3": 0.1}
    same = auc_difference(folder, scores, scores)
    assert (same["a"], same["b"], same["low"], same["high"]) == (0.75, 0.75, 0.0, 0.0)
    better = auc_difference(folder, scores, scores | {"v1": 0.8})
    assert (better["b"], better["low"]) == (1.0, 0.0)


def test_stock_reads_classes_only(tmp_path: Path) -> None:
    """The same lists, as often, and label lines of classes; regions are left away."""
    data = tmp_path / "data"
    for kind in ("images", "labels"):
        (data / kind).mkdir(parents=True)
    (data / "images" / "a.jpg").write_bytes(jpeg())
    (data / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.2\n15 0.5 0.5 1 1\n")
    (data / "train.txt").write_text(f"{data / 'images' / 'a.jpg'}\n" * 3)
    (data / "val.txt").write_text("")
    table = stock_data(data, tmp_path / "stock")
    folder = table.parent
    assert (folder / "labels" / "a.txt").read_text() == "1 0.5 0.5 0.2 0.2\n"
    assert (folder / "train.txt").read_text() == f"{folder / 'images' / 'a.jpg'}\n" * 3
    assert '"12": "vehicle"' in table.read_text()


@pytest.mark.slow
def test_the_whole_script_on_tiny_pictures(tmp_path: Path) -> None:
    """One pass each at 64 pixels: both train, export and are measured; asked again, nothing is trained again."""
    pytest.importorskip("ultralytics", reason="ultralytics comes with the [train] extra")
    pytest.importorskip("matplotlib", reason="matplotlib comes with the [train] extra")
    environment = os.environ | {"YOLO_CONFIG_DIR": str(tmp_path), "PYTHONPATH": _path()}
    make = (
        "import sys; from safetensors.torch import save_file; from training.run.network import *; torch.manual_seed(0);"
        "model = DetectionModel(f'{ARCHITECTURE}.yaml', nc=COCO_CLASSES, verbose=False);"
        "save_file({k: v.contiguous() for k, v in model.state_dict().items()}, sys.argv[1])"
    )
    weights = tmp_path / "w.safetensors"
    subprocess.run([sys.executable, "-c", make, str(weights)], env=environment, check=True)
    tiny_set(tmp_path / "tiny")
    source = ["--source", f"tiny={tmp_path / 'tiny'}"]
    gather = ["dataset", "gather", *source, "--out", str(tmp_path / "data")]
    subprocess.run([sys.executable, "-m", "jiejing", *gather], env=environment, check=True, cwd=ROOT)
    words = ["--data", str(tmp_path / "data"), *source, "--weights", str(weights), "--run", str(tmp_path / "run")]
    words += ["--epochs", "1", "--size", "64", "--batch", "2", "--input", "64x64", "--set", "close_mosaic=0"]
    words += ["--set", "threads=1", "--view", str(view(tmp_path / "view"))]
    script = [sys.executable, str(ROOT / "bench" / "recipe.py"), *words]
    subprocess.run(script, env=environment, check=True)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    (one,) = result["seeds"]
    assert one["mAP50-95"]["boxes"] == 6
    assert one["mAP50-95"]["low"] <= one["mAP50-95"]["high"]
    assert 0 <= one["auc"]["a"] <= 1
    assert "</svg>" in (tmp_path / "run" / "curves.svg").read_text()
    marks = [tmp_path / "run" / "seed0" / side / "train" / "results.csv" for side in ("stock", "ours")]
    before = [mark.stat().st_mtime_ns for mark in marks]
    shutil.rmtree(tmp_path / "run" / "seed0" / "ours" / "model")
    subprocess.run(script, env=environment, check=True)
    assert [mark.stat().st_mtime_ns for mark in marks] == before


def _path() -> str:
    return os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
