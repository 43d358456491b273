"""Whether a thing is gone: how likely the good views without it would be, were it still there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from serve.cases.lifecycle import ENOUGH_LOOKS, Case, View
from serve.cases.matters import Matter

# However few the looks: no view that counts as good misses more often than it sees.
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Gone:
    """The verdict. `at`: the view that settled it; `chance`: of missing a thing that stands there that often."""

    at: datetime
    views: int
    chance: float


def verdict(case: Case, matter: Matter) -> Gone | None:
    """That the thing is gone, or None while the views since it was last seen don't say so.

    The thing's own miss rate is unknown; before any view it is Beta distributed about the class's measured rate with
    the weight of `miss_weight` views, and each pass that saw or missed it teaches (the Beta-Bernoulli model). The
    first sighting teaches nothing, since without it there were no case.
    """
    since = case.views_since
    if not case.seen or not since:
        return None
    hits = len({part.patrol_id for part in case.seen}) - 1
    missed = len(case.unseen) - len(since)
    chance = 1.0
    for number, view in enumerate(since, start=1):
        chance *= overlooked(matter, view, hits, missed)
        missed += 1
        if chance <= matter.gone_below:
            return Gone(view.at, number, chance)
    return None


def overlooked(matter: Matter, view: View, hits: int, missed: int) -> float:
    """How likely the view misses what stands there, after so many passes that saw it and that missed it.

    A view of quality q notices at most a share q of what it would notice at its best. What was looked at from one place
    only was seen in a frame or two; such a view misses twice as often as others (in a simulated city garbage .28 of the
    time, .20, .10 and .08 with two to four looks; overflowing bins .041, then .013, .010 and .009).
    """
    miss = (matter.miss_rate * matter.miss_weight + missed) / (matter.miss_weight + hits + missed)
    return 1 - view.quality * (1 - min(miss * max(ENOUGH_LOOKS / view.looks, 1.0), _EVEN))
