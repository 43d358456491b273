"""From labelled pictures to a published model, as the README shows it: the real command line, five commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.labelled import tiny_set
from vision.detecting.model import load_model

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def documented() -> list[list[str]]:
    """The commands that the README shows under its heading, as words without `jiejing`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"Train a detector of your own.*?```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return [shlex.split(line.split("  #")[0])[1:] for line in block[1].splitlines()]


def test_five_commands_lead_from_labelled_pictures_to_a_published_model(tmp_path: Path) -> None:
    """The README's five commands, with tiny pictures, untrained weights and one pass, give a measured, carded model."""
    pytest.importorskip("ultralytics", reason="ultralytics comes with the [train] extra")
    environment = os.environ | {"YOLO_CONFIG_DIR": str(tmp_path / "library"), "PYTHONPATH": str(ROOT)}
    make = (
        "import sys, torch; from safetensors.torch import save_file; from training.run.network import *;"
        "torch.manual_seed(0); model = DetectionModel(f'{ARCHITECTURE}.yaml', nc=COCO_CLASSES, verbose=False);"
        "save_file({k: v.contiguous() for k, v in model.state_dict().items()}, sys.argv[1])"
    )
    weights = tmp_path / "yolo26n-coco.safetensors"
    subprocess.run([sys.executable, "-c", make, str(weights)], env=environment, cwd=tmp_path, check=True)
    tiny_set(tmp_path / "pictures")
    small = {
        "train": shlex.split("--set epochs=1 --set size=64 --set batch=2 --set warmup_epochs=0 --set close_mosaic=0"),
        "export": ["--input", "64x64"],
        "publish": ["--registry", str(tmp_path / "models")],
    }
    (tmp_path / "models").mkdir()
    commands = documented()
    assert [words[1] if words[0] == "dataset" else words[0] for words in commands] == [
        "check",
        "gather",
        "train",
        "export",
        "publish",
    ]
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", "jiejing", *words, *small.get(words[0], [])],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
    published = tmp_path / "models" / "street-n"
    metrics = json.loads((published / "metrics.json").read_text())
    assert metrics["model"] == load_model(published).id
    assert metrics["classes"]["bin"]["boxes"] == 3
    card = (published / "CARD.md").read_text()
    assert "| tiny: drawn by a test | 9 | waste | CC0 |" in card
    assert "| bin | 3 |" in card
    record = json.loads((tmp_path / "runs" / "a" / "record.json").read_text())
    assert len(record["starts"][0]["data_sha256"]) == 64
