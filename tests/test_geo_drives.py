"""Locating on real drives, scored by the benchmark's own script. Human boxes: an upper limit for any detector."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vision.locating.locate_files import locate_files

BENCHMARKS = Path(__file__).resolve().parents[2] / "shared" / "benchmarks"
DRIVES = BENCHMARKS / "geo-drives"
pytestmark = pytest.mark.skipif(not DRIVES.is_dir(), reason="the real drives are not beside this checkout")


def scored(detections: str, track: str | Path, out: Path) -> dict[str, Any]:
    """Locate every drive and add the scores up."""
    spec = importlib.util.spec_from_file_location("score_geo", BENCHMARKS / "score_geo.py")
    assert spec is not None
    assert spec.loader is not None
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    total: dict[str, Any] = {}
    for drive in sorted(DRIVES.glob("drive-*")):
        path = drive / track if isinstance(track, str) else track / f"{drive.name}.csv"
        # One logger wrote both files: asking every drive for the offset would only cost time here.
        collection, _ = locate_files(drive / detections, path, drive / "camera.json", clock_offset_s=0.0)
        target = out / f"{drive.name}.geojson"
        target.write_text(json.dumps(collection))
        for key, value in scorer.score(drive / "static_objects.geojson", target).items():
            total[key] = total[key] + value if key in total else value
    total["p90"] = scorer.quantile(total["errors"], 0.9)
    return total


def test_surveyed_track(tmp_path: Path) -> None:
    """Human boxes and a surveyed track: nearly all found once, inside their footprints, with a small honest radius."""
    score = scored("detections.csv", "track.csv", tmp_path)
    assert score["found"] >= 0.95 * score["truth"]
    assert score["duplicates"] <= 1
    assert score["ghosts"] <= 6
    assert score["p90"] <= 0.3
    assert sum(score["held"]) >= 0.94 * len(score["held"])
    assert statistics.median(score["radii"]) <= 0.3


def test_the_clock_is_left_alone(tmp_path: Path) -> None:
    """Of a drive whose camera and track share a clock the offset is found to be none, to a few hundredths."""
    drive = DRIVES / "drive-0002"
    _, located = locate_files(drive / "detections.csv", drive / "track.csv", drive / "camera.json")
    assert located.clock.offset_s == 0.0
    assert located.clock.observed
    assert located.clock.sigma_s < 0.06


def test_noisy_boxes(tmp_path: Path) -> None:
    """Misses, jitter and false boxes cost little."""
    score = scored("detections_noisy.csv", "track.csv", tmp_path)
    assert score["found"] >= 0.91 * score["truth"]
    assert score["duplicates"] <= 3
    assert score["ghosts"] <= 16
    assert score["p90"] <= 0.5
    assert sum(score["held"]) >= 0.92 * len(score["held"])


def test_consumer_tracks(tmp_path: Path) -> None:
    """Two draws of a phone's receiver: the means stay within what the twenty draws reach."""
    subprocess.run(
        [sys.executable, BENCHMARKS / "consumer_tracks.py", DRIVES, tmp_path / "draws", "--draws", "2"], check=True
    )
    scores = [scored("detections.csv", tmp_path / "draws" / f"{n:02d}", tmp_path) for n in range(2)]
    assert statistics.mean(s["found"] / s["truth"] for s in scores) >= 0.78
    assert statistics.mean(s["duplicates"] for s in scores) <= 5
    assert statistics.mean(s["ghosts"] for s in scores) <= 24
    assert statistics.mean(s["p90"] for s in scores) <= 2.5
