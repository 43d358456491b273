"""Results of the benchmarks as pictures: `python -m bench.plot RESULTS_FOLDER` writes bench/*.svg.

RESULTS_FOLDER holds what `bench.detect` and `bench.fast` wrote with `-o`: detect-640.json, scale.json and so on.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STYLE = "font-family:system-ui,sans-serif;font-size:13px"
OURS, THEIRS = "#1b7f5c", "#9aa5ad"


def svg(width: int, height: int, parts: list[str]) -> str:
    """A picture on white."""
    body = "\n".join(parts)
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="{STYLE}">'
    return f'{frame}\n<rect width="{width}" height="{height}" fill="white"/>\n{body}\n</svg>\n'


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'


def bars(result: dict[str, Any]) -> str:
    """Milliseconds per picture of each side: wall (solid) and CPU (pale)."""
    rows = result["per_picture_s"].items()
    most = max(max(value.values()) for _, value in rows)
    size = "×".join(map(str, result["input"]["ours"]))
    said = f"{result['pictures']} pictures of 12 MP, {result['megabytes_each']} MB each, input {size}"
    parts = [text(10, 20, f"ms per picture, wall (solid) and CPU (pale): {said}")]
    for i, (side, value) in enumerate(rows):
        y = 40 + 50 * i
        parts.append(text(110, y + 24, side.replace("_", " "), "end"))
        for key, at, opacity in (("wall", 0, 1.0), ("cpu", 19, 0.45)):
            wide = 480 * value[key] / most
            colour = OURS if side == "ours" else THEIRS
            parts.append(
                f'<rect x="120" y="{y + at}" width="{wide:.1f}" height="17" fill="{colour}" opacity="{opacity}"/>'
            )
            parts.append(text(126 + wide, y + at + 13, f"{1e3 * value[key]:.0f}"))
    return svg(680, 50 + 50 * len(result["per_picture_s"]), parts)


def scaling(result: dict[str, Any]) -> str:
    """Seconds (line) and peak memory (dots) over the number of pictures, both axes in powers of ten."""
    steps = result["steps"]

    def at(count: float, value: float) -> tuple[float, float]:
        return 70 + 135 * (math.log10(count) - 1), 270 - 60 * math.log10(max(value, 0.1))

    parts = [text(10, 20, "seconds (line) and peak megabytes (dots) of one `jiejing detect` over its pictures")]
    for value in (1, 10, 100, 1000):
        _, y = at(10, value)
        parts.append(
            f'<line x1="70" y1="{y:.0f}" x2="490" y2="{y:.0f}" stroke="#ddd"/>' + text(62, y + 4, str(value), "end")
        )
    line = " ".join("{:.1f},{:.1f}".format(*at(step["pictures"], step["seconds"])) for step in steps)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{OURS}" stroke-width="2"/>')
    for step in steps:
        x, y = at(step["pictures"], step["peak_mb"])
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#b5651d"/>' + text(x, y - 9, str(step["peak_mb"]), "middle")
        )
        x, y = at(step["pictures"], step["seconds"])
        parts.append(text(x + 6, y + 16, f"{step['seconds']:g} s") + text(x, 300, str(step["pictures"]), "middle"))
    return svg(560, 315, parts)


def main() -> None:
    folder = Path(sys.argv[1])
    for file in sorted(folder.glob("detect-*.json")):
        (HERE / f"{file.stem}.svg").write_text(bars(json.loads(file.read_text())), encoding="utf-8")
    if (folder / "scale.json").is_file():
        (HERE / "scale.svg").write_text(scaling(json.loads((folder / "scale.json").read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
