"""Files in an S3-compatible store instead of the data folder: the same chain, over real HTTP to a stand-in of S3."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.errors import NotFoundError, SettingsError, StorageError
from serve.store import blobs as module
from serve.store.blobs import EVIDENCE, ORIGINALS, Blobs
from tests.serve_support import START, cases_of, days, picture, running, send, thing

moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install -e .[dev]")
SHA = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket, as JIEJING_STORE_URL names it."""
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="city")
    yield "s3://city/jiejing"
    server.stop()


def test_files_settle_once(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece and in parts, once and again; read, laid out, removed; nothing stays in the spool."""
    blobs = Blobs(tmp_path, store_url=bucket)
    blobs.prepare()
    for most in (10, 1, 10):
        monkeypatch.setattr(module, "_ONE_PIECE_BYTES", most)
        with blobs.spool.create("part") as part:
            part.write(b"abc")
            part.sync()
        blobs.settle(blobs.spool.path("part"), ORIGINALS, "p1", SHA)
        blobs.settle(blobs.spool.path("part"), ORIGINALS, "p1", SHA)
    assert blobs.read(ORIGINALS, "p1", SHA) == b"abc"
    blobs.lay_out(ORIGINALS, "p1", SHA, tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == b"abc"
    kept = blobs.put(EVIDENCE, "p1", b"kept")
    gone = blobs.put(EVIDENCE, "p1", b"gone")
    blobs.remove(EVIDENCE, "p1", keep=[kept])
    assert (blobs.has(EVIDENCE, "p1", kept), blobs.has(EVIDENCE, "p1", gone)) == (True, False)
    blobs.remove(ORIGINALS, "p1")
    for ask in (
        lambda: blobs.read(ORIGINALS, "p1", SHA),
        lambda: blobs.lay_out(ORIGINALS, "p1", SHA, tmp_path / "b.jpg"),
        lambda: blobs.settle(blobs.spool.path("part"), ORIGINALS, "p1", SHA),
    ):
        with pytest.raises(NotFoundError):
            ask()
    assert list((tmp_path / "incoming").iterdir()) == []
    with pytest.raises(SettingsError, match="cannot be used"):
        Blobs(tmp_path, store_url="nonsense")


def test_a_store_that_is_away_is_no_fault_of_ours(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked of it, one line says so, for an answer of 503 with Retry-After."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setitem(module._RETRY, "max_retries", 0)
    away = Blobs(tmp_path, store_url=bucket)
    for ask in (
        lambda: away.has(EVIDENCE, "p1", SHA),
        lambda: away.read(EVIDENCE, "p1", SHA),
        lambda: away.remove(EVIDENCE, "p1"),
        lambda: away.patrols(EVIDENCE),
        lambda: away.lay_out(ORIGINALS, "p1", SHA, tmp_path / "a.jpg"),
    ):
        with pytest.raises(StorageError, match="file store failed") as told:
            ask()
        assert "\n" not in str(told.value)
        assert told.value.retry_after_s > 0


def test_a_patrol_through_the_object_store(tmp_path: Path, bucket: str) -> None:
    """Sent, processed, its evidence served, forgotten: no picture ever lies in the data folder."""
    with running(tmp_path, store_url=bucket) as client:
        patrol = send(client, {"a.jpg": picture(thing(), name="a")})
        (case,) = cases_of(client)
        assert client.get(case["properties"]["evidence"][0]["url"]).content.startswith(b"\xff\xd8")
        assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
        again = send(client, {"a.jpg": picture(thing(), name="a")}, started_at=START - days(1))
        assert client.delete(f"/v1/patrols/{patrol}").status_code == 204
        assert client.get(f"/v1/patrols/{again}").json()["state"] == "done"
