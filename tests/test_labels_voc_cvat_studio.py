from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.labelled import as_json as write_json
from tests.labelled import by_name, corners, kinds, photo
from training.labels.kinds import Format
from training.labels.reading import read_set


def voc(name: str, boxes: str, size: tuple[int, int] = (160, 120)) -> str:
    return (
        f"<annotation><filename>{name}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"{boxes}</annotation>"
    )


def thing(name: str, *sides: object, difficult: int = 0) -> str:
    tags = "".join(f"<{t}>{v}</{t}>" for t, v in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=False))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{tags}</bndbox></object>"


def test_voc_boxes_and_difficult_objects(tmp_path: Path) -> None:
    """Corners are read as written; a difficult object is a region to ignore; ImageSets give the split."""
    photo(tmp_path / "JPEGImages" / "a.jpg", 1)
    (tmp_path / "Annotations").mkdir()
    boxes = thing("bin", 10, 20, 50, 80) + thing("trash", 60, 20, 100, 80, difficult=1)
    (tmp_path / "Annotations" / "a.xml").write_text(voc("a.jpg", boxes))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("a\n")
    found = read_set(tmp_path)
    (picture,) = found.pictures
    assert found.format == "voc"
    assert corners(picture) == {"bin": (10, 20, 50, 80), "trash": (60, 20, 100, 80)}
    assert [box.ignore for box in picture.boxes] == [False, True]
    assert picture.known == {"bin", "trash"}
    assert picture.split == "val"
    assert found.faults == ()


def test_voc_faults_one_by_one(tmp_path: Path) -> None:
    """Broken XML, a missing picture, a bad object and a picture without XML are one record each."""
    for seed, name in enumerate(("a", "b", "c")):
        photo(tmp_path / f"{name}.jpg", seed)
    boxes = thing("bin", 10, 20, 50) + thing("bin", 10, 20, "wide", 80) + thing("", 1, 2, 3, 4)
    (tmp_path / "a.xml").write_text(voc("a.jpg", boxes))
    (tmp_path / "b.xml").write_text(voc("b.jpg", thing("bin", 10, 20, 50, 80), (100, 100)))
    (tmp_path / "gone.xml").write_text(voc("gone.jpg", ""))
    (tmp_path / "broken.xml").write_text("<annotation><filename>")
    found = read_set(tmp_path, Format.voc)
    assert kinds(found) == [
        "class-unknown",
        "labels-missing",
        "labels-unreadable",
        "labels-without-picture",
        "line-not-numbers",
        "line-too-short",
        "size-mismatch",
    ]


def test_hostile_xml_is_refused(tmp_path: Path) -> None:
    """Entities are not expanded: a file that brings some is a fault and costs nothing."""
    photo(tmp_path / "a.jpg", 1)
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + voc("&b;.jpg", "")
    (tmp_path / "a.xml").write_text(bomb)
    assert "labels-unreadable" in kinds(read_set(tmp_path, Format.voc))


CVAT = """<annotations><version>1.1</version><meta><task><labels>
<label><name>bin</name></label><label><name>trash</name></label></labels></task></meta>
<image id="0" name="street/a.jpg" width="160" height="120">
  <box label="bin" occluded="1" xtl="10" ytl="20" xbr="50" ybr="80" z_order="0"></box>
  <box label="trash" outside="1" xtl="60" ytl="20" xbr="100" ybr="80"></box>
  <polygon label="trash" points="60.0,20.0;90.0,25.0;80.0,70.0"></polygon>
</image>
<image id="1" name="street/b.jpg" width="160" height="120"><tag label="trash"></tag></image>
</annotations>"""


def test_cvat_boxes_polygons_outside_and_tags(tmp_path: Path) -> None:
    """Occluded boxes count, shapes marked outside do not, polygons become boxes, a tag makes its class unknown."""
    for seed, name in enumerate(("a", "b")):
        photo(tmp_path / "street" / f"{name}.jpg", seed)
    (tmp_path / "annotations.xml").write_text(CVAT)
    found = read_set(tmp_path)
    named = by_name(found)
    assert found.format == "cvat"
    assert corners(named["a.jpg"]) == {"bin": (10, 20, 50, 80), "trash": (60, 20, 90, 70)}
    assert named["a.jpg"].known == {"bin", "trash"}
    assert named["b.jpg"].known == {"bin"}
    assert kinds(found) == ["labels-empty"]


def test_cvat_faults_one_by_one(tmp_path: Path) -> None:
    """Rotated boxes, masks, labels not on offer and missing pictures are one record each."""
    photo(tmp_path / "a.jpg", 1)
    (tmp_path / "annotations.xml").write_text(
        """<annotations><meta><task><labels><label><name>bin</name></label></labels></task></meta>
<image name="a.jpg" width="160" height="120">
<box label="bin" rotation="30" xtl="10" ytl="20" xbr="50" ybr="80"/><mask label="bin" rle="1, 2"/>
<box label="cat" xtl="10" ytl="20" xbr="50" ybr="80"/><box label="bin" xtl="10" ytl="20" xbr="50"/></image>
<image name="gone.jpg" width="160" height="120"/></annotations>"""
    )
    assert kinds(read_set(tmp_path, Format.cvat)) == [
        "box-rotated",
        "class-unknown",
        "line-too-short",
        "picture-missing",
        "shape-unsupported",
    ]


def region(name: str, x: float, y: float, w: float, h: float, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": [name]}
    value |= {key: more.pop(key) for key in ("rotation",) if key in more}
    return {"type": "rectanglelabels", "original_width": 160, "original_height": 120, "value": value} | more


def task(picture: str, *results: dict[str, Any], **annotation: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"image": picture}, "annotations": [{"result": list(results)} | annotation]}


@pytest.mark.parametrize(
    "reference",
    [
        "/data/upload/3/3f2a9c1e-a%20b.jpg",
        "/data/local-files/?d=set/a%20b.jpg",
        "s3://bucket/set/a b.jpg",
        "https://example.org/x/a%20b.jpg?token=1",
        "C:\\pictures\\a b.jpg",
    ],
)
def test_label_studio_finds_the_picture(reference: str, tmp_path: Path) -> None:
    """Upload prefixes, storage addresses and escaped names lead to the file."""
    photo(tmp_path / "a b.jpg", 1)
    write_json(tmp_path / "export.json", [task(reference, region("bin", 25, 50, 25, 25))])
    found = read_set(tmp_path)
    assert found.format == "label-studio"
    assert [corners(picture) for picture in found.pictures] == [{"bin": (40, 60, 80, 90)}]
    assert found.faults == ()


def test_label_studio_min_export(tmp_path: Path) -> None:
    """JSON-MIN holds the regions under the control's own name."""
    photo(tmp_path / "a.jpg", 1)
    boxes = [{"x": 25, "y": 50, "width": 25, "height": 25, "rotation": 0, "rectanglelabels": ["bin"]}]
    boxes[0] |= {"original_width": 160, "original_height": 120}
    write_json(tmp_path / "min.json", [{"id": 4, "image": "/data/upload/1/0123abcd-a.jpg", "label": boxes}])
    found = read_set(tmp_path)
    assert corners(found.pictures[0]) == {"bin": (40, 60, 80, 90)}
    assert found.faults == ()


def test_label_studio_faults_one_by_one(tmp_path: Path) -> None:
    """Rotated boxes, brushes, other sizes, several annotators, cancelled tasks and missing pictures are told apart."""
    for seed in range(5):
        photo(tmp_path / f"{seed}.jpg", seed)
    twice = task("4.jpg", region("bin", 1, 1, 20, 20), updated_at="2026-01-02")
    twice["annotations"].insert(0, {"result": [], "updated_at": "2026-01-03"})
    write_json(
        tmp_path / "export.json",
        [
            task("0.jpg", region("bin", 10, 10, 20, 20, rotation=15)),
            task("1.jpg", {"type": "brushlabels", "value": {"brushlabels": ["bin"]}}),
            task("2.jpg", region("bin", 10, 10, 20, 20, original_width=100)),
            task("3.jpg", region("bin", 10, 10, 20, 20), was_cancelled=True),
            twice,
            task("gone.jpg"),
        ],
    )
    found = read_set(tmp_path)
    assert kinds(found) == [
        "annotations-several",
        "box-rotated",
        "labels-empty",
        "picture-missing",
        "picture-not-labelled",
        "shape-unsupported",
        "size-mismatch",
    ]
    assert by_name(found)["4.jpg"].boxes == ()


def test_label_studio_scales_with_the_file(tmp_path: Path) -> None:
    """Percent of a picture labelled at twice the size are the same percent of the file."""
    photo(tmp_path / "a.jpg", 1)
    both = region("bin", 25, 50, 25, 25, original_width=320, original_height=240)
    write_json(tmp_path / "export.json", [task("a.jpg", both)])
    found = read_set(tmp_path)
    assert corners(found.pictures[0]) == {"bin": (40, 60, 80, 90)}
    assert kinds(found) == ["size-scaled"]
