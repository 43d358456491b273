"""Gone or not: a likelihood over looks, the machine's proposal to close, and what takes it back."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.cases.events import Kind, chain
from serve.cases.gone import verdict
from serve.cases.lifecycle import Case, Stage, View
from serve.cases.matters import Matter, Matters, read_matters
from serve.cases.merge import absorb
from serve.cases.values import Look
from tests.cases_support import MATTERS, NOW, START, Books, look, sighting

RULE = Matter("garbage", "waste", False, why_not="-", miss_rate=0.1, miss_weight=4.0, gone_below=0.01)


def case_with(passes_that_saw: int, *views: View) -> Case:
    """A case seen on so many days, with these good views without it."""
    books = Books()
    for day in range(passes_that_saw):
        books.take(f"p{day}", [sighting(f"p{day}", day=day)])
    (case,) = books.cases()
    return replace(case, unseen={f"v{i}": view for i, view in enumerate(views)})


def view(day: float, quality: float = 1.0) -> View:
    """A good view without the thing on a day."""
    return View(START + timedelta(days=day), quality)


def closers(books: Books) -> list[Kind]:
    """The closing events of the only case, in order."""
    (log,) = books.logs.values()
    return [e.kind for e in log if e.kind in (Kind.CLOSING_PROPOSED, Kind.CLOSED, Kind.CLOSING_WITHDRAWN)]


def machine_closes() -> Matters:
    """The shipped table with the machine closing by itself."""
    return replace(MATTERS, by_class={k: replace(m, closes="machine") for k, m in MATTERS.by_class.items()})


def test_one_look_is_seldom_enough() -> None:
    """After one view nothing is settled; after three a thing that may be missed one time in ten is gone."""
    assert verdict(case_with(3, view(5)), RULE) is None
    gone = verdict(case_with(3, view(5), view(6), view(7)), RULE)
    assert gone is not None
    assert gone.at == START + timedelta(days=7)
    # Beta-Bernoulli by hand: (0.4 / 6) (1.4 / 7) = 0.0133 is not enough, times (2.4 / 8) is.
    assert (gone.views, gone.chance) == (3, pytest.approx(0.4 / 6 * 1.4 / 7 * 2.4 / 8))


def test_the_thing_s_own_record_counts() -> None:
    """What ten passes saw without fail needs fewer views than what was seen once, or what was missed before."""
    often = verdict(case_with(10, view(12), view(13), view(14), view(15)), RULE)
    once = verdict(case_with(1, view(12), view(13), view(14), view(15)), RULE)
    missed = verdict(case_with(10, view(2.5), view(4.5), view(12), view(13), view(14), view(15)), RULE)
    assert often is not None
    assert often.views < (once.views if once else 9)
    assert often.views < (missed.views if missed else 9)


def test_a_poor_view_says_less() -> None:
    """Half-clear views leave open what clear ones settle."""
    clear, poor = [view(5 + i) for i in range(3)], [view(5 + i, 0.5) for i in range(3)]
    assert verdict(case_with(3, *clear), RULE) is not None
    assert verdict(case_with(3, *poor), RULE) is None


def test_a_view_from_one_place_says_less_than_from_two() -> None:
    """What was looked at once was seen in a frame or two: it takes more such views."""
    twice, once = ([replace(view(5 + i), looks=looks) for i in range(9)] for looks in (2, 1))
    soon, late = verdict(case_with(4, *twice), RULE), verdict(case_with(4, *once), RULE)
    assert soon is not None
    assert late is not None
    assert soon.views < late.views


def test_views_before_it_was_last_seen_settle_nothing() -> None:
    """Only what came after the last sighting speaks for gone."""
    assert verdict(case_with(6, view(1.5), view(2.5), view(3.5)), RULE) is None


def test_by_default_closing_is_proposed_and_the_stage_stays() -> None:
    """The second pass closes nothing; when enough views have come, one event proposes it."""
    books = Books()
    books.take("p0", [sighting("p0")])
    for day in range(1, 6):
        books.take(f"p{day}", [], [look(f"p{day}", -10, 10, day=day, quality=1.0)] * 2)
        assert books.cases()[0].stage is Stage.FILED
        if day == 1:
            assert closers(books) == []
    assert closers(books) == [Kind.CLOSING_PROPOSED]
    assert books.cases()[0].closing_proposed_at is not None


def test_seen_again_takes_the_proposal_back() -> None:
    """A sighting after the proposal withdraws it and says why; taking the sighting back proposes it again."""
    books = Books()
    books.take("p0", [sighting("p0")])
    for day in range(1, 6):
        books.take(f"p{day}", [], [look(f"p{day}", -10, 10, day=day, quality=1.0)] * 2)
    books.take("p6", [sighting("p6", day=6)])
    (log,) = books.logs.values()
    assert [(e.kind, e.reason) for e in log[-2:]] == [
        (Kind.SEEN_AGAIN, "seen again by another pass"),
        (Kind.CLOSING_WITHDRAWN, "seen again"),
    ]
    assert books.cases()[0].closing_proposed_at is None
    books.take("p6")
    assert closers(books) == [Kind.CLOSING_PROPOSED, Kind.CLOSING_WITHDRAWN, Kind.CLOSING_PROPOSED]


def test_the_machine_closes_where_the_city_lets_it() -> None:
    """With `closes = machine` the case is closed at the deciding view; seen later it recurs, told late it only adds
    evidence; a view that is taken back opens it as it was."""
    table = machine_closes()
    books = Books()

    def take(patrol: str, seen: list, looks: list) -> list[Kind]:  # type: ignore[type-arg]
        outcome = absorb(patrol, "320200", seen, looks, books.cases(), table, now=NOW)
        for draft in outcome.drafts:
            log = books.logs.setdefault(draft.case_id, [])
            log.append(chain(draft, log, NOW))
        return [draft.kind for draft in outcome.drafts]

    take("p0", [sighting("p0")], [])
    views = {day: [look(f"p{day}", -10, 10, day=day, quality=1.0)] * 2 for day in range(2, 6)}
    kinds = [take(f"p{day}", [], views[day]) for day in views]
    closing = next(i for i, found in enumerate(kinds) if Kind.CLOSED in found)
    deciding = list(views)[closing]
    (case,) = books.cases()
    assert (case.stage, case.closed_at) == (Stage.CLOSED, views[deciding][0].seen_at)
    assert take(f"p{deciding}", [], views[deciding]) == []
    assert Kind.RECURRED not in take("p1", [sighting("p1", 0.1, day=1)], [])
    assert books.cases()[0].stage is Stage.CLOSED
    for day in views:
        take(f"p{day}", [], [])
    assert books.cases()[0].stage is Stage.FILED
    for day in views:
        take(f"p{day}", [], views[day])
    assert books.cases()[0].stage is Stage.CLOSED
    assert take("p8", [sighting("p8", 0.1, day=8)], []) == [Kind.RECURRED]
    assert books.cases()[0].is_open


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("miss_rate = 0.0", "miss_rate and gone_below"),
        ("gone_below = 1.5", "miss_rate and gone_below"),
        ("closes = 'me'", "closes is one of propose, machine"),
        ("mistaken_for = ['elephant']", "mistaken_for names elephant"),
    ],
)
def test_wrong_rules_are_refused(tmp_path, line: str, expected: str) -> None:  # type: ignore[no-untyped-def]
    """A city's table with a rate, a closer or a class that can't be is refused with the row's name."""
    path = tmp_path / "matters.toml"
    path.write_text(f"[class.bin]\nkin = 'bin'\nopens = false\nwhy_not = 'x'\n{line}\n", "utf-8")
    with pytest.raises(ValueError, match=f"class bin: {expected}"):
        read_matters(path)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 8), st.randoms(use_true_random=False))
def test_the_order_of_patrols_changes_neither_cases_nor_their_state(passes: int, chance: random.Random) -> None:
    """Whatever the order in which patrols are processed, the same sightings make the same cases, with the same good
    views after the last sighting, and the same ones count as gone.

    Where things stand further apart than their errors reach: nearer ones are told apart by what is known of them
    already, so there the books may depend on the order.
    """
    spots = [25.0 * i for i in range(3)]
    runs = []
    for number in range(passes):
        seen = [
            sighting(f"p{number}", x + chance.uniform(-0.3, 0.3), day=number) for x in spots if chance.random() < 0.6
        ]
        looks = [look(f"p{number}", x - 8, x + 8, day=number, quality=1.0) for x in spots if chance.random() < 0.8]
        runs.append((f"p{number}", seen, looks))
    states = []
    for order in (runs, chance.sample(runs, len(runs))):
        books = Books()
        driven: dict[str, list[Look]] = {}
        for patrol, seen, looks in order:
            others = [one for theirs in driven.values() for one in theirs]
            driven[patrol] = looks
            books.take(patrol, seen, looks, others=others)
        states.append(
            {
                (
                    frozenset(part.sighting_id for part in case.seen),
                    case.not_seen_since,
                    case.is_open,
                    case.closing_proposed_at,
                )
                for case in books.cases()
            }
        )
    assert states[0] == states[1]
