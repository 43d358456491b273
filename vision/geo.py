"""Earth and plane: WGS 84 to metres east, north, up about an origin and back; headings and angles.

The plane is the local equirectangular one: degrees scaled by the ellipsoid's two radii of curvature at the origin. It
is exactly invertible, "up" stays altitude, and within 10 km of the origin its scale is right to 0.2 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

# WGS 84 (NIMA TR8350.2): semi-major axis in metres, flattening.
EQUATOR_M = 6378137.0
FLATTENING = 1 / 298.257223563
_E2 = FLATTENING * (2 - FLATTENING)


@dataclass(frozen=True, slots=True)
class LocalFrame:
    """Metres east, north, up about an origin given in degrees and metres."""

    longitude_deg: float
    latitude_deg: float
    altitude_m: float = 0.0

    @property
    def metres_per_degree(self) -> tuple[float, float]:
        """Metres in one degree of longitude and of latitude at the origin (radii N and M of the ellipsoid)."""
        phi = math.radians(self.latitude_deg)
        w2 = 1 - _E2 * math.sin(phi) ** 2
        prime_vertical = EQUATOR_M / math.sqrt(w2)
        meridian = EQUATOR_M * (1 - _E2) / w2**1.5
        return math.radians(prime_vertical * math.cos(phi)), math.radians(meridian)

    def to_enu(
        self, longitude_deg: npt.ArrayLike, latitude_deg: npt.ArrayLike, altitude_m: npt.ArrayLike = 0.0
    ) -> FloatArray:
        """Metres east, north, up of the origin, shape (..., 3); longitudes are taken the short way round."""
        east_scale, north_scale = self.metres_per_degree
        lon, lat, alt = np.broadcast_arrays(
            np.asarray(longitude_deg, float), np.asarray(latitude_deg, float), np.asarray(altitude_m, float)
        )
        return np.stack(
            [
                wrap_deg(lon - self.longitude_deg) * east_scale,
                (lat - self.latitude_deg) * north_scale,
                alt - self.altitude_m,
            ],
            axis=-1,
        )

    def to_lonlat(self, enu_m: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Longitude and latitude in degrees of points (..., 2 or 3) in metres east, north of the origin."""
        east_scale, north_scale = self.metres_per_degree
        enu = np.asarray(enu_m, float)
        return (
            wrap_deg(self.longitude_deg + enu[..., 0] / east_scale),
            np.asarray(self.latitude_deg + enu[..., 1] / north_scale),
        )


def wrap_deg(angle_deg: npt.ArrayLike) -> FloatArray:
    """The same angle from −180 (included) to 180 degrees."""
    return np.asarray((np.asarray(angle_deg, float) + 180.0) % 360.0 - 180.0)


def wrap_rad(angle: npt.ArrayLike) -> FloatArray:
    """The same angle from −π (included) to π."""
    return np.asarray((np.asarray(angle, float) + np.pi) % (2 * np.pi) - np.pi)


def heading_deg(east: npt.ArrayLike, north: npt.ArrayLike) -> FloatArray:
    """Degrees clockwise from true north, 0 to 360, of a direction given east and north."""
    return np.asarray(np.degrees(np.arctan2(np.asarray(east, float), np.asarray(north, float))) % 360.0)


def unwrap_deg(angle_deg: npt.ArrayLike) -> FloatArray:
    """A series of angles without jumps of 360 degrees, fit for interpolation."""
    return np.asarray(np.unwrap(np.asarray(angle_deg, float), period=360.0))


def rotation(yaw_deg: npt.ArrayLike, pitch_deg: npt.ArrayLike, roll_deg: npt.ArrayLike) -> FloatArray:
    """Rz(yaw) · Ry(−pitch) · Rx(roll) on axes forward, left, up: shape (..., 3, 3), turns inner axes into outer ones.

    yaw left +, pitch up +, roll left side up +, in degrees.
    """
    yaw, pitch, roll = np.broadcast_arrays(
        np.radians(np.asarray(yaw_deg, float)),
        np.radians(np.asarray(pitch_deg, float)),
        np.radians(np.asarray(roll_deg, float)),
    )
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turned = np.empty((*yaw.shape, 3, 3))
    turned[..., 0, 0], turned[..., 0, 1], turned[..., 0, 2] = cy * cp, -sy * cr - cy * sp * sr, sy * sr - cy * sp * cr
    turned[..., 1, 0], turned[..., 1, 1], turned[..., 1, 2] = sy * cp, cy * cr - sy * sp * sr, -cy * sr - sy * sp * cr
    turned[..., 2, 0], turned[..., 2, 1], turned[..., 2, 2] = sp, cp * sr, cp * cr
    return turned


def median(values: FloatArray) -> float:
    """Of some numbers, at least one: what `numpy.median` says, five times as fast for so few."""
    ordered, middle = np.sort(values), len(values) // 2
    return float(ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)
