"""A whole street with everything on it, drawn from one seed."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from shapely.geometry import MultiPoint

from training.simulate.kit import Kit
from training.simulate.mesh import Array, Mesh
from training.simulate.street import Street
from training.simulate.textures import Picture


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """Something that stands in the street. `id` 0: scenery that is not looked for; `class_name` then is empty.
    `matrix` (4, 4) takes its mesh into the world; `passes`: in which passes it is there."""

    id: int
    class_name: str
    mesh: int
    matrix: Array
    passes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, slots=True)
class Light:
    """Sky and sun. Colours are linear RGB; angles in degrees; `wet` and `cloud` from 0 to 1; `haze_m`: the distance
    at which haze takes 63 % of the contrast."""

    horizon: tuple[float, float, float]
    zenith: tuple[float, float, float]
    cloud_colour: tuple[float, float, float]
    cloud: float
    cloud_shift: tuple[float, float, float]
    sky_strength: float
    sun_strength: float
    sun_colour: tuple[float, float, float]
    sun_size_deg: float
    sun_height_deg: float
    sun_turn_deg: float
    wet: float
    haze_m: float


@dataclass(eq=False)
class Scene:
    """What a renderer needs, and the truth about it. `kind` is the kind of street; `lights` has one for each pass."""

    seed: int
    kind: str
    street: Street
    lights: tuple[Light, ...]
    meshes: list[Mesh] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    images: dict[str, Picture] = field(default_factory=dict)
    _taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def add_mesh(self, mesh: Mesh) -> int:
        """Keep a mesh; returns its number."""
        self.meshes.append(mesh)
        return len(self.meshes) - 1

    def add(self, class_name: str, mesh: Mesh | int, matrix: Array, passes: tuple[int, ...] = (1, 2)) -> Thing:
        """Stand a thing in the scene; an empty class makes it scenery with id 0."""
        number = mesh if isinstance(mesh, int) else self.add_mesh(mesh)
        ident = 1 + sum(1 for t in self.things if t.id) if class_name else 0
        thing = Thing(ident, class_name, number, matrix, passes)
        self.things.append(thing)
        return thing

    def free(self, s: float, d: float, along: float, across: float) -> bool:
        """Claim the ground about (s, d), `along` by `across` metres in all; False when something stands there."""
        a, c = along / 2, across / 2
        for s0, d0, a0, c0 in self._taken:
            if abs(s - s0) < a + a0 and abs(d - d0) < c + c0:
                return False
        self._taken.append((s, d, a, c))
        return True

    def light_in(self, which: int) -> Light:
        """The light of a pass, counted from 1."""
        return self.lights[min(which, len(self.lights)) - 1]

    def seen_in(self, which: int) -> list[Thing]:
        """The things that are there in a pass."""
        return [t for t in self.things if which in t.passes]

    def labelled(self) -> dict[int, Thing]:
        """The things that are looked for, by id."""
        return {t.id: t for t in self.things if t.id}

    def corners(self, thing: Thing) -> Array:
        """The vertices of a thing in the world, (n, 3) metres."""
        return np.asarray(self.meshes[thing.mesh].verts @ thing.matrix[:3, :3].T + thing.matrix[:3, 3])

    def footprint(self, thing: Thing) -> list[tuple[float, float]]:
        """The outline of a thing seen from above (convex), metres east and north, first point repeated last."""
        hull = MultiPoint(self.corners(thing)[:, :2]).convex_hull.buffer(0.01, quad_segs=1).simplify(0.02)
        return [(round(float(x), 3), round(float(y), 3)) for x, y in hull.exterior.coords]

    def description(self) -> bytes:
        """The scene as bytes: the same seed gives the same bytes."""
        record: dict[str, Any] = {
            "seed": self.seed,
            "kind": self.kind,
            "lights": [asdict(light) for light in self.lights],
            "things": [
                {
                    "id": t.id,
                    "class": t.class_name,
                    "matrix": np.round(t.matrix, 6).tolist(),
                    "passes": t.passes,
                    "mesh": t.mesh,
                }
                for t in self.things
            ],
            "meshes": [
                [
                    hashlib.sha256(
                        np.round(m.verts, 5).tobytes() + m.faces.tobytes() + m.material.tobytes()
                    ).hexdigest(),
                    str(m.materials),
                ]
                for m in self.meshes
            ],
            "images": {name: hashlib.sha256(p.tobytes()).hexdigest() for name, p in sorted(self.images.items())},
        }
        return json.dumps(record, sort_keys=True).encode()


def make_light(kit: Kit) -> Light:
    """Clear, hazy, overcast or low-sun weather; dry or wet."""
    mood = str(kit.rng.choice(["clear", "hazy", "overcast", "low", "overcast"]))
    wet = kit.between(0.4, 1.0) if mood == "overcast" and kit.chance(0.45) else 0.0
    height = {"clear": kit.between(35, 70), "hazy": kit.between(30, 60), "overcast": 50.0, "low": kit.between(12, 28)}[
        mood
    ]
    sun = {
        "clear": kit.between(3.5, 5.0),
        "hazy": kit.between(1.5, 2.5),
        "overcast": 0.0,
        "low": kit.between(2.5, 4.0),
    }[mood]
    grey = kit.between(0.75, 1.0)
    zenith = {
        "clear": (0.12, 0.25, 0.6),
        "hazy": (0.4, 0.5, 0.66),
        "overcast": (grey, grey, grey * 1.03),
        "low": (0.2, 0.32, 0.6),
    }[mood]
    horizon = {
        "clear": (0.55, 0.68, 0.85),
        "hazy": (0.75, 0.76, 0.76),
        "overcast": (0.7, 0.71, 0.73),
        "low": (0.9, 0.7, 0.5),
    }[mood]
    warm = {
        "clear": (1.0, 0.95, 0.88),
        "hazy": (1.0, 0.93, 0.84),
        "overcast": (1.0, 1.0, 1.0),
        "low": (1.0, 0.8, 0.55),
    }[mood]
    return Light(
        horizon=horizon,
        zenith=zenith,
        cloud_colour=(0.85, 0.85, 0.86) if mood != "overcast" else (0.6, 0.61, 0.63),
        cloud=kit.between(0.2, 0.9),
        cloud_shift=(kit.between(0, 9), kit.between(0, 9), kit.between(0, 9)),
        sky_strength=kit.between(0.8, 1.2),
        sun_strength=sun,
        sun_colour=warm,
        sun_size_deg={"hazy": 3.0}.get(mood, 0.6),
        sun_height_deg=height,
        sun_turn_deg=math.degrees(kit.between(0, 2 * math.pi)),
        wet=wet,
        haze_m=kit.between(90, 250) if mood == "hazy" else kit.between(250, 1500),
    )
