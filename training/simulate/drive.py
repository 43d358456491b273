"""A vehicle drives through a street: its true poses, and what its receivers log of them."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from training.simulate.camera import Camera, View, mounted, rotation
from training.simulate.mesh import Array
from training.simulate.scene import Scene
from training.simulate.views import ground_tilt
from vision.geo import LocalFrame

# The tracked point (the antenna on the roof) above the road.
ANTENNA_M = 1.7
# A receiver of a phone's kind: error per axis, its memory, and what is added to every fix alone.
CONSUMER_SIGMA_M, CONSUMER_MEMORY_S, CONSUMER_WHITE_M = 1.0, 30.0, 0.15
RTK_SIGMA_M = 0.02
RTK_HZ = 10.0


@dataclass(frozen=True, slots=True)
class Pose:
    """The tracked point at a time: metres east, north, up; heading clockwise from north, pitch nose up, roll left
    side up, in degrees; seconds since the pass began."""

    time_s: float
    east: float
    north: float
    up: float
    heading_deg: float
    pitch_deg: float
    roll_deg: float
    speed_mps: float


@dataclass(frozen=True, eq=False)
class Drive:
    """One pass: from `start_s` along the street at about `speed_mps`, in the right-hand lane."""

    scene: Scene
    seed: int
    which: int
    start_s: float
    speed_mps: float
    duration_s: float

    def pose(self, time_s: float) -> Pose:
        """The true pose; before and after the pass the vehicle drives on."""
        wave = np.random.default_rng([self.seed, self.which, 21]).uniform(0, 2 * math.pi, 8)
        street, v = self.scene.street, self.speed_mps
        s = self.start_s + v * time_s - 0.6 * math.cos(time_s * 0.5 + wave[0]) + 0.6 * math.cos(wave[0])
        speed = v + 0.3 * math.sin(time_s * 0.5 + wave[0])
        d = -0.24 * street.half + 0.2 * math.sin(s / 11 + wave[1]) + 0.08 * math.sin(s / 4 + wave[2])
        drift = 0.2 / 11 * math.cos(s / 11 + wave[1]) + 0.02 * math.cos(s / 4 + wave[2])
        pitch, roll = ground_tilt(self.scene, s, d)
        # The suspension: small swings at about one and a half cycles a second.
        pitch += 0.15 * math.sin(9.0 * time_s + wave[3]) + 0.1 * math.sin(2.3 * time_s + wave[4])
        roll += 0.2 * math.sin(7.5 * time_s + wave[5]) + 0.12 * math.sin(1.9 * time_s + wave[6])
        yaw = math.degrees(float(street.at(street.heading, s)) + math.atan(drift))
        above = rotation(yaw, pitch, roll)[:, 2] * ANTENNA_M
        east, north, up = (float(v) for v in street.world(s, d) + above)
        return Pose(time_s, east, north, up, (90.0 - yaw) % 360.0, pitch, roll, speed)

    def view(self, camera: Camera, time_s: float) -> View:
        """What the camera sees then."""
        p = self.pose(time_s)
        return mounted(
            camera, np.array([p.east, p.north, p.up]), rotation(90.0 - p.heading_deg, p.pitch_deg, p.roll_deg)
        )


@dataclass(frozen=True, slots=True)
class Clock:
    """How a track file tells time: as instants from `start`, or with None as seconds."""

    start: datetime | None

    @property
    def column(self) -> str:
        """The name of the column."""
        return "time_s" if self.start is None else "time_utc"

    def write(self, time_s: float) -> str:
        """One cell."""
        if self.start is None:
            return f"{time_s:.2f}"
        return (self.start + timedelta(seconds=time_s)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def wandering(rng: np.random.Generator, count: int, step_s: float) -> Array:
    """First-order Gauss-Markov errors (count, 2) in metres: they are shared by neighbouring fixes."""
    keep = math.exp(-step_s / CONSUMER_MEMORY_S)
    errors = np.empty((count, 2))
    errors[0] = rng.normal(0, CONSUMER_SIGMA_M, 2)
    for i in range(1, count):
        errors[i] = keep * errors[i - 1] + rng.normal(0, CONSUMER_SIGMA_M * math.sqrt(1 - keep * keep), 2)
    return errors


def consumer_fixes(drive: Drive) -> tuple[Array, Array]:
    """Times (n,) and east, north (n, 2) that a phone-grade receiver reports, once a second, two seconds early to
    two seconds late."""
    rng = np.random.default_rng([drive.seed, drive.which, 22])
    times = np.arange(-2.0, drive.duration_s + 2.5, 1.0)
    truth = np.array([[p.east, p.north] for p in (drive.pose(float(t)) for t in times)])
    return times, truth + wandering(rng, len(times), 1.0) + rng.normal(0, CONSUMER_WHITE_M, truth.shape)


def consumer_csv(drive: Drive, frame: LocalFrame, clock: Clock) -> str:
    """The consumer track as CSV: position only."""
    times, fixes = consumer_fixes(drive)
    lon, lat = frame.to_lonlat(fixes)
    accuracy = math.hypot(CONSUMER_SIGMA_M, CONSUMER_WHITE_M)
    rows = [
        [clock.write(float(t)), f"{b:.8f}", f"{a:.8f}", f"{accuracy:.2f}"]
        for t, a, b in zip(times, lon, lat, strict=True)
    ]
    return to_csv([clock.column, "latitude_deg", "longitude_deg", "accuracy_m"], rows)


def rtk_csv(drive: Drive, frame: LocalFrame, clock: Clock) -> str:
    """A surveying receiver's track: full pose, ten times a second, centimetres. Its level sensor was mounted a
    little askew, as they are, so pitch and roll are off by a constant."""
    rng = np.random.default_rng([drive.seed, drive.which, 23])
    askew = rng.normal(0, [0.5, 0.8])
    rows = []
    for t in np.arange(-2.0, drive.duration_s + 2.05, 1 / RTK_HZ):
        p = drive.pose(float(t))
        error = rng.normal(0, RTK_SIGMA_M, 3)
        lon, lat = frame.to_lonlat(np.array([p.east + error[0], p.north + error[1]]))
        rows.append(
            [
                clock.write(float(t)),
                f"{float(lat):.9f}",
                f"{float(lon):.9f}",
                f"{frame.altitude_m + p.up + error[2]:.3f}",
                f"{(p.heading_deg + rng.normal(0, 0.08)) % 360:.4f}",
                f"{p.pitch_deg + askew[0] + rng.normal(0, 0.03):.4f}",
                f"{p.roll_deg + askew[1] + rng.normal(0, 0.03):.4f}",
                f"{p.speed_mps:.3f}",
                f"{RTK_SIGMA_M:.2f}",
            ]
        )
    names = [
        "latitude_deg",
        "longitude_deg",
        "altitude_m",
        "heading_deg",
        "pitch_deg",
        "roll_deg",
        "speed_mps",
        "accuracy_m",
    ]
    return to_csv([clock.column, *names], rows)


def to_csv(header: list[str], rows: list[list[str]]) -> str:
    """CSV text with plain line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
