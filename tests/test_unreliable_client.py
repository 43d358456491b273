"""A vehicle whose network drops answers, repeats, delays and reorders requests: nothing doubled, nothing told lost.

`JIEJING_OPERATIONS=100000 pytest tests/test_unreliable_client.py` runs the number that docs/experiments.md states.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from serve.cases.events import broken_link
from serve.doors.uploads import CHUNK_TYPE
from serve.store import cases
from serve.store.tables import cases as cases_table
from serve.store.tables import patrols
from tests.serve_support import START, manifest, picture, running, thing

OPERATIONS = int(os.environ.get("JIEJING_OPERATIONS", "1500"))
STEPS = 150
TUS = {"Tus-Resumable": "1.0.0"}
# What becomes of a request and its answer.
FATES = st.sampled_from(["heard", "heard", "answer lost", "sent twice", "delayed"])
WHICH = st.integers(0, 3)
DATA = st.data()


class Drive(RuleBasedStateMachine):
    """Two patrols of two pictures each, one thing on every picture."""

    client: TestClient
    count: ClassVar[Iterator[int]] = itertools.count()
    sent: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.count)
        self.vehicle = f"v{self.number}"
        self.files = []
        for index in range(4):
            said = picture(thing(at_m=200.0 * (4 * self.number + index)), name=f"{self.number} {index} " + "x" * 100)
            self.files.append((said, hashlib.sha256(said).hexdigest()))
        self.patrols: dict[int, str] = {}
        self.uploads: dict[int, str] = {}
        self.known_offset: dict[int, int] = {}
        # What an observer beside the server saw it say, heard by the vehicle or not.
        self.told: dict[str, int] = {}
        self.arrived: set[int] = set()
        self.late: list[tuple[str, int, dict[str, Any]]] = []
        self.steps = 0

    def _request(self, what: str, index: int, request: dict[str, Any]) -> Any:
        """The server does it; gives what it said."""
        self.sent[what] += 1
        answer = self.client.request(**request)
        assert answer.status_code < 500, answer.text
        length = len(self.files[index][0])
        if what in ("create", "patch", "head") and answer.is_success:
            url = answer.headers.get("location", request["url"])
            offset = int(answer.headers["upload-offset"])
            assert offset >= self.told.get(url, 0), "an offset that was told is taken back"
            self.told[url] = offset
            if offset == length:
                self.arrived.add(index)
        if what == "put" and answer.is_success:
            self.arrived.add(index)
        return answer

    def _with_fate(self, fate: str, what: str, index: int, **request: Any) -> Any:
        """Send a request over the bad network; gives the answer if the vehicle hears it."""
        if fate == "delayed":
            self.late.append((what, index, request))
            return None
        answer = self._request(what, index, request)
        if fate == "sent twice":
            answer = self._request(what, index, request)
        return None if fate == "answer lost" or not answer.is_success else answer

    @precondition(lambda self: len(self.patrols) < 2 or self.steps % 5 == 0)
    @rule(which=WHICH, fate=FATES, keyed=st.booleans())
    def announce(self, which: int, fate: str, keyed: bool) -> None:
        """Announce a patrol, again and again, less often once both are known."""
        run = which // 2
        files = {f"{i}.jpg": self.files[i][0] for i in (2 * run, 2 * run + 1)}
        said = manifest(files, vehicle=self.vehicle, started_at=START - timedelta(hours=run))
        headers = {"Idempotency-Key": f"{self.vehicle} {run}"} if keyed else {}
        answer = self._with_fate(
            fate, "announce", 2 * run, method="POST", url="/v1/patrols", json=said, headers=headers
        )
        if answer is not None:
            self.patrols[run] = answer.json()["id"]

    @precondition(lambda self: self.patrols)
    @rule(draw=DATA, fate=FATES, keyed=st.booleans(), beginning=st.integers(0, 200))
    def create(self, draw: st.DataObject, fate: str, keyed: bool, beginning: int) -> None:
        """Create an upload of a file of a patrol that the vehicle knows of, with its beginning or without."""
        which = 2 * draw.draw(st.sampled_from(sorted(self.patrols))) + draw.draw(st.integers(0, 1))
        data, sha256 = self.files[which]
        about = {"patrol": self.patrols[which // 2], "sha256": sha256}
        headers = {
            **TUS,
            "Upload-Length": str(len(data)),
            "Upload-Metadata": ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in about.items()),
            **({"Idempotency-Key": f"{self.vehicle} upload {which}"} if keyed else {}),
            **({"Content-Type": CHUNK_TYPE} if beginning else {}),
        }
        request = {"method": "POST", "url": "/v1/uploads", "headers": headers, "content": data[:beginning]}
        answer = self._with_fate(fate, "create", which, **request)
        if answer is not None:
            self.uploads[which] = answer.headers["location"]
            self.known_offset[which] = int(answer.headers["upload-offset"])

    @precondition(lambda self: self.uploads)
    @rule(draw=DATA, fate=FATES, length=st.integers(1, 300), shift=st.sampled_from([0, 0, 0, -5, 5]))
    def patch(self, draw: st.DataObject, fate: str, length: int, shift: int) -> None:
        """Send a chunk from where the vehicle thinks that the upload stands, now and then wrongly."""
        which = draw.draw(st.sampled_from(sorted(self.uploads)))
        data = self.files[which][0]
        offset = max(0, self.known_offset[which] + shift)
        headers = {**TUS, "Content-Type": CHUNK_TYPE, "Upload-Offset": str(offset)}
        content = data[offset : offset + length]
        request = {"method": "PATCH", "url": self.uploads[which], "headers": headers, "content": content}
        answer = self._with_fate(fate, "patch", which, **request)
        if answer is not None:
            self.known_offset[which] = int(answer.headers["upload-offset"])

    @precondition(lambda self: self.uploads)
    @rule(draw=DATA, fate=FATES)
    def head(self, draw: st.DataObject, fate: str) -> None:
        """Ask where the upload stands."""
        which = draw.draw(st.sampled_from(sorted(self.uploads)))
        answer = self._with_fate(fate, "head", which, method="HEAD", url=self.uploads[which], headers=TUS)
        if answer is not None:
            self.known_offset[which] = int(answer.headers["upload-offset"])

    @precondition(lambda self: 1 in self.patrols)
    @rule(fate=FATES)
    def put(self, fate: str) -> None:
        """Send a file in one piece: always the same one, so that the others come in chunks."""
        data, sha256 = self.files[3]
        url = f"/v1/patrols/{self.patrols[1]}/files/{sha256}"
        self._with_fate(fate, "put", 3, method="PUT", url=url, content=data)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def a_late_request_comes(self, data: st.DataObject) -> None:
        """Any of the delayed requests arrives, whatever happened since; its answer is heard by nobody."""
        what, index, request = self.late.pop(data.draw(st.integers(0, len(self.late) - 1)))
        self._request(what, index, request)

    @invariant()
    def what_was_acknowledged_is_not_missing(self) -> None:
        """A file that the server has acknowledged is never asked for again."""
        if self.arrived and self.steps % 7 == 0:
            for run, patrol in self.patrols.items():
                self.sent["report"] += 1
                missing = self.client.get(f"/v1/patrols/{patrol}").json()["missing"]
                assert not {self.files[index][1] for index in self.arrived if index // 2 == run} & set(missing)
        self.steps += 1

    def teardown(self) -> None:
        """One row per patrol, one case per thing of a complete patrol, every log intact."""
        context = self.client.app.state.context  # type: ignore[attr-defined]  # the test client types it loosely
        with context.database.reading("000000") as desk:
            rows = desk.connection.execute(sa.select(patrols).where(patrols.c.vehicle == self.vehicle)).all()
            assert len(rows) == len({row.started_at for row in rows})
            complete = [run for run in (0, 1) if {2 * run, 2 * run + 1} <= self.arrived]
            assert sum(row.state == "done" for row in rows) == len(complete)
            west, east = (_longitude(200.0 * (4 * self.number + index)) for index in (-0.5, 3.5))
            found = desk.connection.execute(
                sa.select(cases_table).where(cases_table.c.longitude_deg.between(west, east))
            ).all()
            assert len(found) == 2 * len(complete)
            assert all(row.sightings == 1 for row in found)
            assert all(broken_link(cases.log_of(desk, row.id)) is None for row in found)


def _longitude(at_m: float) -> float:
    from tests.serve_support import east

    return east(at_m)


@contextmanager
def _server(folder: Path) -> Iterator[None]:
    with running(folder, max_open_uploads=4) as client:
        Drive.client = client
        yield


@pytest.mark.slow
def test_no_network_makes_doubles(tmp_path: Path) -> None:
    """So many operations by vehicles with a bad network; see the class."""
    Drive.sent.clear()
    with _server(tmp_path):
        chosen = settings(
            max_examples=max(1, OPERATIONS // STEPS),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(Drive, settings=chosen)
    print(dict(Drive.sent), sum(Drive.sent.values()))  # noqa: T201
    assert sum(Drive.sent.values()) >= 0.9 * OPERATIONS
