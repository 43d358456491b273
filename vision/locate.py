"""Where things stand: detections of many frames, a track and a camera in; sightings and looks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vision.camera import Camera
from vision.detections import Detections
from vision.geo import rotation
from vision.looks import looks_of
from vision.sightings import EvidenceBox, Look, Sighting
from vision.taxonomy import usual_size
from vision.track import Track


@dataclass(frozen=True, slots=True)
class FrameDetections:
    """What was found in one frame. `time_s`: seconds since the track's start; `quality`: 0 to 1, how well it shows."""

    frame: str
    time_s: float
    detections: Detections
    quality: float = 1.0


@dataclass(frozen=True, slots=True)
class Located:
    """All standing things of one patrol, each once, and the ground that was seen. `notes`: what was left out and why."""

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
    times = np.array([f.time_s for f in ordered])
    poses = track.poses_at(times)
    clusters: list[dict[str, object]] = []
    place_list: list[list[tuple[np.ndarray, FrameDetections, int]]] = []
    names: list[str] = []
    for k, frame in enumerate(ordered):
        if not poses.known[k] or not len(frame.detections):
            continue
        d = frame.detections
        scaled = camera.scaled(d.size_wh)
        foot = np.column_stack([(d.boxes_xyxy[:, 0] + d.boxes_xyxy[:, 2]) / 2, d.boxes_xyxy[:, 3]])
        rays = scaled.rays(foot)
        for j, name in enumerate(d.names()):
            if rays[j, 2] > -0.02:
                continue
            ground = rays[j] * (camera.height_m / -rays[j, 2])
            reach = float(np.hypot(ground[0], ground[1]))
            if reach > 40:
                continue
            ground = ground[:2] * (1 + usual_size(name).depth / 2 / reach)
            ground = ground + [camera.mount.forward_m, camera.mount.left_m]
            turn = rotation(90.0 - poses.heading_deg[k], 0, 0)[:2, :2]
            place = turn @ ground + poses.enu_m[k, :2]
            for i, members in enumerate(place_list):
                if names[i] == name and np.hypot(*(members[-1][0] - place)) < 2.0:
                    members.append((place, frame, j))
                    break
            else:
                place_list.append([(place, frame, j)])
                names.append(name)
    del clusters
    sightings = []
    for name, members in zip(names, place_list, strict=True):
        if classes is not None and name not in classes:
            continue
        centre = np.median([m[0] for m in members], axis=0)
        lon, lat = track.frame.to_lonlat(centre)
        evidence = sorted(
            (
                EvidenceBox(
                    f.frame, f.time_s, float(f.detections.scores[j]), tuple(f.detections.boxes_xyxy[j].tolist())
                )
                for _, f, j in members
            ),
            key=lambda e: (-e.score, e.time_s),
        )
        sigma2 = float(np.median(track.accuracy_m)) ** 2
        sightings.append(
            Sighting(
                class_name=name,
                score=evidence[0].score,
                longitude_deg=float(lon),
                latitude_deg=float(lat),
                error_radius_m=2.15 * (sigma2 + 0.5) ** 0.5,
                covariance_m2=(sigma2 + 0.5, 0.0, sigma2 + 0.5),
                shared_sigma_m=sigma2**0.5,
                frames=len(members),
                first_seen_s=members[0][1].time_s,
                last_seen_s=members[-1][1].time_s,
                size_m=None,
                evidence=tuple(evidence[:5]),
            )
        )
    known = np.flatnonzero(poses.known)
    looks = looks_of(
        times[known],
        type(poses)(
            poses.enu_m[known],
            poses.heading_deg[known],
            poses.pitch_deg[known],
            poses.roll_deg[known],
            poses.covariance[known],
            poses.known[known],
        ),
        [ordered[k].detections for k in known],
        np.array([ordered[k].quality for k in known]),
        camera,
        track.frame,
    )
    return Located(tuple(sightings), looks, track.notes)
