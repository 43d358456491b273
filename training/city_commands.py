"""`jiejing evaluate-cases`: cases against the truth of a simulated city."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def evaluate_cases(
    seed: Annotated[list[int], typer.Option(help="Which city; give it several times for several.")] = [1],  # noqa: B006
    passes: Annotated[int, typer.Option(min=2, max=200, help="Patrols, one a day, in both directions by turns.")] = 10,
    km: Annotated[float, typer.Option(min=0.3, max=100, help="Kilometres of street.")] = 5.0,
    things: Annotated[int, typer.Option(min=1, help="Things that appear, stay, go and come back.")] = 200,
    rates: Annotated[Path | None, typer.Option(help="The detector's error rates; training/city_rates.toml.")] = None,
    matters: Annotated[Path | None, typer.Option(help="The city's own table of matters.")] = None,
    known_places: Annotated[
        bool, typer.Option("--known-places", help="Leave `locate` out: true places with honest errors.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Drive through simulated cities of known truth and score the cases that come of it."""
    from serve.cases.matters import read_matters
    from training.case_evaluation import evaluate_cases as evaluate
    from training.case_evaluation import table
    from training.city import read_rates

    figures = [
        evaluate(
            one,
            passes=passes,
            km=km,
            things=things,
            rates=read_rates(rates),
            matters=read_matters(matters),
            known_places=known_places,
            progress=lambda done, of: typer.echo(f"pass {done} of {of}", err=True),
        )
        for one in seed
    ]
    typer.echo(json.dumps([asdict(one) for one in figures], indent=1) if as_json else table(figures))
