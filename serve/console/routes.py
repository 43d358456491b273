"""The pages for people: map, cases, patrols, sign-in, and the description of the interface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from serve.access import Scope
from serve.cases.events import broken_link
from serve.cases.lifecycle import OPEN_STAGES, STAGE_NAMES, Stage, fold
from serve.console import wording
from serve.console.build import VENDOR, is_built
from serve.context import Here
from serve.doors.cases import CaseId, Wanted, cursor_of
from serve.doors.guard import COOKIE, KNOWN, LOGIN, OPEN, needs
from serve.doors.identity import SESSION_SECONDS, Identity
from serve.doors.patrols import PatrolId
from serve.errors import UnauthorizedError
from serve.store import cases, feedback, patrols, results
from vision.taxonomy import CLASSES, PRIVATE

router = APIRouter(include_in_schema=False)

_HERE = Path(__file__).resolve().parent
_PAGE = 60
_PATROLS = 100
_CASES = [needs(Scope.CASES_READ)]
_PATROLS_READ = [needs(Scope.PATROLS_READ)]
_templates = Jinja2Templates(
    env=Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
)
_templates.env.globals |= {
    "class_name": wording.class_name,
    "colour": wording.colour,
    "stages_en": wording.STAGES_EN,
    "stage_names": {stage.value: name for stage, name in STAGE_NAMES.items()},
    "states": wording.STATES,
    "event_names": wording.EVENTS,
    "verdicts": wording.VERDICTS,
}


def install(app: FastAPI) -> None:
    """Add the pages and their files to the application."""
    # Script and style are read by the browser as what they are called, whatever the machine's own table says.
    app.mount("/static", _Static(directory=_HERE / "static"), name="static")
    app.include_router(router)


class _Static(StaticFiles):
    def file_response(self, *args: Any, **options: Any) -> Response:
        """As usual, but modules are always JavaScript."""
        answer = super().file_response(*args, **options)
        if str(args[0]).endswith((".mjs", ".js")):
            answer.headers["content-type"] = "text/javascript; charset=utf-8"
        answer.headers["cache-control"] = "no-cache"
        return answer


def _render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    return _templates.TemplateResponse(request, template, values, status_code=status)


@router.get("/", dependencies=_CASES)
def page(request: Request, here: Here) -> HTMLResponse:
    """The console."""
    if not is_built():
        return _render(request, "missing.html", 503, vendor=str(VENDOR))
    matters = here.matters
    classes = [name for name, matter in matters.by_class.items() if matter.opens]
    return _render(
        request,
        "page.html",
        place_name=here.settings.place_name or f"辖区 {here.caller.reach.jurisdiction}",
        classes=classes,
        matters=matters,
        stages=[stage.value for stage in Stage if stage in OPEN_STAGES],
        colours=json.dumps({name: wording.colour(name) for name in classes}),
        signed_in=here.settings.guarded,
    )


@router.get("/console/cases", dependencies=_CASES)
def case_list(request: Request, here: Here, wanted: Wanted) -> HTMLResponse:
    """One stretch of the list of cases."""
    with here.reading() as desk:
        found, more = cases.search(desk, wanted, _PAGE)
        pictures = results.evidence_of_cases(desk, [row.id for row in found])
    following = None
    if more:
        url = request.url.include_query_params(cursor=cursor_of(found[-1].first_seen, found[-1].id))
        following = f"{url.path}?{url.query}"
    return _render(
        request,
        "_cases.html",
        rows=found,
        matters=here.matters,
        pictures={case_id: shown[0] for case_id, shown in pictures.items()},
        following=following,
        first=wanted.after is None,
    )


@router.get("/console/cases/{case_id}", dependencies=_CASES)
def case_panel(request: Request, case_id: CaseId, here: Here) -> HTMLResponse:
    """All about one case."""
    with here.reading() as desk:
        row = cases.get(desk, case_id)
        log = cases.log_of(desk, case_id)
        pictures = results.evidence_of_cases(desk, [case_id]).get(case_id, [])
        decisions = feedback.of_case(desk, case_id)
    return _render(
        request,
        "_case.html",
        decisions=decisions,
        decides=bool(pictures) and Scope.FEEDBACK_WRITE in here.caller.scopes,
        others=[name for name in CLASSES if name != row.class_name and name not in PRIVATE],
        by=here.caller.name,
        row=row,
        matter=here.matters.of(row.class_name),
        standard=here.matters.standard,
        pictures=pictures,
        log=list(reversed(log)),
        intact=broken_link(log) is None,
        not_seen=len(fold(log).not_seen_since),
    )


@router.get("/console/patrols", dependencies=_PATROLS_READ)
def patrol_list(request: Request, here: Here) -> HTMLResponse:
    """The patrols, newest first."""
    with here.reading() as desk:
        found = patrols.latest(desk, _PATROLS)
        tallies = {patrol.id: cases.tally_of(desk, patrol.id) for patrol in found}
    busy = any(patrol.state.value in ("queued", "processing", "receiving") for patrol in found)
    return _render(request, "_patrols.html", rows=found, tallies=tallies, busy=busy)


@router.get("/console/patrols/{patrol_id}", dependencies=_PATROLS_READ)
def patrol_panel(request: Request, patrol_id: PatrolId, here: Here) -> HTMLResponse:
    """All about one patrol, and why its other sightings opened no case."""
    report = here.intake.report(patrol_id)
    with here.reading() as desk:
        found = cases.sightings_of_patrol(desk, patrol_id)
    return _render(
        request,
        "_patrol.html",
        report=report,
        with_case=[row for row in found if row["case_id"]],
        without=[row for row in found if not row["case_id"]],
        matters=here.matters,
    )


@router.get("/console/base-map.geojson", dependencies=_CASES)
def base_map(here: Here) -> Response:
    """What is drawn under the cases: the configured file, or nothing."""
    path = here.settings.base_map
    if path is None or not path.is_file():
        return JSONResponse({"type": "FeatureCollection", "features": []})
    return FileResponse(path, media_type="application/geo+json", headers={"Cache-Control": "no-cache"})


@router.get("/console/tracks.geojson", dependencies=_PATROLS_READ)
def tracks(here: Here) -> dict[str, Any]:
    """Where the latest patrols drove, as GeoJSON lines."""
    with here.reading() as desk:
        found = patrols.latest(desk, _PATROLS)
    return {"type": "FeatureCollection", "features": [_line(patrol) for patrol in found if len(patrol.path) > 1]}


def _line(patrol: patrols.Patrol) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": patrol.id,
        "geometry": {"type": "LineString", "coordinates": patrol.path},
        "properties": {"patrol": patrol.id, "vehicle": patrol.vehicle, "started_at": patrol.started_at},
    }


@router.get("/docs", dependencies=[KNOWN])
def docs(request: Request) -> HTMLResponse:
    """The description of the interface, to read and to try."""
    if not is_built():
        return _render(request, "missing.html", 503, vendor=str(VENDOR))
    return _render(request, "docs.html")


@router.get(LOGIN, dependencies=[OPEN])
def login_page(request: Request, here: Here) -> Response:
    """Where a person gives the key."""
    if not here.settings.guarded:
        return RedirectResponse("/", status_code=303)
    return _render(request, "login.html", wrong=False)


@router.post(LOGIN, dependencies=[OPEN])
def login(request: Request, here: Here, key: Annotated[str, Form(max_length=1000)] = "") -> Response:
    """Check the key and let the browser keep a session instead of it."""
    identity: Identity = request.app.state.identity
    try:
        session = identity.session_of(here.database, key)
    except UnauthorizedError:
        return _render(request, "login.html", 401, wrong=True)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        COOKIE,
        session,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer
