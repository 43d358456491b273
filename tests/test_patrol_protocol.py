"""What a vehicle speaks: announce, send, ask; twice, broken, too much, taken back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.serve_support import START, TRACK, cases_of, days, east, manifest, picture, running, send, thing

STREET = {
    "a.jpg": picture(thing(), thing("bin", 12), name="a"),
    "b.jpg": picture(thing("overflow", 30), thing("awning", 50), look=(-10, 70), name="b"),
    "track.csv": TRACK,
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A server with nothing in it."""
    with running(tmp_path) as client:
        yield client


def test_a_patrol_becomes_cases(client: TestClient) -> None:
    """Announced, sent, processed: the report counts, the cases stand at their places with pictures and boxes."""
    answer = client.post("/v1/patrols", json=manifest(STREET))
    assert answer.status_code == 201
    assert answer.json()["state"] == "receiving"
    assert sorted(answer.json()["missing"]) == sorted(hashlib.sha256(data).hexdigest() for data in STREET.values())
    patrol = send(client, STREET)
    report = client.get(f"/v1/patrols/{patrol}").json()
    assert report["state"] == "done"
    assert report["frames"] == {"total": 2, "read": 2, "judged": 2, "skipped": 0}
    assert report["sightings"] == 4
    assert report["cases"] == {"opened": 2, "joined": 0, "verified": 0}
    features = {one["properties"]["class"]: one for one in cases_of(client)}
    assert set(features) == {"garbage", "overflow"}
    overflow = features["overflow"]
    assert overflow["geometry"]["coordinates"][0] == pytest.approx(east(30), abs=1e-7)
    assert overflow["properties"]["matter_code"] == "06042"
    (evidence,) = overflow["properties"]["evidence"]
    assert evidence["boxes"] == [{"class": "overflow", "score": 0.8, "box": [50.0, 100.0, 150.0, 200.0]}]
    shown = client.get(evidence["url"])
    assert shown.headers["content-type"] == "image/jpeg"
    assert shown.content.startswith(b"\xff\xd8")


def test_every_other_sighting_says_why_it_opened_no_case(client: TestClient) -> None:
    """A bin and an awning are sightings with a sentence; those of cases name their case."""
    patrol = send(client, STREET)
    features = client.get(f"/v1/patrols/{patrol}/sightings").json()["features"]
    said = {one["properties"]["class"]: one["properties"] for one in features}
    assert said["bin"]["why_no_case"] == "a bin is an anchor and a fact, never a case"
    assert "permit register" in said["awning"]["why_no_case"]
    assert said["garbage"]["case"] is not None
    assert said["garbage"]["why_no_case"] is None


def test_the_same_patrol_sent_twice_is_one_patrol(client: TestClient) -> None:
    """The second announcement is answered 200 with nothing missing, and nothing is processed again."""
    patrol = send(client, STREET)
    before = client.get("/v1/cases").json()
    again = client.post("/v1/patrols", json=manifest(STREET))
    assert (again.status_code, again.json()) == (200, {"id": patrol, "state": "done", "missing": []})
    sha256 = hashlib.sha256(STREET["a.jpg"]).hexdigest()
    put = client.put(f"/v1/patrols/{patrol}/files/{sha256}", content=STREET["a.jpg"])
    assert (put.status_code, put.json()["remaining"]) == (200, 0)
    assert client.get("/v1/cases").json() == before
    assert len(client.get("/v1/patrols").json()["patrols"]) == 1


def test_a_broken_upload_goes_on_where_it_stopped(client: TestClient) -> None:
    """After one file of three, a new announcement asks for the other two; processing starts with the last."""
    patrol = client.post("/v1/patrols", json=manifest(STREET)).json()["id"]
    sha256 = hashlib.sha256(STREET["b.jpg"]).hexdigest()
    receipt = client.put(f"/v1/patrols/{patrol}/files/{sha256}", content=STREET["b.jpg"])
    assert (receipt.status_code, receipt.json()) == (201, {"id": patrol, "state": "receiving", "remaining": 2})
    again = client.post("/v1/patrols", json=manifest(STREET)).json()
    assert sha256 not in again["missing"]
    assert len(again["missing"]) == 2
    assert cases_of(client) == []
    send(client, STREET)
    assert len(cases_of(client)) == 2


def test_the_second_pass_adds_evidence_and_looks_and_closes_nothing(client: TestClient) -> None:
    """Half of the things are gone on the next day: what stays has two sightings, what went has an event."""
    send(client, STREET)
    second = send(client, {"c.jpg": picture(thing(at_m=0.4), look=(-10, 70))}, started_at=START + days(1))
    assert client.get(f"/v1/patrols/{second}").json()["cases"] == {"opened": 0, "joined": 1, "verified": 1}
    stood, gone = cases_of(client, **{"class": "garbage"})[0], cases_of(client, **{"class": "overflow"})[0]
    assert stood["properties"]["sightings"] == 2
    assert stood["properties"]["evidence"][0]["patrol"] == second
    whole = client.get(f"/v1/cases/{gone['id']}").json()["properties"]
    assert [event["kind"] for event in whole["events"]] == ["opened", "not_seen"]
    assert whole["log_intact"] is True
    assert whole["stage"] == "filed"


def test_processing_again_changes_nothing_when_nothing_changed(client: TestClient) -> None:
    """POST …/reprocess with the same model gives the same cases, evidence and logs."""
    patrol = send(client, STREET)
    before = client.get("/v1/cases").json()
    assert client.post(f"/v1/patrols/{patrol}/reprocess").status_code == 202
    assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"
    assert client.get("/v1/cases").json() == before


def test_a_deleted_patrol_is_forgotten(client: TestClient, tmp_path: Path) -> None:
    """Its report, sightings, pictures and files are gone; a case that only it had seen is void, others stay."""
    patrol = send(client, STREET)
    send(client, {"c.jpg": picture(thing(at_m=0.4))}, started_at=START + days(1))
    url = cases_of(client, **{"class": "overflow"})[0]["properties"]["evidence"][0]["url"]
    assert client.delete(f"/v1/patrols/{patrol}").status_code == 204
    assert client.get(f"/v1/patrols/{patrol}").status_code == 404
    assert client.get(url).status_code == 404
    assert not list(tmp_path.glob(f"files/*/{patrol}/*"))
    assert [one["properties"]["class"] for one in cases_of(client)] == ["garbage"]
    (void,) = cases_of(client, stage="void")
    assert void["properties"]["class"] == "overflow"
    assert client.delete(f"/v1/patrols/{patrol}").status_code == 404
    assert send(client, STREET) == patrol
    assert len(cases_of(client)) == 2


def test_one_bad_picture_is_a_line_in_the_report(client: TestClient) -> None:
    """A text file named .jpg and an empty file cost themselves only; the report names them without our folders."""
    patrol = send(client, {**STREET, "bad.jpg": b"not a picture", "empty.jpg": b""})
    report = client.get(f"/v1/patrols/{patrol}").json()
    assert report["state"] == "done"
    assert {(one["file"], one["remedy"]) for one in report["errors"]} == {
        ("bad.jpg", "take it out"),
        ("empty.jpg", "take it out"),
    }


def test_a_patrol_without_any_good_picture_fails_with_a_remedy(client: TestClient) -> None:
    """Nothing usable: state failed, the reason and what to do; it can be processed again."""
    patrol = send(client, {"bad.jpg": b"not a picture"})
    report = client.get(f"/v1/patrols/{patrol}").json()
    assert report["state"] == "failed"
    assert report["errors"] == [{"file": "", "reason": "bad.jpg: no picture could be used", "remedy": "send pictures"}]
    assert client.post(f"/v1/patrols/{patrol}/reprocess").status_code == 202


def test_the_report_as_a_stream_of_events(client: TestClient) -> None:
    """With `Accept: text/event-stream` the report comes as server-sent events and the stream ends with it."""
    patrol = send(client, STREET)
    with client.stream("GET", f"/v1/patrols/{patrol}", headers={"Accept": "text/event-stream"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert lines[0] == "event: report"
    assert json.loads(lines[1].removeprefix("data: "))["state"] == "done"


def _wrong(**change: object) -> dict[str, object]:
    said = manifest({"a.jpg": STREET["a.jpg"]})
    said["files"][0] |= {key: value for key, value in change.items() if key in said["files"][0]}
    return {**said, **{key: value for key, value in change.items() if key not in said["files"][0]}}


@pytest.mark.parametrize(
    ("said", "status", "word"),
    [
        (_wrong(name="../a.jpg"), 422, "plain file name"),
        (_wrong(name=".hidden"), 422, "plain file name"),
        (_wrong(name="a\u202egpj.exe"), 422, "invisible"),
        (_wrong(name="a\x85.jpg"), 422, "invisible"),
        (_wrong(name="街" * 100 + ".jpg"), 422, "240 bytes"),
        (_wrong(sha256="zz"), 422, "files.0.sha256"),
        (_wrong(size=-1), 422, "files.0.size"),
        (_wrong(size="5"), 422, "files.0.size"),
        (_wrong(size=True), 422, "files.0.size"),
        (_wrong(size=10**13), 413, "split it"),
        (_wrong(kind="track"), 422, "no file is of kind 'media'"),
        (_wrong(vehicle="a b/c"), 422, "vehicle"),
        (_wrong(started_at="2026-11-20T08:00:00"), 422, "started_at"),
        (_wrong(started_at=1790000000), 422, "ISO 8601"),
        (_wrong(started_at="1790000000"), 422, "ISO 8601"),
        (_wrong(files=[]), 422, "files"),
        (_wrong(colour="red"), 422, "colour"),
        (_wrong(camera={"model": "pinhole"}), 422, "camera"),
    ],
)
def test_a_wrong_announcement_is_answered_at_once(
    client: TestClient, said: dict[str, object], status: int, word: str
) -> None:
    """Each fault is a problem document that names the field and what to do."""
    answer = client.post("/v1/patrols", json=said)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["detail"]
    assert answer.json()["status"] == status


def test_names_and_tracks_are_unique(client: TestClient) -> None:
    """Two files of one name, two tracks, or one hash with two sizes can't be one patrol."""
    one = manifest(STREET)
    twice = {**one, "files": [*one["files"], one["files"][0]]}
    assert "two files" in client.post("/v1/patrols", json=twice).json()["detail"]
    tracks = {**one, "files": [*one["files"], {**one["files"][2], "name": "second.csv"}]}
    assert "more than one" in client.post("/v1/patrols", json=tracks).json()["detail"]
    sizes = {**one, "files": [*one["files"], {**one["files"][0], "name": "c.jpg", "size": 1}]}
    assert "another size" in client.post("/v1/patrols", json=sizes).json()["detail"]


def test_a_file_that_is_not_what_was_announced_is_refused(client: TestClient) -> None:
    """Wrong bytes, too few, too many, or a file nobody announced: a problem with a remedy, and it stays missing."""
    patrol = client.post("/v1/patrols", json=manifest(STREET)).json()["id"]
    good = STREET["a.jpg"]
    url = f"/v1/patrols/{patrol}/files/{hashlib.sha256(good).hexdigest()}"
    for content, status in [(b"x" * len(good), 422), (good[:-1], 422), (good + b"x", 413)]:
        answer = client.put(url, content=content)
        assert answer.status_code == status
        assert answer.json()["remedy"]
    chunks = client.put(url, content=iter([good, b"more"]))
    assert chunks.status_code == 413
    stranger = client.put(f"/v1/patrols/{patrol}/files/{'0' * 64}", content=b"")
    assert stranger.status_code == 404
    assert len(client.post("/v1/patrols", json=manifest(STREET)).json()["missing"]) == 3


def test_reprocessing_needs_the_originals(tmp_path: Path) -> None:
    """A patrol that is still arriving, or whose pictures were deleted on schedule, is a conflict with a remedy."""
    with running(tmp_path, keep_originals_days=0) as client:
        patrol = client.post("/v1/patrols", json=manifest(STREET)).json()["id"]
        assert client.post(f"/v1/patrols/{patrol}/reprocess").status_code == 409
        send(client, STREET)
    with running(tmp_path, keep_originals_days=0) as client:
        answer = client.post(f"/v1/patrols/{patrol}/reprocess")
        assert answer.status_code == 409
        assert "announce and send it again" in answer.json()["remedy"]
        assert client.get(f"/v1/patrols/{patrol}").json()["originals_kept"] is False
        assert not list(tmp_path.glob("files/originals/*/*"))
        assert len(cases_of(client)) == 2


def test_another_jurisdiction_sees_nothing(tmp_path: Path) -> None:
    """On the same data, a server of another city answers 404 to everything of this one."""
    with running(tmp_path, jurisdiction="320200") as client:
        patrol = send(client, STREET)
        case = cases_of(client)[0]
    with running(tmp_path, jurisdiction="110000") as client:
        assert cases_of(client) == []
        for url in (
            f"/v1/patrols/{patrol}",
            f"/v1/patrols/{patrol}/sightings",
            f"/v1/cases/{case['id']}",
            case["properties"]["evidence"][0]["url"],
        ):
            assert client.get(url).status_code == 404
        assert client.delete(f"/v1/patrols/{patrol}").status_code == 404
        assert client.post(f"/v1/patrols/{patrol}/reprocess").status_code == 404
        assert send(client, STREET) != patrol
    with running(tmp_path, jurisdiction="320200") as client:
        assert len(cases_of(client)) == 2
