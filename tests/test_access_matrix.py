"""All routes × all roles × own and foreign objects, made from the application's own list of routes: nothing leaks."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve.access import SCOPES_OF, Role, Scope
from serve.doors import identity
from serve.doors.guard import declared
from serve.doors.uploads import CHUNK_TYPE
from serve.store.tables import cases, sightings
from tests.access_support import bearer, context_of, key_for
from tests.serve_support import manifest, picture, running, send, thing

OWN, FOREIGN = "320200", "110000"
OWN_AREA, FOREIGN_AREA = "320211001", "320213004"


@dataclass(frozen=True)
class Objects:
    """One of everything that a route can name, and words that nobody else may read."""

    vehicle: str
    files: dict[str, bytes]
    patrol_id: str
    case_id: str
    picture_id: str
    sighting_id: str
    # The last one is the one that there is.
    uploads: list[str]

    def fill(self, path: str) -> str:
        """The path with its parameters; fails for a parameter that the matrix does not know yet."""
        known = {
            "patrol_id": self.patrol_id,
            "case_id": self.case_id,
            "picture_id": self.picture_id,
            "upload_id": self.uploads[-1],
            "sha256": hashlib.sha256(self.files["a.jpg"]).hexdigest(),
        }
        return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: known[found[1]], path)

    def body(self, method: str, path: str) -> dict[str, Any]:
        """What is sent to a route that takes something."""
        if (method, path) == ("POST", "/v1/patrols"):
            return {"json": manifest(self.files, vehicle=self.vehicle)}
        if (method, path) == ("POST", "/v1/feedback"):
            return {"json": {"verdict": "confirm", "case": self.case_id, "by": "operator"}}
        if path.startswith("/v1/uploads"):
            return {"headers": self.upload_headers(), "content": b""}
        return {"content": self.files["a.jpg"]} if method == "PUT" else {}

    def upload_headers(self) -> dict[str, str]:
        """What the upload protocol asks for, in every kind of request."""
        data = self.files["a.jpg"]
        about = {"patrol": self.patrol_id, "sha256": hashlib.sha256(data).hexdigest()}
        return {
            "Tus-Resumable": "1.0.0",
            "Content-Type": CHUNK_TYPE,
            "Upload-Length": str(len(data)),
            "Upload-Offset": "0",
            "Upload-Metadata": ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in about.items()),
            "X-HTTP-Method-Override": "HEAD",
        }

    def upload(self, client: TestClient) -> None:
        """Have an upload that is this one's."""
        made = client.post("/v1/uploads", headers=self.upload_headers())
        self.uploads.append(made.headers["location"].rsplit("/", 1)[-1])

    def words(self) -> set[str]:
        """What gives these objects away."""
        return {self.vehicle, self.patrol_id, self.case_id, self.picture_id, self.sighting_id, *self.uploads}


def _filled(client: TestClient, admin: str, vehicle: str, jurisdiction: str, at_m: float) -> Objects:
    files = {"a.jpg": picture(thing(at_m=at_m), name=vehicle)}
    client.headers |= bearer(admin)
    patrol = send(client, files, vehicle=vehicle)
    with context_of(client).database.reading(jurisdiction) as desk:
        row = desk.connection.execute(sightings.select().where(sightings.c.patrol_id == patrol)).one()
    case = client.get(f"/v1/cases/{row.case_id}").json()
    evidence = case["properties"]["evidence"][0]["url"].split("/")[-1].removesuffix(".jpg")
    found = Objects(vehicle, files, patrol, row.case_id, evidence, row.id, [])
    found.upload(client)
    return found


@dataclass(frozen=True)
class World:
    """A server with objects of two cities, and in one of them of two areas and two vehicles."""

    client: TestClient
    own: Objects
    neighbour: Objects
    abroad: Objects
    admin: str

    def ask(self, token: str | None, method: str, path: str, about: Objects) -> Any:
        """Send the request that is about these objects."""
        self.client.headers.pop("Authorization", None)
        body = about.body(method, path)
        headers = {**body.pop("headers", {}), **({} if token is None else bearer(token))}
        return self.client.request(method, about.fill(path), headers=headers, follow_redirects=False, **body)

    def restore(self) -> None:
        """Send again what a test has deleted."""
        self.client.headers |= bearer(self.admin)
        assert send(self.client, self.own.files, vehicle=self.own.vehicle) == self.own.patrol_id
        self._place(self.own, OWN_AREA)
        self.own.upload(self.client)

    def _place(self, objects: Objects, area: str) -> None:
        with context_of(self.client).database.writing(OWN) as desk:
            row = cases.update().where(cases.c.id == objects.case_id)
            desk.connection.execute(row.values(grid_id=f"{area}001001"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The server, filled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "_REMEMBERED_S", 0.0)
        options = {"require_keys": True, "requests_per_minute": 1_000_000}
        with running(tmp_path_factory.mktemp("matrix"), jurisdiction=OWN, **options) as client:
            admin = key_for(client, Role.ADMIN, OWN)
            own = _filled(client, admin, "own-vehicle", OWN, 0)
            neighbour = _filled(client, admin, "next-vehicle", OWN, 300)
            abroad = _filled(client, key_for(client, Role.ADMIN, FOREIGN), "far-vehicle", FOREIGN, 600)
            world = World(client, own, neighbour, abroad, admin)
            world._place(own, OWN_AREA)
            world._place(neighbour, FOREIGN_AREA)
            yield world


def _routes(world: World) -> list[tuple[str, str, Scope]]:
    """Every route that asks for a scope, those that delete last."""
    found = [
        (method, path, needs.scope)
        for (method, path), needs in declared(world.client.app).items()  # type: ignore[arg-type]
        if needs is not None and needs.scope is not None and method != "HEAD"
    ]
    assert len(found) >= 18
    return sorted(found, key=lambda one: (one[0] == "DELETE", one[1], one[0]))


def _check(world: World, role: Role, token: str, own: Objects | None, foreign: Objects, count: list[int]) -> None:
    """One role on all routes: what it lacks is 403, foreign objects are 404 or absent, own ones are there."""
    for method, path, scope in _routes(world):
        allowed = scope in SCOPES_OF[role]
        where = f"{role} {method} {path}"
        names_one = "{" in path or (method, path) in {("POST", "/v1/feedback"), ("POST", "/v1/uploads")}
        announces = (method, path) == ("POST", "/v1/patrols")
        for about in (foreign, own) if own else (foreign,):
            if announces and about is foreign and own is not None:
                continue  # the same words would name a new patrol of one's own city
            answer = world.ask(token, method, path, about)
            count[0] += 1
            if not allowed or (announces and about is foreign):
                assert answer.status_code == 403, where
            elif about is own:
                assert answer.status_code not in (401, 403, 404, 500), where
            elif names_one:
                assert answer.status_code == 404, where
            # An error may repeat what was asked for; nothing else of another's may be in any answer.
            asked_for = (
                {about.patrol_id, about.case_id, about.picture_id, about.vehicle, *about.uploads}
                if answer.is_error
                else set()
            )
            leaked = {word for word in foreign.words() - asked_for if word in answer.text}
            assert not leaked, (where, leaked)
            if method == "DELETE" and answer.is_success:
                world.restore()


@pytest.mark.parametrize("role", list(Role))
def test_nothing_leaks_between_cities_areas_and_vehicles(world: World, role: Role) -> None:
    """Each role on every route, with its own objects, another city's, another area's and another vehicle's."""
    count = [0]
    _check(world, role, key_for(world.client, role, OWN), world.own, world.abroad, count)
    bound = key_for(world.client, role, OWN, area=OWN_AREA)
    _check(world, role, bound, None, world.neighbour, count)
    _check(world, role, bound, None, world.abroad, count)
    assert count[0] >= 4 * 18
    if Scope.CASES_READ in SCOPES_OF[role]:
        assert world.ask(bound, "GET", "/v1/cases/{case_id}", world.own).status_code == 200
        assert world.ask(bound, "GET", "/v1/evidence/{picture_id}.jpg", world.own).status_code == 200
        assert [one["id"] for one in world.ask(bound, "GET", "/v1/cases", world.own).json()["features"]] == [
            world.own.case_id
        ]
    if Scope.PATROLS_READ in SCOPES_OF[role]:
        vehicle = key_for(world.client, role, OWN, vehicle=world.own.vehicle)
        for method, path, scope in _routes(world):
            if scope.value.startswith("patrols:") and scope in SCOPES_OF[role]:
                answer = world.ask(vehicle, method, path, world.neighbour)
                if "{" in path:
                    assert answer.status_code == 404, (method, path)
                told = answer.text.replace(world.neighbour.fill(path), "")
                assert world.neighbour.case_id not in told
                assert answer.is_error or world.neighbour.vehicle not in told, (method, path)


def test_without_a_key_every_route_asks_for_one(world: World) -> None:
    """No credentials, or those of nobody: 401 on all routes but the open ones, whatever they name."""
    for method, path, _ in _routes(world):
        for token in (None, "jj_000000000000_x"):
            if token is None or (method == "GET" and path == "/v1/cases"):
                assert world.ask(token, method, path, world.own).status_code == 401, (method, path)


def test_no_route_gives_an_original(world: World) -> None:
    """Not even an admin gets the bytes that a vehicle sent, from any route that answers a GET."""
    for method, path, _ in _routes(world):
        if method == "GET":
            answer = world.ask(world.admin, method, path, world.own)
            assert answer.is_success or answer.status_code in (404, 503), path
            assert world.own.files["a.jpg"] not in answer.content, path
