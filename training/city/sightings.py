"""Sightings as an honest locator would make them: true places off by errors that are what they are said to be.

With them the case rules are measured alone: whatever goes wrong is theirs, not the geometry's.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from training.city.drive import GNSS_MEMORY_S, GNSS_SIGMA_M, Patrol, wander
from training.city.plan import ORIGIN, City, Thing
from vision.geo import FloatArray
from vision.locating.association import odds_of
from vision.locating.locate import Located
from vision.locating.looks import looks_of
from vision.locating.standing_things import LEAST_ODDS
from vision.sightings import EvidenceBox, Sighting
from vision.taxonomy import PRIVATE
from vision.tracks.track import Poses

# A thing's own error along the line of sight and across it, beside the receiver's that all share.
ALONG_M, ACROSS_M = 0.6, 0.25
_LEAST_FRAMES = 2

_Seen = tuple[float, str, EvidenceBox]


def honest_locator(city: City, patrol: Patrol) -> Located:
    """One sighting for each thing that was detected in two frames or more, and often enough for the frames that had it
    in clear view: a spot that is taken for a thing in two frames of thirty is no sighting of the product's either. The
    looks are those of the product."""
    rng = np.random.default_rng([city.seed, 3, round(patrol.day)])
    times = np.array([frame.time_s for frame in patrol.frames])
    seconds = np.arange(0.0, times[-1] + 2.0)
    error = np.stack([wander(seconds, GNSS_MEMORY_S, GNSS_SIGMA_M, rng) for _ in range(2)], axis=1)
    poses = patrol.track.poses_at(times)
    found: defaultdict[int, list[_Seen]] = defaultdict(list)
    for frame in patrol.frames:
        boxes = frame.detections
        for name, score, box in zip(boxes.names(), boxes.scores, boxes.boxes_xyxy, strict=True):
            evidence = EvidenceBox(frame.frame, frame.time_s, float(score), tuple(box.tolist()))
            number = patrol.shown[frame.frame, evidence.box_xyxy]
            if name not in PRIVATE and number >= 0:
                found[number].append((frame.time_s, name, evidence))
    sightings = []
    for number, seen in sorted(found.items()):
        if len(seen) >= _LEAST_FRAMES and _is_there(seen, int(patrol.clear[number])):
            middle = (seen[0][0] + seen[-1][0]) / 2
            off = np.array([np.interp(middle, seconds, error[:, axis]) for axis in (0, 1)])
            from_m = poses.enu_m[int(np.searchsorted(times, seen[-1][0])), :2]
            sightings.append(_sighting(city.things[number], seen, off, from_m, rng))
    known = np.flatnonzero(poses.known)
    looks = looks_of(
        times[known],
        Poses(*(getattr(poses, name)[known] for name in Poses.__slots__)),
        [patrol.frames[i].detections for i in known],
        np.array([patrol.frames[i].quality for i in known]),
        patrol.camera,
        patrol.track.frame,
    )
    return Located(tuple(sightings), looks, ())


def _is_there(seen: list[_Seen], clear: int) -> bool:
    best = np.array([max(evidence.score for _, _, evidence in seen)])
    odds = odds_of(best, np.array([len(seen)]), np.array([max(clear - len(seen), 0)]))
    return bool(odds[0] > LEAST_ODDS)


def _sighting(
    thing: Thing, seen: list[_Seen], off: FloatArray, from_m: FloatArray, rng: np.random.Generator
) -> Sighting:
    ahead = np.array([thing.east, thing.north]) - from_m
    ahead = ahead / np.linalg.norm(ahead)
    aside = np.array([-ahead[1], ahead[0]])
    covariance = ALONG_M**2 * np.outer(ahead, ahead) + ACROSS_M**2 * np.outer(aside, aside)
    covariance = covariance + GNSS_SIGMA_M**2 * np.eye(2)
    place = np.array([thing.east, thing.north]) + off + rng.normal(0, ALONG_M) * ahead + rng.normal(0, ACROSS_M) * aside
    draws = rng.multivariate_normal(np.array([thing.east, thing.north]), covariance, 400)
    radius = float(np.quantile([thing.distance_m(float(x), float(y)) for x, y in draws], 0.9))
    lon, lat = ORIGIN.to_lonlat(place)
    best = sorted((evidence for _, _, evidence in seen), key=lambda one: (-one.score, one.time_s))[:5]
    names = Counter(name for _, name, _ in seen)
    return Sighting(
        class_name=max(names.items(), key=lambda item: (item[1], item[0]))[0],
        score=float(np.mean([one.score for one in best])),
        longitude_deg=float(lon),
        latitude_deg=float(lat),
        error_radius_m=radius,
        covariance_m2=(float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])),
        shared_sigma_m=GNSS_SIGMA_M,
        frames=len(seen),
        first_seen_s=seen[0][0],
        last_seen_s=seen[-1][0],
        size_m=None,
        evidence=tuple(best),
        seen_in=frozenset(evidence.frame for _, _, evidence in seen),
    )
