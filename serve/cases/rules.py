"""Which sighting opens a case, and the sentence that says why another does not."""

from __future__ import annotations

import math

from serve.cases.matters import Matter
from serve.cases.values import Sighting


def why_no_case(sighting: Sighting, matter: Matter) -> str | None:
    """Why this sighting opens no case, as one sentence; None when it opens one."""
    if not matter.opens:
        return matter.why_not
    if sighting.score < matter.min_score:
        return (
            # Cut, not rounded: .449 is not "0.45, below 0.45".
            f"its score of {math.floor(sighting.score * 100) / 100:.2f} is below {matter.min_score:.2f},"
            f" the least that opens a case of {matter.code} {matter.name}"
        )
    if sighting.frames < matter.min_frames:
        return (
            f"it was seen in {sighting.frames} frame{'s' if sighting.frames != 1 else ''} only;"
            f" a case of {matter.code} {matter.name} needs {matter.min_frames}"
        )
    if sighting.place.error_radius_m > matter.max_radius_m:
        return (
            f"its place is known to {math.ceil(sighting.place.error_radius_m * 10) / 10:.1f} m only;"
            f" a case of {matter.code} {matter.name} needs {matter.max_radius_m:.1f} m"
        )
    return None
