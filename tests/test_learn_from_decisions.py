"""The parts of the proof that operators' decisions make the detector better: the operator, the patrol, the list."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.learn_from_decisions import judge, thin, write_patrol
from tests.pictures import jpeg, street
from training.sources import Label, Picture
from vision.pictures.media import read_picture

FIRST = datetime(2026, 11, 20, 8, 0, 0, tzinfo=UTC)


@pytest.fixture
def stop(tmp_path: Path) -> Picture:
    """A picture of 400×400 pixels with garbage on the left and a bin on the right."""
    path = tmp_path / "stop.jpg"
    path.write_bytes(jpeg(street(400, 400)))
    labels = (Label("garbage", (0.0, 0.5, 0.25, 0.75)), Label("bin", (0.75, 0.5, 1.0, 1.0)))
    return Picture(path, "t", "train", labels, frozenset({"structures"}))


def said(name: str, box: tuple[float, float, float, float], stop: Picture) -> str | None:
    """The verdict about one evidence box."""
    found = judge(name, {"boxes": [{"box": box}]}, stop)
    return None if found is None else str(found["verdict"])


def test_the_operator_follows_the_labels(stop: Picture) -> None:
    """Right, of another class, nearly right, on nothing; what lies in between is left undecided."""
    assert said("garbage", (0, 200, 100, 300), stop) == "confirm"
    assert judge("overflow", {"boxes": [{"box": (300, 200, 400, 400)}]}, stop) == {"verdict": "reclass", "class": "bin"}
    moved = judge("garbage", {"boxes": [{"box": (40, 200, 140, 300)}]}, stop)
    assert moved == {"verdict": "move", "box": pytest.approx([0, 200, 100, 300])}
    assert said("garbage", (150, 10, 200, 60), stop) == "reject"
    assert said("garbage", (75, 200, 175, 300), stop) is None
    assert judge("garbage", {"boxes": [{"box": (0, 0, 9, 9)}] * 2}, stop) is None


def test_the_patrol_can_be_told_apart_by_time(stop: Picture, tmp_path: Path) -> None:
    """Each stop's picture carries its own time, ten seconds after the one before; the track covers them all."""
    files = write_patrol([stop, stop], tmp_path / "patrol", FIRST)
    times = [read_picture(file.path).taken_at for file in files if file.kind == "media"]
    assert [(time - FIRST).total_seconds() for time in times if time] == [10, 20]
    with (tmp_path / "patrol" / "track.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert float(rows[-1]["longitude_deg"]) > float(rows[0]["longitude_deg"])


def test_pictures_that_were_decided_about_are_seen_through_the_decisions_alone(tmp_path: Path) -> None:
    """The thinned list holds corrected pictures as often as asked, confirmed ones, and others not on the patrol."""
    listed = tmp_path / "train.txt"
    names = ["decided__e1.jpg", "decided__e2.jpg", "s__a.jpg", "s__b.jpg", "s__c.jpg"]
    listed.write_text("".join(f"/d/{name}\n" for name in names))
    (tmp_path / "val.txt").write_text("".join(f"/d/s__v{number}.jpg\n" for number in range(7)))
    found = thin(listed, {"e1.jpg"}, {"a.jpg"}, 10, 2)
    assert found == {"corrected": 1, "times": 2, "confirmed": 1, "ordinary": 2}
    lines = [Path(line).name for line in listed.read_text().splitlines()]
    assert sorted(lines) == sorted([names[0], *names[:2], "s__b.jpg", "s__c.jpg"])
    assert (tmp_path / "val.txt").read_text() == "/d/s__v0.jpg\n/d/s__v5.jpg\n"
