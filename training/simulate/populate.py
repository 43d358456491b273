"""Fills a street: facades on both sides, then everything that stands, lies or is parked."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from training.simulate import bins, furniture, structures, traffic, waste
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
            low = min(float(street.world(t, side * wall_distance(scene, side))[2]) for t in (s, s + width / 2, s + width))
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
    kit: Kit, scene: Scene, class_name: str, builder: Builder, place: tuple[float, float], yaw: float, *, lie: bool = False,
    passes: tuple[int, ...] = (1, 2), margin: float = 0.1,
) -> bool:  # fmt: skip
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


def many(kit: Kit, scene: Scene, count: int, class_name: str, builder: Builder, zone: str, *, turn: float = 0.0, lie: bool = False) -> None:
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
        stand(kit, scene, "vehicle", builder, (kit.between(-8, scene.street.length + 10), side * (scene.street.half + out)), yaw, lie=True, margin=0.4)


def bin_row(kit: Kit, scene: Scene, count: int) -> None:
    """Bins side by side at a wall or kerb, some of them overflowing, often with waste before them."""
    s, d, side = pavement_place(kit, scene, kit.one(("wall", "wall", "kerbside")))
    for i in range(count):
        full = kit.chance(0.42)
        builder: Builder = (lambda k: bins.wheelie(k, full=True, large=False)) if full else (lambda k: bins.wheelie(k, large=False))
        back = backed(builder)
        at = (s + i * kit.between(0.72, 0.85), d - side * 0.12)
        stand(kit, scene, "overflow" if full else "bin", back, at, outward(side) + kit.rng.normal(0, 0.08), margin=-0.15)
    if kit.chance(0.5):
        stand(kit, scene, "garbage", waste.heap, (s + count * 0.4, d - side * 1.5), outward(side), lie=True)


def litter(kit: Kit, scene: Scene, count: int) -> None:
    """Single small pieces at true size, mostly in the gutter and at the foot of walls."""
    for _ in range(count):
        zone = kit.one(("gutter", "gutter", "gutter", "walk", "wall", "road"))
        s, d, side = pavement_place(kit, scene, zone)
        stand(kit, scene, "garbage", waste.piece, (s, d - side * (0.25 if zone == "wall" else 0)), kit.between(0, 6), lie=True, margin=0.25)


def distractors(kit: Kit, scene: Scene) -> None:
    """What looks a little like litter and is none."""
    for builder, low, high, zone in (
        (furniture.fallen_leaves, 1, 6, "gutter"), (furniture.fallen_leaves, 0, 4, "walk"), (furniture.stones, 1, 5, "gutter"),
        (furniture.stones, 0, 3, "wall"), (furniture.weeds, 2, 8, "gutter"), (furniture.weeds, 1, 6, "wall"),
    ):  # fmt: skip
        for _ in range(kit.number(low, high)):
            s, d, side = pavement_place(kit, scene, zone)
            scene.add("", builder(kit), scene.street.pose(s, d - side * (0.1 if zone == "wall" else 0), outward(side), lie=True))
    for builder, low, high in ((furniture.stain, 2, 7), (furniture.patch, 0, 4), (furniture.cover, 1, 4)):
        for i in range(kit.number(low, high)):
            s, d, side = pavement_place(kit, scene, kit.one(("road", "road", "walk")))
            if abs(abs(d) - scene.street.half) > 0.8:
                scene.add("", builder(kit), scene.street.pose(s, d, kit.between(-0.1, 0.1), lie=True, up=0.001 * (i + 1)))


def make_scene(seed: int, *, length: float = 34.0, kind: str | None = None) -> Scene:
    """A crowded street for training pictures: every class is there, in quantities no tidy city would show."""
    kit = Kit(np.random.default_rng([seed, 11]))
    kind = kit.one(KINDS) if kind is None else kind
    street = make_street(kit, kind, length)
    scene = Scene(seed, kind, street, (make_light(kit),))
    scene.add("", ground(kit, street, kind), np.eye(4))
    line_with_facades(kit, scene, adverts=0.6)
    roomy = kind in ("street", "verge")
    many(kit, scene, kit.number(1, 3), "shed", structures.shed, "wall")
    many(kit, scene, kit.number(1, 2), "hoarding", backed(structures.hoarding), kit.one(("wall", "kerbside")), turn=0.04)
    for _ in range(kit.number(1, 2)):
        bin_row(kit, scene, kit.number(2, 5))
    many(kit, scene, kit.number(1, 3), "stall", backed(structures.stall), kit.one(("wall", "kerbside")), turn=0.15)
    many(kit, scene, kit.number(1, 3), "material_pile", backed(structures.material_pile), kit.one(("wall", "kerbside")), turn=0.2)
    if kit.chance(0.25):
        many(kit, scene, 1, "material_pile", backed(structures.tyres), "wall", turn=0.2)
    many(kit, scene, kit.number(1, 4), "bin", backed(bins.shut_bin), kit.one(("wall", "kerbside")), turn=0.25)
    many(kit, scene, kit.number(1, 3), "overflow", backed(bins.overflowing_bin), kit.one(("wall", "kerbside")), turn=0.25)
    park(kit, scene, kit.number(2, 8) if roomy else kit.number(0, 3), traffic.car, across=1.85)
    park(kit, scene, kit.number(1, 6), traffic.scooter, across=0.7, on_pavement=True)
    park(kit, scene, kit.number(0, 1), traffic.tricycle, across=1.1, on_pavement=kit.chance(0.5))
    many(kit, scene, kit.number(1, 3), "garbage", waste.heap, kit.one(("wall", "kerbside", "gutter")), turn=0.3, lie=True)
    many(kit, scene, kit.number(2, 5), "garbage", waste.large, kit.one(("wall", "kerbside", "gutter")), turn=3.0, lie=True)
    many(kit, scene, kit.number(0, 1), "garbage", backed(waste.furniture), "wall", turn=0.3)
    for _ in range(kit.number(2, 5)):
        count = kit.number(3, 12)
        many(kit, scene, 1, "garbage", lambda k, n=count: waste.scatter(k, n, 0.35), kit.one(("gutter", "walk")), lie=True)  # type: ignore[misc]
    litter(kit, scene, kit.number(10, 30))
    many(kit, scene, kit.number(2, 6), "person", traffic.person, kit.one(("walk", "walk", "road")), turn=3.1)
    if kind != "alley":
        trees = [scene.add_mesh(furniture.tree(kit)) for _ in range(2)]
        gap, side_by_side = kit.between(6, 10), kit.chance(0.8)
        for i in range(int((street.length + 20) / gap)):
            for side in (1, -1) if side_by_side else (1,):
                s = -6 + i * gap
                if street.pavement[0 if side > 0 else 1] > 1.5 and scene.free(s, side * (street.half + 0.6), 0.5, 0.5):
                    scene.add("", kit.one(trees), street.pose(s, side * (street.half + 0.6), kit.between(0, 6)))
        many(kit, scene, kit.number(1, 3), "", furniture.lamp_post, "kerbside")
    many(kit, scene, kit.number(0, 2), "", furniture.power_pole, "kerbside")
    for builder, high, zone in (
        (furniture.traffic_sign, 2, "kerbside"), (furniture.bollard, 5, "kerbside"), (furniture.planter, 3, "wall"),
        (furniture.bush, 2, "wall"), (furniture.cabinet, 1, "wall"), (furniture.bench, 1, "walk"), (furniture.notice_board, 1, "wall"),
    ):  # fmt: skip
        many(kit, scene, kit.number(0, high), "", backed(builder), zone)
    distractors(kit, scene)
    scene.images = kit.images
    return scene
