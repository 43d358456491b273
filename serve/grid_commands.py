"""`jiejing grid`: the city's unit grid, by which cases find their unit. Heavy imports happen inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from serve.commands import Data, opened
from serve.key_commands import Jurisdiction
from vision.errors import UsageError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The city's unit grid, by which cases find their unit."
)
_MOST_BYTES = 512 * 2**20


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="GeoJSON polygons with 15-digit ids, WGS 84 or CGCS2000.")],
    jurisdiction: Jurisdiction = None,
    data: Data = None,
) -> None:
    """Replace the grid by that of a file, and put every case into its cell; the server may run meanwhile.

    Properties: `grid_id` (15 digits), `name`, `unit`; `BGCode` and `DeptName1` are understood too.
    """
    from serve.cases.grid import overlaps, read_grid
    from serve.store import grid
    from serve.store.cases import take_turn

    try:
        if file.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{file} is larger than {_MOST_BYTES >> 20} MB", remedy="simplify its outlines")
        cells = read_grid(file.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror})", remedy="check the path") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}", remedy="correct the file; nothing was changed") from error
    for one, other, area_m2 in overlaps(cells):
        typer.echo(f"{one} and {other} overlap by {area_m2:.0f} m²: there {one} holds", err=True)
    with opened(data, jurisdiction) as (database, code), database.writing(code) as desk:
        take_turn(desk)
        moved = grid.replace(desk, cells)
        left = grid.outside(desk)
    typer.echo(f"{len(cells)} cells; {moved} cases changed their cell, {left} lie in none")


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    jurisdiction: Jurisdiction = None,
    data: Data = None,
) -> None:
    """Show the cells, each with its unit and how many cases lie in it."""
    from serve.store import grid

    with opened(data, jurisdiction) as (database, code), database.reading(code) as desk:
        rows, left = grid.counts(desk), grid.outside(desk)
    if as_json:
        typer.echo(json.dumps({"cells": rows, "outside": left}, ensure_ascii=False, indent=1))
        return
    for row in rows:
        typer.echo(f"{row['id']}  {row['cases']:6}  {row['name']}  {row['unit'] or ''}".rstrip())
    typer.echo(f"{len(rows)} cells; {left} cases lie in none")
