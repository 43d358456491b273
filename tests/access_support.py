"""Callers for the tests of access: keys of every role, and people's tokens of a provider of our own."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from serve.access import Role
from serve.context import Context
from serve.store import keys
from serve.store.database import Reach

ISSUER, AUDIENCE = "https://id.example.org/city", "jiejing"


def context_of(client: TestClient) -> Context:
    """The running server's resources."""
    found: Context = client.app.state.context  # type: ignore[attr-defined]
    return found


def key_for(client: TestClient, role: Role, jurisdiction: str, area: str = "", vehicle: str | None = None) -> str:
    """A new key of that reach, as its holder sends it."""
    with context_of(client).database.writing(Reach(jurisdiction, area, vehicle)) as desk:
        return keys.create(desk, f"{role.value} of {jurisdiction}", role, datetime.now(UTC))[1]


def bearer(token: str) -> dict[str, str]:
    """The header that carries it."""
    return {"Authorization": f"Bearer {token}"}


class Provider:
    """An identity provider: signs tokens, and writes its public keys to a file."""

    def __init__(self, folder: Path) -> None:
        self.jwks = folder / "jwks.json"
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
        self.publish()

    def publish(self) -> None:
        """Write the key set that the server reads."""
        self.jwks.write_text(json.dumps(KeySet([self.key]).as_dict(private=False)), "utf-8")

    @property
    def settings(self) -> dict[str, Any]:
        """What the server is told about this provider."""
        return {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE, "oidc_jwks": str(self.jwks)}

    def token(self, *roles: str, **claims: Any) -> str:
        """A token for a person with these roles; `claims` are added, those that are None left away."""
        about = {"iss": ISSUER, "aud": AUDIENCE, "sub": "u1", "exp": int(time.time()) + 300, "roles": list(roles)}
        about = {name: value for name, value in {**about, **claims}.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, about, self.key)
