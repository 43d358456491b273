"""Two models on the same patrols of known truth: which things become cases, and how many cases are wrong.

A patrol folder is what `jiejing simulate patrol` writes: `camera.json`, `truth.geojson`, and for every pass a folder
`pass-N` of pictures with its `track.csv`. Both models drive through the whole chain (decode, detect, join, locate,
merge), and the difference is judged by a paired bootstrap over places: each thing, and each spot where a case stands
for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from serve.cases.lifecycle import Case, Stage
from serve.cases.matters import Matters
from training.errors import TrainingError
from training.evaluation.bootstrap import ROUNDS, draws, percentiles
from training.evaluation.case_books import merge, sightings_of
from training.evaluation.compare import Difference
from vision.geo import FloatArray, LocalFrame
from vision.pipeline import run_patrol

# A case stands for a thing when its error circle, or one of this radius about it, touches the footprint.
NEAR_M = 2.0
# False cases of both models so near each other are the same mistake.
SAME_SPOT_M = 3.0
_SIDES = 2


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that stands on the street: its footprint in metres east and north of the patrol's frame; `counts`:
    some pass saw it well enough to be asked for it."""

    class_name: str
    footprint: shapely.Geometry
    counts: bool


@dataclass(frozen=True, slots=True)
class Street:
    """Passes through one street, in order, and what stands there."""

    folder: Path
    frame: LocalFrame
    passes: tuple[Path, ...]
    things: tuple[Thing, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """n places: `things` (n,) 1 where a thing is to be found, `found` and `cases` (n, 2): whether each model has a
    case for it, and how many cases it has there."""

    things: FloatArray
    found: FloatArray
    cases: FloatArray


def read_street(folder: Path, matters: Matters) -> Street:
    """A patrol folder; things whose class opens no case are left out. Raises TrainingError when something lacks."""
    passes = tuple(sorted(path for path in folder.glob("pass-*") if path.is_dir()))
    try:
        features = json.loads((folder / "truth.geojson").read_text(encoding="utf-8"))["features"]
        if not passes or not features:
            raise ValueError("no pass-N folder, or nothing in truth.geojson")
        lon, lat = features[0]["geometry"]["coordinates"][0][0][:2]
        frame = LocalFrame(float(lon), float(lat))
        things = [_thing(feature, frame, matters) for feature in features]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise TrainingError(
            f"{folder}: not a patrol of known truth ({error})", remedy="draw one with `jiejing simulate patrol`"
        ) from error
    return Street(folder, frame, passes, tuple(thing for thing in things if matters.of(thing.class_name).opens))


def _thing(feature: dict[str, Any], frame: LocalFrame, matters: Matters) -> Thing:
    said = feature["properties"]
    outline = np.asarray(feature["geometry"]["coordinates"][0], float)
    points = np.stack([frame.to_enu(float(x), float(y))[:2] for x, y in outline[:, :2]])
    enough = matters.of(said["class"]).min_frames
    seen = any(one["frames"] >= enough for one in said["seen"].values())
    return Thing(said["class"], shapely.Polygon(points), seen and not said["ignore"])


def cases_of(model: str | Path, street: Street, matters: Matters) -> list[Case]:
    """The cases that one model comes to after all passes. Raises TrainingError when a track tells no dates."""
    cases: dict[str, Case] = {}
    for folder in street.passes:
        result = run_patrol([folder], model=model, track=folder / "track.csv", camera=street.folder / "camera.json")
        if result.started_at is None:
            raise TrainingError(f"{folder / 'track.csv'}: has no dates", remedy="give dates: which pass was first?")
        patrol = f"{street.folder.name}-{folder.name}"
        sightings = sightings_of(patrol, result.started_at, result.sightings)
        merge(cases, patrol, result.started_at, sightings, result.looks, matters)
    return [case for case in cases.values() if case.stage is not Stage.VOID and case.seen]


def places_of(street: Street, cases: Sequence[Sequence[Case]], matters: Matters) -> Places:
    """Where either model has a case or a thing is to be found; `cases`: of the two models. Cases about things that no
    pass saw well neither count nor punish."""
    found = np.zeros((len(street.things), _SIDES))
    false: list[tuple[FloatArray, str, FloatArray]] = []
    for side, mine in enumerate(cases):
        for case in sorted(mine, key=lambda case: (-len(case.seen), case.id)):
            at = np.array(street.frame.to_enu(case.place.longitude_deg, case.place.latitude_deg)[:2])
            reach = max(NEAR_M, case.place.error_radius_m)
            near = [
                (thing.footprint.distance(shapely.Point(at)), number)
                for number, thing in enumerate(street.things)
                if matters.of(thing.class_name).kin == case.kin
            ]
            distance, number = min(near, default=(np.inf, -1))
            if distance <= reach:
                found[number, side] += 1
                continue
            for place, class_name, count in false:
                if class_name == case.class_name and np.hypot(*(place - at)) <= SAME_SPOT_M and not count[side]:
                    count[side] = 1.0
                    break
            else:
                count = np.zeros(_SIDES)
                count[side] = 1.0
                false.append((at, case.class_name, count))
    asked = np.array([thing.counts for thing in street.things], dtype=bool)
    wrong = np.array([count for _, _, count in false]).reshape(-1, _SIDES)
    return Places(
        np.concatenate([np.ones(int(asked.sum())), np.zeros(len(wrong))]),
        np.concatenate([np.minimum(found[asked], 1.0), np.zeros_like(wrong)]),
        np.concatenate([found[asked], wrong]),
    )


def compare_cases(places: Sequence[Places], seed: int = 0, rounds: int = ROUNDS) -> list[Difference]:
    """Recall (things with a case) and precision (cases that stand for a thing, each once): B minus A, with the
    interval that holds it nine times of ten, by draws of places with replacement."""
    things = np.concatenate([one.things for one in places])
    found = np.concatenate([one.found for one in places])
    cases = np.concatenate([one.cases for one in places])

    def figures(times: FloatArray) -> tuple[FloatArray, FloatArray]:
        right = times @ found
        with np.errstate(all="ignore"):
            return right / (times @ things), right / (times @ cases)

    once = figures(np.ones(len(things)))
    drawn = [figures(times) for times in draws(len(things), rounds, seed)]
    return [
        Difference(
            "cases",
            name,
            int(things.sum()),
            float(once[k][0]),
            float(once[k][1]),
            *percentiles([float(one[k][1] - one[k][0]) for one in drawn]),
        )
        for k, name in enumerate(("recall", "precision"))
    ]
