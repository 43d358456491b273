"""When processing fails through no fault of the patrol's own: tried again, then set aside, seen, retried."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import jiejing
from serve.app import create_app
from serve.intake.desk import hand_over_unfinished
from serve.jobs import process
from serve.jobs.queue import Job
from serve.settings import Settings
from serve.store.tables import patrols
from tests.serve_support import InlineJobs, cases_of, no_path, picture, run_fake, send, thing
from vision.errors import UsageError
from vision.pipeline import PatrolResult

FILES = {"a.jpg": picture(thing(), name="a")}


class Moody:
    """A runner that fails as often as it is told to."""

    def __init__(self) -> None:
        self.failures = 0

    def __call__(self, media: Sequence[Path], **more: Any) -> PatrolResult:
        """Fail, or do what the stand-in does."""
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        return run_fake(media, **more)


@pytest.fixture
def moody() -> Moody:
    """The runner of the server below."""
    return Moody()


@pytest.fixture
def client(tmp_path: Path, moody: Moody, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A server whose runner may fail, and that does not pause between tries."""
    monkeypatch.setattr(process, "_FIRST_PAUSE_S", 0.0)
    settings = Settings(data=tmp_path, max_attempts=3, _env_file=None)
    app = create_app(settings, runner=moody, path_reader=no_path, jobs=lambda _settings, work: InlineJobs(work))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def _round(client: TestClient) -> None:
    """One round of the housekeeper."""
    context = client.app.state.context  # type: ignore[attr-defined]  # the test client types it loosely
    hand_over_unfinished(context.database, context.intake.jobs)


def test_a_fault_that_passes_is_tried_again(client: TestClient, moody: Moody) -> None:
    """Queued again with its error; the next round does it, and the error no longer matters."""
    moody.failures = 2
    patrol = send(client, FILES)
    report = client.get(f"/v1/patrols/{patrol}").json()
    assert (report["state"], report["attempts"]) == ("queued", 1)
    assert "No space left" in report["last_error"]
    _round(client)
    _round(client)
    report = client.get(f"/v1/patrols/{patrol}").json()
    assert (report["state"], report["attempts"]) == ("done", 3)
    assert len(cases_of(client)) == 1


def test_a_patrol_that_never_works_is_set_aside_and_can_be_retried(
    client: TestClient, moody: Moody, tmp_path: Path
) -> None:
    """After three tries it is failed with its error, in the list and on the command line; retried it works."""
    moody.failures = 3
    patrol = send(client, FILES)
    for _ in range(5):
        _round(client)
    (listed,) = client.get("/v1/patrols", params={"state": "failed"}).json()["patrols"]
    assert (listed["id"], listed["attempts"]) == (patrol, 3)
    assert "No space left" in listed["errors"][0]["reason"]
    assert "reprocess" in listed["errors"][0]["remedy"]
    assert client.get("/v1/patrols", params={"state": "done"}).json()["patrols"] == []
    command = ["queue", "list", "--data", str(tmp_path), "--json"]
    (shown,) = json.loads(CliRunner().invoke(jiejing.app, [*command, "--state", "failed"]).stdout)
    assert shown["id"] == patrol
    said = CliRunner().invoke(jiejing.app, ["queue", "retry", "--failed", "--data", str(tmp_path)])
    assert (said.exit_code, said.stdout) == (0, f"{patrol} queued\n")
    _round(client)
    assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"
    for wrong in (["retry"], ["list", "--state", "sad"]):
        said = CliRunner().invoke(jiejing.app, ["queue", *wrong, "--data", str(tmp_path)])
        assert isinstance(said.exception, UsageError)


class Forgetful(InlineJobs):
    """A queue that takes jobs and does none; `ended` says whether it passes for having ended them."""

    ended = False

    def submit(self, job: Job) -> None:
        """Take it."""
        self.submitted += 1

    def unfinished(self, ids: Collection[str]) -> dict[str, bool]:
        """What passes for the truth."""
        return dict.fromkeys(ids, not self.ended) if self.submitted else {}


def test_what_nobody_finishes_is_queued_again(client: TestClient) -> None:
    """A patrol in work whose job has ended without a word, or queued whose job was never submitted, is taken up; one
    whose job goes on, or that waits for its pause, is left alone."""
    context = client.app.state.context  # type: ignore[attr-defined]  # the test client types it loosely
    jobs = Forgetful()
    patrol = send(client, FILES)

    def set_to(**values: Any) -> None:
        with context.database.writing("000000") as desk:
            desk.connection.execute(patrols.update().where(patrols.c.id == patrol).values(**values))

    def state() -> tuple[str, int]:
        hand_over_unfinished(context.database, jobs)
        with context.database.reading("000000") as desk:
            row = desk.connection.execute(patrols.select()).one()
        return row.state, row.handbacks

    set_to(state="queued", retry_at=datetime.now(UTC) + timedelta(hours=1))
    assert (state(), jobs.submitted) == (("queued", 0), 0)
    set_to(retry_at=None)
    assert (state(), jobs.submitted) == (("queued", 0), 1)
    set_to(state="processing")
    assert state() == ("processing", 0)
    jobs.ended = True
    assert state() == ("queued", 1)
