"""What training sees of a picture and what the server sees of it: the same pixels."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.pictures import jpeg, street
from training.decoding import as_served, fitted
from vision.detecting.detector import Detector
from vision.pictures.media import picture_header

SIDE = 320
PAD = 114


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Large, wide, small, turned by EXIF, and a PNG: every path through decoder and resize."""
    folder = tmp_path / "images"
    folder.mkdir()
    kinds = {"large": (1333, 1000), "wide": (1280, 401), "small": (150, 97), "odd": (641, 479)}
    for seed, (name, (width, height)) in enumerate(kinds.items()):
        (folder / f"{name}.jpg").write_bytes(jpeg(street(width, height, seed=seed)))
    (folder / "turned.jpg").write_bytes(jpeg(street(900, 500, seed=8), orientation=6))
    cv2.imwrite(str(folder / "drawn.png"), street(700, 500, seed=9)[:, :, ::-1])
    return sorted(folder.iterdir())


def server_input(path: Path) -> np.ndarray:
    """The pixels that the server's detector hands to the network for this file, (3, SIDE, SIDE)."""
    handed: list[np.ndarray] = []

    class Noting:
        def infer(self, placed: np.ndarray) -> np.ndarray:
            handed.append(placed)
            return np.zeros((300, 6), np.float32)

    detector = Detector.load(input_wh=(SIDE, SIDE))
    detector._runtime = Noting()
    with contextlib.suppress(IndexError, ValueError):  # what comes after the network does not matter here
        detector.detect_file(path)
    return np.asarray(handed[0]).transpose(2, 0, 1)


def test_the_letterboxed_picture_is_the_servers_input(pictures: list[Path]) -> None:
    """Equal to the pixel, whatever the picture's size, format and orientation."""
    for path in pictures:
        assert np.array_equal(as_served(path, (SIDE, SIDE), PAD).transpose(2, 0, 1), server_input(path)), path.name


def test_the_fitted_picture_knows_its_own_size(pictures: list[Path]) -> None:
    """Without padding the longer side fills the input; the size is that of the upright file."""
    for path in pictures:
        pixels, size_wh = fitted(path, SIDE)
        assert max(pixels.shape[:2]) == SIDE
        assert size_wh == picture_header(path.read_bytes(), path).size_wh


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_training_picture_is_the_servers_input(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without augmentation the trainer's loader gives, for training and validation, the pixels that the server sees."""
    pytest.importorskip("ultralytics", reason="ultralytics comes with the [train] extra")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    from ultralytics.cfg import get_cfg

    from training.run.trainer import StreetDataset

    (tmp_path / "labels").mkdir()
    for path in pictures:
        (tmp_path / "labels" / f"{path.stem}.txt").write_text("1 0.5 0.5 0.25 0.25\n")
    (tmp_path / "train.txt").write_text("".join(f"{path}\n" for path in pictures))
    geometry = "mosaic mixup cutmix copy_paste degrees translate scale shear perspective fliplr flipud"
    nothing = [*geometry.split(), *["hsv_h", "hsv_s", "hsv_v", "bgr"]]
    plain = get_cfg(overrides=dict.fromkeys(nothing, 0.0))
    from training.run.augment import patrol_camera

    plain.augmentations = patrol_camera(0)
    for cache in (None, "ram"):
        dataset = StreetDataset(
            img_path=str(tmp_path / "train.txt"),
            imgsz=SIDE,
            batch_size=2,
            augment=True,
            hyp=plain,
            cache=cache,
            task="detect",
            data={"names": {0: "garbage", 1: "bin"}, "nc": 2, "channels": 3},
        )
        for index, file in enumerate(dataset.im_files):
            sample = dataset[index]
            assert np.array_equal(sample["img"].numpy(), server_input(Path(file))), file
            width, height = picture_header(Path(file).read_bytes(), Path(file)).size_wh
            assert tuple(sample["ori_shape"]) == (height, width)
            inner = min(SIDE / width, SIDE / height)
            expected = (0.25 * round(width * inner) / SIDE, 0.25 * round(height * inner) / SIDE)
            assert sample["bboxes"][0, 2:].tolist() == pytest.approx(expected, abs=1e-4)
