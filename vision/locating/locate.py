"""Where things stand: detections of many frames, a track and a camera in; sightings and looks out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vision.camera import Camera
from vision.detections import FrameDetections
from vision.locating.calibrate import mount_doubts
from vision.locating.cuboid import HEIGHT, LENGTH, WIDTH
from vision.locating.looks import looks_of
from vision.locating.observations import IntArray, Observations, observe
from vision.locating.radius import error_radii
from vision.locating.standing_things import StandingThings, standing_things
from vision.patrol.views import MOST_EVIDENCE, Views, choose_evidence
from vision.sightings import Look, Sighting
from vision.tracks.clock import ONE_CLOCK, ClockOffset
from vision.tracks.track import Poses, Track

# A frame whose heading is known worse than this can't say where anything is.
WORST_HEADING_DEG = 25.0
# A thing whose place is known worse than this is no sighting: no case could be opened or joined by it.
WORST_RADIUS_M = 10.0
_MOTION_S = 0.5


@dataclass(frozen=True, slots=True)
class Located:
    """All standing things of one patrol, each once, and the ground that was seen; `notes`: what was left out, why.

    Times are by the track's clock: `clock` says what was added to the camera's."""

    sightings: tuple[Sighting, ...]
    looks: tuple[Look, ...]
    notes: tuple[str, ...]
    clock: ClockOffset = ONE_CLOCK


def locate(
    frames: Sequence[FrameDetections],
    track: Track,
    camera: Camera,
    *,
    classes: frozenset[str] | None = None,
    clock: ClockOffset = ONE_CLOCK,
    foresee: Callable[[frozenset[str]], None] | None = None,
) -> Located:
    """Join the detections of all frames, drop what moves, and say where each standing thing stands.

    `classes`: only these are reported (all of them without it); the others still help to find tilt and path, and hide
    the ground behind them; `clock`: how far the camera's clock is off the track's; `foresee`: told halfway which frames
    will most likely be evidence. The order of the frames given does not matter.
    """
    timed = [replace(f, time_s=f.time_s + clock.offset_s) for f in frames] if clock.offset_s else frames
    ordered, poses, notes = _posed(sorted(timed, key=lambda f: (f.time_s, f.frame)), track)
    notes = [*track.notes, *([clock.note] if clock.note else []), *notes]
    if not ordered:
        return Located((), (), tuple(notes), clock)
    times = np.array([f.time_s for f in ordered])
    found = [f.detections for f in ordered]
    looks = looks_of(times, poses, found, np.array([f.quality for f in ordered]), camera, track.frame)
    seen = observe(times, found, poses, camera)
    if not len(seen):
        return Located((), looks, tuple(notes), clock)

    shown = Views(seen, ordered)

    def likely(label: IntArray, names: list[str]) -> None:
        views = [
            shown.of(np.flatnonzero(label == i))
            for i in np.unique(label[label >= 0])
            if classes is None or names[i] in classes
        ]
        if foresee is not None:
            foresee(frozenset(box.frame for evidence in choose_evidence(views) for box in evidence))

    things = standing_things(seen, track, poses, camera, foresee=likely if foresee is not None else None)
    way_m = float(np.linalg.norm(np.diff(poses.enu_m[:, :2], axis=0), axis=1).sum())
    notes += mount_doubts(things, camera, way_m)
    things = _with_clock_error(things, seen, track, clock.sigma_s)
    sightings, vague = _sightings(things, seen, ordered, shown, track, classes)
    if vague:
        notes.append(f"{vague} thing{'s' if vague > 1 else ''} left out: placed to worse than {WORST_RADIUS_M:g} m.")
    return Located(sightings, looks, tuple(notes), clock)


def _posed(ordered: list[FrameDetections], track: Track) -> tuple[list[FrameDetections], Poses, list[str]]:
    """The frames whose pose is known well enough, their poses, and a sentence for those that were left out."""
    poses = track.poses_at([f.time_s for f in ordered])
    unsure = np.degrees(np.sqrt(poses.covariance[:, 2, 2])) > WORST_HEADING_DEG
    notes = []
    for count, why in (
        (int((~poses.known).sum()), "the track says nothing about their time"),
        (int((poses.known & unsure).sum()), "the track does not tell the heading there"),
    ):
        if count:
            notes.append(f"{count} frame{'s' if count > 1 else ''} left out: {why}.")
    chosen = np.flatnonzero(poses.known & ~unsure)
    kept = Poses(*(getattr(poses, name)[chosen] for name in Poses.__slots__))
    return [ordered[i] for i in chosen], kept, notes


def _with_clock_error(found: StandingThings, seen: Observations, track: Track, sigma_s: float) -> StandingThings:
    """Covariances with what an error of the clock does: it carries a thing along with the vehicle that sees it."""
    if not sigma_s or not found.names:
        return found
    before, after = (track.poses_at(seen.time_s + step).enu_m[:, :2] for step in (-_MOTION_S, _MOTION_S))
    velocity = (after - before) / (2 * _MOTION_S)
    covariance = found.covariance.copy()
    for i in range(len(found.names)):
        mean = velocity[seen.frame[found.label == i]].mean(axis=0)
        covariance[i, :2, :2] += sigma_s**2 * np.outer(mean, mean)
    return replace(found, covariance=covariance)


def _sightings(
    found: StandingThings,
    seen: Observations,
    ordered: list[FrameDetections],
    shown: Views,
    track: Track,
    classes: frozenset[str] | None,
) -> tuple[tuple[Sighting, ...], int]:
    """The things as sightings, and how many were left out because nobody can say where they are."""
    radii = error_radii(found.things, found.covariance)
    longitude, latitude = track.frame.to_lonlat(found.things[:, :2])
    sightings = []
    wanted = [i for i, name in enumerate(found.names) if classes is None or name in classes]
    placed = [i for i in wanted if radii[i] <= WORST_RADIUS_M]
    views = [shown.of(np.flatnonzero(found.label == i)) for i in placed]
    for i, seen_in, evidence in zip(placed, views, choose_evidence(views), strict=True):
        rows = np.flatnonzero(found.label == i)
        times = seen.time_s[seen.frame[rows]]
        shared = float(np.interp(times.mean(), track.time_s, track.accuracy_m))
        thing, spread = found.things[i], found.covariance[i]
        sightings.append(
            Sighting(
                class_name=found.names[i],
                score=float(np.mean([view.box.score for view in seen_in[:MOST_EVIDENCE]])),
                longitude_deg=float(longitude[i]),
                latitude_deg=float(latitude[i]),
                error_radius_m=float(radii[i]),
                covariance_m2=(float(spread[0, 0]), float(spread[0, 1]), float(spread[1, 1])),
                shared_sigma_m=min(shared, float(np.sqrt(spread[0, 0] + spread[1, 1]) / np.sqrt(2))),
                frames=len(np.unique(seen.frame[rows])),
                first_seen_s=float(times.min()),
                last_seen_s=float(times.max()),
                size_m=(float(np.exp(max(thing[LENGTH], thing[WIDTH]))), float(np.exp(thing[HEIGHT]))),
                evidence=evidence,
                seen_in=frozenset(ordered[k].frame for k in seen.frame[rows]),
            )
        )
    return tuple(sightings), len(wanted) - len(placed)
