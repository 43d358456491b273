"""Who may do what: roles are sets of scopes, a route asks for one scope, a caller reaches one jurisdiction or less."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from serve.store.database import Reach


class Scope(StrEnum):
    """What a route asks for."""

    PATROLS_WRITE = "patrols:write"  # announce patrols, send their files
    PATROLS_READ = "patrols:read"  # reports, sightings, tracks
    PATROLS_MANAGE = "patrols:manage"  # process again, delete
    CASES_READ = "cases:read"  # cases, their logs, evidence, the map
    DETECT = "detect"
    FEEDBACK_WRITE = "feedback:write"
    FEEDBACK_READ = "feedback:read"  # the export for training
    METRICS_READ = "metrics:read"


class Role(StrEnum):
    """What a key or a person is for."""

    DEVICE = "device"
    COLLECTOR = "collector"
    DISPATCHER = "dispatcher"
    HANDLER = "handler"
    VERIFIER = "verifier"
    SUPERVISOR = "supervisor"
    ML_ENGINEER = "ml-engineer"
    ADMIN = "admin"


_S = Scope
SCOPES_OF: dict[Role, frozenset[Scope]] = {
    Role.DEVICE: frozenset({_S.PATROLS_WRITE, _S.PATROLS_READ}),
    Role.COLLECTOR: frozenset({_S.PATROLS_WRITE, _S.PATROLS_READ, _S.CASES_READ, _S.DETECT, _S.FEEDBACK_WRITE}),
    Role.DISPATCHER: frozenset({_S.PATROLS_READ, _S.CASES_READ, _S.FEEDBACK_WRITE}),
    Role.HANDLER: frozenset({_S.CASES_READ}),
    Role.VERIFIER: frozenset({_S.PATROLS_READ, _S.CASES_READ, _S.FEEDBACK_WRITE}),
    Role.SUPERVISOR: frozenset({_S.PATROLS_READ, _S.PATROLS_MANAGE, _S.CASES_READ, _S.FEEDBACK_WRITE}),
    Role.ML_ENGINEER: frozenset({_S.PATROLS_READ, _S.CASES_READ, _S.DETECT, _S.FEEDBACK_READ, _S.METRICS_READ}),
    Role.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request. `id` is stable and fit for logs; `reach` bounds every query made on their behalf."""

    id: str
    name: str
    scopes: frozenset[Scope]
    reach: Reach


# Before anybody has said who they are: no scope, and a jurisdiction that nothing belongs to.
NOBODY = Caller("nobody", "nobody", frozenset(), Reach(""))


def everything_in(jurisdiction: str) -> Caller:
    """The one on a machine of its own, or with the server's own key."""
    return Caller("local", "local", SCOPES_OF[Role.ADMIN], Reach(jurisdiction))
