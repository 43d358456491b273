"""An archive looked at with another model: what would be seen in stored evidence, beside what was. No case changes.

Ray Data spreads the pictures over the cores of this machine, or over the machines of a cluster.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serve.errors import SettingsError
from serve.store import results
from serve.store.blobs import EVIDENCE, Blobs
from serve.store.database import Database
from serve.store.results import Shown
from vision.boxes import iou
from vision.taxonomy import CLASSES

# Of two models' boxes around one thing; the usual measure of PASCAL VOC (Everingham et al. 2010, section 4.2).
SAME_IOU = 0.5
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Archive:
    """Where the pictures lie: see `Blobs`. A value that can be sent to other machines."""

    root: Path
    store_url: str | None


class Looker:
    """Looks at batches of pictures with one model; Ray makes one in each process."""

    def __init__(self, archive: Archive, model: str) -> None:
        from vision.detecting.detector import Detector

        self._blobs = Blobs(archive.root, store_url=archive.store_url)
        self._detector = Detector.load(model, threads=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Adds what the model sees to each row, as JSON: {boxes, scores, classes} or {fault}."""
        seen = [self._look(*row) for row in zip(batch["patrol"], batch["sha256"], strict=True)]
        return {**batch, "seen": np.array(seen, dtype=object)}

    def _look(self, patrol: str, sha256: str) -> str:
        from vision.errors import JiejingError

        try:
            found = self._detector.detect_bytes(self._blobs.read(EVIDENCE, patrol, sha256))
        except JiejingError as error:
            return json.dumps({"fault": str(error)})
        return json.dumps(
            {
                "boxes": found.boxes_xyxy.round(2).tolist(),
                "scores": found.scores.round(4).tolist(),
                "classes": [CLASSES[index] for index in found.class_ids],
            }
        )


def rescore(
    database: Database,
    archive: Archive,
    jurisdiction: str,
    model: str,
    *,
    processes: int,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Compare what `model` sees in all evidence of a jurisdiction with what the books say was seen there.

    `processes`: how many look at once; `cluster`: a Ray cluster's address. Raises SettingsError when Ray is missing.
    """
    # It would otherwise report its use to its makers: nothing phones home.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise SettingsError("Ray is not installed", remedy="pip install 'jiejing[fleet]'") from error
    with database.reading(jurisdiction) as desk:
        shown = results.shown_everywhere(desk)
    rows = [
        {"picture": picture, "patrol": boxes[0].patrol_id, "sha256": boxes[0].sha256}
        for picture, boxes in shown.items()
    ]
    if not rows:
        return compare(shown, {})
    ray.init(address=cluster, num_cpus=None if cluster else processes, include_dashboard=False, log_to_driver=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        looked = ray.data.from_items(rows).map_batches(
            Looker,
            fn_constructor_args=(archive, model),
            batch_size=_BATCH,
            compute=ray.data.ActorPoolStrategy(size=processes),
            num_cpus=1,
        )
        seen = {row["picture"]: json.loads(row["seen"]) for row in looked.iter_rows()}
    finally:
        ray.shutdown()
    return compare(shown, seen)


def compare(shown: dict[str, list[Shown]], seen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Box by box and class by class: `kept` seen again (same class, IoU of .5 or more), `renamed` seen as another
    class, `lost`, and `new`; and the cases that none of their pictures shows any more.

    `shown`: by picture what the books say; `seen`: by picture what the model says, as `Looker` writes it.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    renamed: Counter[str] = Counter()
    faults: list[dict[str, str]] = []
    visible: dict[str, bool] = {}
    for picture, before in shown.items():
        after = seen.get(picture, {"fault": "not looked at"})
        if "fault" in after:
            faults.append({"picture": picture, "reason": after["fault"]})
            continue
        matched = _matched(before, after)
        for old, index in zip(before, matched, strict=True):
            now = None if index is None else after["classes"][index]
            kind = "lost" if now is None else "kept" if now == old.class_name else "renamed"
            counts[old.class_name][kind] += 1
            if kind == "renamed":
                renamed[f"{old.class_name} → {now}"] += 1
            if old.case_id is not None:
                visible[old.case_id] = visible.get(old.case_id, False) or kind == "kept"
        for index in set(range(len(after["classes"]))) - set(matched):
            counts[after["classes"][index]]["new"] += 1
    return {
        "pictures": len(shown),
        "classes": {name: dict(counts[name]) for name in sorted(counts)},
        "renamed": dict(renamed),
        "cases": len(visible),
        "cases_no_longer_seen": sorted(case for case, is_seen in visible.items() if not is_seen),
        "faults": faults,
    }


def _matched(before: Sequence[Shown], after: dict[str, Any]) -> list[int | None]:
    """For each old box the new one that it pairs with: the best overlaps first, the same class before another."""
    if not before or not after["boxes"]:
        return [None] * len(before)
    overlap = iou(np.array([old.box_xyxy for old in before], float), np.array(after["boxes"], float))
    same = np.array([[old.class_name == name for name in after["classes"]] for old in before])
    pairs: Iterable[tuple[int, int]] = zip(*np.nonzero(overlap >= SAME_IOU), strict=True)
    found: list[int | None] = [None] * len(before)
    for i, j in sorted(pairs, key=lambda ij: (not same[ij], -overlap[ij])):
        if found[i] is None and j not in found:
            found[i] = int(j)
    return found
