"""The database: migrations, jurisdictions, durable files, and what a late job may not do."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from serve.cases.ground import cells_around
from serve.cases.matters import read_matters
from serve.errors import BusyError, ConflictError, DiskFullError, NotFoundError, SettingsError
from serve.jobs.books import fit
from serve.store import cases, patrols, results
from serve.store.blobs import EVIDENCE, ORIGINALS, Blobs
from serve.store.database import Database
from serve.store.patrols import Announcement, FileEntry, State
from serve.store.tables import metadata, workers
from serve.store.workers import bury, living, process_mark, renew, taking_turns
from tests.cases_support import NOW, START, look, sighting
from tests.postgres_support import MISSING, Cluster, cluster

SHA = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server."""
    with cluster() as made:
        yield made


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.skipif(MISSING is not None, reason=str(MISSING))),
    ]
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh database of either kind, up to date."""
    url = f"sqlite:///{tmp_path / 'books.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").fresh()
    database = Database(url)
    database.migrate()
    yield database
    database.close()


def _announce(database: Database, jurisdiction: str = "320200", **more: object) -> patrols.Patrol:
    files = (FileEntry("a.jpg", "media", 3, SHA), FileEntry("b.jpg", "media", 3, SHA))
    said = Announcement("v1", START, None, files)
    with database.writing(jurisdiction) as desk:
        return patrols.announce(desk, said, NOW)[0]


def test_migrations_make_the_tables_of_the_code(database: Database) -> None:
    """After all migrations the database has exactly the tables that the code speaks of; twice is as good as once."""
    database.migrate()
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_tables_use_nothing_of_one_database_only() -> None:
    """Every table and query type compiles for PostgreSQL as well."""
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(sa.schema.CreateTable(table).compile(dialect=sa.dialects.postgresql.dialect()))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_writes_ahead_and_syncs(database: Database) -> None:
    """SQLite runs in WAL mode, syncs fully and keeps foreign keys."""
    with database.reading("320200") as desk:
        pragmas = [
            desk.connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]


def test_unusable_databases_are_refused(tmp_path: Path) -> None:
    """A wrong URL or a folder that isn't there is one clear line."""
    with pytest.raises(SettingsError, match="cannot be used"):
        Database("nonsense")
    with pytest.raises(SettingsError, match="cannot be opened"):
        Database(f"sqlite:///{tmp_path / 'missing' / 'x.sqlite'}").migrate()


def test_one_hash_under_two_names_is_sent_once(database: Database) -> None:
    """Two equal pictures of a patrol are one upload; with it the patrol is complete."""
    patrol = _announce(database)
    with database.writing("320200") as desk:
        assert patrols.missing(desk, patrol.id) == [SHA]
        after, left = patrols.receive(desk, patrol.id, SHA, NOW)
    assert (after.state, left, after.generation) == (State.QUEUED, 0, 1)


def test_counting_what_is_missing_looks_at_nothing_else(tmp_path: Path) -> None:
    """With each of 30,000 files the missing ones are counted: from an index, those that have arrived left aside."""
    database = Database(f"sqlite:///{tmp_path / 'books.sqlite'}")
    database.migrate()
    asked = "SELECT DISTINCT sha256 FROM files WHERE patrol_id = 'p' AND received_at IS NULL"
    with database.reading("") as desk:
        plan = desk.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}").all()
    database.close()
    assert "COVERING INDEX ix_files_patrol_id_received_at (patrol_id=? AND received_at=?)" in plan[0][-1]
    assert len(plan) == 1


def test_the_same_announcement_is_the_same_patrol_and_another_is_a_conflict(database: Database) -> None:
    """(vehicle, started_at) names a patrol; the same files in any order are the same, others a conflict."""
    first = _announce(database)
    with database.writing("320200") as desk:
        files = (FileEntry("b.jpg", "media", 3, SHA), FileEntry("a.jpg", "media", 3, SHA))
        again, new = patrols.announce(desk, Announcement("v1", START, None, files), NOW)
        assert (again.id, new) == (first.id, False)
        with pytest.raises(ConflictError, match="other files"):
            patrols.announce(desk, Announcement("v1", START, {"model": "pinhole"}, files), NOW)


def test_every_query_keeps_to_its_jurisdiction(database: Database) -> None:
    """What is another city's cannot be told from what does not exist."""
    patrol = _announce(database)
    with database.writing("320200") as desk:
        outcome = fit(desk, patrol.id, [sighting(patrol.id)], [], read_matters(), model="m", now=NOW, withdrawal="")
        results.replace(desk, patrol.id, [sighting(patrol.id)], [], [], [], outcome.case_of, outcome.why_none)
    (case_id,) = outcome.case_of.values()
    with database.reading("110000") as desk:
        for ask in (
            lambda: patrols.get(desk, patrol.id),
            lambda: patrols.entries(desk, patrol.id),
            lambda: cases.get(desk, case_id),
            lambda: cases.log_of(desk, case_id),
            lambda: results.picture(desk, "e1"),
        ):
            with pytest.raises(NotFoundError):
                ask()
        assert cases.search(desk, cases.CaseFilter(), 10) == ([], False)
        assert cases.sightings_of_patrol(desk, patrol.id) == []
        assert patrols.latest(desk, 10) == []
        assert results.evidence_of_cases(desk, [case_id]) == {}
    with database.writing("110000") as desk:
        assert patrols.start(desk, patrol.id, 0) is None
        patrols.delete(desk, patrol.id)
    with database.reading("320200") as desk:
        assert cases.get(desk, case_id).matter_code == "06010"
        assert patrols.get(desk, patrol.id).id == patrol.id


def test_second_thoughts_move_another_patrols_sighting(database: Database) -> None:
    """What a patrol saw twice is put into one case by the patrol after the next, in the logs and in the table alike."""
    seen = [[0.0], [0.1, 1.1], [0.0]]
    with database.writing("320200") as desk:
        for day, places in enumerate(seen):
            files = (FileEntry("a.jpg", "media", 3, SHA),)
            patrol, _ = patrols.announce(desk, Announcement(f"v{day}", START, None, files), NOW)
            found = [sighting(patrol.id, east, day=day) for east in places]
            views = [look(patrol.id, -40, 40, day=day)]
            outcome = fit(desk, patrol.id, found, views, read_matters(), model="m", now=NOW, withdrawal="")
            results.replace(desk, patrol.id, found, views, [], [], outcome.case_of, outcome.why_none)
            if day == 1:
                second = patrol.id
    with database.reading("320200") as desk:
        assert len({row["case_id"] for row in cases.sightings_of_patrol(desk, second)}) == 1
        standing, more = cases.search(desk, cases.CaseFilter(), 10)
        assert ([row.sightings for row in standing], more) == ([4], False)


def test_a_job_of_an_older_generation_changes_nothing(database: Database) -> None:
    """When processing was asked for again, or another worker has begun it since, a late job does not go on."""
    patrol = _announce(database)
    with database.writing("320200") as desk:
        patrols.receive(desk, patrol.id, SHA, NOW)
        first = patrols.start(desk, patrol.id, 1)
        second = patrols.start(desk, patrol.id, 1)
        assert first is not None
        assert second is not None
        assert not patrols.note_progress(desk, first, 3, 4)
        patrols.fail(desk, first, "late", "", NOW)
        assert patrols.note_progress(desk, second, 3, 4)
        patrols.queue(desk, patrol.id)
        assert patrols.start(desk, patrol.id, 1) is None
        assert not patrols.note_progress(desk, second, 3, 4)
        assert patrols.start(desk, patrol.id, 2) is not None


def test_what_quotes_a_strangers_file_can_be_kept(database: Database) -> None:
    """PostgreSQL takes no NUL in a text: a fault or an error with one is kept with a mark in its place."""
    patrol = _announce(database)
    with database.writing("320200") as desk:
        patrols.set_faults(desk, patrol.id, [("a\0.jpg", "holds '\0'", "\0")])
        started = patrols.start(desk, patrols.queue(desk, patrol.id).id, 1)
        assert started is not None
        patrols.try_later(desk, started, "died of '\0'", NOW)
        assert patrols.faults_of(desk, patrol.id) == [
            {"file": "a\ufffd.jpg", "reason": "holds '\ufffd'", "remedy": "\ufffd"}
        ]
        assert patrols.get(desk, patrol.id).last_error == "died of '\ufffd'"


def test_a_worker_is_dead_when_its_lease_or_its_process_is(database: Database) -> None:
    """A lease that nobody renewed, or whose process on this machine is gone, is lost; another machine's is believed."""
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = process_mark(ended.pid)
    ended.communicate(b"\n")
    for name in ("alive", "killed", "late", "far"):
        renew(database, name)
    with database.writing("") as desk:
        for name, change in {
            "killed": {"process": mark},
            "late": {"seen_s": workers.c.seen_s - 100},
            "far": {"machine": "another", "process": "1 1"},
        }.items():
            desk.connection.execute(workers.update().where(workers.c.name == name).values(change))
    with taking_turns(database) as desk:
        assert living(desk) == {"alive", "far"}
        assert set(desk.connection.scalars(sa.select(workers.c.name))) == {"alive", "far", "killed", "late"}
        assert bury(desk) == {"alive", "far"}
        assert set(desk.connection.scalars(sa.select(workers.c.name))) == {"alive", "far"}


def test_looks_are_found_by_place(database: Database) -> None:
    """The looks of other patrols come back for the cells that they touch, and only for those."""
    patrol = _announce(database)
    seen = [look(patrol.id, -10, 10, day=1), look(patrol.id, -10, 10, day=1)]
    with database.writing("320200") as desk:
        results.replace(desk, patrol.id, [], seen, [], [], {}, {})
    place = sighting().place
    with database.reading("320200") as desk:
        found = results.looks_in(desk, cells_around(place.longitude_deg, place.latitude_deg), "other")
        assert [one.patrol_id for one in found] == [patrol.id]
        assert found[0].ring_lonlat[0] == pytest.approx(seen[0].ring_lonlat[0])
        assert results.looks_in(desk, cells_around(place.longitude_deg + 0.1, place.latitude_deg), "other") == []
        assert results.looks_in(desk, cells_around(place.longitude_deg, place.latitude_deg), patrol.id) == []


def test_a_file_of_the_spool_settles_once(tmp_path: Path) -> None:
    """It moves under its hash; settling it again, or another copy of it, changes nothing; without it it is an error."""
    blobs = Blobs(tmp_path)
    blobs.prepare()
    for name in ("one", "two"):
        with blobs.spool.create(name) as part:
            part.write(b"ab")
            assert part.sync() == 2
        assert blobs.spool.length(name) == 2
        with blobs.spool.append(name, 2) as part:
            part.write(b"c")
        assert blobs.spool.length(name) == 3
    for name in ("one", "one", "two"):
        blobs.settle(blobs.spool.path(name), ORIGINALS, "p1", SHA)
    assert blobs.read(ORIGINALS, "p1", SHA) == b"abc"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [SHA]
    with pytest.raises(NotFoundError, match="gone"):
        blobs.settle(blobs.spool.path("one"), ORIGINALS, "p2", SHA)


def test_the_spool_has_one_writer_and_one_length(tmp_path: Path) -> None:
    """Going on at another offset is a conflict; a second writer at the same time is told to wait; a discarded chunk
    leaves what was durable; below the watermark nothing more is taken."""
    spool = Blobs(tmp_path).spool
    spool.prepare()
    with spool.create("one") as part:
        part.write(b"abc")
        part.sync()
        with pytest.raises(BusyError), spool.append("one", 3):
            pass
        part.write(b"def")
        part.discard()
    assert spool.length("one") == 3
    with pytest.raises(ConflictError, match="stands at 3"), spool.append("one", 2):
        pass
    full = Blobs(tmp_path, min_free_bytes=2**60).spool
    with full.append("one", 3) as part, pytest.raises(DiskFullError):
        part.write(b"d")
    assert spool.length("one") == 3


def test_evidence_is_kept_or_removed_by_hash(tmp_path: Path) -> None:
    """Storing the same bytes twice is once; what is not to be kept goes."""
    blobs = Blobs(tmp_path)
    blobs.prepare()
    kept, gone = blobs.put(EVIDENCE, "p1", b"kept"), blobs.put(EVIDENCE, "p1", b"gone")
    assert blobs.put(EVIDENCE, "p1", b"kept") == kept
    blobs.remove(EVIDENCE, "p1", keep=[kept])
    assert blobs.read(EVIDENCE, "p1", kept) == b"kept"
    assert not blobs.has(EVIDENCE, "p1", gone)
    blobs.remove(EVIDENCE, "p1")
    assert not blobs.has(EVIDENCE, "p1", kept)
