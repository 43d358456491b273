"""Which frames of a patrol show something new: decided from the track, before anything is decoded."""

from __future__ import annotations

from collections import deque

import numpy as np

from vision.geo import FloatArray
from vision.tracks.track import Track

# From a place so near and a heading so alike a picture shows the same: at 5 m, a quarter of a metre is one of twenty
# looks at a thing that is passed, and 2° move it by less than its own error in the picture. Half a metre loses more
# things where the track is a consumer receiver's (docs/experiments.md).
NEAR_M, ALIKE_DEG = 0.25, 2.0
# So many views from one place are used before others are skipped: their errors average out.
ENOUGH = 3
# Even at rest a look now and then: what hid the ground drives on, and a track may have stopped while the vehicle did
# not.
REST_S = 3.0
# How long a view counts as just seen.
FRESH_S = 30.0
_STEP_S = 0.25


class Pacer:
    """Decides frame by frame; the frames come roughly in order of time."""

    def __init__(self, route: Track) -> None:
        self._times = np.arange(route.time_s[0] - 2.0, route.time_s[-1] + 2.0, _STEP_S)
        poses = route.poses_at(self._times)
        self._known = poses.known
        self._place: FloatArray = poses.enu_m[:, :2]
        self._turn: FloatArray = np.unwrap(np.radians(poses.heading_deg))
        self._used: deque[tuple[float, float, float, float]] = deque()

    def shows_more(self, time_s: float) -> bool:
        """Whether a frame at this time, in seconds of the track, is worth decoding; a frame that is counts as used.

        Not so when enough used frames of the last half minute were taken from the same place in the same direction, and
        the last used frame is only seconds old. Where the track is silent every frame is worth it.
        """
        at = int(np.searchsorted(self._times, time_s))
        if not 0 < at < len(self._times) or not self._known[at - 1 : at + 1].all():
            return True
        share = (time_s - self._times[at - 1]) / _STEP_S
        east, north = (1 - share) * self._place[at - 1] + share * self._place[at]
        turn = float((1 - share) * self._turn[at - 1] + share * self._turn[at])
        while self._used and not -FRESH_S < time_s - self._used[0][0] < FRESH_S:
            self._used.popleft()
        rested = not self._used or abs(time_s - self._used[-1][0]) >= REST_S
        seen = sum(
            np.hypot(east - e, north - n) < NEAR_M and abs(turn - t) < np.radians(ALIKE_DEG)
            for _, e, n, t in self._used
        )
        if seen >= ENOUGH and not rested:
            return False
        self._used.append((time_s, float(east), float(north), turn))
        return True
