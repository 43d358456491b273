"""What must never stand in a log: taken out of every line, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

HIDDEN = "***"
_NAMES = re.compile(r"(?i)authorization|cookie|password|passwd|secret|api_?key|token|credential|originals_key")
_WORDS = (
    # Our keys, people's tokens, whatever comes behind Bearer, sessions, and passwords in addresses.
    re.compile(r"jj_[0-9a-z]+_[\w-]+"),
    re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*"),
    re.compile(r"(?i)(?<=bearer )[^\s\"',]+"),
    re.compile(r"(?<=jiejing_session=)[^\s;\"']+"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?<=password=)[^\s&\"']+"),
)


def without_secrets(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor. Give it the line when everything else is in it, tracebacks included."""
    return {name: _cleaned(name, value) for name, value in entry.items()}


def _cleaned(name: str, value: Any) -> Any:
    if _NAMES.search(name):
        return HIDDEN
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {inner: _cleaned(str(inner), one) for inner, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned("", one) for one in value]
    return value if isinstance(value, int | float | bool | None) else masked(str(value))


def masked(text: str) -> str:
    """The text with every secret that can be told by its form taken out."""
    for word in _WORDS:
        text = word.sub(HIDDEN, text)
    return text
