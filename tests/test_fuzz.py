"""A short run of each fuzz target; `make fuzz` is the long one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris is not installed: pip install -e .[fuzz]")
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["gpx", "nmea", "csv", "exif", "image", "mp4", "tus", "camera", "query", "geojson"])
def test_no_input_gets_through(target: str) -> None:
    """A few hundred inputs, always the same ones: nothing but our own errors, no hang, no runaway memory."""
    command = [sys.executable, "-m", "tests.fuzz", target, "-runs=300", "-seed=1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"number_of_executed_units: *[3-9]\d\d", done.stderr), done.stderr[-2000:]
