"""Sides of a comparison, round by round: who ran what, how long, and how the medians of the ratios look."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class Side:
    """A running `bench/side.py`."""

    def __init__(self, what: str, python: str, settings: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [python, str(ROOT / "bench" / "side.py"), what, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            text=True,
        )

    def do(self, task: str, **fields: Any) -> dict[str, Any]:
        """Let the side do a task; what it answered."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": task, **fields}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("one side ended; its message stands above")
        return dict(json.loads(line))

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def rounds(sides: dict[str, Side], count: int, task: str, **fields: Any) -> dict[str, list[dict[str, Any]]]:
    """One warming pass each, then `count` rounds in which each side runs once, one after the other."""
    for side in sides.values():
        side.do(task, **fields)
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(count):
        for name, side in sides.items():
            taken[name].append(side.do(task, **fields))
    return taken


def ratio(taken: dict[str, list[dict[str, Any]]], peer: str, key: str, ours: str = "ours") -> float:
    """Median over the rounds of the peer's figure by ours."""
    pairs = zip(taken[peer], taken[ours], strict=True)
    return round(statistics.median(theirs[key] / mine[key] for theirs, mine in pairs), 2)


def middle(taken: list[dict[str, Any]], key: str, per: float = 1.0) -> float:
    """Median of a figure, per piece."""
    return round(statistics.median(one[key] for one in taken) / per, 4)


def machine(python: str = sys.executable) -> dict[str, Any]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    name = re.search(r"model name\s*: (.*)", info)
    wanted = ("openvino", "simplejpeg", "av", "opencv-python-headless", "numpy")
    asked = "import json; from importlib.metadata import version as v; print(json.dumps({n: v(n) for n in %r}))"
    peer = subprocess.run(
        [python, "-c", asked % (["ultralytics", "torch", "openvino"],)], capture_output=True, text=True
    )
    return {
        "cpu": name[1] if name else platform.machine(),
        "cores": os.cpu_count(),
        "amx": "amx_int8" in info,
        "vnni": "avx512_vnni" in info or "avx_vnni" in info,
        "python": platform.python_version(),
        "ours": {name: _version(name) for name in wanted},
        "peer": json.loads(peer.stdout) if peer.returncode == 0 else "not installed",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


def tell(result: dict[str, Any], out: Path | None) -> None:
    """Print a result, and keep it."""
    text = json.dumps(result, indent=2)
    print(text)  # noqa: T201
    if out:
        out.write_text(text + "\n", encoding="utf-8")
