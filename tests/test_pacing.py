"""Frames that show nothing new are skipped before decoding, and no thing is lost by that."""

from __future__ import annotations

import numpy as np
import pytest

from tests import scenes
from vision.geo import FloatArray
from vision.locating.locate import locate
from vision.patrol.pacing import ENOUGH, REST_S, Pacer
from vision.tracks.track import Track

# Speeds in metres per second and for how long: a start, a red light, a queue that creeps, a jam, a short way back.
STOP_AND_GO = ((6.0, 4.0), (0.0, 25.0), (0.4, 15.0), (6.0, 4.0), (0.0, 12.0), (-0.8, 6.0), (0.0, 5.0), (6.0, 6.0))


def stop_and_go(rate_hz: float = 2.0) -> tuple[FloatArray, FloatArray]:
    """Times (k,) and places (k, 2) of a drive north with stops."""
    speeds = np.concatenate([np.full(round(seconds * rate_hz), speed) for speed, seconds in STOP_AND_GO])
    north = np.concatenate([[0.0], np.cumsum(speeds[:-1]) / rate_hz])
    return np.arange(len(speeds)) / rate_hz, np.stack([np.zeros_like(north), north], axis=1)


def street(seed: int, length_m: float) -> list[scenes.Thing]:
    """Bins, garbage and stalls on both sides, seven metres apart or more."""
    rng = np.random.default_rng(seed)
    sizes = {"bin": (0.6, 0.6, 1.0), "garbage": (0.8, 0.6, 0.5), "stall": (2.0, 1.5, 2.2)}
    things = []
    for north in np.arange(8.0, length_m + 8.0, 7.0):
        name = str(rng.choice(list(sizes)))
        east = float(rng.choice([-1, 1]) * rng.uniform(3.0, 6.0))
        things.append(scenes.Thing(name, east, float(north + rng.uniform(0, 2)), sizes[name]))
    return things


def found(things: list[scenes.Thing], seen: list[scenes.FrameDetections], track: Track) -> set[int]:
    """The things that have a located one of their class within two metres and its stated error radius."""
    located = locate(seen, track, scenes.CAMERA)
    reached = set()
    for sighting in located.sightings:
        at = (np.array([sighting.longitude_deg]), np.array([sighting.latitude_deg]), np.zeros(1))
        east, north, _ = scenes.ORIGIN.to_enu(*at)[0]
        near = 2.0 + sighting.error_radius_m
        for i, thing in enumerate(things):
            if thing.name == sighting.class_name and np.hypot(east - thing.east_m, north - thing.north_m) < near:
                reached.add(i)
    return reached


@pytest.mark.parametrize("kind", ["surveyed", "consumer"])
def test_no_thing_is_lost_by_skipping(kind: str) -> None:
    """Simulated patrols with stops, a creeping queue and a way back, seen by a detector that misses a fifth: with
    a surveyed track a third of the frames or more are skipped and every thing found without skipping is found with it;
    with a consumer track, where another choice of frames may shift what is found either way, no more than one of
    these thirty is lost."""
    lost, gained, without, used, taken = 0, 0, 0, 0, 0
    for seed in range(3):
        times, places = stop_and_go()
        things = street(seed, float(places[-1, 1]))
        seen = scenes.frames_of(things, times, places, jitter_px=1.5, miss=0.2, seed=seed)
        track = (
            scenes.surveyed_track(times, places) if kind == "surveyed" else scenes.consumer_track(times, places, seed)
        )
        pacer = Pacer(track)
        paced = [frame for frame in seen if pacer.shows_more(frame.time_s)]
        everything, less = found(things, seen, track), found(things, paced, track)
        lost += len(everything - less)
        gained += len(less - everything)
        without += len(everything)
        used += len(paced)
        taken += len(seen)
    assert without > 20
    assert lost <= (0 if kind == "surveyed" else gained + 1)
    assert used < 0.7 * taken


def test_at_rest_a_look_now_and_then() -> None:
    """A vehicle at rest is looked from at least every few seconds, for what hides the ground drives on."""
    times = np.arange(0, 60, 0.5)
    pacer = Pacer(scenes.surveyed_track(times, np.zeros((len(times), 2))))
    used = [time for time in times if pacer.shows_more(time)]
    assert np.diff(used).max() == REST_S
    assert len(used) == ENOUGH + (59.5 - used[ENOUGH - 1]) // REST_S


def test_a_moving_vehicle_skips_nothing() -> None:
    """At 1 m a frame, each frame is used; where the track is silent nothing is known and nothing skipped."""
    times = np.arange(0, 20, 0.5)
    pacer = Pacer(scenes.surveyed_track(times, np.stack([np.zeros_like(times), 2 * times], axis=1)))
    assert all(pacer.shows_more(time) for time in (*times, 500.0, 500.1))
