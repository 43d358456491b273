"""Running it: doctor, backup and restore, and the files that start it elsewhere."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from typer.testing import CliRunner

import jiejing
from serve.app import blobs_of
from serve.commands import settings_of
from serve.doctor import examine
from serve.errors import ConflictError, InvalidInputError, SettingsError
from serve.settings import Settings
from serve.store import archive
from serve.store.database import Database
from serve.store.tables import metadata
from tests.serve_support import START, TRACK, cases_of, days, picture, running, send, thing

ROOT = Path(__file__).resolve().parents[1]
FILES = {"a.jpg": picture(thing(), thing("overflow", 40), look=(-20, 120), name="a"), "track.csv": TRACK}


def _settings(folder: Path, **options: object) -> Settings:
    return Settings(data=folder, _env_file=None, **options)  # type: ignore[arg-type]


def _books(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    database = Database(_settings(folder).database)
    try:
        with database.reading("") as desk:
            return {
                table.name: [tuple(row) for row in desk.connection.execute(sa.select(table))]
                for table in metadata.sorted_tables
                if table.name != "workers"
            }
    finally:
        database.close()


def test_a_backup_comes_back_whole(tmp_path: Path) -> None:
    """All rows and files, made while the server runs; the restored server knows the same and goes on working."""
    old, new, tar = tmp_path / "old", tmp_path / "new", tmp_path / "b.tar"
    run = CliRunner(env={"JIEJING_JURISDICTION": "000000"}).invoke
    with running(old) as client:
        patrol = send(client, FILES)
        send(client, {"c.jpg": picture(thing(at_m=0.4), name="c")}, started_at=START + days(1))
        before = cases_of(client)
        made = run(jiejing.app, ["backup", str(tar), "--data", str(old)])
        assert made.exit_code == 0, made.output
    assert tar.stat().st_mode & 0o777 == 0o600
    back = run(jiejing.app, ["restore", str(tar), "--data", str(new)])
    assert back.exit_code == 0, back.output
    assert _books(new) == _books(old)
    kept = {path.relative_to(old): path.read_bytes() for path in old.glob("files/*/*/*")}
    assert len(kept) == 5
    assert {path.relative_to(new): path.read_bytes() for path in new.glob("files/*/*/*")} == kept
    assert not list(new.glob("files/incoming/*"))
    with running(new) as client:
        assert cases_of(client) == before
        shown = client.get(before[0]["properties"]["evidence"][0]["url"])
        assert shown.status_code == 200
        assert client.post(f"/v1/patrols/{patrol}/reprocess").status_code == 202
        assert cases_of(client) == before


def test_restore_refuses_what_would_do_harm(tmp_path: Path) -> None:
    """Into a database that is not empty, from another version, from a tar that climbs: an error; nothing changes."""
    with running(tmp_path / "old") as client:
        send(client, FILES)
    settings = _settings(tmp_path / "old")
    database, blobs = Database(settings.database), blobs_of(settings)
    archive.back_up(database, blobs, tmp_path / "b.tar")
    with pytest.raises(ConflictError, match="not empty"):
        archive.restore(database, blobs, tmp_path / "b.tar")
    database.close()
    empty = _settings(tmp_path / "new")
    empty.data.mkdir()
    target, files = Database(empty.database), blobs_of(empty)
    target.migrate()
    files.prepare()
    with tarfile.open(tmp_path / "b.tar") as tar:
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
        books = tar.extractfile("books.sqlite").read()  # type: ignore[union-attr]

    def crafted(name: str, said: dict[str, object], more: str = "") -> Path:
        with tarfile.open(tmp_path / name, "w") as tar:
            archive._add(tar, "manifest.json", io.BytesIO(json.dumps(said).encode()))
            archive._add(tar, "books.sqlite", io.BytesIO(books))
            if more:
                archive._add(tar, more, io.BytesIO(b"x"))
        return tmp_path / name

    wrong = [
        crafted("version.tar", {**manifest, "revision": "9999"}),
        crafted("climbs.tar", manifest, "files/evidence/../../../x"),
        crafted("climbs2.tar", manifest, "files/evidence/p1/../x"),
        crafted("elsewhere.tar", manifest, "/etc/x"),
        tmp_path / "old" / "jiejing.sqlite",
    ]
    for path in wrong:
        with pytest.raises(InvalidInputError):
            archive.restore(target, files, path)
    assert not [path for path in empty.data.rglob("*") if path.is_file() and "sqlite" not in path.name]
    assert all(rows == [] for rows in _books(empty.data).values())
    target.close()


def test_the_doctor_finds_nothing_wrong_with_a_sound_installation(tmp_path: Path) -> None:
    """A fresh folder and one with a patrol in it: no fault, and the exit code says so."""
    assert {one.state for one in examine(_settings(tmp_path / "fresh"))} <= {"ok", "warning"}
    with running(tmp_path / "used") as client:
        send(client, FILES)
    done = CliRunner().invoke(jiejing.app, ["doctor", "--json", "--data", str(tmp_path / "used")])
    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert done.exit_code == 0, found
    assert "street-n" in found["model"]["said"]
    assert "tables of version" in found["database"]["said"]


def test_the_doctor_names_fault_and_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another model, a database that cannot be reached, a disk without room, waiting work without a worker, an open
    door, a wrong key: each is a fault with a remedy, and none keeps the others from being looked at."""

    def faults(folder: Path, **options: object) -> dict[str, str]:
        found = list(examine(_settings(folder, **options)))
        assert len(found) == 10
        assert all(one.remedy for one in found if one.state != "ok")
        return {one.what: one.said for one in found if one.state == "fault"}

    assert "no-such" in faults(tmp_path, model="no-such")["model"]
    assert set(faults(tmp_path, database_url="sqlite:////nowhere/x.sqlite")) == {"database", "work"}
    assert "disk" in faults(tmp_path, min_free_bytes=10**15)
    assert "originals" not in faults(tmp_path, originals_key="x" * 20)
    assert "32 bytes" in faults(tmp_path, originals_key="x" * 20)["files"]
    assert "0.0.0.0" in faults(tmp_path, host="0.0.0.0")["access"]
    oidc = {"oidc_issuer": "https://id.example", "oidc_audience": "j", "oidc_jwks": str(tmp_path / "none.json")}
    assert "none.json" in faults(tmp_path, **oidc)["access"]
    with monkeypatch.context() as patched:
        patched.setenv("JIEJING_DATBASE_URL", "postgresql+psycopg://db/jiejing")
        named = next(examine(_settings(tmp_path)))
        assert (named.state, "JIEJING_DATBASE_URL" in named.said) == ("warning", True)
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        assert "data folder" in faults(tmp_path / "locked")
    with running(tmp_path / "used") as client:
        send(client, FILES)
    database = Database(_settings(tmp_path / "used").database)
    with database.writing("") as desk:
        desk.connection.execute(sa.text("UPDATE patrols SET state = 'queued'"))
    database.close()
    assert "1 waiting" in faults(tmp_path / "used")["work"]
    done = CliRunner().invoke(jiejing.app, ["doctor", "--data", str(tmp_path / "used")])
    assert done.exit_code == 1
    assert "jiejing worker" in done.stdout


def test_compose_describes_a_fleet() -> None:
    """A server, two workers, PostgreSQL and an object store, healthy before the next starts; no secret is written down;
    every JIEJING_ name is a setting."""
    text = (ROOT / "compose.yaml").read_text("utf-8")
    services = yaml.safe_load(text)["services"]
    assert {"server", "worker", "database", "store"} <= set(services)
    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["server"]["command"] == ["serve", "--no-worker"]
    assert services["worker"]["command"] == ["worker"]
    assert "healthcheck" in services["database"]
    settings = {f"JIEJING_{name.upper()}" for name in Settings.model_fields}
    units = "".join(path.read_text("utf-8") for path in (ROOT / "deploy").glob("*.service"))
    names = set(re.findall(r"JIEJING_[A-Z0-9_]+", text + units))
    assert names <= settings, names - settings


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing wrong, apart from the program that is not installed here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    for unit in (ROOT / "deploy").glob("*.service"):
        text = unit.read_text("utf-8").replace("/opt/jiejing/bin/jiejing", "/bin/true")
        (tmp_path / unit.name).write_text(text, "utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)], capture_output=True, text=True
        )
        ours = [line for line in done.stderr.splitlines() if unit.name in line]
        assert ours == [], done.stderr


@pytest.mark.slow
def test_a_backup_moves_from_sqlite_to_postgresql_and_back(tmp_path: Path) -> None:
    """The rows are the same on both engines, and PostgreSQL goes on counting where the backup ended."""
    from tests.postgres_support import MISSING, cluster

    if MISSING:
        pytest.skip(MISSING)
    with running(tmp_path / "old") as client:
        send(client, FILES)
        case = cases_of(client)[0]["id"]
        told = client.post("/v1/feedback", json={"verdict": "confirm", "case": case, "by": "o"})
        assert told.status_code == 201
    old = Database(_settings(tmp_path / "old").database)
    archive.back_up(old, blobs_of(_settings(tmp_path / "old")), tmp_path / "b.tar")
    old.close()
    with cluster("books") as postgres:
        there = _settings(tmp_path / "there", database_url=postgres.url("books"))
        there.data.mkdir()
        database, blobs = Database(there.database), blobs_of(there)
        database.migrate()
        blobs.prepare()
        archive.restore(database, blobs, tmp_path / "b.tar")
        with running(tmp_path / "there", database_url=postgres.url("books")) as client:
            again = client.post("/v1/feedback", json={"verdict": "reject", "case": case, "by": "o"})
            assert again.status_code == 201, again.text
            assert len(client.get("/v1/feedback").text.splitlines()) == 2
            archive.back_up(database, blobs, tmp_path / "c.tar")
        database.close()
    back = _settings(tmp_path / "back")
    back.data.mkdir()
    database, blobs = Database(back.database), blobs_of(back)
    database.migrate()
    blobs.prepare()
    archive.restore(database, blobs, tmp_path / "c.tar")
    database.close()
    mine, first = _books(tmp_path / "back"), _books(tmp_path / "old")
    assert mine["cases"] == first["cases"]
    assert mine["events"] == first["events"]
    assert len(mine["feedback"]) == 2


def test_an_env_file_may_hold_what_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """compose's own secrets stand beside the settings; a mistyped setting is an error that names it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("DB_PASSWORD=x\nAWS_REGION=y\nJIEJING_PLACE_NAME=Wuxi\n", "utf-8")
    assert settings_of().place_name == "Wuxi"
    (tmp_path / ".env").write_text("JIEJING_PLACE_NAMES=Wuxi\n", "utf-8")
    with pytest.raises(SettingsError, match="place_names") as refused:
        settings_of()
    assert "JIEJING_PLACE_NAMES," in refused.value.remedy
