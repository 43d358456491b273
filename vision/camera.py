"""The camera: pixels to rays in the vehicle's axes and back.

Vehicle axes are forward, left, up. Pixel (0, 0) is the centre of the top-left pixel. Angles in degrees: yaw left +,
pitch up +, roll left side up +. The file format is `camera.schema.json`, beside this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vision.errors import CameraError
from vision.geo import FloatArray, rotation

# Axes right, down, into the picture -> forward, left, up.
_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_NEAR = 1e-6
# A windscreen, a roof rack and a raised phone lie within one sigma of this.
DEFAULT_HEIGHT_M, DEFAULT_HEIGHT_SIGMA_M = 1.6, 0.3
# A phone's main lens: 26 mm of 36 mm film width, on the longer side.
DEFAULT_FOCAL_PER_SIDE, DEFAULT_FOCAL_SIGMA = 26 / 36, 0.15
DEFAULT_MOUNT_SIGMA_DEG = 2.0


@dataclass(frozen=True, slots=True)
class Mount:
    """Where the lens sits against the point whose position the track gives, and how it looks."""

    forward_m: float = 0.0
    left_m: float = 0.0
    up_m: float = 0.0
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True, slots=True)
class CameraSigma:
    """One sigma of the camera's fields: a careful survey of the mount unless the file says otherwise."""

    focal_px: float = 0.0
    height_above_ground_m: float = 0.03
    forward_m: float = 0.05
    left_m: float = 0.05
    up_m: float = 0.05
    yaw_deg: float = 0.2
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True)
class Camera:
    """One calibrated camera on a vehicle.

    `size_wh`, `focal_xy`, `centre_xy` in pixels; `distortion`: OpenCV's k1 k2 p1 p2 k3 (pinhole) or k1 k2 k3 k4
    (fisheye), missing ones are 0; `height_m`: the lens above the road.
    """

    size_wh: tuple[int, int]
    focal_xy: tuple[float, float]
    centre_xy: tuple[float, float]
    height_m: float
    distortion: tuple[float, ...] = ()
    model: Literal["pinhole", "fisheye"] = "pinhole"
    mount: Mount = Mount()
    sigma: CameraSigma = CameraSigma()

    @cached_property
    def optical_to_vehicle(self) -> FloatArray:
        """(3, 3): turns directions right-down-into the picture into vehicle axes."""
        return np.asarray(rotation(self.mount.yaw_deg, self.mount.pitch_deg, self.mount.roll_deg) @ _OPTICAL)

    def scaled(self, size_wh: tuple[int, int]) -> Camera:
        """The same camera for the same picture in another size; pixel centres stay where they are in the scene."""
        kx, ky = size_wh[0] / self.size_wh[0], size_wh[1] / self.size_wh[1]
        return replace(
            self,
            size_wh=size_wh,
            focal_xy=(self.focal_xy[0] * kx, self.focal_xy[1] * ky),
            centre_xy=((self.centre_xy[0] + 0.5) * kx - 0.5, (self.centre_xy[1] + 0.5) * ky - 0.5),
            sigma=replace(self.sigma, focal_px=self.sigma.focal_px * (kx + ky) / 2),
        )

    def rays(self, pixels_xy: npt.ArrayLike) -> FloatArray:
        """Unit directions (..., 3) in vehicle axes of pixels (..., 2)."""
        pixels = np.asarray(pixels_xy, float)
        plane = (pixels - self.centre_xy) / self.focal_xy
        optical = self._unfish(plane) if self.model == "fisheye" else self._undistort(plane)
        optical /= np.linalg.norm(optical, axis=-1, keepdims=True)
        return np.asarray(optical @ self.optical_to_vehicle.T)

    def project(self, points_m: npt.ArrayLike) -> FloatArray:
        """Pixels (..., 2) of points or directions (..., 3) in vehicle axes seen from the lens.

        What lies behind a pinhole's picture plane comes out as a far-away pixel on the right side of the picture, so
        that clipping at the picture's edge gives what the picture shows.
        """
        points = np.asarray(points_m, float)
        return self.pixels_of((points.reshape(-1, 3) @ self.optical_to_vehicle).reshape(points.shape))

    def pixels_of(self, optical: FloatArray) -> FloatArray:
        """`project` of points (..., 3) right, down and into the picture."""
        plane = self._fish(optical) if self.model == "fisheye" else self._distort(optical)
        return np.asarray(plane * self.focal_xy + self.centre_xy)

    def gradient(self, optical: FloatArray, coordinate: npt.NDArray[np.int64]) -> FloatArray:
        """How a coordinate of the pixel, x (0) or y (1), of points (3, m, n) right, down and into the picture moves
        with them: (3, m, n) pixels per metre. `coordinate` (m,): which."""
        every = np.arange(len(coordinate))
        if self.model == "pinhole" and not any(self.distortion):
            near = 1 / np.maximum(optical[2], _NEAR)
            slope = np.zeros(optical.shape)
            scale = near * np.array(self.focal_xy)[coordinate, None]
            slope[coordinate, every] = scale
            slope[2] = -optical[coordinate, every] * near * scale
            return slope
        points = np.moveaxis(optical, 0, 2)
        step = 1e-4 * np.maximum(np.linalg.norm(points, axis=2, keepdims=True), 1e-3)
        moved = [
            (self.pixels_of(points + step * axis) - self.pixels_of(points - step * axis)) / (2 * step)
            for axis in np.eye(3)
        ]
        return np.stack([pixels[every, :, coordinate] for pixels in moved])

    def depth(self, points_m: npt.ArrayLike) -> FloatArray:
        """Metres along the optical axis of points (..., 3) in vehicle axes seen from the lens."""
        return np.asarray(np.asarray(points_m, float) @ self.optical_to_vehicle[:, 2])

    def sees(self, points_m: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which of the points (..., 3), in vehicle axes seen from the lens, fall into the picture."""
        points = np.asarray(points_m, float)
        pixels = self.project(points)
        inside = ((pixels >= -0.5) & (pixels <= np.array(self.size_wh) - 0.5)).all(axis=-1)
        return np.asarray(inside & ((self.depth(points) > _NEAR) | (self.model == "fisheye")))

    def _coefficients(self, count: int) -> FloatArray:
        return np.array([*self.distortion, *[0.0] * count][:count])

    def _distort(self, optical: FloatArray) -> FloatArray:
        flat = optical[..., :2] / np.maximum(optical[..., 2:], _NEAR)
        if not any(self.distortion):
            return np.asarray(flat)
        k1, k2, p1, p2, k3 = self._coefficients(5)
        # Outside the picture the polynomial folds back: hold the radius where the picture surely ends.
        r2 = np.minimum((flat**2).sum(axis=-1), self._fold2)
        x, y = flat[..., 0], flat[..., 1]
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        in_picture = (flat**2).sum(axis=-1) <= self._fold2
        bend_x = np.where(in_picture, 2 * p1 * x * y + p2 * (r2 + 2 * x * x), 0.0)
        bend_y = np.where(in_picture, p1 * (r2 + 2 * y * y) + 2 * p2 * x * y, 0.0)
        return np.stack([x * radial + bend_x, y * radial + bend_y], axis=-1)

    @cached_property
    def _fold2(self) -> float:
        """Squared radius up to which the radial polynomial grows."""
        k1, k2, _, _, k3 = self._coefficients(5)
        r = np.linspace(0.0, 4.0, 801)
        growth = 1 + 3 * k1 * r**2 + 5 * k2 * r**4 + 7 * k3 * r**6
        return float(r[np.argmax(growth <= 0)] ** 2) if (growth <= 0).any() else 16.0

    def _undistort(self, plane: FloatArray) -> FloatArray:
        if any(self.distortion):
            k1, k2, p1, p2, k3 = self._coefficients(5)
            x, y = plane[..., 0], plane[..., 1]
            for _ in range(30):
                r2 = np.minimum(x * x + y * y, self._fold2)
                radial = np.maximum(1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 0.05)
                bent_x = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
                bent_y = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
                x, y = (plane[..., 0] - bent_x) / radial, (plane[..., 1] - bent_y) / radial
            plane = np.stack([x, y], axis=-1)
        return np.concatenate([plane, np.ones_like(plane[..., :1])], axis=-1)

    def _fish(self, optical: FloatArray) -> FloatArray:
        across = np.linalg.norm(optical[..., :2], axis=-1)
        theta = np.arctan2(across, optical[..., 2])
        bent = self._bend(theta)
        return np.asarray(optical[..., :2] * (bent / np.maximum(across, 1e-12))[..., None])

    def _bend(self, theta: FloatArray) -> FloatArray:
        k1, k2, k3, k4 = self._coefficients(4)
        t2 = theta * theta
        return np.asarray(theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))))

    def _unfish(self, plane: FloatArray) -> FloatArray:
        bent = np.linalg.norm(plane, axis=-1)
        low, high = np.zeros_like(bent), np.full_like(bent, np.pi)
        for _ in range(50):  # bisection: sure even where the polynomial is nearly flat
            middle = (low + high) / 2
            above = self._bend(middle) > bent
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        theta = (low + high) / 2
        across = plane / np.maximum(bent, 1e-12)[..., None] * np.sin(theta)[..., None]
        return np.concatenate([across, np.cos(theta)[..., None]], axis=-1)


@lru_cache(maxsize=1)
def camera_schema() -> dict[str, Any]:
    """The published JSON Schema of the camera file."""
    text = resources.files("vision").joinpath("camera.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def camera_of(data: Mapping[str, Any], *, source: str = "camera") -> Camera:
    """The camera that a mapping in the file's format describes.

    Raises CameraError that names `source`, the field and what to do.
    """
    import jsonschema

    checker = jsonschema.Draft202012Validator(camera_schema())
    faults = sorted(checker.iter_errors(data), key=lambda fault: (list(map(str, fault.absolute_path)), fault.message))
    if faults:
        first = faults[0]
        field = ".".join(map(str, first.absolute_path)) or "the file"
        raise CameraError(
            f"{source}: {field}: {first.message}", remedy="correct the field; the format is vision/camera.schema.json"
        )
    numbers = [data[name] for name in ("fx", "fy", "cx", "cy", "height_above_ground_m")]
    numbers += [*data.get("distortion", ()), *data.get("mount", {}).values(), *data.get("sigma", {}).values()]
    if not np.isfinite(np.array(numbers, float)).all():
        raise CameraError(f"{source}: a field is NaN or infinite", remedy="give every field a plain number")
    camera = Camera(
        size_wh=(int(data["width"]), int(data["height"])),
        focal_xy=(float(data["fx"]), float(data["fy"])),
        centre_xy=(float(data["cx"]), float(data["cy"])),
        height_m=float(data["height_above_ground_m"]),
        distortion=tuple(float(k) for k in data.get("distortion", ())),
        model=data.get("model", "pinhole"),
        mount=Mount(**data.get("mount", {})),
        sigma=CameraSigma(**data.get("sigma", {})),
    )
    if camera.model == "fisheye" and len(camera.distortion) > 4:
        raise CameraError(
            f"{source}: distortion: a fisheye camera has 4 coefficients, got {len(camera.distortion)}",
            remedy="give k1 k2 k3 k4 of OpenCV's fisheye model",
        )
    return camera


def read_camera(path: Path) -> Camera:
    """Read a camera file. Raises CameraError that names the file, the field and the remedy."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CameraError(f"{path}: cannot be read ({error.strerror})", remedy="check the path of --camera") from error
    except (ValueError, RecursionError) as error:
        raise CameraError(f"{path}: is not JSON ({error})", remedy="the format is vision/camera.schema.json") from error
    if not isinstance(data, dict):
        raise CameraError(f"{path}: expected one JSON object", remedy="the format is vision/camera.schema.json")
    return camera_of(data, source=str(path))


def camera_json(camera: Camera) -> dict[str, Any]:
    """The mapping that `camera_of` reads back as an equal camera."""
    names = ("forward_m", "left_m", "up_m", "yaw_deg", "pitch_deg", "roll_deg")
    return {
        "model": camera.model,
        "width": camera.size_wh[0],
        "height": camera.size_wh[1],
        "fx": camera.focal_xy[0],
        "fy": camera.focal_xy[1],
        "cx": camera.centre_xy[0],
        "cy": camera.centre_xy[1],
        "distortion": list(camera.distortion),
        "height_above_ground_m": camera.height_m,
        "mount": {name: getattr(camera.mount, name) for name in names},
        "sigma": {name: getattr(camera.sigma, name) for name in ("focal_px", "height_above_ground_m", *names)},
    }


def assumed_camera(size_wh: tuple[int, int], focal_px: float | None) -> tuple[Camera, tuple[str, ...]]:
    """A camera for pictures that came without a camera file, and a sentence for each thing that was assumed.

    `focal_px`: from EXIF when there is one. The sigmas admit how little is known, so that the error radii do too.
    """
    said = [
        f"No camera file: the lens is assumed {DEFAULT_HEIGHT_M:g} ± {DEFAULT_HEIGHT_SIGMA_M:g} m above the road, "
        f"level and looking ahead to ± {DEFAULT_MOUNT_SIGMA_DEG:g}°."
    ]
    known = focal_px is not None and np.isfinite(focal_px) and focal_px > 8
    focal = float(focal_px) if known and focal_px is not None else DEFAULT_FOCAL_PER_SIDE * max(size_wh)
    if not known:
        said.append(f"No focal length: {focal:.0f} px is assumed, a phone's main lens, to ± {DEFAULT_FOCAL_SIGMA:.0%}.")
    camera = Camera(
        size_wh=size_wh,
        focal_xy=(focal, focal),
        centre_xy=((size_wh[0] - 1) / 2, (size_wh[1] - 1) / 2),
        height_m=DEFAULT_HEIGHT_M,
        sigma=CameraSigma(
            focal_px=focal * (0.03 if known else DEFAULT_FOCAL_SIGMA),
            height_above_ground_m=DEFAULT_HEIGHT_SIGMA_M,
            forward_m=1.0,
            left_m=0.5,
            up_m=0.3,
            yaw_deg=DEFAULT_MOUNT_SIGMA_DEG,
            pitch_deg=DEFAULT_MOUNT_SIGMA_DEG,
            roll_deg=DEFAULT_MOUNT_SIGMA_DEG,
        ),
    )
    return camera, tuple(said)
