"""`jiejing evaluate --cases`: cases against the truth of simulated cities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer


def report_cases(
    seeds: Sequence[int],
    *,
    passes: int,
    km: float,
    things: int,
    rates: Path | None,
    matters: Path | None,
    known_places: bool,
    out: Path | None,
) -> None:
    """Drive through the cities of these seeds, print the figures of their cases, and write them to `out` as JSON."""
    from serve.cases.matters import read_matters
    from training.city.evaluation import evaluate_cases, table
    from training.city.plan import read_rates

    figures = [
        evaluate_cases(
            seed,
            passes=passes,
            km=km,
            things=things,
            rates=read_rates(rates),
            matters=read_matters(matters),
            known_places=known_places,
            progress=lambda done, of: typer.echo(f"pass {done} of {of}", err=True),
        )
        for seed in seeds
    ]
    if out is not None:
        out.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n", encoding="utf-8")
    typer.echo(table(figures))
