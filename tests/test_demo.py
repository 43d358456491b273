"""The sample patrol through the whole chain: the demo as a person runs it, and 200 frames sent twice."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serve.demo import fresh_folder, passes_of
from serve.errors import InvalidInputError, SettingsError
from serve.settings import Settings
from serve.sight import Sight, read_path
from tests.serve_support import InlineJobs, cases_of, send
from vision.errors import ModelError
from vision.shipped import dataset_folder, model_folder

ROOT = Path(__file__).resolve().parents[1]
FRAMES, SPREAD_DEG, APART = 200, 0.002, timedelta(minutes=2)


def _sample() -> Path:
    try:
        model_folder()
        return dataset_folder("sample-patrol")
    except ModelError as error:
        pytest.skip(str(error))


def _run(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jiejing", "demo", "--data", str(folder), "--port", "0", *options]
    # A city's installation in the environment is none of the demo's business.
    city = {"JIEJING_DATABASE_URL": "postgresql+psycopg://city@127.0.0.1:1/books", "JIEJING_REQUIRE_KEYS": "true"}
    environment = {**os.environ, **city, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_the_demo_finds_the_things_of_the_sample_patrol(tmp_path: Path) -> None:
    """Both passes go through the chain; there are cases of garbage, overflow, and a shed or stall, with pictures; the
    second pass joins cases, has good views of places that were cleaned, and closes nothing."""
    _sample()
    process = _run(tmp_path / "demo", "--json", "--exit-when-done")
    output, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    told = json.loads(output)
    assert [one["report"]["state"] for one in told["patrols"]] == ["done", "done"]
    assert all(one["report"]["frames"]["judged"] >= 30 for one in told["patrols"])
    classes = {case["properties"]["class"] for case in told["cases"]}
    assert {"garbage", "overflow"} <= classes
    assert classes & {"shed", "stall"}
    assert all(case["properties"]["evidence"] for case in told["cases"])
    assert {case["properties"]["stage"] for case in told["cases"]} <= {"collected", "filed"}
    second = told["patrols"][1]["report"]["cases"]
    assert second["joined"] >= 2
    assert second["verified"] >= 1


@pytest.mark.slow
def test_ctrl_c_ends_the_demo(tmp_path: Path) -> None:
    """The demo serves its page until Ctrl-C, which ends it cleanly whatever it is doing."""
    _sample()
    process = _run(tmp_path / "demo")
    assert process.stdout is not None
    assert re.match(r"Console on http://127\.0\.0\.1:\d+", process.stdout.readline())
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Ended." in output
    assert "Traceback" not in errors


def _replayed(one_pass: Path) -> tuple[dict[str, bytes], datetime]:
    """The pass driven again and again further north, as one patrol of 200 frames; gives the files and the start."""
    pictures = sorted(one_pass.rglob("*.jpg"))
    with (one_pass / "track.csv").open(encoding="utf-8", newline="") as file:
        fixes = list(csv.DictReader(file))
    track = io.StringIO()
    writer = csv.DictWriter(track, list(fixes[0]))
    writer.writeheader()
    files: dict[str, bytes] = {}
    for lap in range(-(-FRAMES // len(pictures))):
        for fix in fixes:
            moment = datetime.fromisoformat(fix["time_utc"]) + lap * APART
            north = float(fix["latitude_deg"]) + lap * SPREAD_DEG
            writer.writerow({**fix, "time_utc": moment.isoformat(), "latitude_deg": f"{north:.9f}"})
        for path in pictures[: FRAMES - len(files)]:
            files[f"{lap}-{path.name}"] = _later(path.read_bytes(), lap * APART)
    files["track.csv"] = track.getvalue().encode()
    return files, datetime.fromisoformat(fixes[0]["time_utc"]).astimezone(UTC)


def _later(jpeg: bytes, by: timedelta) -> bytes:
    """The picture with its EXIF times moved; everything else stays as it is."""

    def moved(found: re.Match[bytes]) -> bytes:
        moment = datetime.strptime(found[0].decode(), "%Y:%m:%d %H:%M:%S") + by
        return moment.strftime("%Y:%m:%d %H:%M:%S").encode()

    return re.sub(rb"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", moved, jpeg[:4096]) + jpeg[4096:]


@pytest.mark.slow
def test_two_hundred_frames_sent_twice_give_the_same_cases_once(tmp_path: Path) -> None:
    """The sample's frames replayed with shifted times and poses: sent again, and processed again, nothing is added."""
    from fastapi.testclient import TestClient

    from serve.app import create_app

    files, started_at = _replayed(passes_of(_sample())[0])
    assert len(files) == FRAMES + 1
    camera = json.loads((dataset_folder("sample-patrol") / "camera.json").read_text("utf-8"))
    settings = Settings(data=tmp_path, _env_file=None)
    app = create_app(
        settings,
        runner=Sight(None).run_patrol,
        path_reader=read_path,
        jobs=lambda _settings, work: InlineJobs(work),
    )
    with TestClient(app, base_url="http://127.0.0.1") as client:
        patrol = send(client, files, started_at=started_at, camera=camera)
        report = client.get(f"/v1/patrols/{patrol}").json()
        assert report["state"] == "done", report
        assert report["frames"]["read"] == FRAMES
        assert report["frames"]["judged"] >= 0.9 * FRAMES
        first = {case["id"]: case for case in cases_of(client, limit=1000)}
        assert len(first) >= 6
        assert send(client, files, started_at=started_at, camera=camera) == patrol
        assert {case["id"]: case for case in cases_of(client, limit=1000)} == first
        client.post(f"/v1/patrols/{patrol}/reprocess")
        again = cases_of(client, limit=1000)
        assert {case["id"] for case in again} == set(first)
        places = {case["id"]: case["geometry"]["coordinates"] for case in again}
        for case_id, place in places.items():
            assert place == pytest.approx(first[case_id]["geometry"]["coordinates"], abs=1e-6)


def test_the_demo_empties_only_its_own_folder(tmp_path: Path) -> None:
    """A folder with other files is left alone; one of an earlier demo is emptied; a new one is fine."""
    fresh_folder(tmp_path / "new")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    with pytest.raises(SettingsError, match="holds other files"):
        fresh_folder(mine)
    (mine / "jiejing.sqlite").write_text("")
    fresh_folder(mine)
    assert not mine.exists()


def test_a_sample_without_passes_is_refused(tmp_path: Path) -> None:
    """A folder without tracks is no sample patrol."""
    with pytest.raises(InvalidInputError, match="holds no passes"):
        passes_of(tmp_path)
