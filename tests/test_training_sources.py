"""Sources, their manifests, and the run folder: what is unknown stays unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pictures import jpeg, street
from training.errors import DatasetError
from training.sources import (
    GROUPS,
    HIDES,
    LABEL_NAMES,
    REGIONS,
    WHOLE,
    Label,
    Picture,
    load,
    read_manifest,
    read_yolo,
    write_run_set,
)
from vision.taxonomy import CLASSES

MANIFESTS = Path(__file__).resolve().parents[1] / "datasets"


@pytest.fixture
def waste(tmp_path: Path) -> Path:
    """A tiny source in the layout of street-waste: three pictures, two of them judged for structures."""
    folder = tmp_path / "waste"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for name in ("a", "b", "c"):
        (folder / "images" / f"{name}.jpg").write_bytes(jpeg(street(64, 48)))
        (folder / "labels" / f"{name}.txt").write_text("2 0.5 0.5 0.5 0.5\n")
    (folder / "scenes.csv").write_text("image,scene,split\na.jpg,s1,train\nb.jpg,s1,train\nc.jpg,s2,val\n")
    boxes = {"a.jpg": [["shed", 0.1, 0.2, 0.5, 0.6], ["ignore", 0, 0, 0.2, 0.2]], "c.jpg": []}
    (folder / "structures.json").write_text(json.dumps(boxes))
    (folder / "manifest.toml").write_text(
        'name = "waste"\ntitle = "t"\norigin = "o"\nlicence = "l"\nknows = ["waste"]\ntaught = ["private"]\n'
        '[classes]\n0 = "garbage"\n1 = "bin"\n2 = "overflow"\n[split]\nfile = "scenes.csv"\ngroup = "scene"\n'
        '[extra]\nfile = "structures.json"\nknows = ["structures"]\n'
    )
    return folder


def test_region_ids_stand_behind_the_thirteen_classes() -> None:
    """Label ids 0 to 12 are the published classes, 13 hides everything, 14 on hide one group each."""
    assert LABEL_NAMES[: len(CLASSES)] == CLASSES
    assert REGIONS["ignore"] == 13
    assert [REGIONS[name] for name in GROUPS] == [14, 15, 16, 17]
    assert sorted(REGIONS.values()) == list(range(13, 13 + 1 + len(GROUPS) + len(CLASSES)))
    assert HIDES["unknown_bin"] == {"bin"}
    assert len(LABEL_NAMES) == max(REGIONS.values()) + 1


def test_groups_cover_every_class_once() -> None:
    """A class belongs to exactly one group, so that unknown groups say everything."""
    members = [name for group in GROUPS.values() for name in group]
    assert sorted(members) == sorted(CLASSES)


def test_pictures_know_what_their_source_labels(waste: Path) -> None:
    """Structures are known only where somebody judged the picture; adverts and persons nowhere in this source."""
    pictures = {p.path.name: p for p in load(read_manifest(waste / "manifest.toml"), waste)}
    assert pictures["a.jpg"].unknown == {"adverts", "private"}
    assert pictures["b.jpg"].unknown == {"structures", "adverts", "private"}
    assert pictures["c.jpg"].unknown == {"adverts", "private"}
    assert [label.name for label in pictures["a.jpg"].labels] == ["overflow", "shed", "ignore"]
    assert (pictures["b.jpg"].group, pictures["c.jpg"].split) == ("s1", "val")


def test_a_teacher_makes_its_group_known(waste: Path) -> None:
    """A taught picture knows persons and vehicles; one the teacher never saw does not."""
    taught = {"b.jpg": (Label("person", (0.1, 0.1, 0.3, 0.9)), Label("private", (0.5, 0.5, 0.6, 0.7)))}
    pictures = {p.path.name: p for p in load(read_manifest(waste / "manifest.toml"), waste, taught)}
    assert "private" not in pictures["b.jpg"].unknown
    assert "private" in pictures["a.jpg"].unknown
    assert [label.name for label in pictures["b.jpg"].labels] == ["overflow", "person", "private"]


def test_run_set_writes_regions_for_training_only(waste: Path, tmp_path: Path) -> None:
    """Training labels carry whole-picture regions of unknown groups; validation labels hold real boxes alone."""
    run = tmp_path / "run"
    write_run_set(load(read_manifest(waste / "manifest.toml"), waste), run, {"waste": 2})
    rows = [line.split() for line in (run / "labels" / "waste__b.txt").read_text().splitlines()]
    ids = [int(row[0]) for row in rows]
    assert ids == [2, REGIONS["adverts"], REGIONS["private"], REGIONS["structures"]]
    assert rows[1][1:] == ["0.500000", "0.500000", "1.000000", "1.000000"]
    assert (run / "labels" / "waste__c.txt").read_text() == "2 0.500000 0.500000 0.500000 0.500000\n"
    assert len((run / "train.txt").read_text().splitlines()) == 4
    assert (run / "images" / "waste__a.jpg").resolve() == waste / "images" / "a.jpg"
    assert not list(waste.rglob("*.cache"))


def test_whole_picture_regions_are_added_once_per_unknown_group() -> None:
    """`with_regions` adds one region per unknown group and leaves the labels as they are."""
    label = Label("bin", (0.1, 0.1, 0.2, 0.2))
    picture = Picture(Path("x.jpg"), "s", "train", (label,), frozenset({"adverts"}))
    assert picture.with_regions() == (label, Label("adverts", WHOLE))


@pytest.mark.parametrize(
    ("line", "boxes"),
    [
        ("", []),
        ("0 0.5 0.5 0.2 0.4", [("garbage", (0.4, 0.3, 0.6, 0.7))]),
        ("0 0.0 0.5 0.2 0.4", [("garbage", (0.0, 0.3, 0.1, 0.7))]),
        ("0 0.1 0.1 0.5 0.1 0.5 0.3 0.1 0.3", [("garbage", (0.1, 0.1, 0.5, 0.3))]),
        ("0 0.5 0.5 0.0 0.4", []),
    ],
)
def test_yolo_lines_become_boxes(tmp_path: Path, line: str, boxes: list[tuple[str, tuple[float, ...]]]) -> None:
    """Boxes are cut at the picture's edge, polygons become their bounding box, boxes without area are dropped."""
    path = tmp_path / "a.txt"
    path.write_text(line + "\n")
    found = read_yolo(path, {0: "garbage"})
    assert [label.name for label in found] == [name for name, _ in boxes]
    for label, (_, box) in zip(found, boxes, strict=True):
        assert label.box == pytest.approx(box)


@pytest.mark.parametrize("line", ["7 0.5 0.5 0.1 0.1", "0 0.5 0.5 0.1", "0 a b c d"])
def test_wrong_yolo_lines_name_the_line(tmp_path: Path, line: str) -> None:
    """An unknown class, a missing number and letters are errors that name file and line."""
    path = tmp_path / "a.txt"
    path.write_text("0 0.5 0.5 0.1 0.1\n" + line + "\n")
    with pytest.raises(DatasetError, match=r"a\.txt: line 2"):
        read_yolo(path, {0: "garbage"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "Invalid value"),
        ('name = "x"\n', "is missing"),
        ('name="x"\ntitle="t"\norigin="o"\nlicence="l"\nknows=["trees"]\n[classes]\n', "unknown group 'trees'"),
        ('name="x"\ntitle="t"\norigin="o"\nlicence="l"\nknows=[]\n[classes]\n0="tree"\n', "unknown class 'tree'"),
    ],
)
def test_wrong_manifests_say_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    """Broken TOML, a missing field, an unknown group and an unknown class are named."""
    path = tmp_path / "manifest.toml"
    path.write_text(text)
    with pytest.raises(DatasetError, match=complaint):
        read_manifest(path)


def test_manifests_of_the_repository_state_a_licence_and_an_origin() -> None:
    """Every source of the shipped model has a manifest that says where it comes from and under which licence."""
    for name in ("street-waste", "facade-adverts", "simulated"):
        source = read_manifest(MANIFESTS / name / "manifest.toml")
        assert source.name == name
        assert source.licence
        assert source.origin
