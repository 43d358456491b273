"""Patrols with known truth: frames, tracks, camera file, what stood where, and where it is in each frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from training.simulate.beat import make_beat
from training.simulate.camera import Camera, Mount
from training.simulate.develop import Exposure, Rgb8, develop, encode
from training.simulate.drive import Clock, Drive, consumer_csv, consumer_fixes, rtk_csv, to_csv
from training.simulate.manifest import manifest_toml
from training.simulate.pictures import write_whole
from training.simulate.renderer import Renderer, open_renderer
from training.simulate.scene import Scene
from training.simulate.street import Street
from training.simulate.truth import TruthBox, boxes_of, paint
from vision.errors import UsageError
from vision.geo import LocalFrame
from vision.taxonomy import CLASSES

# An invented street: no such place is meant.
ORIGIN = LocalFrame(120.3105, 31.4912, 4.0)
CHINA = timezone(timedelta(hours=8))
FIRST_DAYS = (datetime(2026, 11, 9, 8, 41, 3, tzinfo=CHINA), datetime(2026, 11, 12, 15, 22, 47, tzinfo=CHINA))
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PatrolJob:
    """What to drive: `frames` of `size_wh` pixels in each of `passes`, one each `spacing_m` metres; `samples` 0
    paints flat pictures without a renderer, None writes no pictures but detections."""

    seed: int
    frames: int = 32
    passes: int = 2
    size_wh: tuple[int, int] = (960, 720)
    spacing_m: float = 1.8
    speed_mps: float = 4.5
    samples: int | None = 16
    quality: int = 80

    def __post_init__(self) -> None:
        if not 1 <= self.passes <= 2:
            raise UsageError(f"--passes {self.passes} is not 1 or 2")
        if self.frames < 2 or not 0.1 <= self.spacing_m <= 50:
            raise UsageError("a patrol needs at least 2 frames, 0.1 to 50 m apart")
        if not (min(self.size_wh) >= 64 and max(self.size_wh) <= 4096):
            raise UsageError(
                f"--size {self.size_wh[0]}x{self.size_wh[1]} is out of range", remedy="give 64x64 to 4096x4096"
            )

    @property
    def step_s(self) -> float:
        """Seconds from frame to frame."""
        return round(self.spacing_m / self.speed_mps, 3)


def patrol_camera(size_wh: tuple[int, int]) -> Camera:
    """A windscreen camera that looks a little to the kerb and a little down."""
    return Camera.wide(*size_wh, 68.0, 1.9, Mount(0.9, -0.2, 0.2, -12.0, -3.0, 0.4))


def make_patrol(
    job: PatrolJob, out: Path, *, renderer: str | None = None, threads: int = 1, report: Report | None = None
) -> int:
    """Write one patrol of one or two passes under `out`; returns how many frames were drawn now.

    Layout: camera.json, truth.geojson, streets.geojson, truth_boxes.json, manifest.toml, and for each pass a folder
    pass-N with its pictures (or detections.csv when `job.samples` is None), track.csv (1 Hz, a phone's error) and
    track_rtk.csv (10 Hz, full pose). Frames that are there already are kept. Raises UsageError when `out` holds
    another patrol.
    """
    out.mkdir(parents=True, exist_ok=True)
    order = {**asdict(job), "size_wh": list(job.size_wh)}
    note = out / "job.json"
    if note.exists() and json.loads(note.read_text()) != order:
        raise UsageError(f"{out} holds another patrol", remedy="choose another folder or repeat its options")
    write_whole(note, json.dumps(order).encode())
    scene = make_beat(job.seed, length=max(20.0, job.frames * job.spacing_m + 8.0))
    camera = patrol_camera(job.size_wh)
    write_whole(out / "camera.json", (json.dumps(camera.to_json(), indent=1) + "\n").encode())
    write_json(out / "streets.geojson", streets(scene.street))
    known = out / "truth_boxes.json"
    boxes: dict[str, dict[str, Any]] = json.loads(known.read_text()) if known.exists() else {}
    drawn = 0
    with open_renderer(renderer, threads) if job.samples else nullcontext() as child:
        for which in range(1, job.passes + 1):
            drive = Drive(scene, job.seed, which, 0.0, job.speed_mps, (job.frames - 1) * job.step_s)
            start = None if job.samples is None else FIRST_DAYS[which - 1]
            clock = Clock(start.astimezone(UTC) if start else None)
            folder = out / f"pass-{which}"
            folder.mkdir(exist_ok=True)
            write_whole(folder / "track.csv", consumer_csv(drive, ORIGIN, clock).encode())
            write_whole(folder / "track_rtk.csv", rtk_csv(drive, ORIGIN, clock).encode())
            store = boxes.setdefault(folder.name, {})
            for number, name, seen in draw_pass(job, drive, camera, folder, store, child, start):
                store[name] = [box.to_json() for box in seen]
                write_json(known, boxes)
                drawn += 1
                if report is not None:
                    report((which - 1) * job.frames + number + 1, job.passes * job.frames)
            if start is None:
                write_whole(folder / "detections.csv", detections_csv(job, store, which).encode())
    write_json(out / "truth.geojson", truth(scene, boxes, job.passes))
    write_whole(out / "manifest.toml", manifest_toml(out, order).encode())
    return drawn


def draw_pass(
    job: PatrolJob,
    drive: Drive,
    camera: Camera,
    folder: Path,
    store: dict[str, Any],
    child: Renderer | None,
    start: datetime | None,
) -> Iterator[tuple[int, str, list[TruthBox]]]:
    """Draw the missing frames of a pass; yields number, name and the visible things of each."""
    times, fixes = consumer_fixes(drive)
    loaded = False
    for number in range(job.frames):
        time_s = number * job.step_s
        name = f"{number:04d}.jpg" if start else str(number)
        if name in store and (start is None or (folder / name).exists()):
            continue
        view = drive.view(camera, time_s)
        if child is not None:
            if not loaded:
                child.load(drive.scene, drive.which)
                loaded = True
            drawing = child.draw(view, job.samples or 1, number)
            ids, depth = drawing.ids, drawing.depth
            rng = np.random.default_rng([job.seed, drive.which, number])
            exposure = Exposure(
                0.2 if drive.which == 1 else 0.17,
                noise=1.0,
                soft_px=0.0,
                shutter_s=0.003,
                velocity=(0, 0, job.speed_mps),
            )
            picture: Rgb8 = develop(drawing, view, drive.scene.light_in(drive.which).haze_m, exposure, rng)
        else:
            ids, depth, picture = paint(drive.scene, view, drive.which, coloured=start is not None)
        if start is not None:
            east, north = (float(np.interp(time_s, times, fixes[:, axis])) for axis in (0, 1))
            lon, lat = ORIGIN.to_lonlat(np.array([east, north]))
            data = encode(
                picture,
                job.quality,
                taken_at=start + timedelta(seconds=time_s),
                place=(float(lon), float(lat), ORIGIN.altitude_m),
            )
            write_whole(folder / name, data)
        yield number, name, boxes_of(drive.scene, view, ids, depth)


def write_json(path: Path, value: Any) -> None:
    """Compact JSON, written whole."""
    write_whole(path, (json.dumps(value, separators=(",", ":")) + "\n").encode())


def ring(points: Any) -> list[list[float]]:
    """Metres east, north as a closed ring of longitude, latitude."""
    lon, lat = ORIGIN.to_lonlat(np.asarray(points, dtype=np.float64))
    closed = [[round(float(a), 8), round(float(b), 8)] for a, b in zip(lon, lat, strict=True)]
    return closed if closed[0] == closed[-1] else [*closed, closed[0]]


def truth(scene: Scene, boxes: dict[str, dict[str, Any]], passes: int) -> dict[str, Any]:
    """Footprints of everything that is looked for, as GeoJSON; `ignore` where no frame of a pass shows it well."""
    nearest: dict[tuple[int, int], float] = {}
    count: dict[tuple[int, int], int] = {}
    for folder, frames in boxes.items():
        which = int(folder.rsplit("-", 1)[1])
        for seen in frames.values():
            for box in seen:
                if not box["ignore"]:
                    key = (which, box["thing"])
                    count[key] = count.get(key, 0) + 1
                    nearest[key] = min(nearest.get(key, 1e9), box["range_m"])
    features = []
    for thing in scene.labelled().values():
        there = [p for p in thing.passes if p <= passes]
        if not there:
            continue
        corners = scene.corners(thing)
        seen_in = {
            str(p): {"frames": count.get((p, thing.id), 0), "nearest_m": nearest.get((p, thing.id))} for p in there
        }
        properties = {
            "id": thing.id,
            "class": thing.class_name,
            "passes": there,
            "height_m": round(float(corners[:, 2].max() - corners[:, 2].min()), 2),
            "seen": seen_in,
            "ignore": max(count.get((p, thing.id), 0) for p in there) < 3,
        }
        polygon = {"type": "Polygon", "coordinates": [ring(scene.footprint(thing))]}
        features.append({"type": "Feature", "geometry": polygon, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def streets(street: Street) -> dict[str, Any]:
    """The street from above: carriageway, kerbs, pavements and the ground of the houses, as GeoJSON polygons."""
    s = np.arange(-18.0, street.length + 27.0, 3.0)
    half = street.half
    left, right = (half + w for w in street.pavement)
    bands = [("carriageway", -half, half)]
    for sign, wall in ((1, left), (-1, right)):
        bands += [
            ("kerb", sign * half, sign * (half + 0.14)),
            ("pavement", sign * (half + 0.14), sign * wall),
            ("facade", sign * wall, sign * (wall + 9.0)),
        ]
    features = []
    for kind, inner, outer in bands:
        there, back = street.world(s, inner)[:, :2], street.world(s[::-1], outer)[:, :2]
        polygon = {"type": "Polygon", "coordinates": [ring(np.concatenate([there, back]))]}
        features.append({"type": "Feature", "geometry": polygon, "properties": {"kind": kind}})
    return {"type": "FeatureCollection", "features": features}


def detections_csv(job: PatrolJob, frames: dict[str, Any], which: int) -> str:
    """Detections as an imperfect detector would give them: 6 % missed, more of the hidden and the small, edges 2 px
    off (one sigma), one false box in twenty."""
    rng = np.random.default_rng([job.seed, which, 41])
    rows = []
    width, height = job.size_wh
    for name in sorted(frames, key=int):
        for box in frames[name]:
            x1, y1, x2, y2 = box["box"]
            small = max(0.0, 1 - max(x2 - x1, y2 - y1) / 30)
            if rng.uniform() < 0.06 + 0.5 * small + 0.4 * (1 - box["visible"]) or box["ignore"]:
                continue
            edges = np.array([x1, y1, x2, y2]) + rng.normal(0, 2, 4)
            rows.append(
                detection_row(
                    name, job, box["class"], float(np.clip(rng.normal(0.75, 0.12), 0.2, 0.99)), edges, (width, height)
                )
            )
            if rng.uniform() < 0.05:
                centre, half = rng.uniform([0, height * 0.4], [width, height]), rng.uniform(8, 40, 2)
                edges = np.concatenate([centre - half, centre + half])
                kind = CLASSES[int(rng.integers(len(CLASSES)))]
                rows.append(detection_row(name, job, kind, float(rng.uniform(0.2, 0.6)), edges, (width, height)))
    return to_csv(["frame", "time_s", "class", "score", "x_min", "y_min", "x_max", "y_max"], [r for r in rows if r])


def detection_row(
    name: str, job: PatrolJob, kind: str, score: float, edges: Any, size_wh: tuple[int, int]
) -> list[str]:
    """One line of detections.csv, or nothing when the box has no area in the picture. Truth boxes are measured from
    the picture's corner, the file's pixels from the centre of the first one."""
    box = np.clip(edges, 0, [*size_wh, *size_wh]) - 0.5
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        return []
    return [name, f"{int(name) * job.step_s:.3f}", kind, f"{score:.2f}", *(f"{v:.1f}" for v in box)]
