"""Says what a drawn patrol is and pins every file of it by its hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ORIGIN_TEXT = (
    "Drawn by this project's own simulator (jiejing simulate patrol). The street is invented: the coordinates lie "
    "near Wuxi so that tracks look usual, nothing there is claimed, nobody and nothing in it is real."
)


def manifest_toml(folder: Path, job: dict[str, Any]) -> str:
    """The manifest of the patrol in `folder`: origin, licence, the job that draws it again, and a SHA-256 per file."""
    lines = [
        f"name = {json.dumps(folder.resolve().name)}",
        'title = "Two passes of one simulated street, the second after half of the things were cleaned away"',
        f"origin = {json.dumps(ORIGIN_TEXT)}",
        'licence = "CC0-1.0"',
        'care = ""',
        "",
        "# What `jiejing simulate patrol` was asked for.",
        "[job]",
        *(f"{key} = {json.dumps(value)}" for key, value in job.items() if value is not None),
        "",
        "# SHA-256 of every file.",
        "[files]",
    ]
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in ("manifest.toml", "job.json") and not path.name.startswith("."):
            lines.append(f'"{name}" = "{hashlib.sha256(path.read_bytes()).hexdigest()}"')
    return "\n".join(lines) + "\n"
