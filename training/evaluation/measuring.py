"""A model measured and what becomes of it: figures, thresholds and the card in its folder, the page of mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluation.breakdown import measure
from training.evaluation.conditions import conditions
from training.evaluation.evaluate import Looks, look, thresholds
from training.evaluation.mistakes import false_alarms, misses, tally, worst
from training.evaluation.page import write_page
from training.release import card
from training.release.export import set_thresholds, write_json
from training.sources import Picture
from vision.detecting.detector import Detector

# What a page shows of misses and of alarms, and of one class among them.
SHOWN, SHOWN_OF_A_CLASS = 40, 10


@dataclass(frozen=True, slots=True)
class Measured:
    """The report, what it rests on, and the thresholds that precision and recall were taken at."""

    report: dict[str, Any]
    looks: Looks
    shown: dict[str, float]


def measured(detector: Detector, pictures: Sequence[Picture], size: str | None = None, *, choose: bool) -> Measured:
    """Look at every picture and work out all figures; with `choose` the thresholds are chosen on these pictures.

    `size` is noted as the input that was asked for. Raises MediaError when a picture cannot be read.
    """
    looks = look(detector, pictures)
    shown = dict(zip(detector.model.classes, detector.model.thresholds, strict=True))
    if choose:
        shown = thresholds(looks)
    found = measure(looks, [conditions(picture.path) for picture in pictures], shown)
    report = {"model": detector.model.id, "input": size} | found | {"false_alarms": tally(false_alarms(looks, shown))}
    return Measured(report, looks, shown)


def stored(folder: Path, found: Measured) -> None:
    """Write thresholds, metrics.json and the card's table. Raises TrainingError when the card has no place for it."""
    card.update(folder / "CARD.md", found.report)
    set_thresholds(folder, found.shown)
    write_json(folder / "metrics.json", found.report)


def write_mistakes(page: Path, found: Measured) -> Path:
    """The page of figures and worst mistakes. Raises TrainingError when it would lie in a repository."""
    missed, alarms = (
        worst(mistakes, SHOWN, SHOWN_OF_A_CLASS)
        for mistakes in (misses(found.looks, found.shown), false_alarms(found.looks, found.shown))
    )
    return write_page(page, found.report, missed, alarms)
