from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.labelled import scene, table, tiny_set
from training.errors import DatasetError
from training.labels.checks import check
from training.labels.looks import look_of
from training.labels.splits import Division, divide, group, read_groups
from training.labels.values import LabelledBox, LabelledPicture, Seen
from vision.pictures.media import GpsFix

LOOKS = [look_of(scene(seed, (64, 48))) for seed in range(300)]
START = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
BOX = (1.0, 1.0, 9.0, 9.0)


def picture(
    number: int,
    *,
    classes: tuple[str, ...] = ("bin",),
    at: tuple[float, float] | None = None,
    second: float | None = None,
    look: int | None = None,
    group_name: str = "",
) -> LabelledPicture:
    fix = None if at is None else GpsFix(at[0], at[1], None)
    taken = None if second is None else START + timedelta(seconds=second)
    seen = Seen((160, 120), 1, taken, fix, f"{number:064d}", False, LOOKS[number if look is None else look])
    boxes = tuple(LabelledBox(name, BOX) for name in classes)
    path = Path(f"p{number:03d}.jpg")
    return LabelledPicture(path, path.name, seen, boxes, frozenset(classes), group=group_name)


def grouped(pictures: list[LabelledPicture], near_m: float = 0, burst_s: float = 0, by_look: bool = False) -> list[int]:
    return group(pictures, given=None, near_m=near_m, burst_s=burst_s, by_look=by_look)


def test_no_pictures() -> None:
    """An empty set is divided into nothing."""
    assert divide([]) == Division((), (), ("0 pictures in 0 groups, 0 in val (0%)",))


def test_places_join_within_the_distance() -> None:
    """20 m apart is one place, 200 m is another; without a position a picture stays alone."""
    north = 1 / 111_195
    shots = [picture(0, at=(113, 22)), picture(1, at=(113, 22 + 20 * north)), picture(2, at=(113, 22 + 220 * north))]
    assert grouped([*shots, picture(3)], near_m=30) == [0, 0, 2, 3]
    assert grouped(shots, near_m=0) == [0, 1, 2]


def test_bursts_join_through_each_other() -> None:
    """Shots 4 s apart are one burst however long it lasts; the next after a pause is another."""
    shots = [picture(i, second=4 * i) for i in range(5)] + [picture(5, second=60)]
    assert grouped(shots, burst_s=5) == [0, 0, 0, 0, 0, 5]


def test_two_vehicles_at_one_moment_are_two_places() -> None:
    """Pictures of the same second ten kilometres apart are no burst."""
    shots = [picture(0, second=0, at=(113, 22)), picture(1, second=1, at=(113.1, 22))]
    assert grouped(shots, burst_s=5) == [0, 1]


def test_look_alikes_and_given_groups_join() -> None:
    """Pictures that look alike share a group, and so do those of one given group; both chain."""
    shots = [picture(0), picture(1, look=0, group_name="a"), picture(2, group_name="a"), picture(3)]
    assert grouped(shots, by_look=True) == [0, 0, 0, 3]


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_classes_are_shared_out(seed: int) -> None:
    """No group stands in two splits, and val gets about its share of pictures and of each class, rare ones too."""
    rng = np.random.default_rng(seed)
    shots = []
    for number in range(300):
        classes = ("bin",) * int(rng.integers(1, 4)) + (("stall",) if number % 10 == 0 else ())
        shots.append(picture(number, classes=classes, group_name=f"s{number // 3}"))
    done = divide(shots, by_look=False, val=0.2, seed=seed)
    sides: dict[str, set[str]] = defaultdict(set)
    for name, split in zip(done.groups, done.splits, strict=True):
        sides[name].add(split)
    assert len(sides) == 100
    assert all(len(splits) == 1 for splits in sides.values())
    chosen = [shot for shot, split in zip(shots, done.splits, strict=True) if split == "val"]
    assert len(chosen) / 300 == pytest.approx(0.2, abs=0.04)
    assert sum("stall" in [box.name for box in shot.boxes] for shot in chosen) / 30 == pytest.approx(0.2, abs=0.05)


def test_the_same_seed_divides_the_same_way() -> None:
    """A division is a function of pictures and seed; another seed draws others."""
    shots = [picture(number) for number in range(60)]
    assert divide(shots, seed=3) == divide(shots, seed=3)
    assert divide(shots, seed=3).splits != divide(shots, seed=4).splits


def test_a_chained_drive_is_named() -> None:
    """When a drive joins into one group, the notes say so instead of dividing badly in silence."""
    shots = [picture(number, second=number) for number in range(40)]
    assert any("largest group holds 40" in note for note in divide(shots, burst_s=5).notes)


def test_groups_file_is_read(tmp_path: Path) -> None:
    """A CSV gives groups by file name; one without the columns is refused with a remedy."""
    table(tmp_path / "g.csv", [("p000.jpg", "x"), ("p001.jpg", "x")], ("image", "scene"))
    given = read_groups(tmp_path / "g.csv")
    assert group([picture(0), picture(1)], given=given, near_m=0, burst_s=0, by_look=False) == [0, 0]
    table(tmp_path / "bad.csv", [("a", "b")], ("name", "scene"))
    with pytest.raises(DatasetError) as caught:
        read_groups(tmp_path / "bad.csv")
    assert caught.value.remedy


def test_split_command_writes_what_check_accepts(tmp_path: Path) -> None:
    """`jiejing dataset split` writes a split file under which `check` finds no leak, and every picture is in it."""
    from typer.testing import CliRunner

    from training.dataset_commands import app

    tiny_set(tmp_path, count=12)
    done = CliRunner().invoke(app, ["split", str(tmp_path), "--val", "0.25", "--seed", "1"])
    assert done.exit_code == 0, done.output
    with (tmp_path / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert sum(row["split"] == "val" for row in rows) == 3
    assert check(tmp_path).faults == ()
