"""The server against its own OpenAPI document: a short run; `make contract` is the long one."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.serve_support import running


@pytest.mark.slow
def test_no_answer_is_a_fault_or_undescribed() -> None:
    """Every operation, every role, valid and invalid data: nothing of class 5xx, nothing the document does not say."""
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install -e .[dev]")
    from bench.contract import run

    found = run(1000)
    assert found["findings"] == []
    assert found["requests"] >= 600
    assert {200, 403, 404, 422} <= set(found["statuses"])


def test_what_is_not_there_and_what_is_not_done(tmp_path: Path) -> None:
    """An id that none could have is answered 404 like one that none has; another method 405 with those there are."""
    with running(tmp_path) as client:
        for path in ("/v1/patrols/does-not-exist", "/v1/patrols/%00", "/v1/cases/..%2Fx", "/v1/evidence/A.jpg"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (404, 404), path
        assert client.put(f"/v1/patrols/p0/files/{'Z' * 64}", content=b"x").status_code == 404
        wrong = client.request("TRACE", "/v1/patrols/p0")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "DELETE, GET")
        assert client.get("/v1/uploads").headers["allow"] == "OPTIONS, POST"


def test_the_document_says_who_must_say_what(tmp_path: Path) -> None:
    """Only what is open to anybody asks for no credentials; the upload protocol's headers are described."""
    with running(tmp_path) as client:
        described = client.get("/openapi.json").json()["paths"]
    silent = {path for path, methods in described.items() for one in methods.values() if not one.get("security")}
    assert silent == {"/health/live", "/health/ready"}
    patch = described["/v1/uploads/{upload_id}"]["patch"]
    assert {one["name"] for one in patch["parameters"] if one["required"]} == {
        "upload_id",
        "Tus-Resumable",
        "Upload-Offset",
    }


def test_text_that_not_every_database_keeps_is_refused(tmp_path: Path) -> None:
    """A NUL in a decision, a filter or a cursor is answered 422, on SQLite too, which would take it."""
    decision = {"verdict": "confirm", "case": "c0", "by": "a", "reason": ""}
    cursor = base64.urlsafe_b64encode(b"2026-01-01T00:00:00+00:00|\0").decode()
    with running(tmp_path) as client:
        answers = [client.post("/v1/feedback", json={**decision, name: "\0"}) for name in ("by", "reason")]
        answers += [client.get("/v1/cases", params=said) for said in ({"class": "\0"}, {"cursor": cursor})]
        assert [answer.status_code for answer in answers] == [422] * 4
