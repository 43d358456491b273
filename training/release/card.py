"""The figures on a model's card: a table between two markers, written anew with every evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.evaluation.evaluate import ENOUGH_BOXES

# Below this mAP50 a card calls a class weak.
WEAK = 0.5
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
REDACTION = ("<!-- redaction: begin -->", "<!-- redaction: end -->")


def table(metrics: Mapping[str, Any]) -> str:
    """One row per class with true boxes: box count, mAP50 with its interval, mAP50-95, precision and recall as shipped;
    then in words what is weak, and what rests on few boxes.

    `metrics` as from `training.evaluation.breakdown.measure`.
    """
    lines = [
        "| class | boxes | mAP50 | holds 9 of 10 | mAP50-95 | threshold | precision | recall |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = dict(metrics["classes"]) | {f"{name} as one family": row for name, row in metrics["families"].items()}
    without = []
    for name, row in rows.items():
        if not row["boxes"]:
            without.append(name)
            continue
        low, high = row["mAP50_interval"]
        at = row["at_threshold"]
        lines.append(
            f"| {name} | {row['boxes']} | {row['mAP50']:.3f} | {low:.2f} to {high:.2f} | {row['mAP50-95']:.3f} "
            f"| {at['threshold']:.2f} | {at['precision']:.2f} | {at['recall']:.2f} |"
        )
    known = {name: row for name, row in rows.items() if row["boxes"]}
    weak = [f"{name} (mAP50 {row['mAP50']:.2f})" for name, row in known.items() if row["mAP50"] < WEAK]
    few = [f"{name} {row['boxes']}" for name, row in known.items() if row["boxes"] < ENOUGH_BOXES]
    if weak:
        lines += ["", f"Weak, not to be relied on: {', '.join(weak)}."]
    if few:
        lines += ["", f"Resting on fewer than {ENOUGH_BOXES} boxes, so hardly more than a hint: {', '.join(few)}."]
    if without:
        lines += ["", f"Without labelled boxes in these pictures, so without a figure: {', '.join(without)}."]
    return "\n".join(lines)


def update(card: Path, metrics: Mapping[str, Any]) -> None:
    """Replace the table of figures. Raises TrainingError when the card or a marker is missing."""
    put(card, BEGIN, END, table(metrics))


def put(card: Path, begin_mark: str, end_mark: str, content: str) -> None:
    """Replace what stands between two of the card's markers. Raises TrainingError when the card or one is missing."""
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    head, begin, rest = text.partition(begin_mark)
    _, end, tail = rest.partition(end_mark)
    if not begin or not end:
        raise TrainingError(
            f"{card}: no place for the figures", remedy=f"write a card with the lines {begin_mark} and {end_mark}"
        )
    card.write_text(f"{head}{begin_mark}\n{content}\n{end_mark}{tail}", encoding="utf-8")


def draft(model: str, data: Path, settings: Path) -> str:
    """The first card of a model: what it learned from and how, with the place for the figures.

    `data` is a folder of `jiejing dataset gather`, `settings` the run's config.json, left out when it is not there.
    What nobody but its makers can know is asked for in words.
    """
    gathered = json.loads((data / "data.json").read_text(encoding="utf-8"))
    known = {one["name"]: one for one in gathered.get("sources", [])}
    rows = []
    for name in sorted({key.rsplit("/", 1)[0] for key in gathered["pictures"]}):
        source = known.get(name, {"title": "made for this run", "knows": [], "licence": "that of its parts"})
        count = gathered["pictures"].get(f"{name}/train", 0)
        rows.append(f"| {name}: {source['title']} | {count} | {', '.join(source['knows'])} | {source['licence']} |")
    how = ""
    if settings.is_file():
        values = json.loads(settings.read_text(encoding="utf-8"))
        shown = ("epochs", "size", "batch", "rate", "freeze", "seed")
        fields = ", ".join(f"{name} {values[name]}" for name in shown)
        how = f"Trained with {fields}; everything in the run's config.json.\n\n"
    return f"""# {model}

YOLO26n for the thirteen things that Jiejing looks for. It sees things, not offences. `model.toml` names files and
hashes.

## What it learned from

| source | training pictures | labels | licence |
|---|---|---|---|
{chr(10).join(rows)}

A source that does not label a class does not teach its absence: the loss is silent there.

{how}## Figures

Through the server's own runtime on the validation pictures of the sources. The thresholds were chosen on the same
pictures, which flatters precision and recall a little, not the mAP.

{BEGIN}
{END}

What is hidden of people and plates (`jiejing redact evaluate … --store`):

{REDACTION[0]}
{REDACTION[1]}

## What it is not good at

Nobody has looked yet. Write here what the page of `jiejing evaluate --page` shows.
"""
