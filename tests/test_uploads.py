"""The upload protocol, request by request: tus 1.0 with all five extensions that the server names."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from serve.doors.uploads import CHUNK_TYPE
from serve.store.blobs import ORIGINALS
from serve.store.sealed import is_sealed
from tests.access_support import context_of
from tests.serve_support import START, TRACK, cases_of, days, manifest, picture, running, thing

PICTURE = picture(thing(), name="a")
SHA = hashlib.sha256(PICTURE).hexdigest()
TUS = {"Tus-Resumable": "1.0.0"}
KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(params=[None, KEY], ids=["plain", "veiled"])
def client(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """A server with nothing in it, that keeps files as they come, or hidden from their first byte on."""
    with running(tmp_path, originals_key=request.param) as client:
        yield client


def announce(client: TestClient, files: dict[str, bytes] | None = None, **about: Any) -> str:
    """Announce a patrol of one picture; gives its id."""
    answer = client.post("/v1/patrols", json=manifest(files or {"a.jpg": PICTURE}, **about))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def metadata(**pairs: str) -> dict[str, str]:
    """The header Upload-Metadata."""
    coded = (f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
    return {"Upload-Metadata": ",".join(coded)}


def create(client: TestClient, patrol: str, data: bytes = PICTURE, body: bytes | None = None, **more: str) -> Response:
    """The creation request."""
    about = metadata(patrol=patrol, sha256=hashlib.sha256(data).hexdigest(), filename="a.jpg")
    headers = {**TUS, **about, "Upload-Length": str(len(data)), **more}
    if body is not None:
        headers["Content-Type"] = CHUNK_TYPE
    return client.post("/v1/uploads", headers=headers, content=body)


def patch(client: TestClient, url: str, offset: int, data: bytes, **more: str) -> Response:
    """One chunk."""
    headers = {**TUS, "Content-Type": CHUNK_TYPE, "Upload-Offset": str(offset), **more}
    return client.patch(url, headers=headers, content=data)


def head(client: TestClient, url: str) -> Response:
    """Ask for the offset."""
    return client.head(url, headers=TUS)


def test_the_server_says_what_it_can_do(client: TestClient) -> None:
    """OPTIONS names the version, the extensions, the algorithms and the largest file, without asking for a version."""
    answer = client.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == {
        "creation",
        "creation-with-upload",
        "expiration",
        "checksum",
        "termination",
    }
    assert "sha1" in answer.headers["tus-checksum-algorithm"]
    assert int(answer.headers["tus-max-size"]) > 0


def test_a_file_in_chunks_becomes_cases(client: TestClient) -> None:
    """Created, asked, sent in two chunks; the last answer acknowledges the file and processing starts."""
    patrol = announce(client)
    made = create(client, patrol)
    assert made.status_code == 201
    url = made.headers["location"]
    asked = head(client, url)
    assert (asked.headers["upload-offset"], asked.headers["upload-length"]) == ("0", str(len(PICTURE)))
    assert asked.headers["cache-control"] == "no-store"
    assert "upload-expires" in asked.headers
    assert metadata(patrol=patrol, sha256=SHA, filename="a.jpg")["Upload-Metadata"] == asked.headers["upload-metadata"]
    first = patch(client, url, 0, PICTURE[:10])
    assert (first.status_code, first.headers["upload-offset"]) == (204, "10")
    assert head(client, url).headers["upload-offset"] == "10"
    last = patch(client, url, 10, PICTURE[10:])
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(PICTURE)))
    assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"
    assert len(cases_of(client)) == 1
    assert head(client, url).headers["upload-offset"] == str(len(PICTURE))
    assert patch(client, url, len(PICTURE), b"").status_code == 204


def test_the_beginning_may_come_with_the_creation(client: TestClient) -> None:
    """Creation with the whole file acknowledges it at once; with its beginning it says where to go on."""
    patrol = announce(client)
    made = create(client, patrol, body=PICTURE[:7])
    assert (made.status_code, made.headers["upload-offset"]) == (201, "7")
    whole = create(client, patrol, body=PICTURE)
    assert (whole.status_code, whole.headers["upload-offset"]) == (201, str(len(PICTURE)))
    assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"
    assert head(client, made.headers["location"]).headers["upload-offset"] == str(len(PICTURE))
    known = create(client, patrol)
    assert known.headers["upload-offset"] == str(len(PICTURE))


def test_an_empty_file_is_complete_when_created(client: TestClient) -> None:
    """A file of no bytes needs no chunk."""
    patrol = announce(client, {"empty.jpg": b"", "a.jpg": PICTURE})
    made = create(client, patrol, b"")
    assert (made.status_code, made.headers["upload-offset"]) == (201, "0")
    assert client.get(f"/v1/patrols/{patrol}").json()["missing"] == [SHA]


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412, "tus 1.0.0"),
        ({"Upload-Length": "-1"}, 400, "upload-length"),
        ({"Upload-Length": ""}, 400, "upload-length"),
        ({"Upload-Length": "1e3"}, 400, "upload-length"),
        ({"Upload-Length": str(10**15)}, 413, "at most"),
        ({"Upload-Length": "3"}, 422, "were announced"),
        ({"Upload-Metadata": "patrol !!!"}, 400, "cannot be read"),
        ({"Upload-Metadata": "patrol eA==,patrol"}, 422, "lacks"),
        ({**metadata(patrol="p0", sha256=SHA, filename="a\0.jpg")}, 400, "NUL"),
        ({**metadata(patrol="../etc", sha256=SHA)}, 422, "lacks"),
        ({**metadata(patrol="p0", sha256=SHA)}, 404, "no patrol"),
        ({"Upload-Checksum": "crc32 AAAA"}, 400, "Upload-Checksum"),
        ({"Upload-Checksum": "sha1 ???"}, 400, "Upload-Checksum"),
    ],
)
def test_a_wrong_creation_is_refused(client: TestClient, change: dict[str, str], status: int, word: str) -> None:
    """Each fault is a problem document with the protocol's version in its header."""
    patrol = announce(client)
    answer = create(client, patrol, **change)
    assert answer.status_code == status, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert word in answer.json()["detail"]
    assert create(client, patrol, PICTURE + b"not announced").status_code == 404


def test_a_wrong_chunk_is_refused(client: TestClient) -> None:
    """Another offset, another type, more than is missing, an upload that never was: nothing of it counts."""
    patrol = announce(client)
    url = create(client, patrol).headers["location"]
    assert patch(client, url, 5, b"x").status_code == 409
    assert patch(client, url, 0, b"x", **{"Content-Type": "text/plain"}).status_code == 415
    assert patch(client, url, 0, PICTURE + b"x").status_code == 413
    assert client.patch(url, content=b"x").status_code == 412
    for stranger in (f"/v1/uploads/{'0' * 32}", "/v1/uploads/x"):
        for answer in (patch(client, stranger, 0, b"x"), head(client, stranger), client.delete(stranger, headers=TUS)):
            assert (answer.status_code, answer.headers["tus-resumable"]) == (404, "1.0.0")
            assert "upload-offset" not in answer.headers
    assert head(client, url).headers["upload-offset"] == "0"
    chunked = patch(client, url, 0, iter([PICTURE, b"x"]))  # type: ignore[arg-type]  # a body that states no length
    assert chunked.status_code == 413
    assert client.get(f"/v1/patrols/{patrol}").json()["missing"] == [SHA]


def test_a_chunk_with_a_wrong_checksum_leaves_no_trace(client: TestClient) -> None:
    """460 and the old offset; with the right one it counts. Wrong bytes without a checksum are found at the end."""
    patrol = announce(client)
    url = create(client, patrol).headers["location"]
    right = {"Upload-Checksum": f"sha1 {base64.b64encode(hashlib.sha1(PICTURE[:9]).digest()).decode()}"}
    wrong = patch(client, url, 0, b"x" * 9, **right)
    assert (wrong.status_code, head(client, url).headers["upload-offset"]) == (460, "0")
    assert patch(client, url, 0, PICTURE[:9], **right).headers["upload-offset"] == "9"
    spoilt = patch(client, url, 9, b"x" * (len(PICTURE) - 9))
    assert spoilt.status_code == 422
    assert "SHA-256" in spoilt.json()["detail"]
    assert head(client, url).status_code == 404
    assert client.get(f"/v1/patrols/{patrol}").json()["missing"] == [SHA]


def test_an_upload_can_be_given_up(client: TestClient, tmp_path: Path) -> None:
    """DELETE forgets it and its bytes; one that has arrived leaves its file."""
    patrol = announce(client)
    url = create(client, patrol, body=PICTURE[:9]).headers["location"]
    assert client.delete(url, headers=TUS).status_code == 204
    assert head(client, url).status_code == 404
    assert list((tmp_path / "files/incoming").iterdir()) == []
    done = create(client, patrol, body=PICTURE).headers["location"]
    assert client.delete(done, headers=TUS).status_code == 204
    assert client.get(f"/v1/patrols/{patrol}").json()["missing"] == []


def test_proxies_that_know_post_alone(client: TestClient) -> None:
    """POST with X-HTTP-Method-Override does what the method it names does; another name is refused."""
    url = create(client, announce(client)).headers["location"]
    headers = {**TUS, "X-HTTP-Method-Override": "PATCH", "Content-Type": CHUNK_TYPE, "Upload-Offset": "0"}
    assert client.post(url, headers=headers, content=PICTURE[:4]).headers["upload-offset"] == "4"
    assert client.post(url, headers={**TUS, "X-HTTP-Method-Override": "HEAD"}).headers["upload-offset"] == "4"
    assert client.post(url, headers={**TUS, "X-HTTP-Method-Override": "GET"}).status_code == 405


def test_expired_uploads_are_swept(tmp_path: Path) -> None:
    """An upload whose time is over is gone at the next round with its bytes, and the file stays missing."""
    with running(tmp_path, keep_uploads_days=1e-6) as client:
        patrol = announce(client)
        url = create(client, patrol, body=PICTURE[:9]).headers["location"]
        time.sleep(0.2)
        client.app.state.context.uploads.sweep()  # type: ignore[attr-defined]  # the test client types it loosely
        assert head(client, url).status_code == 404
        assert list((tmp_path / "files/incoming").iterdir()) == []
        assert client.get(f"/v1/patrols/{patrol}").json()["missing"] == [SHA]


def test_a_complete_upload_whose_vehicle_never_asks_again_is_settled(client: TestClient) -> None:
    """All bytes are durable but the server died before it settled them: the housekeeper does it, or the next HEAD."""
    first, second = announce(client), announce(client, vehicle="v2")
    urls = [create(client, patrol, body=PICTURE[:9]).headers["location"] for patrol in (first, second)]
    for url in urls:
        with context_of(client).blobs.spool.append(url.rsplit("/", 1)[-1], 9) as part:
            part.write(PICTURE[9:])
    assert head(client, urls[0]).headers["upload-offset"] == str(len(PICTURE))
    assert client.get(f"/v1/patrols/{first}").json()["state"] == "done"
    context_of(client).uploads.sweep()
    assert client.get(f"/v1/patrols/{second}").json()["state"] == "done"
    third = announce(client, vehicle="v3")
    moved = create(client, third, body=PICTURE[:9]).headers["location"].rsplit("/", 1)[-1]
    blobs = context_of(client).blobs
    with blobs.spool.append(moved, 9) as part:
        part.write(PICTURE[9:])
    blobs.settle(blobs.spool.path(moved), ORIGINALS, third, SHA)  # and here it died
    context_of(client).uploads.settle_moved()
    assert client.get(f"/v1/patrols/{third}").json()["state"] == "done"


def test_answers_that_are_never_heard_do_not_use_up_a_vehicles_share(tmp_path: Path) -> None:
    """A vehicle creates the same upload again and again: the last ones are kept, and that which is written to."""
    with running(tmp_path, max_open_uploads=1) as client:
        patrol = announce(client)
        first = create(client, patrol, body=PICTURE[:5]).headers["location"]
        made = []
        for number in range(20):
            made.append(create(client, patrol).headers["location"])
            assert patch(client, first, 5 + number, PICTURE[5 + number : 6 + number]).status_code == 204
        assert [head(client, url).status_code for url in (made[0], made[-1], first)] == [404, 200, 200]
        assert patch(client, first, 25, PICTURE[25:]).status_code == 204
        assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"


def test_no_byte_of_what_is_arriving_lies_readable(tmp_path: Path) -> None:
    """With a key: chunks of any length go on at any offset, over a restart too, and neither they nor the track that is
    looked at lie in the spool as they came."""
    pieces = [PICTURE[:5], PICTURE[5:60], PICTURE[60:61], PICTURE[61:]]
    assert b"garbage" in PICTURE[:60]
    at, url, track_sha = 0, "", hashlib.sha256(TRACK).hexdigest()
    for piece in pieces:
        with running(tmp_path, originals_key=KEY) as client:
            patrol = client.post("/v1/patrols", json=manifest({"a.jpg": PICTURE, "track.csv": TRACK})).json()["id"]
            url = url or create(client, patrol).headers["location"]
            assert head(client, url).headers["upload-offset"] == str(at)
            wrong = patch(client, url, at, b"?" * len(piece), **{"Upload-Checksum": "sha1 3q2+7w=="})
            assert wrong.status_code == 460
            assert patch(client, url, at, piece).status_code == 204
            at += len(piece)
            parts = [path.read_bytes() for path in (tmp_path / "files/incoming").iterdir()]
            assert len(parts) == (at < len(PICTURE))
            assert not [part for part in parts if b"garbage" in part or len(part) <= at]
    with running(tmp_path, originals_key=KEY) as client:
        assert client.put(f"/v1/patrols/{patrol}/files/{track_sha}", content=TRACK).status_code == 201
        assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"
    assert not list((tmp_path / "files/incoming").iterdir())
    stored = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [data for data in stored if PICTURE in data or TRACK in data]


def test_a_key_may_be_set_while_files_arrive_but_not_lost(tmp_path: Path) -> None:
    """What began plain goes on plain and ends sealed; what began veiled waits until the key is back, and says so."""
    with running(tmp_path) as client:
        patrol = announce(client)
        url = create(client, patrol, body=PICTURE[:9]).headers["location"]
    with running(tmp_path, originals_key=KEY) as client:
        assert patch(client, url, 9, PICTURE[9:]).status_code == 204
        assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"
        (original,) = tmp_path.glob("files/originals/*/*")
        assert is_sealed(original)
        second = announce(client, vehicle="v2")
        veiled = create(client, second, body=PICTURE[:9]).headers["location"]
    with running(tmp_path) as client:
        for answer in (patch(client, veiled, 9, PICTURE[9:]), head(client, veiled)):
            assert answer.status_code == 503
        client.app.state.context.uploads.sweep()  # type: ignore[attr-defined]  # the test client types it loosely
        third = announce(client, vehicle="v3")
        assert create(client, third, body=PICTURE).status_code == 201
    with running(tmp_path, originals_key=KEY) as client:
        assert head(client, veiled).headers["upload-offset"] == "9"
        assert patch(client, veiled, 9, PICTURE[9:]).status_code == 204
        assert client.get(f"/v1/patrols/{second}").json()["state"] == "done"


def test_the_same_key_is_the_same_request(client: TestClient) -> None:
    """With an Idempotency-Key a repeated POST is answered alike and does nothing; with another request it is refused;
    a request that failed may be sent again with its key."""
    key = {"Idempotency-Key": "k1"}
    said = manifest({"a.jpg": PICTURE})
    answers = [client.post("/v1/patrols", json=said, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    other = client.post("/v1/patrols", json={**said, "vehicle": "v2"}, headers=key)
    assert other.status_code == 422
    assert "another request" in other.json()["detail"]
    patrol = answers[0].json()["id"]
    made = [create(client, patrol, **{"Idempotency-Key": "k2"}) for _ in range(2)]
    assert made[0].headers["location"] == made[1].headers["location"]
    assert client.post(f"/v1/patrols/{patrol}/reprocess", headers={"Idempotency-Key": "k3"}).status_code == 409
    patch(client, made[0].headers["location"], 0, PICTURE)
    for _ in range(2):
        assert client.post(f"/v1/patrols/{patrol}/reprocess", headers={"Idempotency-Key": "k3"}).status_code == 202


def test_a_clock_that_cannot_be_right_is_answered_at_once(client: TestClient) -> None:
    """Ahead of the server, or never set: a problem that says so and what time it is."""
    for moment, word in ((START + days(36500), "fast"), (START - days(20000), "never set")):
        answer = client.post("/v1/patrols", json=manifest({"a.jpg": PICTURE}, started_at=moment))
        assert answer.status_code == 422
        assert word in answer.json()["detail"]
        assert "server's clock shows" in answer.json()["remedy"]


@pytest.mark.parametrize(
    ("track", "word"),
    [
        (b"time_s,latitude_deg,longitude_deg\n", "fixes"),
        (b"time_s,latitude_deg,longitude_deg\n0,nan,1\n1,inf,1\n2,0,0\n", "usable fixes"),
        (
            b"time_utc,latitude_deg,longitude_deg\n2020-01-06T00:00:00Z,31.5,120.3\n2020-01-06T00:01:00Z,31.5,120.3\n",
            "runs",
        ),
        (b"not a track", "track"),
        (b"time_s,latitude_deg,longitude_deg\n1e12,31.5,120.3\n1000000000009,31.5,120.3\n", "calendar"),
        (
            b"time_utc,latitude_deg,longitude_deg\n0001-01-01T00:00:00+14:00,31.5,120.3\n"
            b"0001-01-01T00:00:09+14:00,31.5,120.3\n",
            "runs",
        ),
    ],
)
def test_a_track_that_cannot_be_used_is_answered_at_once(client: TestClient, track: bytes, word: str) -> None:
    """With the track's last byte, by both ways of sending: 422 with what is wrong with it; it stays missing."""
    patrol = announce(client, {"a.jpg": PICTURE, "track.csv": track})
    answers = [
        create(client, patrol, track, body=track),
        client.put(f"/v1/patrols/{patrol}/files/{hashlib.sha256(track).hexdigest()}", content=track),
    ]
    for answer in answers:
        assert answer.status_code == 422, answer.text
        assert word in answer.json()["detail"]
        assert "DELETE" in answer.json()["remedy"]
        assert "incoming" not in answer.text
    assert len(client.get(f"/v1/patrols/{patrol}").json()["missing"]) == 2
    good = announce(client, {"a.jpg": PICTURE, "track.csv": TRACK}, vehicle="v2")
    assert create(client, good, TRACK, body=TRACK).status_code == 201


def test_a_nearly_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """Below the watermark 507 with Retry-After by every way in, and the file on its way keeps its offset; with room
    again it goes on."""
    with running(tmp_path) as client:
        patrol = announce(client)
        url = create(client, patrol, body=PICTURE[:9]).headers["location"]
    with running(tmp_path, min_free_bytes=2**60) as client:
        put = client.put(f"/v1/patrols/{patrol}/files/{SHA}", content=PICTURE)
        for answer in (create(client, patrol), patch(client, url, 9, PICTURE[9:]), put):
            assert answer.status_code == 507
            assert int(answer.headers["retry-after"]) > 0
        assert head(client, url).headers["upload-offset"] == "9"
    with running(tmp_path) as client:
        assert patch(client, url, 9, PICTURE[9:]).status_code == 204
        assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"


def test_shares_and_queues_are_bounded(tmp_path: Path) -> None:
    """A vehicle's share of bytes and of open uploads: 429. Too many patrols waiting: 503. Each with Retry-After, and
    none of it keeps known patrols from being finished."""
    two = {"a.jpg": PICTURE, "b.jpg": PICTURE + b" "}
    with running(tmp_path, vehicle_quota_bytes=3 * len(PICTURE), max_open_uploads=1) as client:
        patrol = announce(client, two)
        too_much = client.post("/v1/patrols", json=manifest(two, started_at=START - days(1)))
        url = create(client, patrol).headers["location"]
        too_many = create(client, patrol, two["b.jpg"])
        for answer in (too_much, too_many):
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0
        assert announce(client, two, vehicle="v2") != patrol
        assert patch(client, url, 0, PICTURE).status_code == 204
        assert create(client, patrol, two["b.jpg"]).status_code == 201
    with running(tmp_path / "b", max_waiting=1) as client:
        client.app.state.context.intake.jobs.work = None  # type: ignore[attr-defined]  # nobody works
        first, second = announce(client), announce(client, vehicle="v2")
        create(client, first, body=PICTURE)
        refused = client.post("/v1/patrols", json=manifest(two, vehicle="v3"))
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert create(client, second, body=PICTURE).status_code == 201


def test_every_post_that_changes_something_takes_a_key(client: TestClient) -> None:
    """The interface's own description: all POST routes."""
    described = client.get("/openapi.json").json()["paths"]
    posts = {path: route["post"] for path, route in described.items() if "post" in route}
    keyed = {
        path
        for path, route in posts.items()
        if any(one["name"] == "Idempotency-Key" for one in route.get("parameters", []))
    }
    assert len(keyed) >= 5
    assert set(posts) == keyed
