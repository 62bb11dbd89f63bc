"""Every line lists exactly the events that it bills, and anything else is an error."""

from __future__ import annotations

from random import Random

import pytest

from pipeline.core.explain.recount import RecordedEvent
from pipeline.core.metering.identity import subject_hash
from pipeline.core.values import number
from pipeline.core.values.calendar import DAY_S
from pipeline.errors import Broken, Rejected
from pipeline.records import CustomerWindow
from tests.core.bills.bill_world import at
from tests.core.bills.test_bill_laws import PRICES
from tests.core.explain.explain_world import SUBJECTS, ExplainWorld
from tests.core.explain.random_bills import BEGIN, random_days, subscribed, with_price

FEBRUARY = at("2026-02-10")


def test_a_line_lists_its_events_and_a_correction_those_that_came_later() -> None:
    world = subscribed()
    first = [world.send(BEGIN + DAY_S * day, 100 * day, subject) for day, subject in enumerate(SUBJECTS, 1)]
    next_period = world.send(FEBRUARY + 30, 7)
    world.bills.until(FEBRUARY + 2 * DAY_S)
    (line,) = world.line_ids()
    assert set(world.explained(line).events) == set(first)
    late = world.send(BEGIN + 5 * DAY_S, 50, "bob")
    world.bills.until(at("2026-03-12"))
    lines = world.line_ids()
    assert [set(world.explained(one).events) for one in lines if one != line] in (
        [{late}, {next_period}], [{next_period}, {late}],
    )  # fmt: skip
    assert set(world.explained(line).events) == set(first)  # what came later changes nothing
    (correction,) = [one for one in lines if world.explained(one).events == {late: "added"}]
    explained = world.explained(correction)
    assert (explained.basis.counted.quantity, explained.basis.before and explained.basis.before.quantity) == (
        "1050", "1000",
    )  # fmt: skip


@pytest.mark.parametrize("aggregation", ["SUM", "COUNT", "UNIQUE_COUNT", "LATEST"])  # those of features
@pytest.mark.parametrize("seed", range(3))
def test_every_line_of_any_history_is_explained(aggregation: str, seed: int) -> None:
    random = Random(f"{aggregation}/{seed}")
    world = subscribed(aggregation, plan=with_price(PRICES[seed * 2]))
    subscription = next(iter(world.bills.published.subscriptions))
    explained = 0
    for _ in range(12):
        subscription = random_days(world, random, subscription, most=7, models="ab")
        for line in world.line_ids():
            world.explained(line)
            explained += 1
    assert explained > 5
    corrections = [
        line
        for one in world.made()
        for line in one.content.lines
        if line.corrects and line.counted is not None
    ]
    assert corrections or aggregation != "SUM"


def issued() -> tuple[ExplainWorld, str]:
    world = subscribed()
    for day in range(1, 6):
        world.send(BEGIN + DAY_S * day, 100 * day, SUBJECTS[day % 4])
    world.bills.until(FEBRUARY + 2 * DAY_S)
    (line,) = world.line_ids()
    return world, line


@pytest.mark.parametrize("seed", range(3))
def test_lines_of_before_and_after_more_partitions_are_explained(seed: int) -> None:
    random = Random(seed)
    world = subscribed(partitions=1)
    subscription = next(iter(world.bills.published.subscriptions))
    before: dict[str, object] = {}
    for turn in range(14):
        if turn in (4, 8):
            before = {line: places(world, line) for line in world.line_ids()}
            world.raise_partitions(2 ** (turn // 4))
            assert {
                line: places(world, line) for line in before
            } == before  # so that their proofs stay the same
        subscription = random_days(world, random, subscription, most=7, models="ab")
        for line in world.line_ids():
            world.explained(line)
    assert before
    assert {place for line in world.line_ids() for place, _ in places(world, line)} == {0, 1, 2, 3}


def places(world: ExplainWorld, line: str) -> list[tuple[int, bool]]:
    """Of each event, its partition, and whether it is under the line."""
    (_, recount), _ = world.counted(line)
    found = [recount.include(one) for one in world.measured()]
    return [(one.source, one.now) for one in found if one is not None]


def test_usage_that_is_loaded_after_more_partitions_came_is_explained() -> None:
    """Billing learns of a window only by its newest state, which the new partition has."""
    world = subscribed(partitions=1)
    recorded = world.bills.record
    world.bills.record = lambda record: recorded([])  # type: ignore[method-assign]
    moved = next(one for one in SUBJECTS if subject_hash("default", one) % 2)
    first = world.send(BEGIN + DAY_S, 5, moved)
    world.raise_partitions(2)
    second = world.send(BEGIN + DAY_S, 6, moved)
    world.bills.record = recorded  # type: ignore[method-assign]
    customer = world.bills.customer
    world.bills.record([CustomerWindow(customer, window) for window in world.windows.values()])
    world.bills.until(FEBRUARY + 2 * DAY_S)
    (line,) = world.line_ids()
    assert set(world.explained(line).events) == {first, second}


def test_a_missing_or_another_event_is_an_error() -> None:
    world, line = issued()
    with pytest.raises(Broken, match=f"line {line} counts 1500, but the 4 stored events under it are 1400"):
        world.explained(line, world.stored[1:])
    changed: RecordedEvent = world.stored[0]._replace(data='{"tokens": 101}')
    with pytest.raises(Broken, match="counts 1500, but the 5 stored events under it are 1501"):
        world.explained(line, [changed, *world.stored[1:]])
    twice = [*world.stored, world.stored[0]._replace(id="again")]
    with pytest.raises(Broken, match="6 stored events under it are 1600"):
        world.explained(line, twice)


def test_events_behind_the_positions_of_the_line_are_not_under_it() -> None:
    world, line = issued()
    behind = world.stored[0]._replace(id="later", position=1000)
    assert "later" not in world.explained(line, [*world.stored, behind]).events
    of_before = world.stored[0]._replace(id="before", position=0)  # a version before positions
    with pytest.raises(Broken):
        world.explained(line, [*world.stored, of_before])


def test_events_of_another_holder_or_beside_the_filters_are_not_under_it() -> None:
    world, line = issued()
    foreign = world.stored[0]._replace(id="foreign", subject="of no customer")
    assert "foreign" not in world.explained(line, [*world.stored, foreign]).events
    (basis, recount), _ = world.counted(line)
    assert recount.span == (basis.counted.start_s, basis.counted.end_s)


def test_a_fixed_amount_and_a_line_that_waits_have_no_explanation() -> None:
    world, _ = issued()
    by_name = {line.name: line.id for one in world.bills.invoices() for line in one.content.lines}
    gathering = world.bills.gathering().content.lines
    with pytest.raises(Rejected, match="fixed amount") as fixed:
        world.explained(by_name["Base fee"])
    assert fixed.value.reason == "line_has_no_usage"
    waiting = next(line.id for line in gathering if line.name == "Tokens")
    with pytest.raises(Rejected) as waits:
        world.explained(waiting)
    assert waits.value.reason in ("line_not_rated", "line_not_explained")
    with pytest.raises(Rejected, match="no line with the id nowhere"):
        world.explained("nowhere")


def test_what_is_taken_back_lists_the_events_that_left() -> None:
    world, line = issued()
    explained = world.explained(line)
    assert number.text(explained.found.quantity) == "1500"
    assert set(explained.events.values()) == {"counted"}
