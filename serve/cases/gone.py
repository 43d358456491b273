"""Whether a thing is gone: how likely the good views without it would be, were it still there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from serve.cases.lifecycle import Case
from serve.cases.matters import Matter


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
    first sighting teaches nothing, since without it there were no case. A view of quality q notices at most a share
    q of what it would notice at its best.
    """
    since = case.views_since
    if not case.seen or not since:
        return None
    hits = len({part.patrol_id for part in case.seen}) - 1
    missed = len(case.unseen) - len(since)
    chance = 1.0
    for number, view in enumerate(since, start=1):
        miss = (matter.miss_rate * matter.miss_weight + missed) / (matter.miss_weight + hits + missed)
        chance *= 1 - view.quality * (1 - miss)
        missed += 1
        if chance <= matter.gone_below:
            return Gone(view.at, number, chance)
    return None
