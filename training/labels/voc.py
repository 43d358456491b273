"""Pascal VOC: one XML file per picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from defusedxml import DefusedXmlException, ElementTree

from training.labels.album import Album, fit
from training.labels.kinds import LabelFault
from training.labels.numbers import is_number, numbers, stated_size
from training.labels.values import LabelledBox, LabelledPicture, LabelSet, split_of


def parse_xml(path: Path) -> Any:
    """The root element, or the reason why there is none; entities and external references are refused."""
    try:
        return ElementTree.parse(path, forbid_dtd=True).getroot()
    except (ElementTree.ParseError, DefusedXmlException, OSError, ValueError) as error:
        return f"{type(error).__name__} {error}".strip()


def read_voc_set(root: Path, images: Path | None = None) -> LabelSet:
    """The pictures that the XML files name. A `difficult` object is a region to ignore.

    Coordinates are taken as written: the standard counts pixels from 1, most tools from 0.
    """
    album = Album(root if images is None else images)
    splits = _image_sets(root)
    faults: list[LabelFault] = []
    pictures: dict[Path, LabelledPicture] = {}
    names_seen: set[str] = set()
    for file in sorted(root.rglob("*.xml")):
        where = file.relative_to(root).as_posix()
        element = parse_xml(file)
        if isinstance(element, str):
            faults.append(LabelFault("labels-unreadable", where, element))
            continue
        if element.tag != "annotation":
            continue
        stated_name = (element.findtext("filename") or "").strip()
        path = album.find(stated_name or f"{file.stem}.jpg", beside=Path(where).parent.as_posix())
        if isinstance(path, LabelFault) and path.kind == "picture-missing":
            # Some tools write a file name without suffix, or that of another machine: the XML's own name counts then.
            path = _by_stem(album, file.stem) or path
        if isinstance(path, LabelFault):
            kind = "labels-without-picture" if path.kind == "picture-missing" else path.kind
            faults.append(LabelFault(kind, where, f"{stated_name or file.stem}: {path.reason}"))
            continue
        seen, name = album.see(path), album.name(path)
        if isinstance(seen, LabelFault):
            faults.append(seen)
            continue
        if path in pictures:
            faults.append(LabelFault("picture-ambiguous", where, f"{name} has another XML file", name))
        boxes, wrong = _boxes(element, where, name)
        faults += wrong
        names_seen |= {box.name for box in boxes}
        stated = stated_size(element.findtext("size/width"), element.findtext("size/height"))
        fitted = fit(boxes, stated, seen, where, name)
        if isinstance(fitted, LabelFault):
            faults.append(fitted)
            continue
        faults += fitted[1]
        if not boxes and not wrong:
            faults.append(LabelFault("labels-empty", where, "no boxes", name))
        split = splits.get(path.stem) or next((s for part in Path(where).parts[:-1] if (s := split_of(part))), "")
        pictures[path] = album.picture(
            path, seen, fitted[0], frozenset(), split=split, labels=where, size_stated=stated is not None
        )
    faults += album.left_over(pictures, faults, "labels-missing", "no XML file names it")
    classes = tuple(sorted(names_seen))
    known = frozenset(classes)
    done = tuple(replace(picture, known=known) for picture in pictures.values())
    return LabelSet(root, "voc", done, tuple(faults), classes, any(picture.split for picture in done))


def _by_stem(album: Album, stem: str) -> Path | None:
    fitting = [path for path in album.paths if path.stem == stem]
    return fitting[0] if len(fitting) == 1 else None


def _image_sets(root: Path) -> dict[str, str]:
    """Splits by picture stem from ImageSets/Main/train.txt, val.txt and test.txt."""
    splits: dict[str, str] = {}
    for split in ("train", "val", "test"):
        for file in root.rglob(f"ImageSets/Main/{split}.txt"):
            splits |= dict.fromkeys(
                (line.split()[0] for line in file.read_text("utf-8").splitlines() if line.strip()), split
            )
    return splits


def _boxes(element: Any, where: str, picture: str) -> tuple[list[LabelledBox], list[LabelFault]]:
    boxes: list[LabelledBox] = []
    faults: list[LabelFault] = []
    for number, thing in enumerate(element.findall("object"), start=1):
        spot, name = f"{where}, object {number}", (thing.findtext("name") or "").strip()
        texts = [thing.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        if not name:
            faults.append(LabelFault("class-unknown", spot, "the object has no name", picture))
        elif any(text is None or not text.strip() for text in texts):
            faults.append(LabelFault("line-too-short", spot, "the bndbox lacks a side", picture))
        elif not all(is_number(text) for text in texts):
            faults.append(LabelFault("line-not-numbers", spot, " ".join(map(str, texts))[:80], picture))
        else:
            x0, y0, x1, y1 = numbers(texts)
            boxes.append(LabelledBox(name, (x0, y0, x1, y1), (thing.findtext("difficult") or "").strip() == "1", spot))
    return boxes, faults
