"""Frames of a patrol on the track's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import pictures
from vision.errors import TrackError
from vision.patrol import frames

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def frame(taken_at: datetime | None, video_time_s: float | None = None) -> frames.Frame:
    return frames.Frame("f.jpg", Path("f.jpg"), (640, 480), taken_at, 0.5, video_time_s=video_time_s)


def test_a_broken_picture_is_a_fault_and_the_rest_is_gathered(tmp_path: Path) -> None:
    """Six broken files and a good one: one frame, six faults, each with a remedy."""
    pictures.bad_pictures(tmp_path)
    (tmp_path / "good.jpg").write_bytes(pictures.jpeg())
    (tmp_path / "film.mp4").write_text("no film")
    footage = frames.gather([tmp_path])
    # A JPEG or PNG cut off behind its header is only noticed when it is decoded.
    assert [one.name for one in footage.pictures] == ["cut.jpg", "cut.png", "good.jpg"]
    assert {Path(fault.file).name for fault in footage.faults} == {
        "zero.jpg",
        "text.jpg",
        "huge.png",
        "header.jpg",
        "film.mp4",
    }
    assert all(fault.remedy for fault in footage.faults)


def test_aware_times_need_no_zone() -> None:
    """A picture that states its zone lies on the track's clock without assumptions; the offset is added."""
    clock, notes = frames.clock_for([frame(NOON + timedelta(seconds=5))], NOON, (0.0, 60.0), 1.5)
    assert notes == ()
    assert clock.seconds(frame(NOON + timedelta(seconds=5))) == pytest.approx(6.5)


@pytest.mark.parametrize("zone_minutes", [480, -210, 0, 345])
def test_the_zone_that_overlaps_the_track_is_found(zone_minutes: int) -> None:
    """Local times without a zone get the multiple of 15 minutes that puts them on the track, and it is said."""
    local = (NOON + timedelta(minutes=zone_minutes)).replace(tzinfo=None)
    shots = [frame(local + timedelta(seconds=s)) for s in range(0, 60, 5)]
    clock, notes = frames.clock_for(shots, NOON, (0.0, 60.0), None)
    assert clock.zone == timedelta(minutes=zone_minutes)
    assert clock.seconds(shots[3]) == pytest.approx(15)
    assert len(notes) == 1
    assert "no time zone" in notes[0]


def test_pictures_of_another_day_are_refused_with_a_remedy() -> None:
    """No zone can move a picture to another week."""
    with pytest.raises(TrackError, match="no time zone"):
        frames.clock_for([frame(datetime(2026, 4, 1, 12, 0))], NOON, (0.0, 60.0), None)


def test_video_frames_follow_a_track_without_dates() -> None:
    """Without dates on the track, the video's own seconds count."""
    clock, _ = frames.clock_for([], None, (0.0, 60.0), None)
    assert clock.seconds(frame(None, video_time_s=3.5)) == 3.5
    assert clock.seconds(frame(NOON)) is None


def test_slack_beyond_the_ends_is_small() -> None:
    """A frame a second after the last fix counts, one five seconds after does not."""
    assert frames.on_track(61.0, (0.0, 60.0))
    assert not frames.on_track(65.0, (0.0, 60.0))
    assert not frames.on_track(None, (0.0, 60.0))
