"""Short runs of what `make chaos` does at length: kills at random moments, faults of the disk at each call."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests import chaos
from tests.postgres_support import MISSING
from tests.process_support import ROOT


@pytest.mark.slow
def test_kills_lose_nothing_on_sqlite() -> None:
    """25 times kill -9 of server or worker while three vehicles send: nothing lost, doubled or left waiting."""
    found = chaos.run(kills=25, every_s=0.6, seed=5)
    assert found["right"], found
    assert found["patrols"] > 5


@pytest.mark.slow
@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_kills_lose_nothing_on_postgresql() -> None:
    """Three workers on PostgreSQL, killed one after the other, and the database stopped at once in between."""
    found = chaos.run(postgres=True, workers=3, kills=6, stops=1, every_s=2.0, seed=5)
    assert found["right"], found
    assert found["patrols"] > 5


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc builds the shim that lets system calls fail")
def test_a_disk_that_fails_once_costs_nothing() -> None:
    """Every ninth write, sync, link and removal of the upload path fails once: nothing acknowledged is lost."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "9"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["faults"] >= 15
