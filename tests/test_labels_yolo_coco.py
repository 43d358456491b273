from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.labelled import as_json as write_json
from tests.labelled import by_name, corners, kinds, label, photo, yolo_line
from training.labels.coco import coco_files, read_coco_set
from training.labels.kinds import Format
from training.labels.reading import guess_format, read_set
from training.labels.writing import coco, yolo_text
from training.labels.yolo import describe, read_yolo_set


def test_plain_yolo_folder(tmp_path: Path) -> None:
    """images/ and labels/ with classes.txt give boxes in pixels and the classes as known."""
    photo(tmp_path / "images" / "a.jpg", 1)
    label(tmp_path / "labels" / "a.txt", yolo_line(1, (10, 20, 50, 80)))
    (tmp_path / "classes.txt").write_text("trash\nbin\n")
    found = read_set(tmp_path)
    (picture,) = found.pictures
    assert found.format == "yolo"
    assert corners(picture) == {"bin": (10, 20, 50, 80)}
    assert picture.known == {"trash", "bin"}
    assert picture.size_wh == (160, 120)
    assert len(picture.sha256) == 64
    assert found.faults == ()


def test_labels_beside_the_pictures(tmp_path: Path) -> None:
    """Label files in the pictures' own folder are found, and classes.txt is not taken for one."""
    photo(tmp_path / "a.jpg", 1)
    label(tmp_path / "a.txt", yolo_line(0, (10, 20, 50, 80)))
    (tmp_path / "classes.txt").write_text("trash\n")
    found = read_yolo_set(describe(tmp_path))
    assert corners(found.pictures[0]) == {"trash": (10, 20, 50, 80)}
    assert found.faults == ()


@pytest.mark.parametrize("layout", ["ultralytics", "roboflow", "list"])
def test_data_yaml_layouts(layout: str, tmp_path: Path) -> None:
    """data.yaml with folders, with Roboflow's one `../` too many, and with list files give the same set."""
    places = {"train": "images/train", "val": "images/val"}
    if layout == "roboflow":
        places = {"train": "train/images", "val": "valid/images"}
    for seed, place in enumerate(places.values()):
        photo(tmp_path / place / f"p{seed}.jpg", seed)
        label(tmp_path / place.replace("images", "labels") / f"p{seed}.txt", yolo_line(0, (10, 20, 50, 80)))
    lines = {"train": places["train"], "val": places["val"]}
    if layout == "roboflow":
        lines = {split: f"../{place}" for split, place in places.items()}
    if layout == "list":
        for seed, split in enumerate(places):
            (tmp_path / f"{split}.txt").write_text(f"./{places[split]}/p{seed}.jpg\n")
        lines = {"train": "train.txt", "val": "val.txt"}
    (tmp_path / "data.yaml").write_text(f"names: {{0: trash}}\ntrain: {lines['train']}\nval: {lines['val']}\n")
    found = read_set(tmp_path, Format.yolo)
    assert [(picture.path.name, picture.split) for picture in found.pictures] == [
        ("p0.jpg", "train"),
        ("p1.jpg", "val"),
    ]
    assert all(corners(picture) == {"trash": (10, 20, 50, 80)} for picture in found.pictures)
    assert found.faults == ()


def test_polygons_become_boxes(tmp_path: Path) -> None:
    """A YOLO segment is read as the box about it."""
    photo(tmp_path / "images" / "a.jpg", 1)
    label(tmp_path / "labels" / "a.txt", "0 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.5")
    (picture,) = read_set(tmp_path).pictures
    assert corners(picture) == {"0": (16, 24, 80, 72)}


def test_exif_turns_the_picture_and_yolo_follows(tmp_path: Path) -> None:
    """Shares are of the upright picture: 160×120 stored on its side is 120×160 upright."""
    photo(tmp_path / "images" / "a.jpg", 1, orientation=6)
    label(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.5 0.5")
    (picture,) = read_set(tmp_path).pictures
    assert picture.size_wh == (120, 160)
    assert corners(picture) == {"0": (30, 40, 90, 120)}


def coco_set(folder: Path, **image: object) -> dict[str, object]:
    photo(folder / "photos" / "a.jpg", 1)
    entry = {"id": 7, "file_name": "a.jpg", "width": 160, "height": 120} | image
    return {
        "images": [entry],
        "categories": [{"id": 3, "name": "trash"}, {"id": 9, "name": "bin"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20, 40, 60], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 9, "bbox": [60, 20, 40, 60], "iscrowd": 1},
        ],
    }


def test_coco_boxes_and_crowds(tmp_path: Path) -> None:
    """Corner and size become corners, ids that do not start at 0 are followed, a crowd is a region to ignore."""
    write_json(tmp_path / "instances_val.json", coco_set(tmp_path))
    found = read_set(tmp_path)
    (picture,) = found.pictures
    assert found.format == "coco"
    assert corners(picture) == {"trash": (10, 20, 50, 80), "bin": (60, 20, 100, 80)}
    assert [box.ignore for box in picture.boxes] == [False, True]
    assert picture.known == {"trash", "bin"}
    assert picture.split == "val"
    assert found.faults == ()


def test_coco_of_resized_pictures_is_scaled_only_at_the_same_aspect(tmp_path: Path) -> None:
    """Labelled at 320×240 the boxes halve; labelled at 300×240 the picture is left out with a fault."""
    write_json(tmp_path / "a.json", coco_set(tmp_path, width=320, height=240))
    found = read_set(tmp_path)
    assert corners(found.pictures[0])["trash"] == (5, 10, 25, 40)
    assert kinds(found) == ["size-scaled"]
    write_json(tmp_path / "a.json", coco_set(tmp_path, width=300, height=240))
    found = read_set(tmp_path)
    assert found.pictures == ()
    assert kinds(found) == ["size-mismatch"]


def test_coco_labelled_before_exif_orientation_is_a_fault(tmp_path: Path) -> None:
    """An annotation made for the stored 160×120 does not belong to the upright 120×160."""
    value = coco_set(tmp_path)
    photo(tmp_path / "photos" / "a.jpg", 1, orientation=6)
    write_json(tmp_path / "a.json", value)
    found = read_set(tmp_path)
    assert found.pictures == ()
    assert kinds(found) == ["exif-rotated"]


def test_coco_faults_one_by_one(tmp_path: Path) -> None:
    """Each broken entry is one record, and none ends the reading."""
    value = coco_set(tmp_path)
    images, annotations = value["images"], value["annotations"]
    assert isinstance(images, list)
    assert isinstance(annotations, list)
    images.append({"id": 8, "file_name": "gone.jpg"})
    annotations += [
        {"id": 3, "image_id": 99, "category_id": 3, "bbox": [1, 1, 2, 2]},
        {"id": 4, "image_id": 7, "category_id": 5, "bbox": [1, 1, 2, 2]},
        {"id": 5, "image_id": 7, "category_id": 3, "bbox": [1, 1, 2]},
        {"id": 6, "image_id": 7, "category_id": 3, "bbox": [1, 1, 2, "wide"]},
        {"id": 7, "image_id": 7, "category_id": 3, "bbox": [1, 1, 2, 2, 0.5]},
    ]
    photo(tmp_path / "photos" / "b.jpg", 2)
    write_json(tmp_path / "a.json", value)
    found = read_set(tmp_path)
    assert kinds(found) == [
        "class-unknown",
        "labels-without-picture",
        "line-not-numbers",
        "line-too-long",
        "line-too-short",
        "picture-missing",
        "picture-not-labelled",
    ]
    assert all(fault.remedy for fault in found.faults)
    assert len(found.pictures) == 1


@pytest.mark.parametrize("odd", [None, [], {}, "x", True, float("nan"), [1], 10**30])
def test_any_value_anywhere_in_coco_is_survived(odd: object, tmp_path: Path) -> None:
    """Whatever stands in the place of a value, reading ends with a set and its faults, never with an exception."""
    for part in ("images", "annotations", "categories"):
        for key in (None, "id", "file_name", "width", "image_id", "category_id", "bbox", "name"):
            value = coco_set(tmp_path)
            if key is None:
                value[part] = odd
            else:
                entries = value[part]
                assert isinstance(entries, list)
                entries[0][key] = odd
            write_json(tmp_path / "a.json", value)
            found = read_coco_set(tmp_path, [tmp_path / "a.json"])
            assert len(found.pictures) == 1 or found.faults


def test_same_names_in_several_folders_are_told_apart_by_path(tmp_path: Path) -> None:
    """Two a.jpg are matched by their folders, never by order; without a folder the name is ambiguous."""
    photo(tmp_path / "south" / "a.jpg", 1)
    photo(tmp_path / "north" / "a.jpg", 2)
    value = {"categories": [{"id": 1, "name": "bin"}], "annotations": []}
    write_json(tmp_path / "a.json", value | {"images": [{"id": 1, "file_name": "data/north/a.jpg"}]})
    found = read_coco_set(tmp_path, coco_files(tmp_path))
    assert [picture.name for picture in found.pictures] == ["north/a.jpg"]
    write_json(tmp_path / "a.json", value | {"images": [{"id": 1, "file_name": "a.jpg"}]})
    assert "picture-ambiguous" in kinds(read_coco_set(tmp_path, coco_files(tmp_path)))


def test_written_coco_reads_back(tmp_path: Path) -> None:
    """What is written as COCO comes back with the same boxes, classes and crowds."""
    write_json(tmp_path / "one" / "a.json", coco_set(tmp_path / "one"))
    first = read_set(tmp_path / "one").pictures
    write_json(tmp_path / "one" / "a.json", json.loads(json.dumps(coco(first, {"bin": 0, "trash": 1}))))
    (again,) = read_set(tmp_path / "one").pictures
    assert corners(again) == corners(first[0])
    assert {box.name: box.ignore for box in again.boxes} == {"trash": False, "bin": True}


def test_written_yolo_is_clipped_and_without_regions(tmp_path: Path) -> None:
    """Label files for training hold our class ids, end at the picture's edge, and no region to ignore."""
    value = coco_set(tmp_path)
    value["categories"] = [{"id": 3, "name": "garbage"}, {"id": 9, "name": "bin"}]
    annotations = value["annotations"]
    assert isinstance(annotations, list)
    annotations[0]["bbox"] = [-20, 20, 60, 60]
    write_json(tmp_path / "a.json", value)
    (picture,) = read_set(tmp_path).pictures
    assert yolo_text(picture) == "0 0.125000 0.416667 0.250000 0.500000\n"


def test_formats_are_told_by_their_files(tmp_path: Path) -> None:
    """A folder's format follows from what lies in it."""
    write_json(tmp_path / "coco" / "a.json", {"images": [], "categories": [], "annotations": []})
    write_json(tmp_path / "studio" / "a.json", [{"data": {"image": "a.jpg"}, "annotations": []}])
    for name, text in (("cvat", "<annotations/>"), ("voc", "<annotation/>")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.xml").write_text(text)
    (tmp_path / "yolo" / "labels").mkdir(parents=True)
    found = {name: guess_format(tmp_path / name).value for name in ("coco", "studio", "cvat", "voc", "yolo")}
    assert found == {"coco": "coco", "studio": "label-studio", "cvat": "cvat", "voc": "voc", "yolo": "yolo"}


def test_pictures_carry_time_and_place(tmp_path: Path) -> None:
    """EXIF time and position are kept for dividing by time and place."""
    from datetime import datetime

    photo(tmp_path / "images" / "a.jpg", 1, taken=datetime(2026, 5, 1, 8, 0, 2), lonlat=(113.5, 22.25))
    label(tmp_path / "labels" / "a.txt")
    picture = by_name(read_set(tmp_path))["a.jpg"]
    assert picture.taken_at == datetime(2026, 5, 1, 8, 0, 2)
    assert picture.gps is not None
    assert picture.gps.latitude_deg == pytest.approx(22.25)
