"""The thirteen classes the detector sees, their groups, and how large such things usually are.

The order is a published contract: `category_id` in COCO results and class ids in label files are indexes into
`CLASSES`.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASSES: tuple[str, ...] = (
    "garbage",
    "bin",
    "overflow",
    "awning",
    "stall",
    "shed",
    "hoarding",
    "material_pile",
    "projecting_sign",
    "signboard",
    "window_advert",
    "person",
    "vehicle",
)
CLASS_IDS: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}

WASTE = frozenset({"garbage", "bin", "overflow"})
STRUCTURES = frozenset({"awning", "stall", "shed", "hoarding", "material_pile"})
ADVERTS = frozenset({"projecting_sign", "signboard", "window_advert"})
# Serve redaction and occlusion; never leave `vision` as sightings.
PRIVATE = frozenset({"person", "vehicle"})
# The least score at which a thing is hidden, unless a model's folder says otherwise: far below the one for showing,
# since hiding a lamp post costs little and showing a face does not. The second row names what general-purpose models
# call vehicles; they are hidden for their plates and for who sits in them.
HIDE_FROM: dict[str, float] = {"person": 0.02} | dict.fromkeys(
    ("vehicle", "car", "truck", "bus", "motorcycle", "van"), 0.05
)
# Fixed to a facade, above the ground: the lower edge of the box does not touch the ground.
RAISED = frozenset({"awning", "projecting_sign", "signboard", "window_advert"})


@dataclass(frozen=True, slots=True)
class UsualSize:
    """Usual extent in metres: `width` across, `depth` along the line of sight, `height` of the thing's own body;
    `base` is how high its lower edge usually stands above the ground; `spread`: one sigma of the natural logarithm of
    each extent, that is how much things of this class differ."""

    width: float
    depth: float
    height: float
    base: float = 0.0
    spread: float = 0.35


# Our own estimates from everyday things; the last rows let `locate` place traffic and other classes too.
USUAL_SIZES: dict[str, UsualSize] = {
    "garbage": UsualSize(0.5, 0.4, 0.3, spread=0.5),
    "bin": UsualSize(0.6, 0.6, 1.0, spread=0.25),
    "overflow": UsualSize(0.9, 0.8, 1.2),
    "awning": UsualSize(3.0, 1.2, 0.6, 2.4),
    "stall": UsualSize(2.0, 1.2, 1.8),
    "shed": UsualSize(3.0, 2.5, 2.5),
    "hoarding": UsualSize(6.0, 0.2, 2.0, spread=0.5),
    "material_pile": UsualSize(2.0, 1.8, 0.8, spread=0.5),
    "projecting_sign": UsualSize(0.3, 0.8, 1.0, 2.8),
    "signboard": UsualSize(4.0, 0.2, 0.9, 2.8, spread=0.5),
    "window_advert": UsualSize(1.2, 0.1, 1.2, 1.0),
    "person": UsualSize(0.6, 0.5, 1.7, spread=0.12),
    "pedestrian": UsualSize(0.6, 0.5, 1.7, spread=0.12),
    "person_sitting": UsualSize(0.6, 0.7, 1.3, spread=0.15),
    "cyclist": UsualSize(0.6, 1.7, 1.7, spread=0.12),
    "vehicle": UsualSize(1.8, 4.2, 1.6, spread=0.2),
    "car": UsualSize(1.7, 4.0, 1.5, spread=0.15),
    "van": UsualSize(1.9, 5.0, 2.2, spread=0.15),
    "truck": UsualSize(2.5, 9.0, 3.2, spread=0.25),
    "bus": UsualSize(2.5, 11.0, 3.2, spread=0.15),
    "tram": UsualSize(2.5, 16.0, 3.5),
    "misc": UsualSize(1.6, 3.0, 1.8),
}
DEFAULT_SIZE = UsualSize(1.0, 0.8, 1.0)


def usual_size(class_name: str) -> UsualSize:
    """The usual extent of a class, or of a thing about a metre across when the class is unknown."""
    return USUAL_SIZES.get(class_name, DEFAULT_SIZE)
