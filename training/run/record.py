"""What a run rests on, written beside it: the software, the machine, the seed, and a checksum of every byte it sees."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.run.config import TrainConfig

PACKAGES = ("torch", "ultralytics", "albumentations", "numpy", "opencv-python", "simplejpeg", "openvino", "jiejing")


def data_sha256(data: Path) -> str:
    """One checksum of a gathered folder: SHA-256 over its lists, and each listed picture's and label file's digest.

    Raises TrainingError when it is no such folder.
    """
    total = hashlib.sha256()
    for split in ("train", "val"):
        if not (data / f"{split}.txt").is_file():
            raise TrainingError(f"{data}: no {split}.txt", remedy="make it with `jiejing dataset gather`")
        listed = (data / f"{split}.txt").read_text(encoding="utf-8").splitlines()
        total.update("".join(f"{split} {Path(line).name}\n" for line in listed).encode())
        for path in sorted({Path(line) for line in listed}):
            label = data / "labels" / f"{path.stem}.txt"
            for file in (path, label):
                total.update(hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b"-")
    return total.hexdigest()


def environment() -> dict[str, Any]:
    """Versions, the machine, and the commit of the checkout where there is one."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        commit = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except OSError:
        commit = ""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": versions,
        "commit": commit,
    }


def write_record(run: Path, config: TrainConfig, data: Path) -> Path:
    """Add this start to the run's record.json; a run that resumes on other data or software shows it there."""
    run.mkdir(parents=True, exist_ok=True)
    path = run / "record.json"
    starts = json.loads(path.read_text(encoding="utf-8"))["starts"] if path.is_file() else []
    start = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.seed,
        "data_sha256": data_sha256(data),
        "environment": environment(),
    }
    path.write_text(json.dumps({"starts": [*starts, start]}, indent=1) + "\n", encoding="utf-8")
    return path
