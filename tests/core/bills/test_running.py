"""Lines that wait show the usage until now, and what is billed later is the same as without them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.bills.bill_index import BillDue
from pipeline.core.bills.terms import BillTerms
from pipeline.core.values.calendar import DAY_S
from pipeline.records import BillDocument
from tests.core.bills.bill_world import BillWorld, at, lines_of, live
from tests.fixtures.examples import examples

BEGIN, END = at("2026-01-10"), at("2026-02-10")


def subscribed(terms: BillTerms | None = None) -> BillWorld:
    world = BillWorld(terms=terms)
    world.now_s = BEGIN
    world.subscribe()
    world.until(BEGIN)
    return world


def tokens(world: BillWorld) -> tuple[str | None, str]:
    """Quantity and amount of the first line by usage that waits."""
    found = next(line for line in live(world.gathering()) if line.name == "Tokens")
    return found.quantity, found.totals.total


def test_usage_is_shown_soon_after_it_changed() -> None:
    world = subscribed()
    world.now_s = BEGIN + DAY_S
    world.use(world.now_s, "250")
    assert tokens(world) == (None, "0")
    world.until(world.now_s + 9)
    assert tokens(world) == (None, "0")
    world.until(world.now_s + 1)
    assert tokens(world) == ("250", "2.5")
    assert world.gathering().content.totals.total == "2.5"
    world.use(world.now_s, "400")  # of the same minute
    world.until(world.now_s + 10)
    assert tokens(world) == ("400", "4")


def test_many_customers_are_shown_later() -> None:
    world = subscribed()
    for number in range(5_000):
        world.index.set(number.to_bytes(16, "big"), BillDue(END * 1000))
    world.now_s = BEGIN + DAY_S
    world.use(world.now_s, "250")
    world.until(world.now_s + 19)
    assert tokens(world) == (None, "0")
    world.until(world.now_s + 2)
    assert tokens(world) == ("250", "2.5")


def test_a_busy_customer_has_few_documents() -> None:
    world = subscribed()
    world.now_s = BEGIN + DAY_S
    revisions = set()
    for second in range(60):
        world.now_s += 1
        world.use(world.now_s, str(second + 1))
        world.until(world.now_s)
        revisions.add(newest(world).revision)
    assert 5 <= len(revisions) <= 7


def newest(world: BillWorld) -> BillDocument:
    return world.published.invoices[world.gathering().content.id]


def test_nothing_is_published_where_no_line_changes() -> None:
    world = subscribed()
    revisions = []
    for value in ("5", "6"):
        world.use(END + DAY_S, value)  # of a period that no line has yet
        world.until(world.now_s + 60)
        revisions.append(newest(world).revision)
    assert revisions[0] == revisions[1]
    assert tokens(world) == ("0", "0")


def test_a_line_that_is_made_after_its_usage_shows_it() -> None:
    world = BillWorld()
    world.now_s = BEGIN
    world.use(BEGIN, "250")
    world.now_s += 30
    world.subscribe()  # the minute in which it begins counts
    assert tokens(world) == (None, "0")
    world.until(world.now_s + 10)
    assert tokens(world) == ("250", "2.5")


moments = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 500)), max_size=8)


@given(moments, st.sampled_from([1_000, 10_000, 86_400_000]))
@settings(max_examples=examples(20), deadline=None)
def test_what_is_billed_does_not_depend_on_what_was_shown(
    used: list[tuple[int, int]], running_ms: int
) -> None:
    worlds = [subscribed(BillTerms(running_ms=each)) for each in (running_ms, 1 << 61)]
    for world in worlds:
        for day, value in sorted(used):
            world.until(BEGIN + day * DAY_S)
            world.use(BEGIN + day * DAY_S, str(value), subject=f"{day}/{value}")
        world.until(BEGIN + 100 * DAY_S)
    billed = [[lines_of(one) for one in world.billed()] for world in worlds]
    assert billed[0] == billed[1]


def test_the_cut_of_records_into_chunks_changes_nothing() -> None:
    world = subscribed()
    for day in range(1, 40, 3):
        world.use(BEGIN + day * DAY_S, "70")
        world.until(BEGIN + day * DAY_S)
    whole = BillWorld(world.definitions)
    whole.play(world.log)
    assert whole.published.invoices == world.published.invoices
