"""Decisions of operators become a data set: what they confirmed, corrected and rejected on evidence pictures.

Only what was decided is known. A confirmed, corrected or moved box is a thing; where an alarm was rejected, a thing of
its class is absent, and nothing is said about other classes: who rejects "overflow" may well look at a bin. The rest of
the picture is unknown, hidden persons and vehicles included, and stands as regions that training's loss leaves out.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from training.errors import DatasetError
from training.evaluation.decided import DECISIONS, Decision, decisions_text
from training.labels.album import Album
from training.labels.classes import IGNORE
from training.labels.importing import Imported, write_dataset
from training.labels.kinds import LabelFault
from training.labels.values import LabelledBox, LabelledPicture, Xyxy
from training.sources import GROUPS
from vision.pictures.media import MAX_PICTURE_BYTES
from vision.taxonomy import CLASSES

_TIMEOUT_S = 60.0
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')


@dataclass(frozen=True, slots=True)
class Judged:
    """One box that an operator decided about, in pixels of its evidence picture.

    `verdict`: confirm, reject, reclass or move; `present`: the class that is there, "" when none is; `box`: where.
    """

    cursor: int
    picture: str
    url: str
    sha256: str
    case: str
    verdict: str
    judged_class: str
    judged_box: Xyxy
    present: str
    box: Xyxy
    model: str
    covered: bool


class Server:
    """Reads a server's feedback. Raises DatasetError when it cannot be reached or does not answer as it should."""

    def __init__(self, address: str, api_key: str | None = None) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DatasetError(f"{address!r} is no server", remedy="give an address like http://127.0.0.1:8311")
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = parts.hostname, parts.port
        self.address = f"{parts.scheme}://{parts.netloc}"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def decisions(self, since: str | None = None) -> list[dict[str, Any]]:
        """All rows of the export, page after page."""
        path: str | None = "/v1/feedback" + (f"?since={quote(since)}" if since else "")
        rows: list[dict[str, Any]] = []
        while path is not None:
            body, link = self._get(path)
            try:
                rows += [json.loads(line) for line in body.decode("utf-8").splitlines() if line]
            except ValueError as error:
                raise DatasetError(
                    f"{self.address}{path}: not JSON lines ({error})", remedy="check the address and the version"
                ) from None
            following = _NEXT.search(link)
            path = following[1] if following else None
        return rows

    def picture(self, path: str) -> bytes:
        """The bytes of an evidence picture."""
        return self._get(path)[0]

    def _get(self, path: str) -> tuple[bytes, str]:
        connection = self._connect(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read(MAX_PICTURE_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise DatasetError(f"{self.address}: {error}", remedy="check that the server runs there") from None
        finally:
            connection.close()
        if answer.status == 401:
            raise DatasetError(f"{self.address} wants its API key", remedy="set JIEJING_API_KEY")
        if answer.status != 200:
            raise DatasetError(f"{self.address}{path}: answered {answer.status}", remedy="check the address")
        return body, answer.getheader("Link", "")


def read_rows(rows: Sequence[Mapping[str, Any]]) -> list[Judged]:
    """The last decision about each box, in the order of the export.

    Raises DatasetError when a row lacks what the export promises.
    """
    last: dict[tuple[str, str], Judged] = {}
    for row in rows:
        try:
            verdict, box = str(row["verdict"]), _corners(row["box"])
            one = Judged(
                cursor=int(row["cursor"]),
                picture=str(row["evidence"]),
                url=str(row["url"]),
                sha256=str(row["picture_sha256"]),
                case=str(row["case"] or row["sighting"]),
                verdict=verdict,
                judged_class=str(row["class"]),
                judged_box=box,
                present={"reject": "", "reclass": row["new_class"]}.get(verdict, row["class"]),
                box=_corners(row["new_box"]) if verdict == "move" else box,
                model=str(row["model"] or ""),
                covered=bool(row["person_over_evidence"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"the export holds a row without {error}", remedy="check the server's version") from None
        # Taken out first, so that a box decided again stands where its last decision does.
        last.pop((one.picture, str(row["sighting"])), None)
        last[one.picture, str(row["sighting"])] = one
    return list(last.values())


def _corners(value: Sequence[float]) -> Xyxy:
    x0, y0, x1, y1 = (float(number) for number in value)
    return x0, y0, x1, y1


def labels_of(decisions: Sequence[Judged], size_wh: tuple[int, int]) -> tuple[LabelledBox, ...]:
    """The boxes and regions of one picture.

    Positives are boxes; a class whose absence was decided is known inside the judged box only: everywhere else `ignore`
    hides all classes, and inside it regions hide all others. After a reclass both classes are known inside the box, so
    that the wrong one is unlearnt there.
    """
    known: dict[Xyxy, set[str]] = defaultdict(set)
    boxes: list[LabelledBox] = []
    for one in decisions:
        if one.present:
            boxes.append(LabelledBox(one.present, one.box, where=f"decision {one.cursor}"))
        if one.verdict in ("reject", "reclass"):
            known[_clip(one.judged_box, size_wh)] |= {one.judged_class, one.present} - {""}
    regions = [LabelledBox(IGNORE, tile, ignore=True) for tile in uncovered(list(known), size_wh)]
    for box, classes in known.items():
        regions += [LabelledBox(name, box, ignore=True) for name in _hiding(frozenset(CLASSES) - classes)]
    return (*boxes, *regions)


def _hiding(classes: frozenset[str]) -> list[str]:
    """The fewest regions that hide these classes: whole groups where they can, single classes for the rest."""
    groups = [group for group, members in GROUPS.items() if members <= classes]
    rest = classes.difference(*(GROUPS[group] for group in groups))
    return [*groups, *(f"unknown_{name}" for name in CLASSES if name in rest)]


def _clip(box: Xyxy, size_wh: tuple[int, int]) -> Xyxy:
    w, h = size_wh
    return max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(w)), min(box[3], float(h))


def uncovered(boxes: Sequence[Xyxy], size_wh: tuple[int, int]) -> list[Xyxy]:
    """Rectangles without overlap that together are the picture without the boxes."""
    w, h = size_wh
    ys = sorted({0.0, float(h), *(y for box in boxes for y in (box[1], box[3]))})
    tiles: list[Xyxy] = []
    for top, bottom in pairwise(ys):
        x = 0.0
        for left, right in sorted((box[0], box[2]) for box in boxes if box[1] < bottom and box[3] > top):
            if left > x:
                tiles.append((x, top, left, bottom))
            x = max(x, right)
        if x < w:
            tiles.append((x, top, float(w), bottom))
    return tiles


def import_decisions(
    server: Server, folder: Path, downloads: Path, *, name: str, licence: str, since: str | None = None
) -> Imported:
    """Write the decisions of a server as a data set; `downloads` is an empty folder for the pictures on the way.

    Its version is the last decision it holds. A picture that is gone, is not the one that was judged, or whose evidence
    a hidden person covers is left out and reported. Raises DatasetError when there are no decisions.
    """
    decisions = read_rows(server.decisions(since))
    if not decisions:
        raise DatasetError(f"{server.address}: no decisions there", remedy="decide some cases first")
    by_picture: dict[str, list[Judged]] = defaultdict(list)
    for one in decisions:
        by_picture[one.picture].append(one)
    faults: list[LabelFault] = []
    album_paths: dict[str, Path] = {}
    for picture, judged in by_picture.items():
        if fault := _fetch(server, picture, judged, downloads):
            faults.append(fault)
        else:
            album_paths[picture] = downloads / f"{picture}.jpg"
    album = Album(downloads)
    pictures: list[LabelledPicture] = []
    for picture, path in album_paths.items():
        seen = album.see(path)
        if isinstance(seen, LabelFault):
            faults.append(seen)
            continue
        judged = by_picture[picture]
        labels = labels_of(judged, seen.size_wh)
        one_picture = album.picture(path, seen, labels, frozenset(CLASSES), labels="", split="train")
        pictures.append(replace(one_picture, group=judged[0].case))
    version = max(one.cursor for one in decisions)
    verdicts = [one.verdict for one in decisions]
    return write_dataset(
        pictures,
        folder,
        name=name,
        title=f"Decisions of operators up to number {version}",
        origin=f"{server.address}/v1/feedback",
        licence=licence,
        class_map={},
        copy=True,
        faults=faults,
        documents={DECISIONS: decisions_text(_kept(one) for one in decisions if one.picture in album_paths)},
        more={
            "care": "only the decided boxes are known, regions hide the rest: for training, not for measuring",
            "feedback": {
                "version": version,
                "models": sorted({one.model for one in decisions if one.model}),
                **{verdict: verdicts.count(verdict) for verdict in ("confirm", "reject", "reclass", "move")},
            },
        },
    )


def _kept(one: Judged) -> Decision:
    """What the data set remembers of a decision; pictures are stored under their id."""
    return Decision(f"{one.picture}.jpg", one.verdict, one.judged_class, one.judged_box, one.present, one.box)


def _fetch(server: Server, picture: str, judged: Sequence[Judged], downloads: Path) -> LabelFault | None:
    """Download one picture, or say why it cannot be used."""
    if any(one.covered for one in judged):
        return LabelFault("picture-covered", picture, "a hidden person or vehicle covers the evidence", picture)
    if not re.fullmatch(r"[0-9a-z]{1,40}", picture):
        return LabelFault("picture-missing", picture[:60], "not the id of a picture", picture[:60])
    try:
        data = server.picture(f"/v1/evidence/{picture}.jpg")
    except DatasetError as error:
        return LabelFault("picture-missing", picture, error.message, picture)
    if hashlib.sha256(data).hexdigest() != judged[0].sha256:
        return LabelFault("picture-changed", picture, "not the picture that was judged", picture)
    (downloads / f"{picture}.jpg").write_bytes(data)
    return None
