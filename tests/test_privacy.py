"""Originals: sealed, looked at on record only, forgotten on schedule; and no secret in any log."""

from __future__ import annotations

import base64
import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from dbos._logger import init_logger
from fastapi import FastAPI
from typer.testing import CliRunner

from serve.app import blobs_of, preflight
from serve.cases.lifecycle import Stage
from serve.errors import SettingsError, StorageError
from serve.jobs.queue import Job
from serve.jobs.retention import Keep, Retention
from serve.originals_commands import app as originals_app
from serve.secrecy import masked
from serve.server import configure_logs, uvicorn_of
from serve.settings import Settings
from serve.store.blobs import EVIDENCE, ORIGINALS, Blobs
from serve.store.database import Reach
from serve.store.sealed import Sealer, is_sealed
from serve.store.tables import cases, evidence, patrols
from serve.store.viewed import View, listed, note
from tests.access_support import context_of
from tests.serve_support import START, TRACK, days, manifest, picture, running, send, thing

KEY = base64.b64encode(bytes(range(32))).decode()
CITY = "320200"
FILES = {"a.jpg": picture(thing(), name="a"), "b.jpg": picture(thing("overflow", 30), name="b")}


@pytest.mark.parametrize("size", [0, 1, 1024**2 - 1, 1024**2, 1024**2 + 1, 3 * 1024**2])
def test_what_is_sealed_comes_back(tmp_path: Path, size: int) -> None:
    """Any length, at and around the chunks; the sealed file shows nothing of it, and only its owner reads the copy."""
    plain = os.urandom(size)
    (tmp_path / "plain").write_bytes(plain)
    sealer = Sealer(KEY)
    with (tmp_path / "plain").open("rb") as file:
        sealer.seal(file, tmp_path / "sealed", "name")
    sealer.open(tmp_path / "sealed", tmp_path / "back", "name")
    assert (tmp_path / "back").read_bytes() == plain
    assert is_sealed(tmp_path / "sealed")
    assert size < 16 or plain[:16] not in (tmp_path / "sealed").read_bytes()
    assert (tmp_path / "back").stat().st_mode & 0o077 == 0


def test_a_sealed_file_cannot_be_changed(tmp_path: Path) -> None:
    """A flipped bit, a missing end, swapped chunks, another name or another key: none opens, nothing is left behind."""
    (tmp_path / "plain").write_bytes(os.urandom(2 * 1024**2 + 5))
    sealer = Sealer(KEY)
    with (tmp_path / "plain").open("rb") as file:
        sealer.seal(file, tmp_path / "sealed", "name")
    whole = (tmp_path / "sealed").read_bytes()
    chunk = 1024**2 + 16
    swapped = whole[:40] + whole[40 + chunk : 40 + 2 * chunk] + whole[40 : 40 + chunk] + whole[40 + 2 * chunk :]
    flipped = whole[:99] + bytes([whole[99] ^ 1]) + whole[100:]
    for number, wrong in enumerate([flipped, swapped, whole[: 40 + chunk], whole[:-1], whole + b"x"]):
        (tmp_path / f"wrong{number}").write_bytes(wrong)
        with pytest.raises(SettingsError, match="cannot be opened"):
            sealer.open(tmp_path / f"wrong{number}", tmp_path / f"out{number}", "name")
        assert not (tmp_path / f"out{number}").exists()
    with pytest.raises(SettingsError):
        sealer.open(tmp_path / "sealed", tmp_path / "out", "another")
    with pytest.raises(SettingsError):
        Sealer(base64.b64encode(bytes(32)).decode()).open(tmp_path / "sealed", tmp_path / "out", "name")
    for wrong_key in ("", "short", base64.b64encode(bytes(31)).decode(), "x" * 44):
        with pytest.raises(SettingsError, match="32 bytes"):
            Sealer(wrong_key)


def test_originals_lie_sealed_and_are_processed(tmp_path: Path) -> None:
    """With a key set no file of the vehicle lies readable on the disk, and the patrol is processed all the same."""
    with running(tmp_path, originals_key=KEY, jurisdiction=CITY) as client:
        patrol = send(client, FILES)
        assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"
        kept = list(tmp_path.glob("files/originals/*/*"))
        assert len(kept) == len(FILES)
        assert all(is_sealed(path) for path in kept)
        words = FILES["a.jpg"]
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and words in path.read_bytes()]
        assert client.post(f"/v1/patrols/{patrol}/reprocess").status_code == 202
        assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"


def test_every_look_at_an_original_is_on_record(tmp_path: Path) -> None:
    """`jiejing originals show` writes the plain file and a record; without a name and a reason it shows nothing."""
    with running(tmp_path, originals_key=KEY) as client:
        patrol = send(client, FILES)
    run, out = CliRunner(env={"JIEJING_ORIGINALS_KEY": KEY}).invoke, tmp_path / "shown.jpg"
    asked = ["show", patrol, "a.jpg", "-o", str(out), "--data", str(tmp_path), "--reason", "complaint 7"]
    assert run(originals_app, [*asked, "--by", " "]).exit_code != 0
    assert not out.exists()
    done = run(originals_app, [*asked, "--by", "Li Wei"])
    assert done.exit_code == 0, done.output
    assert out.read_bytes() == FILES["a.jpg"]
    (record,) = json.loads(run(originals_app, ["views", "--json", "--data", str(tmp_path)]).stdout)
    assert (record["patrol"], record["by"], record["reason"]) == (patrol, "Li Wei", "complaint 7")
    assert run(originals_app, [*asked, "--by", "Li Wei"]).exit_code != 0, "never over an existing file"
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_each_class_of_data_has_its_time(tmp_path: Path) -> None:
    """Moving the clock: originals, unfinished patrols, evidence, tracks and records each go when due, never before."""
    keep = Keep(originals=7, unfinished=30, evidence=730, tracks=365, views=1095)
    with running(tmp_path, jurisdiction=CITY) as client:
        done = send(client, {**FILES, "track.csv": TRACK})
        failed = send(client, {"bad.jpg": b"no picture"}, started_at=START + days(1))
        waiting = client.post("/v1/patrols", json=manifest(FILES, vehicle="v9")).json()["id"]
        here = context_of(client)
        now = datetime.now(UTC)
        with here.database.writing(CITY) as desk:
            note(desk, View(done, "0" * 64, "Li Wei", "why", now))
            closed = desk.connection.scalars(cases.select().where(cases.c.class_name == "overflow")).one()
            desk.connection.execute(cases.update().where(cases.c.id == closed).values(stage=Stage.CLOSED.value))
        retention = Retention(here.database, here.blobs, keep)

        def after(count: float) -> dict[str, int]:
            return retention.enforce(now + timedelta(days=count))

        def originals(patrol: str) -> int:
            return len(list(tmp_path.glob(f"files/{ORIGINALS}/{patrol}/*")))

        nothing = {"originals": 0, "evidence": 0, "tracks": 0, "views": 0, "leftovers": 0}
        assert after(6.9) == nothing
        assert originals(done) == 3
        assert after(7.1) == {**nothing, "originals": 1}
        assert (originals(done), originals(failed)) == (0, 1)
        assert client.get(f"/v1/patrols/{done}").json()["originals_kept"] is False
        assert after(29.9) == nothing
        assert after(30.1) == {**nothing, "originals": 2}
        assert originals(failed) == 0
        assert client.get(f"/v1/patrols/{waiting}").status_code == 404
        assert len(client.get("/console/tracks.geojson").json()["features"]) == 1
        assert after(364) == nothing
        assert after(366) == {**nothing, "tracks": 1}
        assert client.get("/console/tracks.geojson").json()["features"] == []
        assert after(729) == nothing
        pictures = len(list(tmp_path.glob(f"files/{EVIDENCE}/{done}/*")))
        assert pictures == 2
        assert after(731) == {**nothing, "evidence": 1}
        assert len(list(tmp_path.glob(f"files/{EVIDENCE}/{done}/*"))) == 1, "the open case keeps its picture"
        with here.database.reading(CITY) as desk:
            assert len(desk.connection.execute(evidence.select()).all()) == 1
            assert len(listed(desk)) == 1
        assert after(1096) == {**nothing, "views": 1}
        assert len(client.get("/v1/cases").json()["features"]) == 2, "the books are not forgotten"
        assert after(4000) == nothing


def test_keeping_no_originals_means_none(tmp_path: Path) -> None:
    """With 0 days they are gone with the next round after processing, a tenth of a minute later."""
    with running(tmp_path, keep_originals_days=0) as client:
        send(client, FILES)
        here = context_of(client)
        assert Retention(here.database, here.blobs, Keep(0, 0, 1, 1, 1)).originals(datetime.now(UTC)) == 1
        assert not list(tmp_path.glob("files/originals/*/*"))


def test_files_that_nothing_names_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was away when originals were due, or when a patrol was deleted, keeps nothing for longer than an
    hour; what is named stays."""
    away = "the file store failed"
    with running(tmp_path, keep_originals_days=1) as client:
        here = context_of(client)
        due, deleted, kept = (send(client, FILES, started_at=START - days(n)) for n in range(3))
        keeper = Retention(here.database, here.blobs, Keep(1, 1, 1, 1, 1))
        with monkeypatch.context() as patched:
            patched.setattr(Blobs, "remove", lambda *_, **__: (_ for _ in ()).throw(StorageError(away)))
            assert client.delete(f"/v1/patrols/{deleted}").status_code == 204
            with here.database.writing("") as desk:
                mine = patrols.update().where(patrols.c.id == due)
                desk.connection.execute(mine.values(finished_at=datetime.now(UTC) - days(2)))
            with pytest.raises(StorageError, match=away):
                keeper.originals(datetime.now(UTC))
        assert keeper.enforce(datetime.now(UTC))["leftovers"] == 0
        assert {path.name for path in tmp_path.glob("files/originals/*")} == {due, deleted, kept}
        assert keeper.enforce(datetime.now(UTC) + timedelta(hours=2))["leftovers"] > 0
        assert {path.name for path in tmp_path.glob("files/originals/*")} == {kept}
        assert {path.name for path in tmp_path.glob("files/evidence/*")} == {due, kept}


def test_a_wrong_key_is_said_at_the_start(tmp_path: Path) -> None:
    """A key that is none keeps the server from starting, with the remedy."""
    for opens in (blobs_of, preflight):
        with pytest.raises(SettingsError, match="32 bytes in base64"):
            opens(Settings(data=tmp_path, originals_key="nonsense", _env_file=None))


SECRETS = [
    "jj_0123456789ab_QmFzZTY0LXNlY3JldC13aXRoLTI1Ni1iaXRz",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl",
    "s3cr3t-p4ssword",
]


def test_no_secret_stands_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys, tokens, cookies and passwords in addresses are masked: in fields, texts, tracebacks and library's lines,
    those of the queue and the web server too."""
    before = structlog.get_config()
    # As in a process that has only begun: no library has given its logger a handler yet.
    for handler in list(logging.getLogger("dbos").handlers):
        logging.getLogger("dbos").removeHandler(handler)
    logging.getLogger("dbos").propagate = True
    try:
        configure_logs(quiet=False)
        init_logger()
        uvicorn_of(FastAPI())
        for name in ("dbos", "uvicorn.error"):
            logging.getLogger(name).error("cannot connect to postgresql://jiejing:%s@db", SECRETS[2])
        log = structlog.get_logger()
        ours, token, password = SECRETS
        log.info("request", headers={"Authorization": f"Bearer {ours}", "Cookie": token}, api_key=password)
        log.info(
            f"took {ours} and Bearer {token}", url=f"postgresql://jiejing:{password}@db/books", tried=[ours, token]
        )
        try:
            raise ValueError(f"cannot connect to postgresql://jiejing:{password}@db with {ours}")
        except ValueError:
            log.exception("failed")
        logging.getLogger("library").error("dsn password=%s, %s", password, token)
        said = capsys.readouterr().err
    finally:
        structlog.configure(**before)
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    assert said.count("***") >= 11
    assert not [secret for secret in SECRETS if secret in said]
    assert "postgresql://***@db" in said
    for line in said.splitlines():
        assert json.loads(line)["level"]
    assert masked("a plain sentence about a patrol p1af5b754") == "a plain sentence about a patrol p1af5b754"


def test_opened_originals_do_not_outlive_a_killed_worker(tmp_path: Path) -> None:
    """What a killed attempt had laid out is gone when the patrol is set aside."""
    with running(tmp_path, originals_key=KEY, max_attempts=1) as client:
        patrol = send(client, FILES)
        left = tmp_path / "work" / f"{patrol}.2.1" / "media"
        left.mkdir(parents=True)
        (left / "a.jpg").write_bytes(FILES["a.jpg"])
        here = context_of(client)
        with here.database.writing(Reach("000000")) as desk:
            desk.connection.execute(
                patrols.update().values(state="queued", attempts=1, generation=2).where(patrols.c.id == patrol)
            )
        here.intake.jobs.submit(Job("000000", patrol, 2))
        assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "failed"
        assert not list((tmp_path / "work").iterdir())
