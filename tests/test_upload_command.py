"""`jiejing upload`: a vehicle's folder as patrols, going on where it stopped, deleting nothing."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

import jiejing
from serve.errors import InvalidInputError
from serve.intake import client, folder
from serve.intake.client import LocalFile, UploadError, Vehicle
from serve.intake.folder import STATE, runs_in
from tests.process_support import CuttingProxy, free_port, server
from tests.serve_support import START, picture, thing

TRACK = (
    "time_utc,latitude_deg,longitude_deg\n2026-11-20T08:00:00Z,31.574,120.301\n2026-11-20T08:00:20Z,31.574,120.302\n"
)


def _pass(at: Path, name: str = "pass-1", pictures: int = 2) -> Path:
    made = at / name
    (made / "left").mkdir(parents=True)
    for number in range(pictures):
        (made / "left" / f"{number}.jpg").write_bytes(picture(thing(at_m=30 * number), name=f"{name}{number}"))
    (made / "0.jpg").write_bytes(picture(thing("bin"), name=name))
    (made / "track.csv").write_text(TRACK, "utf-8")
    (made / "notes.txt").write_text("not sent", "utf-8")
    (made / "._0.jpg").write_bytes(b"what a Mac leaves on a card")
    (made / ".Trashes").mkdir()
    (made / ".Trashes/1.jpg").write_bytes(b"thrown away")
    return made


def test_a_folder_is_a_patrol(tmp_path: Path) -> None:
    """Media of inner folders get names of their own, the track says when it began, other files stay at home; a folder
    of such folders is so many patrols."""
    one = _pass(tmp_path)
    (run,) = runs_in(one)
    assert run.started_at == START
    assert [(file.name, file.kind) for file in run.files] == [
        ("0.jpg", "media"),
        ("left__0.jpg", "media"),
        ("left__1.jpg", "media"),
        ("track.csv", "track"),
    ]
    _pass(tmp_path, "pass-2")
    (tmp_path / "camera.json").write_text('{"model": "pinhole"}', "utf-8")
    assert [found.camera for found in runs_in(tmp_path)] == [{"model": "pinhole"}] * 2


@pytest.mark.parametrize(
    ("lacks", "word"), [("track.csv", "nothing says when"), ("0.jpg", "no pictures"), ("", "is no folder")]
)
def test_what_is_missing_is_said(tmp_path: Path, lacks: str, word: str) -> None:
    """No date, no pictures, no folder: an error that names the remedy."""
    one = _pass(tmp_path, pictures=0)
    if lacks:
        (one / lacks).unlink()
    with pytest.raises(InvalidInputError, match=word) as caught:
        runs_in(one if lacks else one / "nowhere")
    assert caught.value.remedy


def test_hashes_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look reads only what has changed since; a folder that cannot be written to only costs reading."""
    one = _pass(tmp_path)
    first = runs_in(one)
    read: list[Path] = []
    monkeypatch.setattr(folder, "sha256_of", lambda path: read.append(path) or client.sha256_of(path))
    assert runs_in(one) == first
    assert read == []
    (one / "0.jpg").write_bytes(b"another")
    assert runs_in(one) != first
    assert [path.name for path in read] == ["0.jpg"]
    (one / STATE).write_text("not ours", "utf-8")
    assert len(runs_in(one)[0].files) == 4


@pytest.mark.slow
def test_the_command_sends_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut after some bytes and out of patience it says so and ends with 1; run again it sends only the rest, and a
    third time nothing. No file is gone."""
    one = _pass(tmp_path / "vehicle")
    large = one / "9.jpg"
    large.write_bytes(picture(thing(at_m=90), name="x" * 400_000))
    before = {path for path in one.rglob("*") if path.is_file()}
    monkeypatch.setattr(client, "_LONGEST_PAUSE_S", 0.2)
    port = free_port()
    command = ["upload", str(one), "--vehicle", "v1", "--wait", "--json", "--server"]
    with server(tmp_path / "data", port):
        cutting = CuttingProxy(port, cuts=10**6, most_bytes=300_000, seed=1)
        said = CliRunner().invoke(jiejing.app, [*command, f"http://127.0.0.1:{cutting.port}", "--patience-h", "0"])
        assert isinstance(said.exception, UploadError)
        assert said.exception.remedy
        cutting.close()
        whole = CuttingProxy(port, cuts=0, most_bytes=1, seed=1)
        for most in (450_000, 5_000):
            sent = whole.sent_bytes
            said = CliRunner().invoke(jiejing.app, [*command, f"http://127.0.0.1:{whole.port}"])
            assert said.exit_code == 0, said.output
            (told,) = json.loads(said.stdout)
            assert told["report"]["state"] == "done"
            assert told["report"]["cases"]["opened"] == 3
            assert whole.sent_bytes - sent < most
    assert {path for path in one.rglob("*") if path.is_file()} == before | {one / STATE}


@pytest.mark.slow
def test_the_pace_is_kept(tmp_path: Path) -> None:
    """With a limit of bytes a second a file takes its time, and what has gone out is told on the way."""
    path = tmp_path / "0.jpg"
    path.write_bytes(picture(thing(), name="x" * 600_000))
    port, told = free_port(), []
    with server(tmp_path / "data", port, "intake"):
        vehicle = Vehicle(f"http://127.0.0.1:{port}", "v1", bytes_per_s=400_000)
        began = time.monotonic()
        vehicle.upload(START, [LocalFile(path, "media")], progress=lambda done, total: told.append((done, total)))
        assert time.monotonic() - began > 1.0
    assert len(told) > 5
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] == path.stat().st_size


@pytest.mark.slow
def test_a_useless_track_is_told_before_the_pictures_go(tmp_path: Path) -> None:
    """The track goes first: its refusal costs no picture's way, and says its remedy once."""
    (tmp_path / "0.jpg").write_bytes(picture(thing(), name="x" * 600_000))
    (tmp_path / "track.csv").write_text("time_s,latitude_deg,longitude_deg\n0,0,0\n1,0,0\n", "utf-8")
    port = free_port()
    with server(tmp_path / "data", port, "intake"):
        proxy = CuttingProxy(port, cuts=0, most_bytes=1, seed=1)
        files = [LocalFile(tmp_path / "0.jpg", "media"), LocalFile(tmp_path / "track.csv", "track")]
        with pytest.raises(UploadError, match="no position") as refused:
            Vehicle(f"http://127.0.0.1:{proxy.port}", "v1").upload(START, files)
        assert "DELETE" not in refused.value.message
        assert "DELETE" in refused.value.remedy
        assert proxy.sent_bytes < 10_000
        proxy.close()


@pytest.mark.slow
@pytest.mark.parametrize(("happens", "word"), [("gone", "cannot be read"), ("shorter", "has become shorter")])
def test_a_card_that_is_pulled_out_is_no_network(tmp_path: Path, happens: str, word: str) -> None:
    """A file that goes away or shrinks while it is sent ends the command at once, whatever its patience."""
    paths = [tmp_path / "0.jpg", tmp_path / "1.jpg"]
    for path in paths:
        path.write_bytes(picture(thing(), name=path.name + "x" * 200_000))

    def pull(done: int, _total: int) -> None:
        if done > 10_000 and happens == "gone":
            paths[1].unlink(missing_ok=True)
        elif done > 10_000:
            paths[1].write_bytes(b"x")

    port = free_port()
    with server(tmp_path / "data", port, "intake"):
        vehicle = Vehicle(f"http://127.0.0.1:{port}", "v1", patience_s=3600)
        with pytest.raises(UploadError, match=word):
            vehicle.upload(START, [LocalFile(path, "media") for path in paths], progress=pull)


def test_a_server_that_sends_on_is_said(tmp_path: Path) -> None:
    """As a proxy does from http to https: the address it names is told, and nothing is taken for an answer."""

    class SendsOn(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(301)
            self.send_header("Location", "https://jiejing.example/v1/patrols")
            self.send_header("Content-Length", "0")
            self.end_headers()

    (tmp_path / "0.jpg").write_bytes(picture(thing()))
    with ThreadingHTTPServer(("127.0.0.1", 0), SendsOn) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        with pytest.raises(UploadError, match="sends on to https"):
            Vehicle(f"http://127.0.0.1:{proxy.server_port}", "v1").upload(
                START, [LocalFile(tmp_path / "0.jpg", "media")]
            )
        proxy.shutdown()
