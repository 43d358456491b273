"""The pictures that a patrol keeps: the same whether they are made ready early or at the end."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from vision import pipeline
from vision.detecting.workers import Job, Seen, Workers
from vision.errors import Fault, TrackError
from vision.patrol import early as preparing
from vision.patrol import frames
from vision.pictures.media import Picture, decode, picture_header
from vision.shipped import dataset_folder

SAMPLE = dataset_folder("sample-patrol")


@pytest.mark.parametrize("held", [0, 2, 16])
def test_evidence_is_the_same_whether_it_is_made_early_or_late(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """Frames that promise much are made ready while the patrol is looked at, some when it has been: they are the
    same pictures, each once."""
    media = sorted((SAMPLE / "pass-1").glob("*.jpg"))[:12]
    with Workers(threads=2) as workers:

        def run() -> pipeline.PatrolResult:
            track = SAMPLE / "pass-1/track_rtk.csv"
            return pipeline.run_patrol(media, track=track, camera=SAMPLE / "camera.json", workers=workers)

        asked: list[str] = []
        look = workers.look

        def noted(job: Job, *, soon: bool = False) -> Future[Seen | Fault]:
            if job.hide is not None:
                asked.append(Path(job.name).name)
            return look(job, soon=soon)

        monkeypatch.setattr(workers, "look", noted)
        monkeypatch.setattr(preparing, "HELD", held)
        early = run()
        assert len(asked) == len(set(asked)) > 1
        assert {shown.frame for shown in early.evidence} <= set(asked)
        monkeypatch.setattr(pipeline, "promise", lambda found: np.zeros(13))
        late = run()

    pictures = {shown.frame: shown for shown in late.evidence}
    both = [shown for shown in early.evidence if shown.frame in pictures]
    assert both
    assert all(shown == pictures[shown.frame] for shown in both)
    for shown in early.evidence:
        assert decode(shown.jpeg, picture_header(shown.jpeg, Path(shown.frame))).shape[1::-1] == shown.size_wh
    for found in (early, late):
        named = {box.frame for sighting in found.sightings for box in sighting.evidence}
        assert named == {shown.frame for shown in found.evidence}


def test_the_first_pictures_are_looked_at_while_the_headers_of_the_others_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And none of them twice; a patrol that its track does not cover is refused all the same."""
    media = sorted((SAMPLE / "pass-1").glob("*.jpg"))[:8]
    told: list[str] = []
    with Workers(threads=2) as workers:
        look, read = workers.look, frames.read_picture

        def noted(job: Job, *, soon: bool = False) -> Future[Seen | Fault]:
            if job.hide is None and not job.hold:
                told.append(job.name)
            return look(job, soon=soon)

        def header(path: Path) -> Picture:
            told.append("header")
            return read(path)

        monkeypatch.setattr(workers, "look", noted)
        monkeypatch.setattr(frames, "read_picture", header)
        track = SAMPLE / "pass-1/track_rtk.csv"
        watched = pipeline.watch(media, track=track, clock_offset_s=None, track_start=None, workers=workers)
        assert [one.frame.path for one in watched.judged] == media
        assert sorted(name for name in told if name != "header") == [path.name for path in media]
        assert told.index("header") < told.index(media[0].name) < len(told) - told[::-1].index("header") - 1
        with pytest.raises(TrackError, match="no picture overlaps the track"):
            pipeline.watch(media, track=track, clock_offset_s=9e5, track_start=None, workers=workers)
