"""Who may do what: keys, people's tokens, sessions, scopes, limits, and secrets that stay out of the logs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from joserfc import jwt
from joserfc.jwk import RSAKey
from typer.testing import CliRunner

from serve.access import SCOPES_OF, Role, Scope
from serve.app import create_app
from serve.doors import guard, identity
from serve.doors.guard import OPEN, declared, undeclared
from serve.doors.limits import Buckets
from serve.errors import SettingsError, TooManyError
from serve.key_commands import app as keys_app
from serve.settings import Settings
from serve.store import keys
from tests.access_support import Provider, bearer, context_of, key_for
from tests.serve_support import manifest, picture, running, send, thing

CITY = "320200"
FILES = {"a.jpg": picture(thing(), name="a")}


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that remember no answer, so that what changes shows at once."""
    monkeypatch.setattr(identity, "_REMEMBERED_S", 0.0)


def test_every_route_says_what_it_asks_for(tmp_path: Path) -> None:
    """Walking all routes finds none that is silent, and each scope is asked for by some route."""
    app = create_app(Settings(data=tmp_path, _env_file=None))
    assert undeclared(app) == []
    wanted = declared(app)
    assert len(wanted) >= 20
    assert {one.scope for one in wanted.values() if one is not None and one.scope} == set(Scope)
    assert {path for (_, path), one in wanted.items() if one is not None and one.is_open} == {
        "/health/live",
        "/health/ready",
        "/login",
    }


def test_a_route_that_does_not_say_is_found() -> None:
    """A silent route, an open one where the guard is shut, and a mount of unknown content are all found."""
    router = APIRouter()
    router.add_api_route("/silent", lambda: None)
    router.add_api_route("/open", lambda: None, dependencies=[OPEN])
    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(router)
    app.mount("/files", lambda *_: None)
    assert undeclared(app) == ["* /files", "GET /open", "GET /silent"]


def test_every_role_has_scopes_and_only_the_admin_all() -> None:
    """No role is empty, none but the admin has everything, and a device can read no case."""
    assert set(SCOPES_OF) == set(Role)
    assert all(SCOPES_OF.values())
    assert [role for role, scopes in SCOPES_OF.items() if scopes == set(Scope)] == [Role.ADMIN]
    assert Scope.CASES_READ not in SCOPES_OF[Role.DEVICE]


def test_a_key_opens_what_its_role_may_and_nothing_else(tmp_path: Path) -> None:
    """A device uploads and reads its report; cases, deletion and detection answer 403 with the scope it lacks."""
    with running(tmp_path, require_keys=True, jurisdiction=CITY) as client:
        client.headers |= bearer(key_for(client, Role.DEVICE, CITY))
        patrol = send(client, FILES)
        assert client.get(f"/v1/patrols/{patrol}").json()["state"] == "done"
        for method, path in (
            ("GET", "/v1/cases"),
            ("DELETE", f"/v1/patrols/{patrol}"),
            ("POST", "/v1/detect"),
            ("GET", "/v1/feedback"),
            ("GET", "/metrics"),
            ("GET", "/"),
        ):
            answer = client.request(method, path)
            assert answer.status_code == 403, path
            assert "lacks the scope" in answer.json()["detail"]


def test_a_key_is_kept_as_a_hash_only(tmp_path: Path) -> None:
    """256 random bits; neither database nor list holds them."""
    with running(tmp_path, require_keys=True, jurisdiction=CITY) as client:
        token = key_for(client, Role.DEVICE, CITY)
        secret = token.split("_", 2)[2]
        assert len(secret) == 43
        assert client.get("/v1/patrols", headers=bearer(token)).status_code == 200
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("jiejing.sqlite*"))
    assert token.encode() not in stored
    assert secret.encode() not in stored


def test_keys_expire_rotate_and_are_revoked(tmp_path: Path) -> None:
    """After a rotation both secrets are good until the grace ends; an expired or revoked key opens nothing."""
    now = datetime.now(UTC)
    with running(tmp_path, require_keys=True, jurisdiction=CITY) as client:
        database = context_of(client).database

        def status(token: str) -> int:
            return client.get("/v1/patrols", headers=bearer(token)).status_code

        with database.writing(CITY) as desk:
            key, first = keys.create(desk, "cam", Role.DEVICE, now)
            _, expired = keys.create(desk, "old", Role.DEVICE, now, expires_at=now - timedelta(seconds=1))
        assert (status(first), status(expired)) == (200, 401)
        with database.writing(CITY) as desk:
            second = keys.rotate(desk, key.id, now, timedelta(hours=1))
        assert (status(first), status(second)) == (200, 200)
        with database.writing(CITY) as desk:
            third = keys.rotate(desk, key.id, now, timedelta(0))
        assert (status(first), status(second), status(third)) == (401, 401, 200)
        with database.writing(CITY) as desk:
            keys.revoke(desk, key.id, now)
        assert status(third) == 401
        assert status(third.replace(key.id, "0" * 12)) == 401


def test_a_vehicles_key_speaks_for_that_vehicle_only(tmp_path: Path) -> None:
    """It can't announce for another one, and another one's patrols are not found."""
    with running(tmp_path, require_keys=True, jurisdiction=CITY) as client:
        client.headers |= bearer(key_for(client, Role.DEVICE, CITY, vehicle="v2"))
        foreign = send_as(client, key_for(client, Role.DEVICE, CITY), "v1")
        assert client.post("/v1/patrols", json=manifest(FILES, vehicle="v1")).status_code == 403
        assert client.get(f"/v1/patrols/{foreign}").status_code == 404
        assert client.get("/v1/patrols").json()["patrols"] == []
        own = send(client, FILES, vehicle="v2")
        assert [one["id"] for one in client.get("/v1/patrols").json()["patrols"]] == [own]


def send_as(client: object, token: str, vehicle: str) -> str:
    """Send the usual patrol with another key."""
    before = client.headers["Authorization"]  # type: ignore[attr-defined]
    client.headers["Authorization"] = f"Bearer {token}"  # type: ignore[attr-defined]
    try:
        return send(client, FILES, vehicle=vehicle)  # type: ignore[arg-type]
    finally:
        client.headers["Authorization"] = before  # type: ignore[attr-defined]


def test_people_come_with_tokens_of_their_provider(tmp_path: Path) -> None:
    """Roles, jurisdiction and area come from the claims; nested claims are reached with dots."""
    provider = Provider(tmp_path)
    options = provider.settings | {"oidc_roles_claim": "realm.roles", "oidc_jurisdiction_claim": "city"}
    with running(tmp_path, jurisdiction=CITY, **options) as client:
        client.headers |= bearer(provider.token(realm={"roles": ["admin", "else"]}, city=CITY))
        send(client, FILES)
        assert len(client.get("/v1/cases").json()["features"]) == 1
        for claims, status, count in (
            ({"realm": {"roles": ["handler"]}, "city": CITY}, 200, 1),
            ({"realm": {"roles": "handler"}, "city": "110000"}, 200, 0),
            ({"realm": {"roles": ["handler"]}}, 403, 0),
            ({"realm": {"roles": ["unheard-of"]}, "city": CITY}, 403, 0),
            ({"realm": ["handler"], "city": CITY}, 403, 0),
        ):
            answer = client.get("/v1/cases", headers=bearer(provider.token(**claims)))
            assert answer.status_code == status, claims
            assert len(answer.json().get("features", [])) == count, claims


def test_a_token_that_does_not_hold_opens_nothing(tmp_path: Path) -> None:
    """Expired, of another issuer or audience, without an end, unsigned, signed with the public key, or nonsense."""
    provider = Provider(tmp_path)
    stranger = RSAKey.generate_key(2048, {"kid": "first"})
    claims = {"iss": "https://id.example.org/city", "aud": "jiejing", "sub": "u", "exp": 4e9, "roles": ["admin"]}
    with running(tmp_path, **provider.settings) as client:
        assert client.get("/v1/cases", headers=bearer(provider.token("admin"))).status_code == 200
        for token in (
            provider.token("admin", exp=int(time.time()) - 60),
            provider.token("admin", exp=None),
            provider.token("admin", sub=None),
            provider.token("admin", iss="https://evil.example"),
            provider.token("admin", aud=["another"]),
            jwt.encode({"alg": "RS256", "kid": "first"}, claims, stranger),
            _signed_with_the_public_key(provider, claims),
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1In0.",
            "a.b.c",
        ):
            assert client.get("/v1/cases", headers=bearer(token)).status_code == 401, token


def _signed_with_the_public_key(provider: Provider, claims: dict[str, object]) -> str:
    """What a server would take that lets the token say how it is signed."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "first"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    mark = hmac.new(provider.key.as_pem(private=False), text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(mark).rstrip(b"=")).decode()


def test_a_provider_may_change_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token with an unknown key id makes the server read the keys again, but not for every invented id."""
    monkeypatch.setattr("serve.tokens._ASK_AGAIN_S", 0.0)
    provider = Provider(tmp_path)
    with running(tmp_path, **provider.settings) as client:
        assert client.get("/v1/cases", headers=bearer(provider.token("admin"))).status_code == 200
        provider.key = RSAKey.generate_key(2048, {"kid": "second"})
        assert client.get("/v1/cases", headers=bearer(provider.token("admin"))).status_code == 401
        provider.publish()
        assert client.get("/v1/cases", headers=bearer(provider.token("admin"))).status_code == 200
        provider.jwks.unlink()
        provider.key = RSAKey.generate_key(2048, {"kid": "third"})
        answer = client.get("/v1/cases", headers=bearer(provider.token("admin")))
        assert (answer.status_code, "JIEJING_OIDC_JWKS" in answer.json()["detail"]) == (503, True)


def test_settings_of_people_belong_together(tmp_path: Path) -> None:
    """An issuer without its keys is refused, and with all three a server may listen anywhere."""
    with pytest.raises(ValueError, match="belong together"):
        Settings(_env_file=None, oidc_issuer="https://id.example.org")
    Settings(_env_file=None, host="0.0.0.0", **Provider(tmp_path).settings).refuse_open_door()
    Settings(_env_file=None, host="0.0.0.0", require_keys=True).refuse_open_door()
    with pytest.raises(SettingsError):
        Settings(_env_file=None, host="0.0.0.0").refuse_open_door()


def test_a_browser_session_ends_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key signs a person in; the session has that key's reach, and ends when the key is revoked or time is up."""
    with running(tmp_path, require_keys=True, jurisdiction=CITY) as client:
        token = key_for(client, Role.HANDLER, CITY)
        assert client.post("/login", data={"key": token}, follow_redirects=False).status_code == 303
        assert client.get("/v1/cases").status_code == 200
        assert client.get("/v1/patrols").status_code == 403
        session = client.cookies[guard.COOKIE]
        client.cookies.clear()
        for forged in (
            session[:-1] + ("0" if session[-1] != "0" else "1"),
            "own.9999999999.00",
            "x",
            "..",
            session * 2,
        ):
            assert client.get("/v1/cases", headers=_cookie(forged)).status_code == 401, forged
        with monkeypatch.context() as later:
            later.setattr(identity.time, "time", lambda: time.monotonic() + 4e9)
            assert client.get("/v1/cases", headers=_cookie(session)).status_code == 401
        assert client.get("/v1/cases", headers=_cookie(session)).status_code == 200
        with context_of(client).database.writing(CITY) as desk:
            keys.revoke(desk, token.split("_")[1], datetime.now(UTC))
        assert client.get("/v1/cases", headers=_cookie(session)).status_code == 401


def _cookie(session: str) -> dict[str, str]:
    return {"Cookie": f"{guard.COOKIE}={session}"}


def test_too_many_requests_are_told_to_wait(tmp_path: Path) -> None:
    """Beyond a caller's share the answer is 429 with Retry-After; another caller is not held up."""
    with running(tmp_path, require_keys=True, jurisdiction=CITY, requests_per_minute=60) as client:
        busy, other = (key_for(client, Role.HANDLER, CITY) for _ in range(2))
        statuses = [client.get("/v1/cases", headers=bearer(busy)).status_code for _ in range(12)]
        assert statuses[:10] == [200] * 10
        assert statuses[-1] == 429
        answer = client.get("/v1/cases", headers=bearer(busy))
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.get("/v1/cases", headers=bearer(other)).status_code == 200


def test_guessing_keys_is_slow(tmp_path: Path) -> None:
    """After twenty wrong keys from one address even a right one has to wait; so does the sign-in page."""
    with running(tmp_path, require_keys=True, jurisdiction=CITY) as client:
        right = key_for(client, Role.HANDLER, CITY)
        statuses = [client.get("/v1/cases", headers=bearer(f"jj_{n:012}_x")).status_code for n in range(25)]
        assert statuses.count(401) in (20, 21)
        assert client.get("/v1/cases", headers=bearer(right)).status_code == 429
        assert client.post("/login", data={"key": "guess"}).status_code == 429


def test_buckets_fill_up_again_and_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket lets its burst through, then its rate; inventing names costs no memory."""
    clock = [100.0]
    monkeypatch.setattr("serve.doors.limits.time.monotonic", lambda: clock[0])
    buckets = Buckets(per_minute=60, burst=3)
    for _ in range(3):
        buckets.ensure("a")
        buckets.spend("a")
    with pytest.raises(TooManyError) as told:
        buckets.ensure("a")
    assert told.value.retry_after_s == 1
    clock[0] += 1.0
    buckets.ensure("a")
    for number in range(20_000):
        buckets.spend(str(number))
    assert len(buckets._left) == 10_000


def test_the_keys_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """create prints the key once, list shows no secret, rotate gives another, revoke closes it; wrong use says how."""
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    made = run(keys_app, ["create", "cam 7", "--role", "device", "--vehicle", "v7", "--data", str(tmp_path)])
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    listed = run(keys_app, ["list", "--json", "--data", str(tmp_path)])
    (key,) = json.loads(listed.stdout)
    assert key["vehicle"] == "v7"
    assert key["state"] == "good"
    assert token.split("_", 2)[2] not in listed.stdout
    turned = run(keys_app, ["rotate", key["id"], "--data", str(tmp_path)]).stdout.strip()
    assert turned.startswith(f"jj_{key['id']}_")
    assert turned != token
    assert run(keys_app, ["revoke", key["id"], "--data", str(tmp_path)]).exit_code == 0
    assert "revoked" in run(keys_app, ["list", "--data", str(tmp_path)]).stdout
    for wrong in (
        ["--role", "king"],
        ["--role", "device", "--scope", "cases:read"],
        ["--role", "handler", "--area", "x"],
    ):
        failed = run(keys_app, ["create", "n", *wrong, "--data", str(tmp_path)])
        assert failed.exit_code != 0


def test_answers_carry_security_headers(tmp_path: Path) -> None:
    """No framing, no sniffing, no shared caching; over HTTPS browsers are told to stay there."""
    with running(tmp_path) as client:
        plain = client.get("/v1/cases").headers
        secure = client.get("https://127.0.0.1/v1/cases").headers
        refused = client.get("/v1/cases", headers={"Host": "evil.example"}).headers
    for headers in (plain, secure, refused):
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in plain
    assert "max-age" in secure["strict-transport-security"]
