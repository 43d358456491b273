"""Stand-ins for the server's tests: pictures that say themselves what is on them, and a vehicle that sends them."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image

from serve.app import create_app
from serve.jobs.queue import Job, Work
from serve.settings import Settings
from vision.errors import Fault, MediaError
from vision.pipeline import EvidenceFrame, PatrolResult
from vision.sightings import EvidenceBox, Look, Sighting

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
LON, LAT = 120.301, 31.574


def _jpeg() -> bytes:
    shown = Image.new("RGB", (960, 540), (120, 140, 150))
    shown.paste((200, 90, 40), (50, 100, 150, 200))
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=80)
    return stream.getvalue()


JPEG = _jpeg()
TRACK = f"time_s,latitude_deg,longitude_deg\n0,{LAT},{LON}\n10,{LAT},{LON + 0.001}\n".encode()


def east(metres: float) -> float:
    """The longitude that many metres east of the usual place."""
    return LON + metres / (111_320 * 0.85195)


def thing(class_name: str = "garbage", at_m: float = 0.0, **more: Any) -> dict[str, Any]:
    """One thing as a picture tells it: class, metres east of the usual place."""
    return {"class": class_name, "at_m": at_m, "score": 0.8, "frames": 4, "time_s": 5.0 + at_m / 10, **more}


def picture(*things: dict[str, Any], look: tuple[float, float] | None = None, name: str = "x") -> bytes:
    """A file that the stand-in runner understands. `look`: from where to where, in metres east, it saw the ground."""
    return json.dumps({"things": things, "look": look, "name": name}).encode()


def _square(west_m: float, east_m: float) -> tuple[tuple[float, float], ...]:
    half = 15 / 111_320
    west, right = east(west_m), east(east_m)
    return ((west, LAT - half), (right, LAT - half), (right, LAT + half), (west, LAT + half), (west, LAT - half))


def run_fake(
    media: Sequence[Path],
    *,
    track: Path | None,
    camera: Path | None,
    track_start: datetime | None,
    progress: Callable[[int, int], None] | None,
) -> PatrolResult:
    """Reads the pictures' own words instead of detecting."""
    sightings: list[Sighting] = []
    looks: list[Look] = []
    evidence: list[EvidenceFrame] = []
    faults: list[Fault] = []
    for done, path in enumerate(media, start=1):
        if progress:
            progress(done, len(media))
        try:
            said = json.loads(path.read_bytes())
        except ValueError:
            faults.append(Fault(str(path), "cannot be decoded", "take it out"))
            continue
        if said.get("sleep_s"):
            time.sleep(said["sleep_s"])
        for one in said["things"]:
            box = EvidenceBox(path.name, one["time_s"], one["score"], (100.0, 200.0, 300.0, 400.0))
            sightings.append(
                Sighting(
                    class_name=one["class"],
                    score=one["score"],
                    longitude_deg=east(one["at_m"]),
                    latitude_deg=LAT,
                    error_radius_m=1.2,
                    covariance_m2=(0.3, 0.0, 0.3),
                    shared_sigma_m=0.4,
                    frames=one["frames"],
                    first_seen_s=one["time_s"],
                    last_seen_s=one["time_s"] + 2,
                    size_m=(0.6, 0.4),
                    evidence=(box,),
                )
            )
        if said["things"]:
            evidence.append(EvidenceFrame(path.name, track_start, JPEG + path.name.encode(), (960, 540), 0.5, False))
        if said["look"]:
            looks.append(Look(10.0, _square(*said["look"]), 0.9))
    if len(faults) == len(media):
        raise MediaError(f"{media[0]}: no picture could be used", remedy="send pictures")
    return PatrolResult(
        model="fake@1",
        started_at=track_start,
        sightings=tuple(sightings),
        looks=tuple(looks),
        evidence=tuple(evidence),
        faults=tuple(faults),
        assumptions=("made up for a test",),
        frames_read=len(media),
        frames_judged=len(media) - len(faults),
        frames_skipped=len(faults),
    )


def no_path(_track: Path, _start: datetime) -> list[list[float]]:
    """A stand-in for reading the track."""
    return [[east(0), LAT], [east(40), LAT]]


@dataclass
class InlineJobs:
    """The jobs' port without a queue: what is submitted is done at once."""

    work: Work | None = None
    submitted: int = 0
    at: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Nothing to take up."""

    def submit(self, job: Job) -> None:
        """Do it."""
        self.submitted += 1
        if self.work is not None:
            self.at.add(job.id)
            try:
                self.work(job)
            finally:
                self.at.discard(job.id)

    def unfinished(self, ids: Collection[str]) -> dict[str, bool]:
        """Nothing waits; what is being done goes on."""
        return dict.fromkeys(self.at & set(ids), True)

    def take_over(self, living: Collection[str]) -> list[str]:
        """Nobody dies."""
        return []

    def forget(self, ended_before: datetime) -> None:
        """Nothing is noted."""

    def close(self) -> None:
        """Nothing to stop."""


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[TestClient]:
    """A server on `folder` with the stand-ins, without a queue."""
    settings = Settings(data=folder, _env_file=None, **options)
    app = create_app(settings, runner=run_fake, path_reader=no_path, jobs=lambda _settings, work: InlineJobs(work))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=True) as client:
        yield client


def manifest(
    files: dict[str, bytes], vehicle: str = "su-b-10086", started_at: datetime = START, **more: Any
) -> dict[str, Any]:
    """What the vehicle announces."""
    entries = [
        {
            "name": name,
            "kind": "track" if name.endswith(".csv") else "media",
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for name, data in files.items()
    ]
    return {"vehicle": vehicle, "started_at": started_at.isoformat(), "files": entries, **more}


def send(client: TestClient, files: dict[str, bytes], **about: Any) -> str:
    """Announce a patrol and send what is missing, as a vehicle would; gives its id."""
    answer = client.post("/v1/patrols", json=manifest(files, **about))
    assert answer.status_code in (200, 201), answer.text
    by_hash = {hashlib.sha256(data).hexdigest(): data for data in files.values()}
    patrol = answer.json()
    for sha256 in patrol["missing"]:
        put = client.put(f"/v1/patrols/{patrol['id']}/files/{sha256}", content=by_hash[sha256])
        assert put.status_code == 201, put.text
    return str(patrol["id"])


def cases_of(client: TestClient, **query: Any) -> list[dict[str, Any]]:
    """The features of GET /v1/cases."""
    answer = client.get("/v1/cases", params=query)
    assert answer.status_code == 200, answer.text
    features: list[dict[str, Any]] = answer.json()["features"]
    return features


def days(count: float) -> timedelta:
    """Short for the tests."""
    return timedelta(days=count)
