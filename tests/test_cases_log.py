"""The log of a case: hash-chained, and the case is its fold."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from serve.cases.events import Draft, Event, Kind, broken_link, canonical, chain
from serve.cases.lifecycle import STAGE_NAMES, Stage, fold
from tests.cases_support import NOW, Books, look, sighting


def _log() -> list[Event]:
    books = Books()
    books.take("p1", [sighting("p1")])
    books.take("p2", [], [look("p2", -10, 10, day=1)])
    books.take("p3", [sighting("p3", 0.3, day=2)])
    (log,) = books.logs.values()
    return log


def test_chain_holds() -> None:
    """Each entry carries the hash of the one before; nothing is broken."""
    log = _log()
    assert [event.seq for event in log] == [1, 2, 3]
    assert all(after.previous == before.digest for before, after in itertools.pairwise(log))
    assert broken_link(log) is None
    assert broken_link([]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "something else"},
        {"actor": "somebody"},
        {"at": NOW},
        {"recorded_at": NOW + timedelta(seconds=1)},
        {"kind": Kind.VOIDED},
        {"data": {"patrol": "p9"}},
    ],
)
def test_a_changed_entry_is_found(change: dict[str, object]) -> None:
    """Whatever field is changed, the chain breaks at that entry."""
    log = _log()
    log[1] = replace(log[1], **change)  # type: ignore[arg-type]
    assert broken_link(log) == 2


def test_a_missing_or_moved_entry_is_found() -> None:
    """An entry can't be cut out, and two can't change places."""
    log = _log()
    assert broken_link([log[0], log[2]]) == 2
    assert broken_link([log[0], log[2], log[1]]) == 2


def test_what_is_read_back_has_the_same_hash() -> None:
    """Writing an event's data as JSON and reading it back breaks nothing, floats and Chinese included."""
    log = [replace(event, data=json.loads(canonical(event.data))) for event in _log()]
    assert broken_link(log) is None


def test_a_log_begins_with_opened() -> None:
    """A case can't be folded from nothing, nor from a log that begins in the middle."""
    with pytest.raises(ValueError, match="without events"):
        fold([])
    with pytest.raises(ValueError, match="begins with 'voided'"):
        fold([chain(Draft("c1", Kind.VOIDED, NOW, "", {}), [], NOW)])


def test_every_stage_has_its_chinese_name() -> None:
    """The seven stages and the two ways out are named."""
    assert set(STAGE_NAMES) == set(Stage)
    assert STAGE_NAMES[Stage.FILED] == "案卷建立"
