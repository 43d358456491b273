from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from tests.labelled import as_json, label, photo, tiny_set, yolo_line
from training.errors import DatasetError
from training.labels.checks import check
from training.labels.classes import ClassMap, read_class_map
from training.labels.importing import Imported, ours, write_dataset
from training.labels.kinds import Format
from training.labels.preview import write_sheets
from training.labels.reading import read_set
from training.sources import load, read_manifest


def source(folder: Path) -> None:
    """A COCO set in two folders with the same names, a crowd, a class to drop, and one picture with a bad box."""
    images, annotations = [], []
    for number, place in enumerate(("north", "south")):
        photo(folder / place / "a.jpg", number)
        images.append({"id": number, "file_name": f"{place}/a.jpg", "width": 160, "height": 120})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": [20, 30, 40, 60]})
    photo(folder / "north" / "b.jpg", 2)
    images.append({"id": 2, "file_name": "north/b.jpg", "width": 160, "height": 120})
    annotations += [
        {"id": 10, "image_id": 0, "category_id": 2, "bbox": [90, 30, 30, 30]},
        {"id": 11, "image_id": 0, "category_id": 1, "bbox": [90, 70, 30, 30], "iscrowd": 1},
        {"id": 12, "image_id": 1, "category_id": 3, "bbox": [90, 70, 30, 30]},
        {"id": 13, "image_id": 2, "category_id": 1, "bbox": [20, 30, -5, 60]},
        {"id": 14, "image_id": 0, "category_id": 1, "bbox": [20, 30, 40, 60.5]},
    ]
    names = ((1, "wheelie bin"), (2, "garbage"), (3, "cat"), (4, "overflow"))
    categories = [{"id": number, "name": name} for number, name in names]
    as_json(folder / "labels.json", {"images": images, "annotations": annotations, "categories": categories})


def imported(folder: Path, target: Path, class_map: ClassMap, *, copy: bool = False) -> Imported:
    pictures, faults = ours(read_set(folder), class_map)
    return write_dataset(
        pictures,
        target,
        name="tiny",
        origin="a test",
        licence="CC0",
        class_map=class_map.given,
        copy=copy,
        faults=faults,
    )


MAP = read_class_map(["wheelie bin=bin", "cat="])


def test_an_import_is_what_training_reads(tmp_path: Path) -> None:
    """Manifest, labels and regions load with the reader that training uses, class by class and box by box."""
    source(tmp_path / "src")
    done = imported(tmp_path / "src", tmp_path / "out", MAP)
    assert (done.pictures, done.left_out, done.regions) == (2, 1, 1)
    assert dict(done.boxes) == {"bin": 2, "garbage": 1}
    loaded = {p.path.name: p for p in load(read_manifest(tmp_path / "out" / "manifest.toml"), tmp_path / "out")}
    assert set(loaded) == {"north__a.jpg", "south__a.jpg"}
    first = loaded["north__a.jpg"]
    assert sorted(x.name for x in first.labels) == ["bin", "garbage", "ignore"]
    assert next(x.box for x in first.labels if x.name == "bin") == pytest.approx((0.125, 0.25, 0.375, 0.75), abs=1e-5)
    assert first.unknown == {"structures", "adverts", "private"}
    assert [x.name for x in loaded["south__a.jpg"].labels] == ["bin"]


def test_an_import_passes_its_own_check_until_it_is_changed(tmp_path: Path) -> None:
    """Checksums of a fresh import agree; a label changed afterwards is named."""
    source(tmp_path / "src")
    imported(tmp_path / "src", tmp_path / "out", MAP, copy=True)
    assert check(tmp_path / "out").faults == ()
    label(tmp_path / "out" / "labels" / "south__a.txt", yolo_line(1, (20, 30, 70, 90)))
    report = check(tmp_path / "out")
    assert {fault.file for fault in report.faults} == {"labels/south__a.txt", "manifest.toml"}
    assert set(report.counts()) == {"manifest-checksum"}


def test_faulty_pictures_stay_out_and_are_reported(tmp_path: Path) -> None:
    """A picture with one bad box is left out whole, and report.json says why."""
    source(tmp_path / "src")
    imported(tmp_path / "src", tmp_path / "out", MAP)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    kinds = {fault["kind"]: fault["picture"] for fault in report["faults"]}
    assert kinds == {"box-negative-size": "north/b.jpg", "box-doubled": "north/a.jpg"}


def test_links_by_default_copies_on_request(tmp_path: Path) -> None:
    """Pictures are linked; with copy they are files of their own."""
    source(tmp_path / "src")
    imported(tmp_path / "src", tmp_path / "linked", MAP)
    imported(tmp_path / "src", tmp_path / "copied", MAP, copy=True)
    assert (tmp_path / "linked" / "images" / "north__a.jpg").is_symlink()
    assert not (tmp_path / "copied" / "images" / "north__a.jpg").is_symlink()


def test_a_group_that_is_labelled_in_part_stays_unknown(tmp_path: Path) -> None:
    """A source that labels bins and never overflow does not know the waste group; its boxes still count."""
    for seed in range(2):
        photo(tmp_path / "src" / "images" / f"{seed}.jpg", seed)
        label(tmp_path / "src" / "labels" / f"{seed}.txt", yolo_line(0, (20, 30, 60, 90)))
    (tmp_path / "src" / "classes.txt").write_text("bin\n")
    done = imported(tmp_path / "src", tmp_path / "out", ClassMap())
    assert "waste" in done.unknown_groups
    (first, _) = load(read_manifest(tmp_path / "out" / "manifest.toml"), tmp_path / "out")
    assert "waste" in first.unknown
    assert [x.name for x in first.labels] == ["bin"]


def test_classes_that_are_not_ours_must_be_mapped(tmp_path: Path) -> None:
    """A class we do not have stops the import with the option that maps it; a target we do not have does too."""
    source(tmp_path / "src")
    with pytest.raises(DatasetError, match=r"cat, wheelie bin.*--class-map"):
        ours(read_set(tmp_path / "src"), ClassMap())
    with pytest.raises(DatasetError, match="trolley"):
        ours(read_set(tmp_path / "src"), read_class_map(["cat=trolley"]))


def test_class_map_words_and_files(tmp_path: Path) -> None:
    """Words and TOML files give the same map; a word without = is refused."""
    (tmp_path / "map.toml").write_text('[class_map]\n"wheelie bin" = "bin"\ncat = ""\n')
    assert read_class_map([str(tmp_path / "map.toml")]).given == MAP.given
    assert read_class_map(["a=b=bin"]).given == {"a=b": "bin"}
    with pytest.raises(DatasetError):
        read_class_map(["bin"])


def test_same_picture_labelled_twice_differently_is_left_out(tmp_path: Path) -> None:
    """Two labellings of one file that disagree say nothing; two that agree come in once."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 2)):
        photo(tmp_path / "src" / "images" / f"{name}.jpg", seed)
        other = (20, 30, 60, 90) if name != "b" else (90, 30, 120, 60)
        label(tmp_path / "src" / "labels" / f"{name}.txt", yolo_line(0, other))
    (tmp_path / "src" / "classes.txt").write_text("bin\n")
    pictures, faults = ours(read_set(tmp_path / "src"), ClassMap())
    assert [picture.path.name for picture in pictures] == ["c.jpg"]
    assert [fault.kind for fault in faults] == ["duplicate-labels-differ", "duplicate-exact"]


def test_import_command(tmp_path: Path) -> None:
    """`jiejing dataset import` writes the set and says what came in; a folder that holds something is refused."""
    from typer.testing import CliRunner

    from training.dataset_commands import app

    source(tmp_path / "src")
    words = ["import", str(tmp_path / "src"), "--format", "coco", "--class-map", "wheelie bin=bin", "--class-map"]
    words += ["cat=", "--licence", "CC0", "-o", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["boxes"] == {"bin": 2, "garbage": 1}
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, DatasetError)


def test_sheets_show_pictures_with_boxes(tmp_path: Path) -> None:
    """Twelve pictures to a sheet, boxes drawn where the labels say."""
    tiny_set(tmp_path / "set", count=14)
    found = read_set(tmp_path / "set", Format.yolo)
    files = write_sheets(found.pictures, tmp_path / "sheets", count=14)
    assert [file.name for file in files] == ["sheet-01.jpg", "sheet-02.jpg"]
    sheet = cv2.imread(str(files[0]))
    assert sheet.shape == (3 * 422, 1600, 3)
    drawn = write_sheets(found.pictures[:1], tmp_path / "one", count=1)
    blank = cv2.imread(str(drawn[0])).astype(int)
    # The left edge of the bin at x = 20 of 160: 50 of 400; its colour differs from the picture's beside it.
    assert abs(blank[150, 49:52] - blank[150, 60:63]).max() > 30
