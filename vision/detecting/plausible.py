"""What can't be: litter that lies on a vehicle instead of on the ground.

Tail lights, door handles, stickers and number plates look like litter. A thing on the ground in front of a vehicle ends
lower in the picture than the vehicle does, one behind it is hidden by it; so what lies inside a vehicle's box and ends
well above its lower edge is a part of the vehicle, or on it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vision import boxes
from vision.detections import Detections

LITTER = frozenset({"garbage"})
VEHICLE = frozenset({"vehicle"})
# A vehicle as sure as this; how much of the thing lies inside; how far above the lower edge it ends, as a share
# of the vehicle's height (boxes are not exact, and wheels reach lower than bumpers).
_SURE, _INSIDE, _ABOVE = 0.4, 0.9, 0.1


def on_the_ground(found: Detections) -> npt.NDArray[np.bool_]:
    """Which detections (n,) may stay: all but litter on a vehicle."""
    stays = np.ones(len(found), dtype=np.bool_)
    litter = found.among(LITTER)
    vehicles = found.boxes_xyxy[found.among(VEHICLE) & (found.scores >= _SURE)]
    if not len(vehicles) or not litter.any():
        return stays
    own = found.boxes_xyxy[litter]
    inside = boxes.intersection(own, vehicles) / np.maximum(boxes.area(own), 1e-9)[:, None]
    above = (vehicles[None, :, 3] - own[:, None, 3]) / np.maximum(vehicles[:, 3] - vehicles[:, 1], 1e-9)[None]
    stays[litter] = ~((inside >= _INSIDE) & (above >= _ABOVE)).any(axis=1)
    return stays
