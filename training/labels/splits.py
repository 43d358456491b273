"""Dividing a data set by scene, place, time and look, never by picture: whole groups go to train or val."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from training.errors import DatasetError
from training.labels.looks import Groups, alike
from training.labels.values import LabelledPicture

EARTH_M = 6_371_000.0
# Pictures of one moment that lie further apart than this come from different vehicles.
SAME_BURST_M = 1000.0


@dataclass(frozen=True, slots=True)
class Division:
    """`groups` and `splits` by picture, in the order given; `notes` say what a reader should know."""

    groups: tuple[str, ...]
    splits: tuple[str, ...]
    notes: tuple[str, ...]


def read_groups(path: Path) -> dict[str, str]:
    """Groups by picture from a CSV with the columns image and group (or scene).

    Raises DatasetError when it cannot be read or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: {error}", remedy="name a readable CSV file") from None
    column = next((name for name in ("group", "scene") if rows and name in rows[0]), None)
    if column is None or "image" not in rows[0]:
        raise DatasetError(f"{path}: no columns image and group", remedy="write image,group in its first line")
    return {row["image"]: row[column] or "" for row in rows}


def divide(
    pictures: Sequence[LabelledPicture],
    *,
    given: Mapping[str, str] | None = None,
    near_m: float = 30.0,
    burst_s: float = 5.0,
    by_look: bool = True,
    val: float = 0.2,
    seed: int = 0,
) -> Division:
    """Groups and splits of labelled pictures; the same pictures and seed give the same division.

    Pictures share a group when a given group, a place within `near_m` metres, a time within `burst_s` seconds or their
    look joins them, directly or through others. `val`: the share of pictures and of each class's boxes wanted in val.
    """
    joined = group(pictures, given=given, near_m=near_m, burst_s=burst_s, by_look=by_look)
    members: dict[int, list[int]] = defaultdict(list)
    for index, root in enumerate(joined):
        members[root].append(index)
    width = len(str(len(members)))
    names = {root: f"g{number:0{width}d}" for number, root in enumerate(sorted(members))}
    chosen = _choose(list(members.values()), pictures, val, seed)
    share = len(chosen) / max(len(pictures), 1)
    notes = [f"{len(pictures)} pictures in {len(members)} groups, {len(chosen)} in val ({share:.0%})"]
    largest = max(members.values(), key=len, default=[])
    if len(largest) > max(2, val * len(pictures)):
        notes.append(
            f"the largest group holds {len(largest)} pictures: a drive chains into one place; "
            "give a smaller distance or groups of your own"
        )
    for name, (inside, total) in sorted(_class_counts(pictures, chosen).items()):
        if not 0.5 * val <= inside / total <= 2 * val:
            notes.append(f"{name}: {inside} of {total} boxes in val")
    return Division(
        groups=tuple(names[root] for root in joined),
        splits=tuple("val" if index in chosen else "train" for index in range(len(pictures))),
        notes=tuple(notes),
    )


def group(
    pictures: Sequence[LabelledPicture],
    *,
    given: Mapping[str, str] | None,
    near_m: float,
    burst_s: float,
    by_look: bool,
) -> list[int]:
    """For each picture the number of the first picture of its group."""
    joined = Groups(len(pictures))
    first: dict[str, int] = {}
    for index, picture in enumerate(pictures):
        for key in (f"sha {picture.sha256}", f"given {_given(picture, given)}"):
            if key != "given ":
                joined.join(first.setdefault(key, index), index)
    for i, j in _close(pictures, near_m):
        joined.join(i, j)
    for i, j in _bursts(pictures, burst_s):
        joined.join(i, j)
    if by_look:
        for i, j, _ in alike([picture.seen.look for picture in pictures]):
            joined.join(i, j)
    return [joined.find(index) for index in range(len(pictures))]


def _given(picture: LabelledPicture, given: Mapping[str, str] | None) -> str:
    if given is None:
        return picture.group
    return given.get(picture.name) or given.get(picture.path.name) or ""


def _xyz_m(picture: LabelledPicture) -> tuple[float, float, float]:
    """On a sphere, metres: chords of some metres are distances on the ground."""
    assert picture.gps is not None
    lon, lat = np.radians([picture.gps.longitude_deg, picture.gps.latitude_deg])
    return (
        float(EARTH_M * np.cos(lat) * np.cos(lon)),
        float(EARTH_M * np.cos(lat) * np.sin(lon)),
        float(EARTH_M * np.sin(lat)),
    )


def _close(pictures: Sequence[LabelledPicture], near_m: float) -> list[tuple[int, int]]:
    placed = [index for index, picture in enumerate(pictures) if picture.gps is not None]
    if near_m <= 0 or len(placed) < 2:
        return []
    pairs = cKDTree([_xyz_m(pictures[index]) for index in placed]).query_pairs(near_m)
    return [(placed[i], placed[j]) for i, j in sorted(pairs)]


def _bursts(pictures: Sequence[LabelledPicture], burst_s: float) -> list[tuple[int, int]]:
    """Neighbours in time; times with and without a zone are not compared."""
    pairs = []
    for zoned in (True, False):
        timed: list[tuple[datetime, int]] = sorted(
            (picture.taken_at, index)
            for index, picture in enumerate(pictures)
            if picture.taken_at is not None and (picture.taken_at.tzinfo is not None) == zoned
        )
        for (early, i), (late, j) in pairwise(timed):
            a, b = pictures[i], pictures[j]
            apart = a.gps and b.gps and np.linalg.norm(np.subtract(_xyz_m(a), _xyz_m(b))) > SAME_BURST_M
            if burst_s > 0 and (late - early).total_seconds() <= burst_s and not apart:
                pairs.append((i, j))
    return pairs


def _choose(groups: list[list[int]], pictures: Sequence[LabelledPicture], val: float, seed: int) -> set[int]:
    """The pictures of val: from the group that weighs most in some class down, a group goes where it keeps the shares
    that val has of pictures and of each class's boxes so far nearer to `val` (least sum of squares; greedy as in
    K. Sechidis et al., "On the stratification of multi-label data", 2011, with groups for samples).
    """
    columns = sorted({box.name for picture in pictures for box in picture.boxes})
    number = {name: column for column, name in enumerate(columns, start=1)}
    counts = np.zeros((len(groups), len(columns) + 1))
    for row, group_ in enumerate(groups):
        counts[row, 0] = len(group_)
        for index in group_:
            for box in pictures[index].boxes:
                counts[row, number[box.name]] += 1
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    order = list(range(len(groups)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda row: -shares[row].max())
    # By how much val is ahead of its share of what was dealt out so far, for pictures and each class.
    ahead = np.zeros(shares.shape[1])
    chosen: set[int] = set()
    for row in order:
        with_it, without = ahead + (1 - val) * shares[row], ahead - val * shares[row]
        if (with_it**2).sum() < (without**2).sum():
            chosen.update(groups[row])
            ahead = with_it
        else:
            ahead = without
    return chosen


def _class_counts(pictures: Sequence[LabelledPicture], chosen: set[int]) -> dict[str, tuple[int, int]]:
    """Boxes in val and in all, by class."""
    total = Counter(box.name for picture in pictures for box in picture.boxes)
    inside = Counter(box.name for index in chosen for box in pictures[index].boxes)
    return {name: (inside[name], count) for name, count in total.items()}


def split_csv(pictures: Sequence[LabelledPicture], groups: Sequence[str], splits: Sequence[str]) -> str:
    """The split file: image, split, group. A picture goes by its file name where that is unique, else by its path."""
    names = Counter(picture.path.name for picture in pictures)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("image", "split", "group"))
    for picture, group_, split in zip(pictures, groups, splits, strict=True):
        name = picture.path.name if names[picture.path.name] == 1 else picture.name
        writer.writerow((name, split, group_))
    return out.getvalue()
