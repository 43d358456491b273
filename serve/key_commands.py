"""`jiejing keys`: keys for devices and systems. Heavy imports happen inside, so that help is instant."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve.commands import Data, opened
from vision.errors import UsageError

if TYPE_CHECKING:
    from serve.store.keys import Key

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keys for devices and systems.")
Jurisdiction = Annotated[
    str | None, typer.Option(help="Division code of the city or district.", show_default="the server's own")
]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="As `jiejing keys list` shows it.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who holds it, as it shall stand in logs.")],
    role: Annotated[str, typer.Option(help="device, collector, dispatcher, handler, verifier, supervisor, …")],
    vehicle: Annotated[str | None, typer.Option(help="Only this vehicle's patrols.")] = None,
    area: Annotated[str, typer.Option(help="Only cases in grid cells whose ids begin so.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="Only these of the role's scopes.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; never without it.")] = None,
    jurisdiction: Jurisdiction = None,
    data: Data = None,
) -> None:
    """Create a key and print it: this once, it is kept as a hash only."""
    from serve.access import SCOPES_OF, Role, Scope
    from serve.store import keys
    from serve.store.database import Reach

    if role not in set(Role):
        raise UsageError(f"there is no role {role!r}", remedy=f"one of {', '.join(Role)}")
    unknown = sorted(set(scope or ()) - {one.value for one in SCOPES_OF[Role(role)]})
    if unknown:
        its = ", ".join(sorted(SCOPES_OF[Role(role)]))
        raise UsageError(f"the role {role} has no scope {', '.join(unknown)}", remedy=f"its scopes are {its}")
    if not re.fullmatch(r"\d{0,15}", area):
        raise UsageError(f"{area!r} is no beginning of a grid id", remedy="give up to 15 digits, such as 320211")
    if vehicle is not None and not re.fullmatch(r"[\w.-]{1,64}", vehicle):
        raise UsageError(f"{vehicle!r} is no vehicle", remedy="give letters, digits, dot, dash")
    if not 1 <= len(name) <= 100:
        raise UsageError("the name is empty or too long", remedy="give up to 100 characters")
    now = datetime.now(UTC)
    with opened(data, jurisdiction) as (database, code), database.writing(Reach(code, area, vehicle)) as desk:
        key, token = keys.create(
            desk,
            name,
            Role(role),
            now,
            scopes=None if scope is None else frozenset(Scope(one) for one in scope),
            expires_at=None if days is None else now + timedelta(days=days),
        )
    typer.echo(token)
    typer.echo(f"key {key.id} for {name!r} as {role}; it is not shown again", err=True)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    jurisdiction: Jurisdiction = None,
    data: Data = None,
) -> None:
    """Show the keys, without their secrets."""
    from serve.store import keys

    with opened(data, jurisdiction) as (database, code), database.reading(code) as desk:
        found = [_told(key) for key in keys.listed(desk)]
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for key in found:
        bounds = " ".join(f"{name}={key[name]}" for name in ("area", "vehicle") if key[name])
        typer.echo(f"{key['id']}  {key['state']:8}  {key['role']:12}  {key['name']}  {bounds}".rstrip())


@app.command()
def rotate(
    key_id: KeyId,
    grace_hours: Annotated[float, typer.Option(min=0, max=8760, help="How long the former secret stays good.")] = 24,
    jurisdiction: Jurisdiction = None,
    data: Data = None,
) -> None:
    """Give a key a new secret and print it; the one before stays good for a while."""
    from serve.store import keys

    with opened(data, jurisdiction) as (database, code), database.writing(code) as desk:
        token = keys.rotate(desk, key_id, datetime.now(UTC), timedelta(hours=grace_hours))
    typer.echo(token)


@app.command()
def revoke(key_id: KeyId, jurisdiction: Jurisdiction = None, data: Data = None) -> None:
    """Close a key for ever; servers notice within 15 seconds."""
    from serve.store import keys

    with opened(data, jurisdiction) as (database, code), database.writing(code) as desk:
        key = keys.revoke(desk, key_id, datetime.now(UTC))
    typer.echo(f"key {key.id} ({key.name}) is closed", err=True)


def _told(key: Key) -> dict[str, Any]:
    now = datetime.now(UTC)
    state = "revoked" if key.revoked_at else ("good" if key.usable(now) else "expired")
    moments = {
        name: moment.isoformat() if moment else None
        for name, moment in (
            ("created_at", key.created_at),
            ("expires_at", key.expires_at),
            ("last_used_at", key.last_used_at),
        )
    }
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "scopes": sorted(key.caller.scopes),
        "area": key.area,
        "vehicle": key.vehicle,
        "state": state,
        **moments,
    }
