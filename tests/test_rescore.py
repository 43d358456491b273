"""Another model over the stored evidence: compared box by box, and no case changes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from serve.rescore import compare
from serve.store.results import Shown
from tests.process_support import ROOT
from tests.serve_support import cases_of, picture, running, send, thing

BOX = (0.0, 0.0, 100.0, 100.0)


def _shown(class_name: str, case_id: str | None, box: tuple[float, float, float, float] = BOX) -> Shown:
    return Shown("p1", "0" * 64, class_name, case_id, box)


def _seen(*found: tuple[str, list[float]]) -> dict[str, object]:
    return {"boxes": [box for _, box in found], "scores": [0.5] * len(found), "classes": [name for name, _ in found]}


def test_boxes_are_kept_renamed_lost_or_new() -> None:
    """The same class is preferred to a better overlap; each new box pairs once; a case counts as seen when any of its
    pictures still shows it."""
    shown = {
        "e1": [
            _shown("garbage", "c1"),
            _shown("bin", None, (200, 0, 300, 100)),
            _shown("stall", "c2", (400, 0, 500, 90)),
        ],
        "e2": [_shown("garbage", "c1")],
        "e3": [_shown("overflow", "c3")],
        "e4": [_shown("shed", "c4")],
    }
    seen = {
        "e1": _seen(("bin", [0, 0, 100, 100]), ("garbage", [0, 0, 100, 90]), ("overflow", [200, 0, 300, 100])),
        "e2": _seen(),
        "e3": _seen(("shed", [500, 500, 600, 600])),
        "e4": {"fault": "the file was deleted"},
    }
    found = compare(shown, seen)
    assert found["pictures"] == 4
    assert found["classes"] == {
        "bin": {"new": 1, "renamed": 1},
        "garbage": {"kept": 1, "lost": 1},
        "overflow": {"lost": 1},
        "shed": {"new": 1},
        "stall": {"lost": 1},
    }
    assert found["renamed"] == {"bin → overflow": 1}
    assert (found["cases"], found["cases_no_longer_seen"]) == (3, ["c2", "c3"])
    assert found["faults"] == [{"picture": "e4", "reason": "the file was deleted"}]
    assert compare({}, {})["pictures"] == 0


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install -e .[fleet]")
def test_an_archive_is_looked_at_again(tmp_path: Path) -> None:
    """The command looks at each evidence picture with the shipped model, which sees none of the drawn things; the books
    are as they were."""
    data, output = tmp_path / "data", tmp_path / "comparison.json"
    with running(data) as client:
        send(
            client,
            {"a.jpg": picture(thing(), thing("bin", 12), name="a"), "b.jpg": picture(thing("shed", 40), name="b")},
        )
        before = cases_of(client)
    command = ["jiejing.py", "rescore", "--model", "street-n", "--data", str(data), "-o", str(output)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text("utf-8"))
    assert (found["pictures"], found["faults"]) == (2, [])
    assert {name: count.get("lost") for name, count in found["classes"].items() if "lost" in count} == {
        "bin": 1,
        "garbage": 1,
        "shed": 1,
    }
    assert found["cases_no_longer_seen"] == sorted(case["id"] for case in before)
    with running(data) as client:
        assert cases_of(client) == before
