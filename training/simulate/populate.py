"""Fills a street: facades on both sides, then everything that stands, lies or is parked."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from training.simulate import bins, furniture, sitework, structures, traffic, waste
from training.simulate.buildings import house, yard_wall
from training.simulate.kit import Kit
from training.simulate.mesh import Mesh
from training.simulate.scene import Scene, make_light
from training.simulate.street import ground, make_street

Builder = Callable[[Kit], Mesh]
KINDS = ("street", "street", "lane", "alley", "verge")


def wall_distance(scene: Scene, side: int) -> float:
    """From the middle line to the facades of a side (1 left, -1 right)."""
    return scene.street.half + scene.street.pavement[0 if side > 0 else 1]


def outward(side: int) -> float:
    """The turn that makes a thing's back look away from the street."""
    return 0.0 if side > 0 else math.pi


def line_with_facades(kit: Kit, scene: Scene, adverts: float) -> None:
    """Houses, walls and gaps along both sides, a cross street's houses at the far ends."""
    street = scene.street
    shops = {"street": 0.85, "lane": 0.6, "alley": 0.15, "verge": 0.3}[scene.kind]
    walls = {"street": 0.1, "lane": 0.2, "alley": 0.45, "verge": 0.55}[scene.kind]
    for side in (1, -1):
        s = -18.0
        while s < street.length + 22:
            width = kit.between(7, 16)
            if kit.chance(walls):
                mesh, hung = yard_wall(kit, width)
                if kit.chance(0.6):  # something rises behind the wall
                    behind, _ = house(kit, width, shops=False)
                    back = wall_distance(scene, side) + kit.between(6, 18)
                    scene.add("", behind, street.pose(s if side > 0 else s + width, side * back, outward(side)))
            else:
                mesh, hung = house(kit, width, shops=kit.chance(shops), adverts=adverts)
            start = s if side > 0 else s + width
            # On a slope a facade starts at the lower end of its foot; its own base hides below the ground.
            low = min(
                float(street.world(t, side * wall_distance(scene, side))[2]) for t in (s, s + width / 2, s + width)
            )
            matrix = street.pose(start, side * wall_distance(scene, side), outward(side))
            # The chord to the other end, so that neighbours meet on a bend.
            ends = street.world(np.array([s, s + width]), side * wall_distance(scene, side))
            angle = math.atan2(*(ends[1] - ends[0])[1::-1]) + outward(side)
            matrix[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            matrix[2, 3] = low
            scene.add("", mesh, matrix)
            for item in hung:
                own = matrix.copy()
                own[:3, 3] = (matrix @ np.array([item.x, item.y, item.z, 1.0]))[:3]
                scene.add(item.class_name, item.mesh, own)
            s += width + (kit.between(2, 6) if kit.chance(0.12) else 0.0)
    for s, yaw in ((street.length + 27.0, -math.pi / 2), (-17.0, math.pi / 2)):
        mesh, _ = house(kit, 2 * (street.half + 7), shops=False)
        shift = (street.half + 7) * (1 if yaw < 0 else -1)
        scene.add("", mesh, street.pose(s, shift, yaw))


def stand(
    kit: Kit,
    scene: Scene,
    class_name: str,
    builder: Builder,
    place: tuple[float, float],
    yaw: float,
    *,
    lie: bool = False,
    passes: tuple[int, ...] = (1, 2),
    margin: float = 0.1,
) -> bool:
    """Build a thing and stand it at (s, d) if the ground is free; returns whether it stands."""
    mesh = builder(kit)
    low, high = mesh.verts.min(axis=0), mesh.verts.max(axis=0)
    size = high - low
    c, n = abs(math.cos(yaw)), abs(math.sin(yaw))
    along, across = size[0] * c + size[1] * n, size[0] * n + size[1] * c
    s, d = place
    mid_x, mid_y = (low + high)[:2] / 2
    s0 = s + mid_x * math.cos(yaw) - mid_y * math.sin(yaw)
    d0 = d + mid_x * math.sin(yaw) + mid_y * math.cos(yaw)
    if not scene.free(s0, d0, along + margin, across + margin):
        return False
    scene.add(class_name, mesh, scene.street.pose(s, d, yaw, lie=lie, up=-0.005), passes)
    return True


def pavement_place(kit: Kit, scene: Scene, zone: str) -> tuple[float, float, int]:
    """(s, d, side) in a zone: `gutter`, `kerbside`, `walk`, `wall` (backs on the facade) or `road`."""
    street = scene.street
    side = kit.one((1, -1))
    width = street.pavement[0 if side > 0 else 1]
    s = kit.between(-4, street.length + 6)
    out = {
        "gutter": kit.between(-0.45, -0.05),
        "kerbside": kit.between(0.35, min(0.9, max(0.4, width * 0.5))),
        "walk": kit.between(0.2, max(0.3, width - 0.3)),
        "wall": width - 0.05,
        "road": -kit.between(0.3, street.half),
    }[zone]
    return s, side * (street.half + out), side


def many(
    kit: Kit,
    scene: Scene,
    count: int,
    class_name: str,
    builder: Builder,
    zone: str,
    *,
    turn: float = 0.0,
    lie: bool = False,
) -> None:
    """Stand up to `count` of a thing in a zone, its back away from the street, turned a little by chance."""
    for _ in range(count):
        for _attempt in range(4):
            s, d, side = pavement_place(kit, scene, zone)
            yaw = outward(side) + (kit.between(-turn, turn) if turn else 0.0)
            if stand(kit, scene, class_name, builder, (s, d), yaw, lie=lie):
                break


def backed(builder: Builder) -> Builder:
    """The same thing with its back on y = 0."""

    def build(kit: Kit) -> Mesh:
        mesh = builder(kit)
        return mesh.at(0, -float(mesh.verts[:, 1].max()), 0)

    return build


def park(kit: Kit, scene: Scene, count: int, builder: Builder, *, across: float, on_pavement: bool = False) -> None:
    """Vehicles along the kerb or, small ones, on the pavement."""
    for _ in range(count):
        side = kit.one((1, -1))
        out = kit.between(0.5, 1.2) if on_pavement else -(across / 2 + kit.between(0.2, 0.45))
        yaw = (0.0 if side < 0 else math.pi) + kit.rng.normal(0, 0.02)
        if on_pavement:
            yaw += kit.one((math.pi / 2, math.pi / 3, 0.0))
        stand(
            kit,
            scene,
            "vehicle",
            builder,
            (kit.between(-8, scene.street.length + 10), side * (scene.street.half + out)),
            yaw,
            lie=True,
            margin=0.4,
        )


def bin_row(kit: Kit, scene: Scene, count: int) -> None:
    """Bins side by side at a wall or kerb, some of them overflowing, often with waste before them."""
    s, d, side = pavement_place(kit, scene, kit.one(("wall", "wall", "kerbside")))
    for i in range(count):
        full = kit.chance(0.42)
        builder: Builder = (
            (lambda k: bins.wheelie(k, full=True, large=False)) if full else (lambda k: bins.wheelie(k, large=False))
        )
        back = backed(builder)
        at = (s + i * kit.between(0.72, 0.85), d - side * 0.12)
        stand(
            kit, scene, "overflow" if full else "bin", back, at, outward(side) + kit.rng.normal(0, 0.08), margin=-0.15
        )
    if kit.chance(0.5):
        stand(kit, scene, "garbage", waste.heap, (s + count * 0.4, d - side * 1.5), outward(side), lie=True)


def litter(kit: Kit, scene: Scene, count: int) -> None:
    """Single small pieces at true size, mostly in the gutter and at the foot of walls."""
    for _ in range(count):
        zone = kit.one(("gutter", "gutter", "gutter", "walk", "wall", "road"))
        s, d, side = pavement_place(kit, scene, zone)
        stand(
            kit,
            scene,
            "garbage",
            waste.piece,
            (s, d - side * (0.25 if zone == "wall" else 0)),
            kit.between(0, 6),
            lie=True,
            margin=0.25,
        )


def distractors(kit: Kit, scene: Scene) -> None:
    """What looks a little like litter and is none."""
    for builder, low, high, zone in (
        (furniture.fallen_leaves, 1, 6, "gutter"),
        (furniture.fallen_leaves, 0, 4, "walk"),
        (furniture.stones, 1, 5, "gutter"),
        (furniture.stones, 0, 3, "wall"),
        (furniture.weeds, 2, 8, "gutter"),
        (furniture.weeds, 1, 6, "wall"),
    ):
        for _ in range(kit.number(low, high)):
            s, d, side = pavement_place(kit, scene, zone)
            scene.add(
                "",
                builder(kit),
                scene.street.pose(s, d - side * (0.1 if zone == "wall" else 0), outward(side), lie=True),
            )
    for builder, low, high in ((furniture.stain, 2, 7), (furniture.patch, 0, 4), (furniture.cover, 1, 4)):
        for i in range(kit.number(low, high)):
            s, d, side = pavement_place(kit, scene, kit.one(("road", "road", "walk")))
            if abs(abs(d) - scene.street.half) > 0.8:
                scene.add(
                    "", builder(kit), scene.street.pose(s, d, kit.between(-0.1, 0.1), lie=True, up=0.001 * (i + 1))
                )


# What a crowded street holds: class, builder, least and most of it, where, how far it may be turned, whether it
# leans with the ground.
CROWD: tuple[tuple[str, Builder, int, int, tuple[str, ...], float, bool], ...] = (
    ("stall", backed(structures.stall), 1, 3, ("wall", "kerbside"), 0.15, False),
    ("material_pile", backed(sitework.material_pile), 1, 3, ("wall", "kerbside"), 0.2, False),
    ("material_pile", backed(sitework.tyres), 0, 1, ("wall",), 0.2, False),
    ("bin", backed(bins.shut_bin), 1, 4, ("wall", "kerbside"), 0.25, False),
    ("overflow", backed(bins.overflowing_bin), 1, 3, ("wall", "kerbside"), 0.25, False),
    ("garbage", waste.heap, 1, 3, ("wall", "kerbside", "gutter"), 0.3, True),
    ("garbage", waste.large, 2, 5, ("wall", "kerbside", "gutter"), 3.0, True),
    ("garbage", backed(waste.furniture), 0, 1, ("wall",), 0.3, False),
    ("garbage", partial(waste.scatter, count=4, spread=0.3), 1, 2, ("gutter", "walk"), 0.0, True),
    ("garbage", partial(waste.scatter, count=10, spread=0.4), 1, 3, ("gutter", "walk"), 0.0, True),
    ("person", traffic.person, 2, 6, ("walk", "walk", "road"), 3.1, False),
    ("", furniture.power_pole, 0, 2, ("kerbside",), 0.0, False),
    ("", backed(furniture.traffic_sign), 0, 2, ("kerbside",), 0.0, False),
    ("", backed(furniture.bollard), 0, 5, ("kerbside",), 0.0, False),
    ("", backed(furniture.planter), 0, 3, ("wall",), 0.0, False),
    ("", backed(furniture.bush), 0, 2, ("wall",), 0.0, False),
    ("", backed(furniture.cabinet), 0, 1, ("wall",), 0.0, False),
    ("", backed(furniture.bench), 0, 1, ("walk",), 0.0, False),
    ("", backed(furniture.notice_board), 0, 1, ("wall",), 0.0, False),
)


def make_scene(seed: int, *, length: float = 34.0, kind: str | None = None) -> Scene:
    """A crowded street for training pictures: every class is there, in quantities no tidy city would show."""
    kit = Kit(np.random.default_rng([seed, 11]))
    kind = kit.one(KINDS) if kind is None else kind
    street = make_street(kit, kind, length)
    scene = Scene(seed, kind, street, (make_light(kit),))
    scene.add("", ground(kit, street, kind), np.eye(4))
    line_with_facades(kit, scene, adverts=0.6)
    many(kit, scene, kit.number(1, 3), "shed", structures.shed, "wall")
    many(kit, scene, kit.number(1, 2), "hoarding", backed(sitework.hoarding), kit.one(("wall", "kerbside")), turn=0.04)
    for _ in range(kit.number(1, 2)):
        bin_row(kit, scene, kit.number(2, 5))
    park(kit, scene, kit.number(2, 8) if kind in ("street", "verge") else kit.number(0, 3), traffic.car, across=1.85)
    park(kit, scene, kit.number(1, 6), traffic.scooter, across=0.7, on_pavement=True)
    park(kit, scene, kit.number(0, 1), traffic.tricycle, across=1.1, on_pavement=kit.chance(0.5))
    for class_name, builder, least, most, zones, turn, lie in CROWD:
        many(kit, scene, kit.number(least, most), class_name, builder, kit.one(zones), turn=turn, lie=lie)
    litter(kit, scene, kit.number(10, 30))
    if kind != "alley":
        plant(kit, scene)
        many(kit, scene, kit.number(1, 3), "", furniture.lamp_post, "kerbside")
    distractors(kit, scene)
    scene.images = kit.images
    return scene


def plant(kit: Kit, scene: Scene) -> None:
    """A row of trees along one kerb or both, where the pavement has room."""
    street = scene.street
    trees = [scene.add_mesh(furniture.tree(kit)) for _ in range(2)]
    gap, sides = kit.between(6, 10), (1, -1) if kit.chance(0.8) else (1,)
    for i in range(int((street.length + 20) / gap)):
        for side in sides:
            s, d = -6 + i * gap, side * (street.half + 0.6)
            if street.pavement[0 if side > 0 else 1] > 1.5 and scene.free(s, d, 0.5, 0.5):
                scene.add("", kit.one(trees), street.pose(s, d, kit.between(0, 6)))
