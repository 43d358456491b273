"""Facades: windows, doors and shopfronts cut into a wall; and the adverts and awnings that hang on them.

A facade runs from x = 0 to its width, its front on y = 0, the street on the side of negative y.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.simulate.kit import Kit
from training.simulate.mesh import Material, Mesh, box, lathe, merge, quad, slab, tube
from training.simulate.palette import WALL, concrete, facade, glass, linear, metal, painted, pick, plastic, shade, vivid
from training.simulate.structures import awning, corrugated
from training.simulate.textures import poster, sign

Opening = tuple[float, float, float, float]  # x_min, x_max, z_min, z_max


@dataclass(frozen=True, slots=True, eq=False)
class Attached:
    """A thing on a facade: its class and where its own origin sits."""

    class_name: str
    mesh: Mesh
    x: float
    y: float
    z: float


def rect(x1: float, x2: float, z1: float, z2: float, y: float, look: Material, *, picture: bool = False) -> Mesh:
    """An upright face in the plane y, seen from the street."""
    return quad((x1, y, z1), (x2, y, z1), (x2, y, z2), (x1, y, z2), look, picture=picture)


def pierced(
    width: float, low: float, high: float, openings: list[Opening], look: Material, recess: float
) -> list[Mesh]:
    """A band of wall with openings side by side, and their reveals; texture runs in metres over the whole wall."""
    parts, x = [], 0.0

    def wall(x1: float, x2: float, z1: float, z2: float) -> None:
        if x2 - x1 > 1e-3 and z2 - z1 > 1e-3:
            face = rect(x1, x2, z1, z2, 0.0, look)
            face.uv[:] = [[[x1, z1], [x2, z1], [x2, z2], [x1, z2]]]
            parts.append(face)

    for x1, x2, z1, z2 in openings:
        wall(x, x1, low, high)
        wall(x1, x2, low, z1)
        wall(x1, x2, z2, high)
        for a, b in (((x1, z1), (x1, z2)), ((x1, z2), (x2, z2)), ((x2, z2), (x2, z1)), ((x2, z1), (x1, z1))):
            parts.append(quad((a[0], 0, a[1]), (b[0], 0, b[1]), (b[0], recess, b[1]), (a[0], recess, a[1]), look))
        x = x2
    wall(x, width, low, high)
    return parts


def window(kit: Kit, at: Opening, recess: float, frame: Material, pane: Material) -> list[Mesh]:
    """Glass, frame bars and a sill in an opening."""
    x1, x2, z1, z2 = at
    y, t = recess, 0.05
    parts = [rect(x1, x2, z1, z2, y, pane)]
    bars = [(x1, x1 + t, z1, z2), (x2 - t, x2, z1, z2), (x1, x2, z1, z1 + t), (x1, x2, z2 - t, z2)]
    for i in range(1, max(2, round((x2 - x1) / 0.75))):
        xm = x1 + (x2 - x1) * i / max(2, round((x2 - x1) / 0.75))
        bars.append((xm - t / 2, xm + t / 2, z1, z2))
    if z2 - z1 > 1.5:
        bars.append((x1, x2, z1 + (z2 - z1) * 0.7, z1 + (z2 - z1) * 0.7 + t))
    parts += [slab((a, y - 0.05, c), (b, y - 0.001, d), frame) for a, b, c, d in bars]
    parts.append(slab((x1 - 0.06, -0.09, z1 - 0.06), (x2 + 0.06, recess, z1), concrete(0.4)))
    if kit.chance(0.35):  # a curtain or a blind behind the glass
        curtain = Material("plain", pick(kit.rng, WALL), rough=0.9)
        cut = kit.between(0.2, 0.6)
        parts.append(rect(x1 + t, x1 + (x2 - x1) * cut, z1 + t, z2 - t, y - 0.004, curtain))
    return parts


def cage(kit: Kit, at: Opening) -> list[Mesh]:
    """The burglar-proof grille of an upper window."""
    x1, x2, z1, z2 = at
    look, reach = metal((0.5, 0.5, 0.5), 0.4), kit.between(0.25, 0.5)
    parts = []
    n = max(4, int((x2 - x1) / 0.16))
    for i in range(n + 1):
        x = x1 + (x2 - x1) * i / n
        parts.append(slab((x - 0.008, -reach, z1), (x + 0.008, -reach + 0.016, z2), look))
    for z in (z1, (z1 + z2) / 2, z2):
        parts.append(slab((x1, -reach, z - 0.012), (x2, -reach + 0.02, z + 0.012), look))
        for x in (x1, x2):
            parts.append(slab((x - 0.012, -reach, z - 0.012), (x + 0.012, 0, z + 0.012), look))
    if kit.chance(0.4):
        parts.append(box((0.4, 0.3, 0.3), plastic(vivid(kit.rng))).at((x1 + x2) / 2, -reach / 2, z1))
    return parts


def conditioner(kit: Kit) -> Mesh:
    """The outside unit of an air conditioner on brackets."""
    white = plastic((0.62, 0.62, 0.58), 0.5, 0.7)
    fan = lathe(
        [(0.23, 0.0), (1e-4, 0.01)], Material("plain", (0.06, 0.06, 0.06), (0.15, 0.15, 0.15), 0.7, 0.03), sides=18
    )
    return merge([slab((-0.42, -0.42, 0), (0.42, -0.1, 0.6), white), fan.tilted(0, 1.5708).at(-0.1, -0.424, 0.3),
                  *[slab((x - 0.02, -0.4, -0.08), (x + 0.02, 0, 0), metal()) for x in (-0.3, 0.3)]])  # fmt: skip


def projecting_sign(kit: Kit) -> Mesh:
    """A box sign that stands off the wall on two arms; both faces are written on. Origin: on the wall, lower edge."""
    reach, h = kit.between(0.5, 0.95), kit.one((0.5, 0.6, 0.9, 1.4, 2.0))
    t, off = 0.14, 0.12
    if kit.chance(0.2):  # a round one
        face = kit.board(sign, 1.0)
        r = reach / 2
        disc = merge([lathe([(r, -t / 2), (r, t / 2)], metal(), sides=24)])
        rim = disc.tilted(1.5708, 0).at(0, -off - r, r)
        faces = [
            quad(
                (s * t / 2, -off - r - s * r * 0.7, 0.3 * r),
                (s * t / 2, -off - r + s * r * 0.7, 0.3 * r),
                (s * t / 2, -off - r + s * r * 0.7, 1.7 * r),
                (s * t / 2, -off - r - s * r * 0.7, 1.7 * r),
                face,
                picture=True,
            )
            for s in (-1, 1)
        ]
        caps = [
            lathe([(r, 0), (1e-4, 0.001)], painted(vivid(kit.rng)), sides=24)
            .tilted(s * 1.5708, 0)
            .at(s * (t / 2 - 0.002), -off - r, r)
            for s in (-1, 1)
        ]
        return merge([rim, *caps, *faces, tube((0, 0, r), (0, -off, r), 0.025, metal())])
    face = kit.board(sign, reach / h)
    body = slab((-t / 2, -off - reach, 0), (t / 2, -off, h), metal((0.4, 0.4, 0.42)))
    parts = [body]
    for s in (-1, 1):
        x = s * (t / 2 + 0.004)
        near, far = (-off - reach + 0.02, -off - 0.02) if s > 0 else (-off - 0.02, -off - reach + 0.02)
        parts.append(quad((x, near, 0.02), (x, far, 0.02), (x, far, h - 0.02), (x, near, h - 0.02), face, picture=True))
    for z in (0.1, h - 0.1):
        parts.append(tube((0, 0, z), (0, -off, z), 0.02, metal(), sides=5))
    return merge(parts)


def signboard(kit: Kit, w: float, h: float) -> Mesh:
    """A shop's board flat on the wall; origin: its lower middle, on the wall."""
    t = kit.between(0.08, 0.25)
    face = kit.board(sign, w / h)
    return merge([slab((-w / 2, -t, 0), (w / 2, 0, h), metal((0.4, 0.4, 0.42))),
                  rect(-w / 2 + 0.02, w / 2 - 0.02, 0.02, h - 0.02, -t - 0.004, face, picture=True)])  # fmt: skip


def window_advert(kit: Kit, w: float, h: float) -> Mesh:
    """A poster on glass; origin: its lower middle."""
    return rect(-w / 2, w / 2, 0, h, 0.0, kit.board(poster, w / h), picture=True)


def shop(
    kit: Kit, x1: float, x2: float, height: float, look: Material, adverts: float
) -> tuple[list[Mesh], list[Attached], Opening]:
    """One shopfront between x1 and x2: glass, a door or a shutter; board, awning and posters by chance."""
    top = min(height - 0.75, kit.between(2.4, 2.8))
    at = (x1 + 0.2, x2 - 0.2, 0.02, top)
    frame = painted(kit.one(((0.5, 0.5, 0.5), (0.04, 0.04, 0.04), linear(120, 80, 50), linear(150, 30, 30))))
    recess = kit.between(0.12, 0.3)
    parts: list[Mesh] = []
    things: list[Attached] = []
    style = kit.between(0, 1)
    a, b = at[0], at[1]
    if style < 0.2:  # shutter down
        parts.append(corrugated_shutter(a, b, top, recess, kit))
    elif style < 0.4:  # open: dark inside, goods at the back
        inside = Material("plain", (0.045, 0.04, 0.034), (0.1, 0.085, 0.07), 0.9, 0.5)
        parts.append(rect(a, b, 0, top, recess + 1.6, inside))
        parts.append(
            quad((a, recess, 0.01), (b, recess, 0.01), (b, recess + 1.6, 0.01), (a, recess + 1.6, 0.01), concrete(0.3))
        )
        for x in (a, b):
            parts.append(
                quad((x, recess, 0), (x, recess + 1.6, 0), (x, recess + 1.6, top), (x, recess, top), concrete(0.35))
            )
        for _ in range(kit.number(2, 6)):
            goods = box(
                (kit.between(0.3, 0.8), 0.3, kit.between(0.4, 1.8)),
                Material("plain", vivid(kit.rng), vivid(kit.rng), 0.6, 0.12),
            )
            parts.append(goods.at(kit.between(a + 0.4, b - 0.4), recess + 1.35, 0))
    else:
        pane = glass(kit.rng)
        parts += window(kit, at, recess, frame, pane)
        door = kit.between(a, max(a, b - 1.0))
        parts.append(slab((door, recess - 0.06, 0.02), (door + 0.06, recess, top), frame))
        parts.append(slab((door + 0.9, recess - 0.06, 0.02), (door + 0.96, recess, top), frame))
        parts.append(tube((door + 0.15, recess - 0.08, 0.9), (door + 0.15, recess - 0.08, 1.3), 0.015, metal()))
        if kit.chance(adverts):
            for _ in range(kit.number(1, 3)):
                w = kit.between(0.45, 1.1)
                h = w * kit.between(0.8, 1.6)
                h = min(h, top - 0.5)
                x = kit.between(a + w / 2 + 0.05, b - w / 2 - 0.05)
                if all(abs(x - t.x) > 0.6 * w + 0.5 for t in things):
                    things.append(
                        Attached(
                            "window_advert",
                            window_advert(kit, w, h),
                            x,
                            recess - 0.056,
                            kit.between(0.3, top - h - 0.1),
                        )
                    )
    mid, w = (x1 + x2) / 2, x2 - x1
    board_h = min(kit.between(0.6, 1.1), height - top - 0.05)
    if kit.chance(0.82):
        things.append(Attached("signboard", signboard(kit, w * kit.between(0.6, 0.97), board_h), mid, 0.0, top + 0.04))
    if kit.chance(0.3):
        things.append(
            Attached("awning", awning(kit, w * kit.between(0.8, 1.0)), mid, -0.02, top - kit.between(0.35, 0.5))
        )
    if kit.chance(0.32):
        things.append(Attached("projecting_sign", projecting_sign(kit), x1 + 0.05, 0.0, kit.between(top, height + 0.6)))
    return parts, things, at


def corrugated_shutter(a: float, b: float, top: float, recess: float, kit: Kit) -> Mesh:
    """A roller shutter: level ribs."""
    look = painted(
        kit.one(((0.5, 0.51, 0.52), (0.35, 0.36, 0.37), linear(90, 110, 130), linear(190, 186, 176))),
        kit.between(0, 0.3),
    )
    ribs = corrugated((0, 0, 0), (top, 0, 0), (0, b - a, 0), look, pitch=0.11)
    verts = ribs.verts.copy()
    x, y, z = verts.T
    verts = verts.copy()
    verts[:, 0], verts[:, 1], verts[:, 2] = a + y, recess - z, x
    return Mesh(verts, ribs.faces, ribs.uv, ribs.material, ribs.smooth, ribs.materials)


def house(kit: Kit, width: float, *, shops: bool, adverts: float = 0.5) -> tuple[Mesh, list[Attached]]:
    """A facade with its roof edge and what hangs on it."""
    look = facade(kit.rng)
    floors = kit.number(1, 6)
    ground, storey = kit.between(3.4, 4.2), kit.between(2.8, 3.2)
    height = ground + storey * (floors - 1) + kit.between(0.3, 1.0)
    recess = kit.between(0.08, 0.25)
    frame = painted(kit.one(((0.7, 0.7, 0.68), (0.06, 0.06, 0.06), (0.4, 0.42, 0.42), linear(90, 60, 40))))
    pane = glass(kit.rng)
    parts: list[Mesh] = []
    things: list[Attached] = []
    low: list[Opening] = []
    base = look if kit.chance(0.5) else facade(kit.rng)
    if shops:
        n = max(1, round(width / kit.between(3.2, 5.0)))
        for i in range(n):
            meshes, hung, at = shop(kit, width * i / n, width * (i + 1) / n, ground, base, adverts)
            parts += meshes
            things += hung
            low.append(at)
    else:
        x = kit.between(0.6, 1.5)
        door_at = kit.between(0.2, 0.8) * width
        while x + 1.3 < width:
            if abs(x + 0.6 - door_at) < 1.3:
                low.append((x, x + 1.1, 0.05, 2.25))
                door = painted(
                    kit.one((linear(110, 70, 44), linear(60, 64, 70), linear(130, 36, 32), linear(50, 84, 70))), 0.1
                )
                parts.append(slab((x, recess - 0.05, 0.05), (x + 1.1, recess, 2.25), door))
                x += 2.6
                door_at = -9
            else:
                at = (x, x + 1.2, 1.0, 2.5)
                low.append(at)
                parts += window(kit, at, recess, frame, pane)
                if kit.chance(0.4):
                    parts += cage(kit, at)
                x += kit.between(2.2, 3.4)
        if kit.chance(0.3):
            things.append(
                Attached(
                    "awning", awning(kit, kit.between(1.4, 2.6)), kit.between(1.5, max(1.6, width - 1.5)), -0.02, 2.35
                )
            )
    parts += pierced(width, 0, ground, low, base, recess)
    parts.append(slab((0, -0.04, 0), (width, 0.0, 0.02), concrete(0.25)))
    if kit.chance(0.5):
        parts.append(slab((0, -0.12, ground - 0.12), (width, 0, ground), concrete(0.42)))
    bay = kit.between(2.2, 3.6)
    bays = max(1, int(width / bay))
    caged = kit.between(0, 0.7) if kit.chance(0.5) else 0.0
    win_w, win_h = kit.between(1.0, 1.8), kit.between(1.3, 1.7)
    win_w = min(win_w, width / bays - 0.5)
    for floor in range(1, floors):
        z = ground + (floor - 1) * storey
        row: list[Opening] = []
        for i in range(bays):
            mid = width * (i + 0.5) / bays
            at = (mid - win_w / 2, mid + win_w / 2, z + 0.9, z + 0.9 + win_h)
            row.append(at)
            parts += window(kit, at, recess, frame, pane if kit.chance(0.8) else glass(kit.rng))
            if kit.chance(caged):
                parts += cage(kit, at)
            elif kit.chance(0.25):
                parts.append(
                    conditioner(kit).at(mid + win_w / 2 + 0.45 if i < bays - 1 else mid, 0, z + kit.between(0.1, 0.3))
                )
        parts += pierced(width, z, z + storey, row, look, recess)
    top = ground + storey * (floors - 1)
    parts.append(rect(0, width, top, height, 0.0, look))
    parts.append(slab((-0.02, -0.15, height), (width + 0.02, 0.4, height + 0.12), concrete(0.4)))
    depth = kit.between(7, 12)
    for x in (0.0, width):
        parts.append(quad((x, 0, 0), (x, depth, 0), (x, depth, height), (x, 0, height), look))
    parts.append(quad((0, 0, height), (width, 0, height), (width, depth, height), (0, depth, height), concrete(0.25)))
    if kit.chance(0.6):
        x = kit.between(0.1, 0.4)
        parts.append(tube((x, -0.08, 0.1), (x, -0.08, height), 0.055, plastic((0.55, 0.55, 0.52)), sides=7))
    return merge(parts), things


def yard_wall(kit: Kit, width: float) -> tuple[Mesh, list[Attached]]:
    """A wall of 1.8 to 3 m with piers and a coping, sometimes with a gate or railings; no windows."""
    look = facade(kit.rng)
    h = kit.between(1.8, 3.0)
    gate = kit.chance(0.3) and width > 5
    gx = kit.between(1, width - 4) if gate else 0.0
    openings: list[Opening] = [(gx, gx + 2.8, 0.02, h)] if gate else []
    parts = pierced(width, 0, h, openings, look, 0.15)
    parts += [rect(0, width, h, h + 0.01, 0.02, look), slab((0, -0.06, h), (width, 0.3, h + 0.08), concrete(0.4))]
    for x in range(0, int(width) + 1, 3):
        parts.append(slab((x - 0.18, -0.06, 0), (x + 0.18, 0.3, h + 0.15), look))
    if gate:
        leaf = painted(kit.one((linear(40, 70, 110), linear(60, 64, 66), linear(110, 40, 34))), kit.between(0, 0.6))
        parts.append(slab((gx, 0.1, 0.05), (gx + 2.8, 0.16, h - 0.05), leaf))
    if kit.chance(0.4):
        stripe = painted(shade(pick(kit.rng, WALL), 0.6))
        parts.append(rect(0, width, 0.02, kit.between(0.6, 1.1), -0.003, stripe))
    return merge(parts), []
