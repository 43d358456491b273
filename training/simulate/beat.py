"""The street of a patrol: an ordinary one with a few things wrong, half of which are put right before the next pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.simulate import bins, furniture, sitework, structures, traffic, waste
from training.simulate.kit import Kit
from training.simulate.mesh import Mesh
from training.simulate.populate import Builder, backed, distractors, line_with_facades, outward, park
from training.simulate.scene import Light, Scene, make_light
from training.simulate.street import ground, make_street

BOTH, FIRST, SECOND = (1, 2), (1,), (2,)


def two_lights(kit: Kit) -> tuple[Light, Light]:
    """A bright morning and, another day, an overcast afternoon after rain."""
    clear, dull = make_light(kit), make_light(kit)
    morning = replace(
        clear,
        zenith=(0.14, 0.27, 0.6),
        horizon=(0.6, 0.7, 0.85),
        cloud_colour=(0.85, 0.85, 0.86),
        cloud=0.5,
        sun_strength=3.6,
        sun_colour=(1.0, 0.93, 0.84),
        sun_size_deg=0.8,
        sun_height_deg=44.0,
        wet=0.0,
        haze_m=420.0,
    )
    afternoon = replace(
        dull,
        zenith=(0.85, 0.86, 0.9),
        horizon=(0.7, 0.71, 0.73),
        cloud_colour=(0.6, 0.61, 0.63),
        cloud=0.6,
        sun_strength=0.0,
        wet=0.55,
        haze_m=300.0,
    )
    return morning, afternoon


def put(
    kit: Kit,
    scene: Scene,
    class_name: str,
    builder: Builder,
    s: float,
    side: int,
    out: float,
    passes: tuple[int, ...],
    *,
    lie: bool = False,
    replaced_by: tuple[str, Builder] | None = None,
    yaw: float = 0.0,
) -> bool:
    """Stand a thing near (s, `out` metres beyond the kerb), moving along the street until there is room; a thing of
    the first pass only may be `replaced_by` another in the second."""
    street = scene.street
    mesh = builder(kit)
    low, high = mesh.verts.min(axis=0), mesh.verts.max(axis=0)
    along, across = (float(v) for v in (high - low)[:2])
    mid = float(low[1] + high[1]) / 2
    for shift in (0, 2, -2, 4, -4, 6, -6, 8, -8):
        at = s + shift
        if not scene.free(at, side * (street.half + out + mid), along + 0.3, across + 0.2):
            continue
        matrix = street.pose(at, side * (street.half + out), outward(side) + yaw, lie=lie, up=-0.005)
        scene.add(class_name, mesh, matrix, passes)
        if replaced_by is not None and passes == FIRST:
            name, other = replaced_by
            scene.add(name, other(kit), matrix, SECOND)
        return True
    return False


def on_wall(builder: Builder, scene: Scene, side: int) -> tuple[Builder, float]:
    """A builder with its back on the facade line, and how far that is beyond the kerb."""
    return backed(builder), scene.street.pavement[0 if side > 0 else 1] - 0.05


def make_beat(seed: int, length: float = 66.0) -> Scene:
    """A street of `length` metres for a patrol of two passes."""
    kit = Kit(np.random.default_rng([seed, 31]))
    street = make_street(kit, "street", length)
    width = max(3.4, street.pavement[0]), max(3.6, street.pavement[1])
    street = replace(street, pavement=width, half=min(max(street.half, 4.2), 5.0))
    scene = Scene(seed, "street", street, two_lights(kit))
    scene.add("", ground(kit, street, "street"), np.eye(4))
    line_with_facades(kit, scene, adverts=0.4)
    fronts: list[tuple[str, Builder]] = [
        ("shed", structures.shed), ("stall", structures.stall), ("material_pile", sitework.material_pile),
        ("hoarding", lambda k: sitework.hoarding(k, 5.0)),
    ]  # fmt: skip
    stations = np.linspace(12, length - 4, len(fronts)) + kit.rng.normal(0, 1, len(fronts))
    gone = set(kit.rng.choice(len(fronts), 2, replace=False).tolist())
    for i in kit.rng.permutation(len(fronts)):
        name, builder = fronts[int(i)]
        side = -1 if name != "hoarding" else 1
        back, out = on_wall(builder, scene, side)
        put(kit, scene, name, back, float(stations[int(i)]), side, out, FIRST if int(i) in gone else BOTH)

    def tub(full: bool) -> Builder:
        def build(k: Kit) -> Mesh:
            return bins.wheelie(k, full=full, large=False)

        return backed(build)

    spots = np.linspace(9, length, 5) + kit.rng.normal(0, 1.5, 5)
    for i, s in enumerate(spots):  # groups of two bins; of the overflowing ones, half are emptied
        side, full = (-1, i % 2 == 0) if i != 3 else (1, True)
        out = 1.15
        put(
            kit,
            scene,
            "overflow" if full else "bin",
            tub(full),
            float(s),
            side,
            out,
            FIRST if full and i % 4 == 0 else BOTH,
            replaced_by=("bin", tub(False)),
        )
        put(kit, scene, "bin", tub(False), float(s) + 1.0, side, out, BOTH)
    put(kit, scene, "bin", backed(bins.street_bin), length * 0.55, 1, 0.9, BOTH)
    for i, s in enumerate(np.linspace(8, length + 2, 7) + kit.rng.normal(0, 1.5, 7)):
        builder = (waste.heap, waste.bag, lambda k: waste.scatter(k, 9, 0.4))[i % 3]
        side, out = (-1, kit.one((-0.35, 0.5, 1.2))) if i != 4 else (1, 0.6)
        put(
            kit,
            scene,
            "garbage",
            builder,
            float(s),
            side,
            out if i % 3 != 2 else -0.3,
            BOTH if i % 2 else FIRST,
            lie=True,
        )
    put(kit, scene, "garbage", waste.heap, length * 0.4, -1, 0.7, SECOND, lie=True)
    for i in range(10):
        put(
            kit,
            scene,
            "garbage",
            waste.piece,
            kit.between(5, length + 6),
            kit.one((-1, -1, 1)),
            -kit.between(0.05, 0.6),
            FIRST if i % 2 else SECOND,
            lie=True,
            yaw=kit.between(0, 6),
        )
    for which in (FIRST, SECOND):
        before = len(scene.things)
        claimed = list(scene._taken)
        park(kit, scene, 3, traffic.car, across=1.85)
        park(kit, scene, 2, traffic.scooter, across=0.7, on_pavement=True)
        for _ in range(3):
            put(
                kit,
                scene,
                "person",
                traffic.person,
                kit.between(4, length),
                kit.one((-1, 1)),
                kit.between(0.6, 2.2),
                which,
                yaw=kit.between(0, 6),
            )
        scene.things[before:] = [replace(t, passes=which) for t in scene.things[before:]]
        scene._taken[:] = claimed  # the other day's cars may stand at the same kerb
    trees = [scene.add_mesh(furniture.tree(kit)) for _ in range(2)]
    for i in range(int(length / 9) + 3):
        for side in (1, -1):
            s = 2.0 + 9 * i
            if scene.free(s, side * (street.half + 0.55), 0.5, 0.5):
                scene.add("", kit.one(trees), street.pose(s, side * (street.half + 0.55), kit.between(0, 6)))
    for builder in (
        furniture.lamp_post,
        furniture.lamp_post,
        furniture.traffic_sign,
        furniture.bollard,
        furniture.planter,
        furniture.cabinet,
    ):
        put(kit, scene, "", builder, kit.between(5, length), kit.one((1, -1)), 0.5, BOTH)
    distractors(kit, scene)
    scene.images = kit.images
    return scene
