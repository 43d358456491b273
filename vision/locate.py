"""Where things stand: detections of many frames, a track and a camera in; sightings and looks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from vision.association import Spots, follow
from vision.camera import Camera
from vision.candidates import Candidates, Judged, compact, gather, judge, merged
from vision.cuboid import LENGTH, WIDTH, YAW, FrameStates
from vision.detections import Detections
from vision.geo import FloatArray
from vision.looks import looks_of
from vision.observations import BoolArray, IntArray, Observations, observe
from vision.sightings import EvidenceBox, Look, Sighting
from vision.together import Ground, Together, ground_of, solve_together
from vision.track import Poses, Track

# A frame whose heading is worse than this can't say where anything is.
WORST_HEADING_DEG = 25.0
SUSPENSION_S = 1.5
# Followed things less likely than this (logarithm of odds) are taken for false boxes.
LEAST_ODDS = -1.0
# What a thing alone may blame on the road and the path: pitch, roll, heading (degrees), heading rate (degrees a second).
ALONE_SURVEYED = np.radians([0.7, 1.5, 0.3, 0.1])
ALONE_SMOOTHED = np.radians([0.7, 1.5, 6.0, 3.0])
REST_SURVEYED = np.radians([0.15, 0.4, 0.1, 0.1])
REST_SMOOTHED = np.radians([0.15, 0.4, 0.5, 0.5])
MOBILE = frozenset({"vehicle", "car", "van", "truck", "bus", "tram", "misc", "person", "pedestrian", "cyclist"})


@dataclass(frozen=True, slots=True)
class FrameDetections:
    """What was found in one frame. `time_s`: seconds since the track's start; `quality`: 0 to 1, how well it shows."""

    frame: str
    time_s: float
    detections: Detections
    quality: float = 1.0


@dataclass(frozen=True, slots=True)
class Located:
    """All standing things of one patrol, each once, and the ground that was seen; `notes`: what was left out, why."""

    sightings: tuple[Sighting, ...]
    looks: tuple[Look, ...]
    notes: tuple[str, ...]


def locate(
    frames: Sequence[FrameDetections],
    track: Track,
    camera: Camera,
    *,
    classes: frozenset[str] | None = None,
) -> Located:
    """Join the detections of all frames, drop what moves, and say where each standing thing stands.

    `classes`: only these are reported (all of them without it). The order of the frames given does not matter.
    """
    ordered = sorted(frames, key=lambda f: (f.time_s, f.frame))
    ordered, poses, notes = _posed(ordered, track)
    if not ordered:
        return Located((), (), (*track.notes, *notes))
    times = np.array([f.time_s for f in ordered])
    found = [f.detections for f in ordered]
    looks = looks_of(times, poses, found, np.array([f.quality for f in ordered]), camera, track.frame)
    seen = observe(times, found, poses, camera)
    if not len(seen):
        return Located((), looks, (*track.notes, *notes))
    sightings = _sightings(seen, ordered, track, poses, camera, classes)
    return Located(sightings, looks, (*track.notes, *notes))


def _posed(
    ordered: list[FrameDetections], track: Track
) -> tuple[list[FrameDetections], Poses, list[str]]:
    poses = track.poses_at([f.time_s for f in ordered])
    unsure = np.degrees(np.sqrt(poses.covariance[:, 2, 2])) > WORST_HEADING_DEG
    keep = poses.known & ~unsure
    notes = []
    if (~poses.known).any():
        notes.append(f"{(~poses.known).sum()} frames left out: the track says nothing about their time.")
    if (poses.known & unsure).any():
        notes.append(f"{(poses.known & unsure).sum()} frames left out: the track does not tell the heading there.")
    chosen = np.flatnonzero(keep)
    return (
        [ordered[i] for i in chosen],
        Poses(*(getattr(poses, name)[chosen] for name in Poses.__slots__)),
        notes,
    )


def _suspension(track: Track, times: FloatArray, poses: Poses) -> FloatArray:
    """Fast changes of the track's pitch and roll (k, 2), radians: what of them is not the road's slope or camber."""
    if not track.surveyed:
        return np.zeros((len(times), 2))
    grid = np.arange(track.time_s[0], track.time_s[-1] + 0.05, 0.05)
    fast = []
    for angle, now in ((track.pitch_deg, poses.pitch_deg), (track.roll_deg, poses.roll_deg)):
        slow = gaussian_filter1d(np.interp(grid, track.time_s, angle), SUSPENSION_S / 0.05, mode="nearest")
        fast.append(np.radians(now - np.interp(times, grid, slow)))
    return np.stack(fast, axis=1)


def _sightings(
    seen: Observations,
    ordered: list[FrameDetections],
    track: Track,
    poses: Poses,
    camera: Camera,
    classes: frozenset[str] | None,
) -> tuple[Sighting, ...]:
    spots = Spots(seen, camera)
    raw = FrameStates(seen.lens_m, seen.heading, _suspension(track, seen.time_s, poses))
    shake_px = 0.0 if track.surveyed else np.radians(0.25) * float(np.mean(camera.focal_xy))
    ground = ground_of(track, seen.time_s, seen.lens_m, camera)
    label, odds = follow(seen, spots, camera)
    label = compact(np.where(odds[label] > LEAST_ODDS, label, -1))
    if label.max() < 0:
        return ()
    first = gather(seen, spots, label, shake_px, camera)
    own, still_mps = (ALONE_SURVEYED, 0.05) if track.surveyed else (ALONE_SMOOTHED, 0.4)
    judged = judge(first, raw, camera, own, still_mps)
    if track.surveyed:
        states = _together(first, judged, standing(first, judged), raw, ground, camera).frames
    else:
        many = np.bincount(first.rows.thing, minlength=len(first)) >= 3
        states = _together(first, judged, many, raw, ground, camera, sort_motion=True).frames

    own, still_mps = (REST_SURVEYED, 0.05) if track.surveyed else (REST_SMOOTHED, 0.15)
    candidates, judged = first, judge(first, states, camera, own, still_mps)
    stands = standing(candidates, judged)
    groups = np.array([seen.group[np.flatnonzero(label == t)[0]] for t in range(len(candidates))])
    cov = np.linalg.inv(judged.still.information)[:, :2, :2]
    label2 = merged(seen, label, groups, judged.still.things, cov, stands)
    if label2.max() != label.max():
        label = label2
        candidates = gather(seen, spots, label, shake_px, camera)
        judged = judge(candidates, states, camera, own, still_mps)
        stands = standing(candidates, judged)
    if not stands.any():
        return ()
    joint = _together(candidates, judged, stands, raw, ground, camera)
    radii = radii_of(joint)
    lon, lat = track.frame.to_lonlat(joint.things[:, :2])
    out = []
    kept = np.flatnonzero(stands)
    for i, t in enumerate(kept):
        name = candidates.names[t]
        if classes is not None and name not in classes:
            continue
        rows_t = np.flatnonzero(label == t)
        boxes = sorted(
            (
                EvidenceBox(
                    ordered[seen.frame[r]].frame,
                    float(seen.time_s[seen.frame[r]]),
                    float(seen.score[r]),
                    tuple(ordered[seen.frame[r]].detections.boxes_xyxy[seen.detection[r]].tolist()),
                )
                for r in rows_t
            ),
            key=lambda e: (-e.score, e.time_s),
        )
        c = joint.covariance[i]
        out.append(
            Sighting(
                name,
                float(np.mean([b.score for b in boxes[:5]])),
                float(lon[i]),
                float(lat[i]),
                float(radii[i]),
                (float(c[0, 0]), float(c[0, 1]), float(c[1, 1])),
                float(np.median(track.accuracy_m)),
                len(rows_t),
                float(seen.time_s[seen.frame[rows_t]].min()),
                float(seen.time_s[seen.frame[rows_t]].max()),
                (float(np.exp(joint.things[i, 3])), float(np.exp(joint.things[i, 5]))),
                tuple(boxes[:5]),
            )
        )
    return tuple(out)


def _together(
    candidates: Candidates,
    judged: Judged,
    chosen: BoolArray,
    frames: FrameStates,
    ground: Ground,
    camera: Camera,
    *,
    sort_motion: bool = False,
) -> Together:
    numbers = np.cumsum(chosen) - 1
    rows = candidates.rows.where(chosen[candidates.rows.thing])
    rows = rows.renumbered(numbers[rows.thing])
    moves = (judged.moving > 0)[:, None] & sort_motion
    start = np.where(moves, judged.motion.things, judged.still.things)[chosen]
    return solve_together(rows, start, judged.prior.where(chosen), frames, ground, camera, sort_motion=sort_motion)


def standing(candidates: Candidates, judged: Judged) -> BoolArray:
    rows_each = np.maximum(np.bincount(candidates.rows.thing, minlength=len(candidates)), 1)
    odds = np.array([0.0 if n in MOBILE else -3.0 for n in candidates.names])
    fit = judged.still.cost / rows_each
    return (judged.moving + odds < 0) & (fit < 4.0)


def radii_of(joint: Together) -> FloatArray:
    """Circles (t,) that touch the footprint nine times of ten, by the same 400 draws for each thing."""
    rng = np.random.default_rng(8311)
    draws = rng.standard_normal((400, 5))
    radii = np.zeros(len(joint.things))
    for i, (thing, cov) in enumerate(zip(joint.things, joint.covariance, strict=True)):
        values, vectors = np.linalg.eigh(cov)
        off = draws * np.sqrt(np.maximum(values, 0)) @ vectors.T
        yaw = thing[YAW] + off[:, 2]
        x = off[:, 0] * np.cos(yaw) + off[:, 1] * np.sin(yaw)
        y = -off[:, 0] * np.sin(yaw) + off[:, 1] * np.cos(yaw)
        out = np.hypot(
            np.maximum(np.abs(x) - np.exp(thing[LENGTH] + off[:, 3]) / 2, 0),
            np.maximum(np.abs(y) - np.exp(thing[WIDTH] + off[:, 4]) / 2, 0),
        )
        radii[i] = np.quantile(out, 0.9)
    return np.maximum(radii, 0.15)
