from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests import pictures
from tests.labelled import SIZE, as_json, label, manifest, photo, scene, table, tiny_set, yolo_line
from training.labels.checks import check
from training.labels.classes import read_class_map
from training.labels.kinds import KINDS
from training.labels.looks import alike, look_of

BIN = yolo_line(1, (20, 30, 60, 90))


def split_rows(folder: Path) -> list[list[str]]:
    return [line.split(",") for line in (folder / "split.csv").read_text().splitlines()[1:]]


def change_row(folder: Path, name: str, column: int, value: str) -> None:
    rows = split_rows(folder)
    next(row for row in rows if row[0] == name)[column] = value
    table(folder / "split.csv", rows)


def add(folder: Path, name: str, seed: int, *lines: str, split: str = "train", **options: Any) -> None:
    """One more picture with labels and a row in the split file."""
    photo(folder / "images" / name, seed, **options)
    label(folder / "labels" / f"{Path(name).stem}.txt", *lines)
    table(folder / "split.csv", [*split_rows(folder), [name, split, f"g-{name}"]])


def write(folder: Path, name: str, data: bytes) -> None:
    add(folder, name, 50, BIN)
    (folder / "images" / name).write_bytes(data)


def again(folder: Path, name: str, split: str, *, recoded: bool, lines: tuple[str, ...] = (BIN,)) -> None:
    """The first training picture under another name, byte by byte or coded anew at half the size."""
    label(folder / "labels" / "p00.txt", BIN)
    add(folder, name, 0, *lines, split=split)
    if recoded:
        small = cv2.resize(scene(0), (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA)
        Image.fromarray(small).save(folder / "images" / name, quality=40)


def line(*words: str) -> Callable[[Path], None]:
    return lambda folder: label(folder / "labels" / "p00.txt", BIN, " ".join(words))


def box(*corners: float, class_id: int = 0) -> Callable[[Path], None]:
    x0, y0, x1, y1 = corners
    return line(yolo_line(class_id, (x0, y0, x1, y1)))


def rows(change: Callable[[list[list[str]]], list[list[str]]]) -> Callable[[Path], None]:
    return lambda folder: table(folder / "split.csv", change(split_rows(folder)))


# kind -> how to plant it in a sound set, so that it is the only thing wrong there
PLANTED: dict[str, Callable[[Path], None]] = {
    "picture-doubled-stem": lambda folder: photo(folder / "images" / "p00.png", 70) and None,
    "picture-empty": lambda folder: write(folder, "x.jpg", b""),
    "picture-not": lambda folder: write(folder, "x.jpg", b"a shopping list\n" * 30),
    "picture-huge": lambda folder: write(folder, "x.png", pictures.png_claiming(20_000, 20_000)),
    "picture-cut-off": lambda folder: write(folder, "x.jpg", pictures.jpeg(scene(80))[:-900]),
    "picture-unreadable": lambda folder: write(folder, "x.png", pictures.png_claiming(160, 120)),
    "picture-suffix": lambda folder: write(
        folder, "x.jpg", cv2.imencode(".png", cv2.cvtColor(scene(81), cv2.COLOR_RGB2BGR))[1].tobytes()
    ),
    "labels-missing": lambda folder: (folder / "labels" / "p00.txt").unlink(),
    "labels-without-picture": lambda folder: label(folder / "labels" / "ghost.txt", BIN),
    "labels-empty": lambda folder: label(folder / "labels" / "p00.txt"),
    "labels-unreadable": lambda folder: (folder / "labels" / "p00.txt").write_bytes(b"1 0.5 \xff\xfe") and None,
    "line-too-short": line("0", "0.5", "0.5", "0.1"),
    "line-too-long": line("0", "0.7", "0.7", "0.1", "0.1", "0.93"),
    "line-not-numbers": line("garbage", "0.7", "0.7", "0.1", "0.1"),
    "class-not-integer": line("0.5", "0.7", "0.7", "0.1", "0.1"),
    "class-out-of-range": line("3", "0.7", "0.7", "0.1", "0.1"),
    "box-not-finite": line("0", "nan", "0.7", "0.1", "0.1"),
    "box-in-pixels": line("0", "90", "80", "20", "15"),
    "box-negative-size": line("0", "0.7", "0.7", "-0.1", "0.1"),
    "box-no-area": line("0", "0.7", "0.7", "0", "0.1"),
    "box-outside": box(180, 20, 220, 60),
    "box-partly-outside": box(140, 20, 175, 60),
    "box-tiny": box(90, 90, 91.5, 110),
    "box-everything": box(0, 0, 160, 120),
    "box-doubled": box(20, 30, 60, 90.5, class_id=1),
    "box-two-classes": box(20, 30, 60, 90.5, class_id=2),
    "exif-rotated": lambda folder: add(folder, "x.jpg", 82, yolo_line(0, (70, 70, 150, 90), (120, 160)), orientation=6),
    "exif-unverified": lambda folder: add(folder, "x.jpg", 83, BIN, orientation=6),
    "duplicate-exact": lambda folder: again(folder, "x.jpg", "train", recoded=False),
    "duplicate-near": lambda folder: again(folder, "x.jpg", "train", recoded=True),
    "duplicate-labels-differ": lambda folder: again(
        folder, "x.jpg", "train", recoded=False, lines=(BIN, yolo_line(0, (90, 70, 120, 100)))
    ),
    "leak-exact": lambda folder: again(folder, "x.jpg", "val", recoded=False),
    "leak-near": lambda folder: again(folder, "x.jpg", "val", recoded=True),
    "leak-group": lambda folder: change_row(folder, "p00.jpg", 2, "s3"),
    "split-missing": rows(lambda found: found[1:]),
    "split-ghost": rows(lambda found: [*found, ["gone.jpg", "train", "s99"]]),
    "split-unknown": lambda folder: change_row(folder, "p00.jpg", 1, "holdout"),
    "manifest-missing": lambda folder: (folder / "manifest.toml").unlink(),
    "manifest-unreadable": lambda folder: (folder / "manifest.toml").write_text("name = ") and None,
    "manifest-licence": lambda folder: manifest(folder, licence='" "'),
    "manifest-checksum": lambda folder: manifest(folder, checksum='[checksum]\npictures = 12\nsha256 = "0f"'),
    "class-map-target": lambda folder: manifest(folder, classes='0 = "garbage"\n1 = "bin"\n2 = "full bin"'),
}
# What else a planted fault drags along, and rightly so.
DRAGGED = {
    "duplicate-labels-differ": {"duplicate-exact"},
    "split-unknown": {"split-missing"},
    # Without a manifest class numbers have no names and no split file is named, so nothing else can be told.
    "manifest-missing": set(),
    "manifest-unreadable": set(),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    tiny_set(folder)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(sound, tmp_path / "set"))


def test_nothing_is_reported_on_a_sound_set(sound: Path) -> None:
    """A sound data set has no faults, no warnings and no remarks."""
    report = check(sound)
    assert report.faults == ()
    assert (report.pictures, report.boxes, report.clean) == (12, 18, True)


@pytest.mark.parametrize("kind", PLANTED)
def test_each_planted_fault_is_reported_alone(kind: str, folder: Path) -> None:
    """Each kind of fault, planted into a sound set, is reported under its own name, with a remedy, and nothing else."""
    PLANTED[kind](folder)
    report = check(folder)
    assert kind in report.counts()
    assert set(report.counts()) - {kind} <= DRAGGED.get(kind, set())
    assert all(fault.remedy and fault.file and fault.reason for fault in report.faults)
    graver = {kind, *DRAGGED.get(kind, set())}
    assert report.clean == all(KINDS[name][0] != "fault" for name in graver)


def test_all_faults_at_once_are_reported_one_by_one(folder: Path) -> None:
    """A set with every planted fault of lines and boxes in pictures of their own reports each of them exactly once."""
    wrong = {
        kind: plant for kind, plant in PLANTED.items() if kind.startswith(("line-", "class-not", "class-out", "box-"))
    }
    for number, (kind, plant) in enumerate(wrong.items()):
        plant(folder)
        lines = (folder / "labels" / "p00.txt").read_text().splitlines()
        add(folder, f"{kind}.jpg", 100 + number, *lines)
    label(folder / "labels" / "p00.txt", BIN)
    report = check(folder)
    assert report.counts() == dict.fromkeys(sorted(wrong), 1)
    assert {fault.kind: fault.picture for fault in report.faults} == {kind: f"images/{kind}.jpg" for kind in wrong}


def test_at_least_thirty_kinds_are_planted() -> None:
    """The generated set plants at least thirty kinds; the others are planted where the readers are tested."""
    assert len(PLANTED) >= 30
    elsewhere = {
        "picture-missing", "picture-ambiguous", "picture-not-labelled", "class-unknown", "shape-unsupported",
        "annotations-several", "box-rotated", "size-mismatch", "size-scaled", "picture-covered", "picture-changed",
    }  # fmt: skip
    assert set(KINDS) - set(PLANTED) == elsewhere
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_[lf]*.py"))
    assert [kind for kind in elsewhere if kind not in tests] == []


def test_class_map_is_checked(folder: Path) -> None:
    """A map onto a class we do not have is a fault, and so is a class that the map does not know."""
    (folder / "manifest.toml").unlink()
    (folder / "classes.txt").write_text("garbage\nblue box\novf\n")
    report = check(folder, class_map=read_class_map(["ovf=full bin"]))
    assert report.counts()["class-map-target"] == 1
    assert report.counts()["class-unknown"] == 12
    assert check(folder, class_map=read_class_map(["ovf=overflow", "blue box=bin"])).clean


def test_a_changed_split_is_named(folder: Path) -> None:
    """A manifest states its split file and further boxes by checksum; changed or missing they are faults."""
    split = hashlib.sha256((folder / "split.csv").read_bytes()).hexdigest()
    manifest(folder, checksum=f'[checksum.files]\n"split.csv" = "{split}"')
    assert "manifest-checksum" not in check(folder).counts()
    manifest(folder, checksum='[checksum.files]\n"split.csv" = "0f"\n"boxes.json" = "0f"')
    found = [one for one in check(folder).faults if one.kind == "manifest-checksum"]
    assert [(one.file, one.reason) for one in found] == [
        ("split.csv", "its content is not what was listed"),
        ("boxes.json", "listed, but not there"),
    ]


def test_checksums_name_the_changed_file(folder: Path) -> None:
    """With checksums.sha256 the changed, the missing and the added file are named."""
    import hashlib

    listed = [*sorted((folder / "images").iterdir()), *sorted((folder / "labels").iterdir())]
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}" for file in listed]
    (folder / "checksums.sha256").write_text("\n".join([*sums[:-1], f"{'0' * 64}  images/gone.jpg"]) + "\n")
    label(folder / "labels" / "p00.txt", yolo_line(0, (90, 70, 120, 100)))
    faults = {fault.file: fault.reason for fault in check(folder).faults}
    assert set(faults) == {"labels/p00.txt", "images/gone.jpg", "labels/p11.txt"}


def test_look_alikes_survive_coding_scaling_and_light() -> None:
    """A picture coded anew, halved, brightened or cropped by 2 % looks like itself, and unlike 200 others."""
    one = scene(0, (320, 240))
    coded = cv2.imdecode(cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], cv2.IMREAD_COLOR)
    lighter = np.clip(one.astype(np.float32) * 0.7 + 60, 0, 255).astype(np.uint8)
    versions = [one, coded, cv2.resize(one, (160, 120), interpolation=cv2.INTER_AREA), lighter, one[5:-5, 6:-6].copy()]
    looks = [look_of(pixels) for pixels in versions] + [look_of(scene(seed)) for seed in range(1, 201)]
    assert {(i, j) for i, j, _ in alike(looks)} == {(i, j) for i in range(5) for j in range(i + 1, 5)}


def test_pictures_of_one_colour_are_not_alike() -> None:
    """Two blank pictures have no look to compare."""
    blank = [look_of(np.full((60, 80, 3), tone, np.uint8)) for tone in (20, 200)]
    assert alike(blank) == []
    assert alike([]) == []


def test_command_reports_and_exits(folder: Path) -> None:
    """`jiejing dataset check` exits 0 on a sound set or warnings, 1 on faults, and writes records with --json."""

    from typer.testing import CliRunner

    from training.dataset_commands import app

    PLANTED["box-tiny"](folder)
    assert CliRunner().invoke(app, ["check", str(folder)]).exit_code == 0
    PLANTED["line-too-short"](folder)
    plain = CliRunner().invoke(app, ["check", str(folder)])
    assert plain.exit_code == 1
    assert "line-too-short: labels/p00.txt:2" in plain.stdout
    command = [sys.executable, "-m", "jiejing", "dataset", "check", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 1
    (fault,) = json.loads(done.stdout)["faults"]
    assert (fault["kind"], fault["file"], fault["severity"]) == ("line-too-short", "labels/p00.txt:2", "fault")


def test_coco_set_is_checked_too(tmp_path: Path) -> None:
    """Boxes of other formats are held to the same rules, and the entry is named."""
    photo(tmp_path / "a.jpg", 1)
    rows_ = [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [150, 20, 90, 60]}]
    picture = {"id": 1, "file_name": "a.jpg", "width": 160, "height": 120}
    as_json(tmp_path / "a.json", {"images": [picture], "categories": [{"id": 1, "name": "bin"}], "annotations": rows_})
    report = check(tmp_path)
    assert {fault.kind: fault.file for fault in report.faults}["box-partly-outside"] == "a.json, annotation 5"
