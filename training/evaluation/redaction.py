"""How well people and plates are hidden: what of them the redaction covers on labelled pictures, and what it covers in
vain."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError
from training.release import card
from training.release.export import write_json
from vision.detecting.detector import Detector
from vision.pictures import redact
from vision.pictures.media import decode, picture_header, read_bytes
from vision.pictures.packed import Packed

KINDS = ("person", "face", "plate", "vehicle")
# A thing counts as hidden when so much of its box is.
ENOUGH = 0.9
# Edges between sizes, in pixels of the picture: a person's height, a face's or plate's likewise.
_HEIGHTS = (0, 30, 60, 120, math.inf)
_Z = 1.645  # two-sided 90 %


@dataclass(frozen=True, slots=True)
class Thing:
    """One labelled thing: what it is, its height in pixels, whether it is in the picture's middle half or beside it
    (seen at an angle), and the hidden share of its box."""

    kind: str
    height_px: float
    is_ahead: bool
    hidden: float


@dataclass(frozen=True, slots=True)
class Covered:
    """One picture: its things, and the shares of it that are hidden at all and hidden in vain."""

    things: tuple[Thing, ...]
    hidden: float
    in_vain: float


Labels = Mapping[str, list[list[Any]]]


def read_labels(path: Path) -> Labels:
    """`{picture: [[kind, x_min, y_min, x_max, y_max], …]}` in fractions of the picture; `ignore` neither counts nor is
    it hidden in vain. Raises TrainingError when the file is anything else."""
    try:
        labels = json.loads(path.read_text("utf-8"))
        for rows in labels.values():
            for kind, *box in rows:
                if kind not in (*KINDS, "ignore") or not all(0 <= float(side) <= 1 for side in box) or len(box) != 4:
                    raise ValueError(f"{kind!r} {box}")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path}: no labels of people ({error})", remedy="give {picture: [[kind, x1, y1, x2, y2], …]} in fractions"
        ) from error
    found: Labels = labels
    return found


def look_at(detector: Detector, path: Path, rows: list[list[Any]]) -> Covered:
    """Redact one picture as the pipeline does and hold it against its labels. Raises MediaError."""
    data = read_bytes(path)
    picture = picture_header(data, path)
    pixels = decode(data, picture)
    size_wh = picture.size_wh
    seen = detector.detect(pixels, size_wh=size_wh, min_score=detector.model.least_scores)
    scores, input_wh = detector.model.hide_from, redact.second_input(detector.input_for(size_wh))
    waited = Packed.of(pixels).pixels()
    again = detector.detect(waited, size_wh=size_wh, min_score=scores, input_wh=input_wh)
    private = redact.private_only([seen, again], scores)
    hidden = np.zeros((size_wh[1], size_wh[0]), dtype=bool)
    for left, top, right, bottom, _ in redact.regions(private, size_wh).tolist():
        hidden[top:bottom, left:right] = True
    return covered(rows, hidden)


def covered(rows: list[list[Any]], hidden: npt.NDArray[np.bool_]) -> Covered:
    """Hold a mask (height, width) of what is hidden against the labels of one picture."""
    height, width = hidden.shape
    meant = np.zeros_like(hidden)
    things = []
    for kind, x_min, y_min, x_max, y_max in rows:
        left, right = round(x_min * width), max(round(x_max * width), round(x_min * width) + 1)
        top, bottom = round(y_min * height), max(round(y_max * height), round(y_min * height) + 1)
        meant[top:bottom, left:right] = True
        if kind != "ignore":
            ahead = 0.25 <= (x_min + x_max) / 2 <= 0.75
            share = float(hidden[top:bottom, left:right].mean())
            things.append(Thing(kind, (y_max - y_min) * height, ahead, share))
    return Covered(tuple(things), float(hidden.mean()), float((hidden & ~meant).mean()))


def report(model: str, hide_from: Mapping[str, float], pictures: Iterable[Covered]) -> dict[str, Any]:
    """Recall by kind, by height and by angle, each with its 90 % interval, and what is hidden in vain."""
    covers = list(pictures)
    things = [thing for one in covers for thing in one.things]
    kinds: dict[str, Any] = {}
    for kind in KINDS:
        ours = [thing for thing in things if thing.kind == kind]
        by_height = {
            f"{low:g} px or more" if math.isinf(high) else f"{low:g} to {high:g} px": recall(
                thing for thing in ours if low <= thing.height_px < high
            )
            for low, high in itertools.pairwise(_HEIGHTS)
        }
        kinds[kind] = recall(ours) | {
            "60 px or more": recall(thing for thing in ours if thing.height_px >= 60),
            "by_height": by_height,
            "by_angle": {
                "ahead": recall(thing for thing in ours if thing.is_ahead),
                "aside": recall(thing for thing in ours if not thing.is_ahead),
            },
        }
    count = max(1, len(covers))
    return {
        "model": model,
        "pictures": len(covers),
        "hide_from": dict(hide_from),
        "counts_as_hidden": ENOUGH,
        "kinds": kinds,
        "hidden_share": round(sum(one.hidden for one in covers) / count, 4),
        "hidden_in_vain_share": round(sum(one.in_vain for one in covers) / count, 4),
    }


def recall(things: Iterable[Thing]) -> dict[str, Any]:
    """How many of them are hidden, with Wilson's score interval (1927) for 9 times of 10; None of none."""
    all_of_them = [thing.hidden >= ENOUGH for thing in things]
    n, k = len(all_of_them), sum(all_of_them)
    if n == 0:
        return {"things": 0, "hidden": 0, "recall": None, "interval": None}
    share = k / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    interval = [round(max(0.0, middle - half), 3), round(min(1.0, middle + half), 3)]
    return {"things": n, "hidden": k, "recall": round(share, 4), "interval": interval}


def table(found: Mapping[str, Any]) -> str:
    """The report as the card's table."""
    lines = ["| what | hidden | of | recall | holds 9 of 10 |", "|---|---|---|---|---|"]
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for kind, one in found["kinds"].items():
        rows.append((kind, one))
        if kind == "person":
            rows.append(("person, 60 px or more", one["60 px or more"]))
        rows += [(f"{kind}, {size}", row) for size, row in one["by_height"].items() if row["things"]]
        rows += [(f"{kind}, {angle}", row) for angle, row in one["by_angle"].items() if row["things"]]
    for name, row in rows:
        if row["things"]:
            low, high = row["interval"]
            lines.append(
                f"| {name} | {row['hidden']} | {row['things']} | {row['recall']:.3f} | {low:.2f} to {high:.2f} |"
            )
    scores = ", ".join(f"{name} from {score:g}" for name, score in found["hide_from"].items())
    lines += [
        "",
        f"{found['pictures']} pictures; hidden is what scores low already ({scores}), in either of two looks. A thing"
        f" counts as hidden when {found['counts_as_hidden']:.0%} of its box is. {found['hidden_share']:.1%} of the"
        f" pictures is hidden, {found['hidden_in_vain_share']:.1%} in vain.",
    ]
    return "\n".join(lines)


def stored(folder: Path, found: Mapping[str, Any]) -> None:
    """Write redaction.json and the card's table. Raises TrainingError when the card has no place for it."""
    card.put(folder / "CARD.md", *card.REDACTION, table(found))
    write_json(folder / "redaction.json", found)
