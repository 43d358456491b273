"""The detector's input, the model folder's checks, and the shipped model on a real command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import pictures
from vision.detecting.detector import Detector, Letterbox, choose_input
from vision.detecting.model import is_ours, load_model
from vision.detections import Detections
from vision.errors import ModelError
from vision.results import coco_rows, yolo_lines
from vision.shipped import model_folder

sides = st.integers(16, 6000)


@given(picture=st.tuples(sides, sides), x=st.floats(0, 1), y=st.floats(0, 1))
def test_letterbox_and_back_is_the_same_place(picture: tuple[int, int], x: float, y: float) -> None:
    """A point of the picture, placed in the input and brought back, is where it was to within a pixel of the input."""
    fit = Letterbox.fit(picture, (640, 480))
    at_input = (fit.left_top[0] + x * fit.inner_wh[0], fit.left_top[1] + y * fit.inner_wh[1])
    back = fit.undo(np.array([[*at_input, *at_input]]), picture)[0, :2]
    assert back == pytest.approx((x * picture[0], y * picture[1]), abs=max(picture) / 400)


def test_letterbox_centres_and_pads() -> None:
    """A wide picture in a square input gets equal grey bars above and below."""
    fit = Letterbox.fit((200, 100), (64, 64))
    placed = fit.place(np.zeros((100, 200, 3), np.uint8), 114)
    assert placed.shape == (64, 64, 3)
    assert (placed[:16] == 114).all()
    assert (placed[16:48] == 0).all()
    assert (placed[48:] == 114).all()


def test_the_input_that_wastes_least_is_chosen() -> None:
    """A 4:3 picture goes to the 4:3 engine, a square one to the square engine."""
    sizes = ((640, 640), (960, 736), (1280, 736))
    assert choose_input((4000, 3000), sizes) == (960, 736)
    assert choose_input((640, 640), sizes) == (640, 640)
    assert choose_input((1920, 1080), sizes) == (1280, 736)


def test_a_small_picture_is_not_blown_up() -> None:
    """Of two inputs of one shape a small picture takes the one near its own size, a large one the larger."""
    sizes = ((832, 480), (1280, 736))
    assert choose_input((800, 450), sizes) == (832, 480)
    assert choose_input((320, 180), sizes) == (832, 480)
    assert choose_input((1280, 720), sizes) == (1280, 736)
    assert choose_input((3840, 2160), sizes) == (1280, 736)
    # A better fitting shape is no reason either: 800×386 fills 1920×1088 a little better than 832×480.
    assert choose_input((800, 386), ((832, 480), (1920, 1088))) == (832, 480)


def copy_of_model(folder: Path) -> Path:
    return Path(shutil.copytree(model_folder(), folder / "model"))


def test_the_shipped_model_is_whole_and_ours() -> None:
    """The default model passes its own hashes and sees the thirteen classes in their order."""
    model = load_model(model_folder())
    assert is_ours(model)
    assert all(0 < threshold < 1 for threshold in model.thresholds)


def test_a_changed_weight_file_is_refused(tmp_path: Path) -> None:
    """One changed byte in the weights is an error that names the file."""
    folder = copy_of_model(tmp_path)
    weights = next(folder.glob("*.bin"))
    data = bytearray(weights.read_bytes())
    data[100] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(ModelError, match=r"not the file that model\.toml names") as caught:
        load_model(folder)
    assert weights.name in str(caught.value)


def test_unknown_and_incomplete_model_folders_are_refused(tmp_path: Path) -> None:
    """A folder that is missing, lacks model.toml, lacks a field or points outside itself gives one clear error."""
    with pytest.raises(ModelError, match="no model folder"):
        model_folder("no-such-model")
    with pytest.raises(ModelError, match=r"holds no model\.toml"):
        load_model(tmp_path)
    folder = copy_of_model(tmp_path)
    text = (folder / "model.toml").read_text()
    for broken, message in (
        (text.replace("[weights.openvino]", "[weights.other]"), "lacks the field"),
        (text.replace('xml = "', 'xml = "../'), "in the model folder itself"),
        (text.replace("sizes = [[", "sizes = [[33, 33], ["), "multiples of 32"),
        ("id = [", "cannot be read"),
    ):
        (folder / "model.toml").write_text(broken)
        with pytest.raises(ModelError, match=message):
            load_model(folder)


def test_detection_is_repeatable_and_inside_the_picture() -> None:
    """The same picture gives the same boxes, best first, cut at the picture's edges, never more than 300."""
    detector = Detector.load()
    pixels = pictures.street(500, 400)
    first, second = detector.detect(pixels, min_score=0.0), detector.detect(pixels, min_score=0.0)
    assert (first.boxes_xyxy == second.boxes_xyxy).all()
    assert 0 < len(first) <= 300
    assert (np.diff(first.scores) <= 0).all()
    assert first.boxes_xyxy.min() >= 0
    assert first.boxes_xyxy[:, [0, 2]].max() <= 500
    assert first.boxes_xyxy[:, [1, 3]].max() <= 400


def test_many_threads_may_begin_at_once() -> None:
    """Eight threads whose first detection in a fresh process falls together all finish; they once hung."""
    code = """
import threading
from concurrent.futures import ThreadPoolExecutor
from tests import pictures
from vision.detecting.detector import Detector
detectors = [Detector.load(threads=4, input_wh=(160, 160)) for _ in range(2)]
gate = threading.Barrier(8)
def one(i):
    gate.wait()
    return len(detectors[i % 2].detect(pictures.street(160, 160), min_score=0.0))
with ThreadPoolExecutor(8) as pool:
    print(len(set(pool.map(one, range(8)))))
"""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=300)
    assert done.stdout.split() == ["1"], done.stderr


def test_written_formats_agree() -> None:
    """COCO's x, y, width, height and YOLO's centre shares describe the same box."""
    found = Detections.of([("bin", 0.5, (10.0, 20.0, 50.0, 100.0))], (200, 200))
    (row,) = coco_rows("p", found)
    assert row == {"image_id": "p", "category_id": 1, "bbox": [10.0, 20.0, 40.0, 80.0], "score": 0.5}
    assert yolo_lines(found) == "1 0.150000 0.300000 0.200000 0.400000 0.50000\n"


def jiejing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "jiejing", *map(str, arguments)], capture_output=True, text=True)


def test_a_batch_goes_on_past_bad_pictures(tmp_path: Path) -> None:
    """Six bad files and one good: exit 0, one record per file, each fault with its remedy; with --strict exit 1."""
    pictures.bad_pictures(tmp_path)
    (tmp_path / "good.jpg").write_bytes(pictures.jpeg())
    done = jiejing("detect", tmp_path, "-o", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    records = json.loads((tmp_path / "out.json").read_text())
    assert len(records) == 7
    (good,) = [record for record in records if "error" not in record]
    assert (good["width"], good["height"]) == (320, 240)
    assert all(record["remedy"] for record in records if "error" in record)
    assert jiejing("detect", tmp_path, "--strict", "-o", tmp_path / "out.json").returncode == 1


def test_only_bad_pictures_end_with_1_and_wrong_use_with_2(tmp_path: Path) -> None:
    """Exit codes tell a failed batch from a wrong command."""
    (tmp_path / "a.jpg").write_bytes(b"")
    assert jiejing("detect", tmp_path / "a.jpg").returncode == 1
    assert jiejing("detect", tmp_path, "--format", "yolo").returncode == 2
    assert jiejing("detect", tmp_path, "--min-score", "2").returncode == 2
    assert jiejing("detect", tmp_path, "--model", "nowhere").returncode == 1


def test_coco_ids_must_differ(tmp_path: Path) -> None:
    """Two pictures of one name are refused by stem and accepted by path."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").write_bytes(pictures.jpeg())
    refused = jiejing("detect", tmp_path, "--format", "coco", "-o", tmp_path / "o.json")
    assert refused.returncode == 2
    assert "--id path" in refused.stderr
    options = ("--format", "coco", "--id", "path", "--min-score", "0.0001")
    assert jiejing("detect", tmp_path, *options, "-o", tmp_path / "o.json").returncode == 0
    assert {row["image_id"] for row in json.loads((tmp_path / "o.json").read_text())} == {"a/x", "b/x"}


def test_yolo_text_and_drawings_are_written(tmp_path: Path) -> None:
    """--format yolo writes one text file per picture, --draw one picture."""
    (tmp_path / "one.jpg").write_bytes(pictures.jpeg())
    done = jiejing("detect", tmp_path, "--format", "yolo", "-o", tmp_path / "labels", "--draw", tmp_path / "drawn")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "labels" / "one.txt").exists()
    assert (tmp_path / "drawn" / "one.jpg").read_bytes().startswith(b"\xff\xd8")
