"""GET /v1/cases: GeoJSON, filters, pages; and who may ask."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serve.app import create_app
from serve.errors import SettingsError
from serve.settings import Settings
from tests.serve_support import LAT, START, cases_of, days, east, manifest, picture, running, send, thing

KEY = "a-key-of-sixteen-and-more"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with nine cases: seven bags every 25 m on one day, a shed and a stall on the next."""
    with running(tmp_path_factory.mktemp("data")) as client:
        send(client, {"a.jpg": picture(*(thing(at_m=25.0 * i, score=0.46 + i / 25) for i in range(7)))})
        later = {"b.jpg": picture(thing("shed", 200), thing("stall", 230, score=0.95))}
        send(client, later, started_at=START + days(1))
        yield client


def test_an_empty_book_is_an_empty_collection(tmp_path: Path) -> None:
    """No cases: a FeatureCollection without features and without a next page."""
    with running(tmp_path) as client:
        found = client.get("/v1/cases").json()
    assert found["type"] == "FeatureCollection"
    assert found["features"] == []
    assert [link["rel"] for link in found["links"]] == ["self"]


def test_every_promised_property_is_there(client: TestClient) -> None:
    """Each feature has what the contract names."""
    promised = {
        "id", "class", "matter_code", "matter_name", "stage", "score", "error_radius_m", "first_seen", "last_seen",
        "grid_id", "unit", "due_at", "model", "evidence",
    }  # fmt: skip
    for feature in cases_of(client):
        assert promised <= set(feature["properties"])
        assert feature["geometry"]["type"] == "Point"
        assert feature["properties"]["model"] == "fake@1"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({}, 9),
        ({"class": "shed"}, 1),
        ({"class": ["shed", "stall"]}, 2),
        ({"stage": "collected"}, 4),
        ({"stage": ["collected", "filed"]}, 9),
        ({"min_score": 0.9}, 1),
        ({"since": (START + days(0.5)).isoformat()}, 2),
        ({"until": (START + days(0.5)).isoformat()}, 7),
        ({"bbox": f"{east(-1)},{LAT - 0.001},{east(60)},{LAT + 0.001}"}, 3),
        ({"near": f"{east(50)},{LAT},30"}, 3),
        ({"near": f"{east(50)},{LAT},24"}, 1),
        ({"near": f"{east(50)},{LAT},30", "class": "stall"}, 0),
    ],
)
def test_filters(client: TestClient, query: dict[str, object], count: int) -> None:
    """Each filter keeps what it should, alone and with others."""
    assert len(cases_of(client, **query)) == count


@pytest.mark.parametrize("limit", [1, 2, 4, 9, 100])
def test_pages_hold_every_case_once(client: TestClient, limit: int) -> None:
    """Following the links to the next page yields each case once, whatever the page's size, filters kept."""
    seen: list[str] = []
    url: str | None = f"/v1/cases?limit={limit}&min_score=0.1"
    while url:
        page = client.get(url).json()
        assert page["numberReturned"] == len(page["features"]) <= limit
        seen += [feature["id"] for feature in page["features"]]
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert len(seen) == len(set(seen)) == 9


@pytest.mark.parametrize(
    "query",
    ["bbox=1,2,3", "bbox=3,3,1,1", "bbox=a,b,c,d", "near=1,2", "near=1,2,-3", "near=nan,1,1", "cursor=%21%21",
     "cursor=eHh4", "limit=0", "limit=9999", "min_score=2", "stage=sleeping", "since=yesterday"],
)  # fmt: skip
def test_a_wrong_question_is_answered_with_a_remedy(client: TestClient, query: str) -> None:
    """No filter is silently ignored or guessed."""
    answer = client.get(f"/v1/cases?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 20


def test_unknown_things_are_problem_documents(client: TestClient) -> None:
    """404 and 405 are problem documents too."""
    for method, url, status in [("GET", "/v1/cases/c0", 404), ("GET", "/nowhere", 404), ("PUT", "/v1/cases", 405)]:
        answer = client.request(method, url)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_health_metrics_and_description(client: TestClient) -> None:
    """The server says that it lives, that it can work, what it counts, and what it speaks."""
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    figures = client.get("/metrics").text
    assert 'jiejing_cases{stage="filed"}' in figures
    assert 'route="/v1/cases"' in figures
    for name in ("jiejing_disk_free_bytes", "jiejing_disk_watermark_bytes", "jiejing_workers"):
        assert re.search(rf"^{name} [0-9.e+]+$", figures, re.MULTILINE)
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/patrols", "/v1/patrols/{patrol_id}/files/{sha256}", "/v1/cases", "/v1/detect"} <= set(paths)


def test_it_refuses_to_listen_beyond_this_machine_without_a_key(tmp_path: Path) -> None:
    """Loopback needs no key; any other address does, and the message says how to set one."""
    for host in ("127.0.0.1", "::1", "localhost"):
        create_app(Settings(data=tmp_path, host=host, _env_file=None))
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(SettingsError, match="JIEJING_API_KEY"):
            create_app(Settings(data=tmp_path, host=host, _env_file=None))
        create_app(Settings(data=tmp_path, host=host, api_key=KEY, _env_file=None))


def test_with_a_key_everything_but_health_needs_it(tmp_path: Path) -> None:
    """Every route of the OpenAPI document answers 401 without the key; health stays open."""
    with running(tmp_path, api_key=KEY) as client:
        with_key = {"Authorization": f"Bearer {KEY}"}
        paths = client.get("/openapi.json", headers=with_key).json()["paths"]
        asked = 0
        for path, methods in paths.items():
            for method in methods:
                answer = client.request(method, path.replace("{", "").replace("}", ""), follow_redirects=False)
                assert answer.status_code == (200 if path.startswith("/health/") else 401), (method, path)
                asked += 1
        assert asked >= 10
        assert client.get("/metrics").status_code == 401
        assert client.get("/v1/cases", headers=with_key).status_code == 200
        assert client.get("/v1/cases", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_pages_of_other_sites_are_kept_out(client: TestClient) -> None:
    """Without a key the server answers to its own names only, and takes no orders from another site's page."""
    assert client.get("/v1/cases", headers={"Host": "evil.example"}).status_code == 403
    stranger = {"Origin": "https://evil.example"}
    assert client.post("/v1/patrols/p0/reprocess", headers=stranger).status_code == 403
    own = {"Origin": "http://127.0.0.1"}
    assert client.post("/v1/patrols/p0/reprocess", headers=own).status_code == 404


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    """An announcement beyond all measure is cut off, whether or not it says its length."""
    huge = b" " * (33 * 1024**2)
    assert client.post("/v1/patrols", content=huge).status_code == 413
    assert client.post("/v1/patrols", content=iter([huge])).status_code == 413


def test_settings_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown settings and values out of bounds are refused; the environment is read."""
    for wrong in ({"colour": 1}, {"port": -1}, {"api_key": "short"}, {"jurisdiction": "a b"}, {"max_attempts": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Settings(_env_file=None, **wrong)
    monkeypatch.setenv("JIEJING_KEEP_ORIGINALS_DAYS", "2.5")
    assert Settings(_env_file=None).keep_originals_days == 2.5
    assert os.path.isabs(Settings(_env_file=None).database.removeprefix("sqlite:///"))  # noqa: PTH117


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_what_no_database_holds_is_no_fault_of_ours(tmp_path: Path, moment: str) -> None:
    """Moments at the ends of the calendar and numbers beyond 64 bits, wherever a caller may say them: 422."""
    cursor = base64.urlsafe_b64encode(f"{moment}|c1".encode()).decode()
    with running(tmp_path) as client:
        for path, query in [
            ("/v1/cases", {"since": moment}),
            ("/v1/cases", {"until": moment}),
            ("/v1/cases", {"cursor": cursor}),
            ("/v1/feedback", {"since": moment}),
            ("/v1/feedback", {"cursor": 2**63}),
        ]:
            assert client.get(path, params=query).status_code == 422, (path, query)
        announced = {**manifest({"a.jpg": b"x"}), "started_at": moment}
        assert client.post("/v1/patrols", json=announced).status_code == 422
        said = {"verdict": "confirm", "case": "c1", "by": "o", "at": moment}
        assert client.post("/v1/feedback", json=said).status_code == 422
