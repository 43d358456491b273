"""Files that mean harm: none is decoded beyond its bounds, none runs, none is written where it wants to be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import NAMES, costly, hostile_files, peak_mb
from tests.serve_support import manifest, picture, running, thing
from vision.detecting.workers import Job, Seen, Workers

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_two_hundred_hostile_files_cost_little(tmp_path: Path) -> None:
    """None takes 2 CPU seconds or brings a process over 512 MB, each is refused with a sentence or read; nothing else
    appears on the disk."""
    folder = tmp_path / "in"
    folder.mkdir()
    files = dict(hostile_files())
    for name, data in files.items():
        (folder / name).write_bytes(data)
    assert len(files) >= 200
    command = [sys.executable, "-m", "tests.hostile", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    slow = {name: row for name, row in told["files"].items() if row[0] > 2.0}
    assert slow == {}
    assert told["peak_mb"] < 512
    assert set(told["files"]) == set(files)
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert not Path("/tmp/jiejing-was-here").exists()
    refused = sum(row[2].startswith("refused") for row in told["files"].values())
    assert refused >= 100


@pytest.mark.slow
def test_no_hostile_picture_makes_the_detector_large(tmp_path: Path) -> None:
    """The process that decodes and infers stays below 512 MB with the network in it, two pictures at a time; what just
    is allowed is seen, what lies beyond is refused, and nothing ends the process."""
    for name, data in costly():
        (tmp_path / name).write_bytes(data)
    files = sorted(tmp_path.iterdir())
    with Workers(threads=2) as workers:
        answers = dict(workers.look_at_all(files, lambda file: Job(file.name, path=file)))
        assert workers._process is not None
        assert peak_mb(workers._process.pid) < 512
        assert workers.replaced == 0
    taken = {file.name for file, answer in answers.items() if isinstance(answer, Seen)}
    assert {"just-allowed-RGB-4900.png", "progressive0.jpg", "baseline2.jpg", "print3800.jpg"} <= taken
    assert not {"just-allowed-L-7900.png", "progressive2.jpg", "print7900.jpg", "scans7900-200.jpg"} & taken


def test_names_that_climb_are_refused(tmp_path: Path) -> None:
    """No name of a client becomes a path: what has folders, control characters or a leading dot is answered 422."""
    with running(tmp_path) as client:
        before = sorted(tmp_path.parent.rglob("*"))
        for name in NAMES:
            answer = client.post("/v1/patrols", json=manifest({name: picture(thing())}))
            assert answer.status_code == 422, name
        for path in (
            "/v1/evidence/..%2f..%2fjiejing.sqlite.jpg",
            "/static/..%2f..%2fsettings.py",
            "/v1/patrols/..%2fx",
        ):
            assert client.get(path).status_code in (404, 422), path
        assert sorted(tmp_path.parent.rglob("*")) == before


def test_the_server_loads_no_pickles() -> None:
    """Neither `serve` nor `vision` names what runs code out of a file: torch.load, pickle.load, eval, yaml.load.

    `vision.detecting.workers` sends pickles to a process of its own over its own pipe, never from a file."""
    forbidden = re.compile(r"torch\.load|pickle\.loads?\(|\beval\(|\bexec\(|yaml\.load\(|marshal\.|shelve\.|np\.load\(")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("serve", "vision")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if forbidden.search(line)
    ]
    assert found == []
