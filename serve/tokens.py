"""People's tokens: JWTs of the city's own identity provider, checked against its published keys."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from serve.access import SCOPES_OF, Caller, Role, Scope
from serve.errors import SettingsError, UnauthorizedError
from serve.settings import Settings, is_loopback
from serve.store.database import Reach

# Public-key signatures only: with a shared secret among them, a public key could be taken for one.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_LEEWAY_S = 30
_KEYS_GOOD_S = 3600.0
# An unknown key id asks for the keys anew, but whoever invents ids must not make us ask all the time.
_ASK_AGAIN_S = 60.0
_MOST_BYTES = 1024**2


class People:
    """Turns a person's token into a caller. Safe to share between threads.

    Roles, jurisdiction and area are claims; a name with dots goes into nested ones (`realm_access.roles`).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._keys: KeySet | None = None
        self._read_at = 0.0
        self._claims = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": settings.oidc_issuer or ""},
            aud={"essential": True, "value": settings.oidc_audience or ""},
            exp={"essential": True},
            sub={"essential": True},
        )

    def caller_of(self, token: str) -> Caller:
        """Whoever the token speaks of. Raises UnauthorizedError when it does not hold."""
        try:
            try:
                decoded = jwt.decode(token, self._key_set(_KEYS_GOOD_S), algorithms=_ALGORITHMS)
            except InvalidKeyIdError:
                decoded = jwt.decode(token, self._key_set(_ASK_AGAIN_S), algorithms=_ALGORITHMS)
            self._claims.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise UnauthorizedError(
                f"the token does not hold ({type(error).__name__})", remedy="sign in again at the identity provider"
            ) from error
        return self._caller(decoded.claims)

    def _caller(self, claims: dict[str, Any]) -> Caller:
        settings = self._settings
        said = _claim(claims, settings.oidc_roles_claim)
        names = {said} if isinstance(said, str) else {name for name in said or () if isinstance(name, str)}
        scopes: frozenset[Scope] = frozenset().union(*(SCOPES_OF[role] for role in Role if role.value in names))
        jurisdiction: Any = settings.jurisdiction
        if settings.oidc_jurisdiction_claim is not None:
            jurisdiction = _claim(claims, settings.oidc_jurisdiction_claim)
        area: Any = ""
        if settings.oidc_area_claim is not None:
            area = _claim(claims, settings.oidc_area_claim)
        if not isinstance(jurisdiction, str) or not isinstance(area, str) or not jurisdiction:
            # Without them nothing says how far this person reaches: not at all.
            scopes, jurisdiction, area = frozenset(), "", ""
        subject = str(claims["sub"])
        name = str(claims.get("name") or claims.get("preferred_username") or subject)
        return Caller(f"person:{subject}"[:200], name[:100], scopes, Reach(jurisdiction, area))

    def _key_set(self, good_s: float) -> KeySet:
        with self._lock:
            now = time.monotonic()
            if self._keys is None or now - self._read_at > good_s:
                self._keys, self._read_at = read_keys(self._settings.oidc_jwks or ""), now
            return self._keys


def _claim(claims: dict[str, Any], name: str) -> Any:
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def read_keys(source: str) -> KeySet:
    """The key set from a file, or from an address that nobody on the way can change."""
    parts = urlsplit(source)
    try:
        if parts.scheme in ("https", "http"):
            if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                raise SettingsError(f"{source}: keys over plain HTTP", remedy="give an https address or a file")
            with urllib.request.urlopen(source, timeout=5) as answer:
                text = answer.read(_MOST_BYTES)
        else:
            text = Path(source).read_bytes()
        return KeySet.import_key_set(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, JoseError) as error:
        raise SettingsError(
            f"the identity provider's keys cannot be read from {source} ({type(error).__name__})",
            remedy="set JIEJING_OIDC_JWKS to its JWKS address or to a file of it",
        ) from error
