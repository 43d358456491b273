"""One vehicle's patrol through the simulated city: its true path, its receiver's track, and what its detector says.

The receiver errs like a phone's: once a second, sigma 1.5 m per axis with 30 s memory, 0.3 m white noise. The ground
under the wheels tilts slowly against the vehicle (one sigma 0.5° pitch, 1.5° roll, over some 40 m), the springs add
some tenths of a degree. Parked and oncoming vehicles hide what is behind them. A drive is drawn from the city's seed
and the number of the pass, so that each pass comes out the same whichever others are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from training.city.plan import ORIGIN, City
from vision.camera import Camera
from vision.detections import Detections, FrameDetections
from vision.geo import FloatArray, rotation
from vision.tracks.fixes import Fix
from vision.tracks.track import Track, track_from_fixes

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CAMERA = Camera(size_wh=(1920, 1080), focal_xy=(1350.0, 1350.0), centre_xy=(959.5, 539.5), height_m=1.8)
GNSS_SIGMA_M, GNSS_MEMORY_S, GNSS_WHITE_M = 1.5, 30.0, 0.3
TILT_SIGMA_DEG, TILT_MEMORY_M = (0.5, 1.5), 40.0
SPRING_SIGMA_DEG = (0.15, 0.3)
_LANE_M = 1.75
_BRAKING_MPS2 = 1.5
_REACH_M = 45.0
_LEAST_HEIGHT_PX, _LEAST_VISIBLE = 8.0, 0.35
_PARKED_PER_KM, _PARKED_M, _ONCOMING_EVERY_S, _ONCOMING_MPS = 18.0, 4.0, 20.0, 8.0
_VEHICLE = (4.4, 1.8, 1.5)
# A clear view of a place: this near, hardly hidden, in a sharp frame; a pass with this many can judge.
CLEAR_M, CLEAR_HIDDEN, CLEAR_FRAMES = (4.0, 20.0), 0.1, 3
_SIGNS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)])


@dataclass(frozen=True, slots=True, eq=False)
class Patrol:
    """`shown`: by frame and box, the number of the thing that the box shows, −1 where nothing is; `clear` (n,): in how
    many frames each thing's place was in clear view, whether or not the thing stood there."""

    id: str
    day: float
    started_at: datetime
    frames: tuple[FrameDetections, ...]
    track: Track
    camera: Camera
    shown: Mapping[tuple[str, tuple[float, ...]], int]
    clear: npt.NDArray[np.int64]


def drive(city: City, number: int, *, stops_m: Sequence[float] | None = None, steady: bool = False) -> Patrol:
    """Pass `number` of the city, counted from 0: on that day, every second one in the other direction.

    `stops_m`: where it stops, metres along the way, instead of at places drawn; `steady`: at one speed otherwise.
    """
    rng = np.random.default_rng([city.seed, 2, number])
    backward = number % 2 == 1
    corners_m = city.length_m - city.corners_m if backward else city.corners_m
    way_m, time_s = _motion(city.length_m, corners_m, rng, stops_m, steady)
    rate = float(rng.choice([2.0, 3.0, 5.0]))
    times = np.arange(0.0, time_s[-1], 1 / rate)
    points, heading = _on_road(city, np.interp(times, time_s, way_m), backward)
    seconds = np.arange(0.0, time_s[-1] + 1, 1.0)
    true_fixes, _ = _on_road(city, np.interp(seconds, time_s, way_m), backward)
    tilt = _tilt(np.interp(times, time_s, way_m), rng)
    quality = np.where(rng.random(len(times)) < city.rates.blur_share, city.rates.blur_quality, 1.0)
    scene = _Scene.of(city, number, way_m, time_s, backward, rng)
    frames, shown, clear = scene.seen(times, points, heading, tilt, quality, rng)
    return Patrol(
        id=f"pass-{number:02d}",
        day=float(number),
        started_at=START + timedelta(days=number),
        frames=frames,
        track=_receiver(seconds, true_fixes, START + timedelta(days=number), rng),
        camera=CAMERA,
        shown=shown,
        clear=clear,
    )


def _motion(
    length_m: float, corners: FloatArray, rng: np.random.Generator, stops_m: Sequence[float] | None, steady: bool
) -> tuple[FloatArray, FloatArray]:
    """Metres driven (n,) at seconds (n,): slow in corners, with stops, never quicker than 11 m/s.

    `corners`: metres from where this pass begins.
    """
    step = 0.2
    drawn = [*corners[rng.random(len(corners)) < 0.3] - 15.0, *rng.uniform(50, length_m, 3)]
    stops = sorted(drawn if stops_m is None else stops_m)
    way, speed, wish = [0.0], 5.0, rng.uniform(7.0, 10.0)
    speed = wish if steady else speed
    while way[-1] < length_m:
        here = way[-1]
        wish += 0.0 if steady else rng.normal(0, 0.15) + 0.02 * (8.5 - wish)
        near_corner = len(corners) and np.abs(corners - here).min() < 18.0
        target = min(wish, 11.0, 4.0 if near_corner else 11.0)
        if stops:
            target = min(target, 0.3 + float(np.sqrt(2 * _BRAKING_MPS2 * max(stops[0] - here, 0.0))))
        speed += float(np.clip(target - speed, -2.0 * step, 1.2 * step))
        if stops and here >= stops[0]:
            stops.pop(0)
            way.extend([here] * int(rng.uniform(4, 25) / step))
            speed = 0.5
        way.append(min(here + max(speed, 0.5) * step, length_m))
    return np.array(way), step * np.arange(len(way))


def _on_road(city: City, driven_m: FloatArray, backward: bool) -> tuple[FloatArray, FloatArray]:
    """Places (n, 2) in the right-hand lane and headings (n,) in degrees clockwise from north."""
    points, yaw = city.along(city.length_m - driven_m if backward else driven_m)
    yaw = yaw + np.pi if backward else yaw
    right = np.stack([np.sin(yaw), -np.cos(yaw)], axis=1)
    return np.asarray(points + _LANE_M * right), np.asarray(90.0 - np.degrees(yaw))


def wander(at: FloatArray, memory: float, sigma: float, rng: np.random.Generator) -> FloatArray:
    """A first-order Gauss-Markov process at increasing places or times."""
    keep = np.exp(-np.diff(at) / memory)
    draws = rng.normal(0, sigma, len(at))
    values = [draws[0]]
    for k, draw in zip(keep, draws[1:], strict=True):
        values.append(k * values[-1] + np.sqrt(1 - k * k) * draw)
    return np.array(values)


def _tilt(driven_m: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Pitch and roll (n, 2) of the vehicle against the road, degrees."""
    slow = [wander(driven_m, TILT_MEMORY_M, sigma, rng) for sigma in TILT_SIGMA_DEG]
    return np.stack(slow, axis=1) + rng.normal(0, 1, (len(driven_m), 2)) * SPRING_SIGMA_DEG


def _receiver(seconds: FloatArray, places: FloatArray, start: datetime, rng: np.random.Generator) -> Track:
    error = np.stack([wander(seconds, GNSS_MEMORY_S, GNSS_SIGMA_M, rng) for _ in range(2)], axis=1)
    lon, lat = ORIGIN.to_lonlat(places + error + rng.normal(0, GNSS_WHITE_M, places.shape))
    fixes = [
        Fix(float(t), float(x), float(y), accuracy_m=GNSS_SIGMA_M) for t, x, y in zip(seconds, lon, lat, strict=True)
    ]
    return track_from_fixes(fixes, start=start)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """All cuboids of one pass. `place` (n, 2), `yaw` (n,), `size` (n, 3), `moving` (n, 2): metres per second. The
    city's things come first, then vehicles."""

    city: City
    day: float
    place: FloatArray
    yaw: FloatArray
    size: FloatArray
    velocity: FloatArray
    ease: FloatArray  # logits by which each thing is easier or harder to see on this pass

    @classmethod
    def of(
        cls, city: City, number: int, way_m: FloatArray, time_s: FloatArray, backward: bool, rng: np.random.Generator
    ) -> _Scene:
        """The things and the vehicles of one pass."""
        things = city.things
        count = rng.poisson(_PARKED_PER_KM * city.length_m / 1000 * 2)
        parked, parked_yaw = city.along(rng.uniform(0, city.length_m, count))
        aside = np.where(rng.random(count) < 0.5, 1, -1) * _PARKED_M
        parked = parked + aside[:, None] * np.stack([-np.sin(parked_yaw), np.cos(parked_yaw)], axis=1)
        meets = np.cumsum(rng.exponential(_ONCOMING_EVERY_S, int(time_s[-1] / _ONCOMING_EVERY_S) + 1))
        meets = meets[meets < time_s[-1]]
        met, met_heading = _on_road(city, np.interp(meets, time_s, way_m), backward)
        met_yaw = np.radians(90.0 - met_heading)
        other_lane = np.stack([-np.sin(met_yaw), np.cos(met_yaw)], axis=1) * 2 * _LANE_M
        oncoming = -np.stack([np.cos(met_yaw), np.sin(met_yaw)], axis=1) * _ONCOMING_MPS
        # Straight on before and after the meeting, which is near enough for something that is passed in seconds.
        oncoming_at_0 = met + other_lane - oncoming * meets[:, None]
        vehicles = len(parked) + len(meets)
        hard = np.array([thing.hard for thing in things]) + rng.normal(0, city.rates.hard_passes, len(things))
        return cls(
            city=city,
            day=float(number),
            place=np.concatenate([[(t.east, t.north) for t in things], parked, oncoming_at_0]),
            yaw=np.concatenate([[t.yaw for t in things], parked_yaw, met_yaw]),
            size=np.concatenate([[t.size for t in things], np.tile(_VEHICLE, (vehicles, 1))]),
            velocity=np.concatenate([np.zeros((len(things) + len(parked), 2)), oncoming]),
            ease=-hard,
        )

    def seen(
        self,
        times: FloatArray,
        points: FloatArray,
        heading: FloatArray,
        tilt: FloatArray,
        quality: FloatArray,
        rng: np.random.Generator,
    ) -> tuple[tuple[FrameDetections, ...], dict[tuple[str, tuple[float, ...]], int], npt.NDArray[np.int64]]:
        """What the detector says in each frame."""
        standing = np.array([thing.stands(self.day) for thing in self.city.things])
        frames = []
        shown: dict[tuple[str, tuple[float, ...]], int] = {}
        clear = np.zeros(len(self.city.things), dtype=np.int64)
        near = self._near(times, points)
        for k, time_s in enumerate(times):
            objects = near[k]
            boxes, away = self._boxes(objects, float(time_s), points[k], heading[k], tilt[k])
            inside = _clipped(boxes)
            share = _area(inside) / np.maximum(_area(boxes), 1e-6)
            good = (share >= _LEAST_VISIBLE) & (inside[:, 3] - inside[:, 1] >= _LEAST_HEIGHT_PX)
            objects, inside, away, share = objects[good], inside[good], away[good], share[good]
            vehicle = objects >= len(self.city.things)
            hidden, left = _behind(inside, away, inside[vehicle], away[vehicle])
            mine = np.flatnonzero(~vehicle)
            sharp = quality[k] >= 0.5
            plain = (away >= CLEAR_M[0]) & (away <= CLEAR_M[1]) & (hidden <= CLEAR_HIDDEN) & (share > 0.9)
            clear[objects[mine[plain[mine] & sharp]]] += 1
            height = left[:, 3] - left[:, 1]
            recall = self._recall(objects, height, quality[k])
            recall = np.where(vehicle, self.city.rates.vehicle_recall, recall)
            there = vehicle.copy()
            there[mine] = standing[objects[mine]]
            found = there & (hidden < 0.6) & (height >= _LEAST_HEIGHT_PX) & (rng.random(len(objects)) < recall)
            name = f"{k:05d}"
            rows, who = self._rows(objects[found], left[found], recall[found], rng)
            self._false(rows, who, tilt[k], rng)
            frame = Detections.of(rows, CAMERA.size_wh, "simulated")
            for (_, _, box), number in zip(rows, who, strict=True):
                shown[name, box] = number
            frames.append(FrameDetections(name, float(time_s), frame, float(quality[k])))
        return tuple(frames), shown, clear

    def _near(self, times: FloatArray, points: FloatArray) -> list[npt.NDArray[np.int64]]:
        """For each frame the objects within reach."""
        still = ~self.velocity.any(axis=1)
        fixed = np.flatnonzero(still)
        tree = cKDTree(self.place[fixed])
        moving = np.flatnonzero(~still)
        out = []
        for time_s, point, found in zip(times, points, tree.query_ball_point(points, _REACH_M), strict=True):
            there = self.place[moving] + self.velocity[moving] * time_s
            close = moving[np.hypot(*(there - point).T) < _REACH_M]
            out.append(np.concatenate([fixed[np.sort(np.array(found, dtype=np.int64))], close]))
        return out

    def _boxes(
        self, objects: npt.NDArray[np.int64], time_s: float, point: FloatArray, heading: float, tilt: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Boxes (n, 4) in pixels, uncut, and distances (n,); what is not ahead has an empty box."""
        away = self.place[objects] + self.velocity[objects] * time_s - point
        offset = _SIGNS[None] * self.size[objects][:, None]
        cos, sin = np.cos(self.yaw[objects])[:, None], np.sin(self.yaw[objects])[:, None]
        east = away[:, 0, None] + offset[..., 0] * cos - offset[..., 1] * sin
        north = away[:, 1, None] + offset[..., 0] * sin + offset[..., 1] * cos
        towards = np.radians(heading)
        level = np.stack(
            [
                east * np.sin(towards) + north * np.cos(towards),
                north * np.sin(towards) - east * np.cos(towards),
                offset[..., 2] - CAMERA.height_m,
            ],
            axis=-1,
        )
        in_vehicle = level @ rotation(0.0, tilt[0], tilt[1])
        pixels = CAMERA.project(in_vehicle)
        boxes = np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)
        boxes[in_vehicle[..., 0].max(axis=1) < 1.5] = 0.0
        return boxes, np.hypot(away[:, 0], away[:, 1])

    def _recall(self, objects: npt.NDArray[np.int64], height_px: FloatArray, quality: float) -> FloatArray:
        rates = self.city.rates
        logit = np.log(np.maximum(height_px, 1.0) / rates.half_height_px) / rates.height_spread
        ease = np.zeros(len(objects))
        real = np.ones(len(objects), dtype=bool)
        mine = objects < len(self.city.things)
        ease[mine] = self.ease[objects[mine]]
        real[mine] = [self.city.things[i].real for i in objects[mine]]
        best = np.where(real, rates.best_recall, rates.clutter_recall)
        return np.asarray(best * quality / (1 + np.exp(-(logit + ease))))

    def _rows(
        self, objects: npt.NDArray[np.int64], boxes: FloatArray, recall: FloatArray, rng: np.random.Generator
    ) -> tuple[list[tuple[str, float, tuple[float, float, float, float]]], list[int]]:
        """Class, score and jittered box of what was found, and which thing each shows."""
        rates = self.city.rates
        rows, who = [], []
        for i, box, chance in zip(objects, boxes, recall, strict=True):
            side = np.array([box[2] - box[0], box[3] - box[1]] * 2)
            shaken = box + rng.normal(0, 1, 4) * np.maximum(rates.jitter_px, rates.jitter_share * side)
            shaken = _clipped(shaken[None])[0]
            if shaken[2] - shaken[0] < 2 or shaken[3] - shaken[1] < 2:
                continue
            thing = self.city.things[i] if i < len(self.city.things) else None
            name = thing.class_name if thing else "vehicle"
            if thing and rng.random() < rates.flip_rate:
                name = str(rng.choice(rates.confused[name]))
            score = float(np.clip(rng.normal(0.35 + 0.45 * chance, 0.1), 0.25, 0.99))
            rows.append((name, score, (float(shaken[0]), float(shaken[1]), float(shaken[2]), float(shaken[3]))))
            who.append(int(i))
        return rows, who

    def _false(
        self,
        rows: list[tuple[str, float, tuple[float, float, float, float]]],
        who: list[int],
        tilt: FloatArray,
        rng: np.random.Generator,
    ) -> None:
        """Add boxes where nothing is: of a thing's usual look, somewhere on the ground ahead."""
        rates = self.city.rates
        names, shares = list(rates.classes), np.array(list(rates.classes.values()))
        for _ in range(rng.poisson(rates.false_per_frame)):
            ahead, left = rng.uniform(6.0, 30.0), rng.uniform(-9.0, 9.0)
            foot = np.array([ahead, left, -CAMERA.height_m]) @ rotation(0.0, tilt[0], tilt[1])
            x, y = CAMERA.project(foot)
            width, height = np.exp(rng.normal(0, 0.3, 2)) * 0.7 * CAMERA.focal_xy[0] / ahead
            box = _clipped(np.array([[x - width / 2, y - height, x + width / 2, y]]))[0]
            if box[2] - box[0] < 8 or box[3] - box[1] < 8:
                continue
            score = float(np.clip(rng.normal(0.35, 0.1), 0.25, 0.99))
            name = str(rng.choice(names, p=shares / shares.sum()))
            rows.append((name, score, (float(box[0]), float(box[1]), float(box[2]), float(box[3]))))
            who.append(-1)


def _clipped(boxes: FloatArray) -> FloatArray:
    limit = np.array(CAMERA.size_wh * 2, float) - 1
    return np.asarray(np.clip(boxes, 0, limit))


def _area(boxes: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1))


def _behind(
    boxes: FloatArray, away: FloatArray, vehicles: FloatArray, vehicles_away: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """How much of each box (n,) nearer vehicles hide, and the largest part of each box (n, 4) that is left."""
    hidden, left = np.zeros(len(boxes)), boxes.copy()
    for vehicle, distance in zip(vehicles, vehicles_away, strict=True):
        low, high = np.maximum(boxes[:, :2], vehicle[:2]), np.minimum(boxes[:, 2:], vehicle[2:])
        over = (distance < away - 0.5) & (high > low).all(axis=1)
        if not over.any():
            continue
        hidden[over] += (high - low).prod(axis=1)[over] / np.maximum(_area(boxes), 1e-6)[over]
        parts = np.repeat(left[:, None], 3, axis=1)
        parts[:, 0, 0] = np.maximum(left[:, 0], vehicle[2])
        parts[:, 1, 2] = np.minimum(left[:, 2], vehicle[0])
        parts[:, 2, 3] = np.minimum(left[:, 3], vehicle[1])
        best = np.stack([_area(parts[:, j]) for j in range(3)]).argmax(axis=0)
        left[over] = parts[np.arange(len(boxes)), best][over]
    return np.minimum(hidden, 1.0), left
