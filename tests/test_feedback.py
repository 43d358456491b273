"""Operators' decisions: taken in once, handed out in pages, and turned into a data set."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve.intake.client import LocalFile, UploadError, Vehicle
from tests.labelled import scene
from tests.pictures import jpeg
from tests.serve_support import START, cases_of, days, picture, running, send, thing
from training.errors import DatasetError
from training.evaluation.decided import read_decisions
from training.labels.checks import check
from training.labels.from_server import Judged, Server, import_decisions, labels_of, read_rows, uncovered
from training.sources import HIDES, load, read_manifest
from vision.taxonomy import CLASSES

BOX = (100.0, 200.0, 300.0, 400.0)
ROW = {
    "cursor": 1, "evidence": "e1", "url": "", "picture_sha256": "", "case": "c1", "sighting": "s1",
    "verdict": "confirm", "class": "bin", "box": list(BOX), "new_class": None, "new_box": None, "model": "m",
    "person_over_evidence": False,
}  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A server with three cases, one picture each."""
    with running(tmp_path) as client:
        for number in range(3):
            files = {f"{number}.jpg": picture(thing(at_m=50.0 * number), name=str(number))}
            send(client, files, started_at=START - days(3 - number))
        yield client


def ids(client: TestClient) -> list[tuple[str, str]]:
    """The cases in the order of their patrols, and the id of each one's picture."""
    found = sorted(cases_of(client), key=lambda feature: feature["properties"]["first_seen"])
    return [(one["id"], one["properties"]["evidence"][0]["url"].split("/")[-1].removesuffix(".jpg")) for one in found]


def lines(client: TestClient, **query: Any) -> list[dict[str, Any]]:
    """The export, page after page."""
    url: str | None = "/v1/feedback"
    rows: list[dict[str, Any]] = []
    while url:
        answer = client.get(url, params=query or None)
        assert answer.status_code == 200, answer.text
        rows += [json.loads(line) for line in answer.text.splitlines()]
        url, query = answer.links.get("next", {}).get("url"), {}
    return rows


def test_an_empty_export_is_empty(client: TestClient) -> None:
    """Without decisions there are no lines and no next page."""
    answer = client.get("/v1/feedback")
    assert (answer.status_code, answer.text, answer.links) == (200, "", {})
    assert answer.headers["content-type"].startswith("application/x-ndjson")


def test_a_decision_is_kept_with_all_it_is_about(client: TestClient) -> None:
    """A line holds the verdict, who and when, the model, the case, and the picture by id and hash."""
    case, evidence = ids(client)[0]
    body = {"verdict": "reclass", "case": case, "class": "bin", "by": "li", "at": START.isoformat(), "reason": "full"}
    answer = client.post("/v1/feedback", json=body)
    assert answer.status_code == 201, answer.text
    (line,) = lines(client)
    picture_bytes = client.get(line["url"]).content
    assert line["picture_sha256"] == hashlib.sha256(picture_bytes).hexdigest()
    assert line["decision"] == answer.json()["id"]
    expected = {
        "verdict": "reclass", "case": case, "evidence": evidence, "model": "fake@1", "class": "garbage",
        "new_class": "bin", "box": [50, 100, 150, 200], "new_box": None, "by": "li", "reason": "full", "width": 960,
    }  # fmt: skip
    assert {key: line[key] for key in expected} == expected
    assert line["decided_at"].startswith("2026-11-20T08:00:00")


def test_the_same_key_is_one_decision(client: TestClient) -> None:
    """Sent again under its Idempotency-Key a decision is answered as before; another one under it is refused."""
    case, _ = ids(client)[0]
    key = {"Idempotency-Key": "k1"}
    first = client.post("/v1/feedback", json={"verdict": "confirm", "case": case, "by": "li"}, headers=key)
    again = client.post("/v1/feedback", json={"verdict": "confirm", "case": case, "by": "li"}, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    other = client.post("/v1/feedback", json={"verdict": "reject", "case": case, "by": "li"}, headers=key)
    assert other.status_code == 422
    assert len(lines(client)) == 1
    without = client.post("/v1/feedback", json={"verdict": "confirm", "case": case, "by": "li"})
    assert without.status_code == 201
    assert len(lines(client)) == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"case": None}, 422),
        ({"case": "c0000000000000000"}, 404),
        ({"evidence": "e0000000000000000"}, 404),
        ({"verdict": "maybe"}, 422),
        ({"verdict": "reclass"}, 422),
        ({"verdict": "reclass", "class": "cat"}, 422),
        ({"class": "bin"}, 422),
        ({"verdict": "move"}, 422),
        ({"verdict": "move", "box": [10, 10, 90, 90]}, 422),
        ({"verdict": "move", "box": [90, 10, 10, 90], "evidence": "?"}, 422),
        ({"verdict": "move", "box": [10, 10, 990, 90], "evidence": "?"}, 422),
        ({"by": ""}, 422),
        ({"at": "2026-11-20T08:00:00"}, 422),
        ({"unknown": 1}, 422),
    ],
)
def test_what_cannot_be_used_is_refused(client: TestClient, change: dict[str, Any], status: int) -> None:
    """A decision without a target, with a target that is not there, or with fields that do not belong, is a problem."""
    case, evidence = ids(client)[0]
    body = {"verdict": "confirm", "case": case, "by": "li"} | change
    if body.get("evidence") == "?":
        body["evidence"] = evidence
    answer = client.post("/v1/feedback", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert lines(client) == []


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_pages_hold_every_line_once(client: TestClient, limit: int) -> None:
    """Following the link header yields each line once and in order; `since` keeps the later ones."""
    for case, _ in ids(client):
        client.post("/v1/feedback", json={"verdict": "confirm", "case": case, "by": "li"})
    found = lines(client, limit=limit)
    assert [line["case"] for line in found] == [case for case, _ in ids(client)]
    later = lines(client, limit=limit, since=found[1]["recorded_at"])
    assert [line["cursor"] for line in later] == [line["cursor"] for line in found[1:]]


def test_other_jurisdictions_see_nothing(tmp_path: Path) -> None:
    """Another city's server on the same database neither decides about these cases nor exports these decisions."""
    with running(tmp_path, jurisdiction="440402") as client:
        send(client, {"a.jpg": picture(thing())})
        ((case, _),) = ids(client)
        client.post("/v1/feedback", json={"verdict": "confirm", "case": case, "by": "li"})
    with running(tmp_path, jurisdiction="320211") as client:
        assert client.post("/v1/feedback", json={"verdict": "confirm", "case": case, "by": "wu"}).status_code == 404
        assert lines(client) == []


def judged(verdict: str, box: tuple[float, float, float, float] = BOX, **more: Any) -> Judged:
    values = {
        "cursor": 1, "picture": "e1", "url": "", "sha256": "", "case": "c1", "verdict": verdict,
        "judged_class": "overflow", "judged_box": box, "present": "overflow", "box": box, "model": "", "covered": False,
    }  # fmt: skip
    return Judged(**(values | more))


def test_the_uncovered_part_is_the_rest_of_the_picture() -> None:
    """The tiles do not overlap, touch no box, and with the boxes they fill the picture; no box leaves one tile."""
    assert uncovered([], (960, 540)) == [(0, 0, 960, 540)]
    boxes = [(100.0, 200.0, 300.0, 400.0), (250.0, 100.0, 500.0, 300.0), (700.0, 0.0, 960.0, 540.0)]
    seen = [[0] * 96 for _ in range(54)]
    for tile in uncovered(boxes, (960, 540)):
        for y in range(int(tile[1]) // 10, int(tile[3]) // 10):
            for x in range(int(tile[0]) // 10, int(tile[2]) // 10):
                seen[y][x] += 1
    inside = [
        [any(b[0] <= x * 10 < b[2] and b[1] <= y * 10 < b[3] for b in boxes) for x in range(96)] for y in range(54)
    ]
    assert seen == [[0 if covered else 1 for covered in row] for row in inside]


def test_only_what_was_decided_is_known() -> None:
    """Confirm hides all but its box; reject leaves its class known inside; reclass teaches the new class there."""
    confirmed = labels_of([judged("confirm")], (960, 540))
    assert [(x.name, x.xyxy) for x in confirmed] == [("overflow", BOX), ("ignore", (0, 0, 960, 540))]
    rejected = labels_of([judged("reject", present="")], (960, 540))
    hidden_inside = sorted(x.name for x in rejected if x.xyxy == BOX)
    assert hidden_inside == ["adverts", "private", "structures", "unknown_bin", "unknown_garbage"]
    assert all(x.ignore for x in rejected)
    changed = labels_of([judged("reclass", present="stall")], (960, 540))
    assert [x.name for x in changed if not x.ignore] == ["stall"]
    hidden = {x.name for x in changed if x.ignore and x.xyxy == BOX}
    assert frozenset().union(*(HIDES[name] for name in hidden)) == frozenset(CLASSES) - {"overflow", "stall"}


def test_the_last_decision_about_a_box_counts() -> None:
    """Two decisions about one box of one picture: the later one is taught; a row without its fields is refused."""
    row = ROW
    rows = [row, row | {"cursor": 2, "verdict": "move", "new_box": [1, 2, 3, 4]}, row | {"cursor": 3, "sighting": "s2"}]
    assert [(x.verdict, x.present, x.box) for x in read_rows(rows)] == [
        ("move", "bin", (1, 2, 3, 4)),
        ("confirm", "bin", BOX),
    ]
    with pytest.raises(DatasetError, match="verdict"):
        read_rows([{key: value for key, value in row.items() if key != "verdict"}])


class Archive(Server):
    """A server of three decisions whose pictures are: as they were, another one by now, and gone."""

    def decisions(self, since: str | None = None) -> list[dict[str, Any]]:
        judged_then = hashlib.sha256(self.pictures["e1"]).hexdigest()
        return [
            ROW | {"cursor": n, "evidence": f"e{n}", "sighting": f"s{n}", "picture_sha256": judged_then}
            for n in (1, 2, 3)
        ]

    @property
    def pictures(self) -> dict[str, bytes]:
        return {"e1": jpeg(scene(1, (960, 540))), "e2": jpeg(scene(2, (960, 540)))}

    def picture(self, path: str) -> bytes:
        name = path.split("/")[-1].removesuffix(".jpg")
        if name not in self.pictures:
            raise DatasetError("answered 404", remedy="check the address")
        return self.pictures[name]


def test_pictures_that_changed_or_are_gone_stay_out(tmp_path: Path) -> None:
    """Only the picture that was judged is taught; one that is another by now, or gone, is reported."""
    (tmp_path / "on-the-way").mkdir()
    server = Archive("http://127.0.0.1:9")
    done = import_decisions(server, tmp_path / "set", tmp_path / "on-the-way", name="decided", licence="the city's")
    assert (done.pictures, dict(done.boxes)) == (1, {"bin": 1})
    assert [(fault.kind, fault.picture) for fault in done.faults] == [
        ("picture-changed", "e2"),
        ("picture-missing", "e3"),
    ]


SERVER = """
import sys
from dataclasses import replace
from pathlib import Path
import uvicorn
from serve.app import create_app
from serve.settings import Settings
from tests.labelled import scene
from tests.pictures import jpeg
from tests.serve_support import no_path, run_fake

def run(media, **options):
    found = run_fake(media, **options)
    shown = [replace(e, jpeg=jpeg(scene(int(Path(e.frame).stem), (960, 540)))) for e in found.evidence]
    hidden = [replace(e, person_over_evidence=e.frame == "4.jpg") for e in shown]
    return replace(found, evidence=tuple(hidden))

folder, port = Path(sys.argv[1]), int(sys.argv[2])
app = create_app(Settings(data=folder, port=port, _env_file=None), runner=run, path_reader=no_path)
uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
"""


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A server process; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    root = Path(__file__).resolve().parents[1]
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(folder), str(port)], cwd=root)
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                Vehicle(f"http://127.0.0.1:{port}", "v").ask("GET", "/health/ready")
                break
            except UploadError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def post(address: str, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/v1/feedback", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201


@pytest.mark.slow
def test_decisions_of_a_running_server_become_a_data_set(tmp_path: Path) -> None:
    """Five cases are decided on a server process; the import holds each decision as training reads it.

    A picture whose evidence a hidden person covers is left out and reported, and the set passes its own check.
    """
    (tmp_path / "pass").mkdir()
    files = []
    for number in range(5):
        path = tmp_path / "pass" / f"{number}.jpg"
        path.write_bytes(picture(thing("overflow", at_m=40.0 * number), name=str(number)))
        files.append(LocalFile(path, "media"))
    out = tmp_path / "decided"
    command = [sys.executable, "-m", "jiejing", "dataset", "import", "-o", str(out), "--json"]
    with server(tmp_path / "data") as address:
        vehicle = Vehicle(address, "v1")
        assert vehicle.wait(vehicle.upload(START, files))["state"] == "done"
        cases = sorted(vehicle.cases(), key=lambda one: one["geometry"]["coordinates"][0])
        pictures = [one["properties"]["evidence"][0]["url"].split("/")[-1] for one in cases]
        verdicts: list[dict[str, Any]] = [{"verdict": "confirm"}, {"verdict": "reject"}]
        verdicts += [{"verdict": "reclass", "class": "stall"}]
        verdicts += [{"verdict": "move", "box": [110, 210, 330, 420], "evidence": pictures[3].removesuffix(".jpg")}]
        verdicts += [{"verdict": "confirm"}]
        for case, verdict in zip(cases, verdicts, strict=True):
            post(address, {"case": case["id"], "by": "li"} | verdict)
        done = subprocess.run([*command, "--from-server", address], capture_output=True, text=True, check=True)
        assert len(Server(address).decisions()) == 5
    summary = json.loads(done.stdout)
    assert (summary["pictures"], summary["left_out"]) == (4, 1)
    assert summary["boxes"] == {"overflow": 2, "stall": 1}
    assert [fault["kind"] for fault in summary["faults"]] == ["picture-covered"]
    report = check(out)
    assert report.clean
    assert set(report.counts()) <= {"labels-empty"}
    source = read_manifest(out / "manifest.toml")
    loaded = {one.path.name: one for one in load(source, out)}
    things = {name: [x.name for x in one.labels if x.name in CLASSES] for name, one in loaded.items()}
    assert [things[name] for name in pictures[:4]] == [["overflow"], [], ["stall"], ["overflow"]]
    assert all(one.unknown == frozenset() and one.split == "train" for one in loaded.values())
    moved = next(x for x in loaded[pictures[3]].labels if x.name == "overflow")
    assert moved.box == pytest.approx((110 / 960, 210 / 540, 330 / 960, 420 / 540), abs=1e-5)
    rejected = {x.name for x in loaded[pictures[1]].labels}
    assert rejected == {"ignore", "adverts", "private", "structures", "unknown_bin", "unknown_garbage"}
    decisions = {one.picture: one for one in read_decisions(out)}
    assert [decisions[name].verdict for name in pictures[:4]] == ["confirm", "reject", "reclass", "move"]
    assert (decisions[pictures[2]].judged_class, decisions[pictures[2]].present) == ("overflow", "stall")


def test_a_server_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    """No server, no address: an error with a remedy."""
    with pytest.raises(DatasetError, match="check that the server runs"):
        Server("http://127.0.0.1:9").decisions()
    with pytest.raises(DatasetError, match="no server"):
        Server("street.example")
