"""What is forgotten when: each class of data after its own time, enforced by every worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from serve.cases.lifecycle import OPEN_STAGES
from serve.store.blobs import EVIDENCE, ORIGINALS, Blobs
from serve.store.database import Database
from serve.store.patrols import State
from serve.store.tables import cases, evidence, evidence_boxes, original_views, sightings
from serve.store.tables import patrols as patrol_rows

_BATCH = 500
_GRACE = timedelta(hours=1)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keep:
    """Days that each class of data is kept: originals after processing, those of patrols that failed or never arrived
    completely, evidence pictures of cases that are no longer open, tracks, and the record of who looked at originals.
    """

    originals: float
    unfinished: float
    evidence: float
    tracks: float
    views: float


@dataclass(frozen=True)
class Retention:
    """Forgets what is due. Doing it twice, or from several workers at once, is doing it once."""

    database: Database
    blobs: Blobs
    keep: Keep

    def enforce(self, now: datetime) -> dict[str, int]:
        """Forget what is due at this moment; gives how many patrols, pictures, tracks, records and leftover files that
        were."""
        done = {
            "originals": self.originals(now),
            "evidence": self._evidence(_before(now, self.keep.evidence)),
            "tracks": self._tracks(_before(now, self.keep.tracks)),
            "views": self._views(_before(now, self.keep.views)),
            "leftovers": self._leftovers(now),
        }
        if any(done.values()):
            _log.info("forgotten on schedule", **done)
        return done

    def originals(self, now: datetime) -> int:
        """Delete the originals that are due, and patrols that never arrived completely; gives how many patrols."""
        row, unfinished_before = patrol_rows.c, _before(now, self.keep.unfinished)
        finished = (row.state == State.DONE.value) & (row.finished_at <= _before(now, self.keep.originals))
        failed = (row.state == State.FAILED.value) & (row.finished_at <= unfinished_before)
        never_came = (row.state == State.RECEIVING.value) & (row.created_at <= unfinished_before)
        marked = patrol_rows.update().values(originals_deleted_at=now)
        # Each is looked at again while it is changed: somebody may just have asked to process it once more.
        done = self._change(marked, row.originals_deleted_at.is_(None) & (finished | failed))
        return done + self._change(patrol_rows.delete(), never_came)

    def _change(self, statement: sa.Update | sa.Delete, condition: sa.ColumnElement[bool]) -> int:
        """Do this to each patrol that fulfils the condition, and delete its originals."""
        with self.database.reading("") as desk:
            due = desk.connection.scalars(sa.select(patrol_rows.c.id).where(condition)).all()
        count = 0
        for patrol_id in due:
            with self.database.writing("") as desk:
                changed = desk.connection.execute(statement.where(patrol_rows.c.id == patrol_id, condition))
            if changed.rowcount:
                self.blobs.remove(ORIGINALS, patrol_id)
                count += 1
        return count

    def _evidence(self, seen_before: datetime) -> int:
        """Pictures of old patrols, but for those that show a thing whose case is still open."""
        open_cases = sa.select(cases.c.id).where(cases.c.stage.in_([stage.value for stage in OPEN_STAGES]))
        needed = (
            sa.select(evidence_boxes.c.evidence_id)
            .join(sightings, sightings.c.id == evidence_boxes.c.sighting_id)
            .where(sightings.c.case_id.in_(open_cases))
        )
        old = sa.select(patrol_rows.c.id).where(
            patrol_rows.c.finished_at <= seen_before,
            patrol_rows.c.state.in_([State.DONE.value, State.FAILED.value]),
        )
        due = evidence.c.patrol_id.in_(old) & evidence.c.id.not_in(needed)
        with self.database.writing("") as desk:
            found = desk.connection.execute(sa.select(evidence.c.patrol_id, evidence.c.id).where(due)).all()
            for patrol_id in sorted({row.patrol_id for row in found}):
                gone = [row.id for row in found if row.patrol_id == patrol_id]
                for table, column in ((evidence_boxes, evidence_boxes.c.evidence_id), (evidence, evidence.c.id)):
                    desk.connection.execute(table.delete().where(column.in_(gone)))
        # The rows go first: a picture that nothing names is waste, a row without its picture would be a broken promise.
        for patrol_id in sorted({row.patrol_id for row in found}):
            self.blobs.remove(EVIDENCE, patrol_id, keep=self._kept_pictures(patrol_id))
        return len(found)

    def _kept_pictures(self, patrol_id: str) -> set[str]:
        with self.database.reading("") as desk:
            query = sa.select(evidence.c.sha256).where(evidence.c.patrol_id == patrol_id)
            return set(desk.connection.scalars(query))

    def _leftovers(self, now: datetime) -> int:
        """Files that no row names any more: whoever changed the row died before it came to the files, or the store was
        away. They have an hour's grace, since a patrol may be deleted and announced anew."""
        row = patrol_rows.c
        over = row.state.in_([State.DONE.value, State.FAILED.value])
        shown = sa.exists().where(evidence.c.patrol_id == row.id)
        named = {ORIGINALS: row.originals_deleted_at.is_(None), EVIDENCE: ~over | shown}
        count = 0
        for area, condition in named.items():
            found = self.blobs.patrols(area)
            for start in range(0, len(found), _BATCH):
                batch = found[start : start + _BATCH]
                with self.database.reading("") as desk:
                    known = set(desk.connection.scalars(sa.select(row.id).where(row.id.in_(batch), condition)))
                for patrol_id in sorted(set(batch) - known):
                    count += self.blobs.remove(area, patrol_id, before=now - _GRACE)
        return count

    def _tracks(self, seen_before: datetime) -> int:
        drawn = sa.cast(patrol_rows.c.path, sa.String) != "[]"
        with self.database.writing("") as desk:
            gone = desk.connection.execute(
                patrol_rows.update().where(patrol_rows.c.finished_at <= seen_before, drawn).values(path=[])
            )
        return int(gone.rowcount)

    def _views(self, looked_before: datetime) -> int:
        with self.database.writing("") as desk:
            gone = desk.connection.execute(original_views.delete().where(original_views.c.viewed_at <= looked_before))
        return int(gone.rowcount)


def _before(now: datetime, days: float) -> datetime:
    return now - timedelta(days=days)
