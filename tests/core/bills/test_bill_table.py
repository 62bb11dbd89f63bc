"""What the records of a partition do: from a subscription to invoices that are paid."""

from __future__ import annotations

import msgspec

from pipeline.core.bills.line_group import BookedLine, GroupPart
from pipeline.core.catalog.price import PercentagePrice
from pipeline.core.invoices.invoice import answer_of, shown
from tests.core.bills.bill_world import DAY_S, ONE_PHASE, BillWorld, at, lines_of, live
from tests.fixtures.catalog_bodies import FEE, without_key


def test_a_subscription_is_billed_every_month() -> None:
    world = BillWorld()
    world.now_s = at("2026-01-10T10:00:30Z")
    world.subscribe()
    assert lines_of(world.gathering()) == [
        ("Base fee", "2026-01-10", "0"),
        ("Base fee", "2026-02-10", "0"),
        ("Tokens", "2026-01-10", "0"),
    ]
    world.until(world.now_s)
    [first] = world.billed()
    assert (first.progress.state, first.progress.number) == ("paid", "INV-CU0-1")
    assert lines_of(first) == [("Base fee", "2026-01-10", "20")]
    world.use(at("2026-01-10T10:00:00Z"), "100")
    world.use(at("2026-02-10T09:59:00Z"), "900")
    world.use(at("2026-02-10T10:00:00Z"), "7")
    world.until(at("2026-03-09"))
    _, second = world.billed()
    assert second.progress.state == "paid"
    assert lines_of(second) == [("Base fee", "2026-02-10", "20"), ("Tokens", "2026-01-10", "10")]
    assert second.content.totals.total == "30"


def subscribed(day: str = "2026-01-10") -> BillWorld:
    """A customer whose second invoice, with 10 for usage, was paid in February."""
    world = BillWorld()
    world.now_s = at(day)
    world.subscribe()
    world.use(at("2026-01-10T10:00:00Z"), "1000")
    world.until(at("2026-02-12"))
    assert [one.content.totals.total for one in world.billed()] == ["20", "30"]
    return world


def test_late_usage_becomes_a_correction_of_the_line_that_was_billed() -> None:
    world = subscribed()
    world.use(at("2026-01-11"), "500")
    world.tick()
    billed = next(one for one in live(world.billed()[1]) if one.name == "Tokens")
    waiting = next(one for one in live(world.gathering()) if one.corrects is not None)
    assert waiting.corrects is not None
    assert (waiting.name, waiting.corrects.line_id, waiting.totals.total) == (
        "Tokens: correction",
        billed.id,
        "5",
    )
    world.use(at("2026-01-11"), "200")  # the same minute, seen again with another value
    world.tick()
    [again] = [one for one in live(world.gathering()) if one.corrects is not None]
    assert (again.id, again.totals.total) == (waiting.id, "2")
    world.until(at("2026-02-20"))
    assert len(world.billed()) == 2
    world.until(at("2026-03-12"))
    assert lines_of(world.billed()[2]) == [
        ("Base fee", "2026-03-10", "20"),
        ("Tokens", "2026-02-10", "0"),
        ("Tokens: correction", "2026-01-10", "2"),
    ]
    assert world.billed()[2].progress.state == "paid"


def test_usage_that_is_taken_back_reduces_the_next_invoice() -> None:
    world = subscribed()
    world.use(at("2026-01-10T10:00:00Z"), "0")
    world.until(at("2026-02-13"))
    assert [one.content.totals.total for one in world.billed()] == ["20", "30"]
    world.until(at("2026-03-12"))
    assert [one.content.totals.total for one in world.billed()] == ["20", "30", "10"]


def test_usage_in_the_grace_time_is_on_the_draft() -> None:
    world = BillWorld()
    world.now_s = at("2026-01-10")
    world.subscribe()
    world.until(at("2026-02-10T00:30:00Z"))
    draft = world.billed()[-1]
    assert draft.progress.state == "draft.waiting_for_collection"
    world.use(at("2026-02-09"), "300")
    world.until(at("2026-02-10T00:59:59Z"))
    world.now_s = at("2026-02-10T01:00:00Z")
    world.tick()
    assert world.invoice(draft.content.id).progress.state == "draft.collecting"
    world.use(at("2026-02-09"), "400")
    world.tick()
    world.settle()
    done = world.invoice(draft.content.id)
    assert (done.progress.state, done.content.totals.total) == ("paid", "24")


def test_a_draft_is_collected_although_usage_is_not_settled() -> None:
    world = BillWorld()
    world.now_s = at("2026-01-10")
    world.subscribe()
    world.until(at("2026-02-10T01:14:59Z"), settles=False)
    assert world.billed()[-1].progress.state == "draft.collecting"
    world.until(at("2026-02-10T01:15:00Z"), settles=False)
    assert world.billed()[-1].progress.state == "paid"


def test_a_fee_that_was_paid_in_advance_is_corrected_when_the_subscription_ends() -> None:
    world = subscribed()
    [id] = world.published.subscriptions
    world.now_s = at("2026-02-24")
    world.do("subscription.cancel", {"timing": "immediate"}, id=id)
    names = [(one.name, one.totals.total) for one in live(world.gathering())]
    assert names == [("Tokens", "0"), ("Base fee: correction", "-10")]
    assert corrected_periods(world) == [("2026-02-24", "2026-03-10", "-10")]
    world.until(at("2026-02-25"))
    world.use(at("2026-02-23"), "2500")
    world.until(at("2026-02-27"))
    assert [one.content.totals.total for one in world.billed()] == [
        "20",
        "30",
        "-10",
        "0",
        "15",
    ]  # by the credit of 10


def corrected_periods(world: BillWorld) -> list[tuple[str, str, str]]:
    """From, to and total of the corrections that wait."""
    waiting = [one for one in live(world.gathering()) if one.corrects is not None]
    return [(one.period.start[:10], one.period.end[:10], one.totals.total) for one in waiting]


def test_a_correction_of_a_fee_is_about_what_its_period_has_lost_or_gained() -> None:
    world = subscribed()
    [id] = world.published.subscriptions
    world.now_s = at("2026-03-03")
    world.do("subscription.cancel", {"timing": "immediate"}, id=id)
    assert corrected_periods(world) == [("2026-03-03", "2026-03-10", "-5")]
    world.use(at("2026-02-25"), "2500")
    world.until(at("2026-03-05"))  # the correction is on an invoice now
    assert lines_of(world.billed()[-1])[-1] == ("Base fee: correction", "2026-03-03", "-5")
    fee = GroupPart(100, 130, booked=(BookedLine("i", "fee", (), 130), BookedLine("j", "less", (), 110)))
    assert fee.corrected_s == (110, 130)  # it was shortened, and is whole again
    assert msgspec.structs.replace(fee, end_s=110).corrected_s == (100, 110)
    assert GroupPart(100, 130).corrected_s == (100, 130)


def test_a_change_that_is_taken_back_leaves_nothing() -> None:
    world = subscribed()
    [id] = world.published.subscriptions
    before = lines_of(world.gathering())
    world.now_s = at("2026-02-20")
    world.do("subscription.cancel", {"timing": "next_billing_cycle"}, id=id)
    assert lines_of(world.gathering()) == [("Tokens", "2026-02-10", "0")]
    world.do("subscription.restore", None, id=id)
    assert sorted(lines_of(world.gathering())) == sorted(before)
    world.do("subscription.cancel", {"timing": "next_billing_cycle"}, id=id)
    world.do("subscription.continue", None, id=id)
    assert sorted(lines_of(world.gathering())) == sorted(before)


def test_a_line_that_a_client_changed_or_deleted_gets_no_second_one() -> None:
    world = subscribed()
    [id] = world.published.subscriptions
    gathering = world.gathering()
    answer = shown(answer_of(gathering.content, gathering.progress, world.now_s))
    fee, *rest = sorted(answer["lines"], key=lambda one: one["name"] != "Base fee")  # type: ignore[call-overload]
    assert fee["name"] == "Base fee"
    for sent, expected in (([{**fee, "description": "agreed"}, *rest], 1), (rest, 0)):
        world.do("invoice.update", {"lines": sent}, id=gathering.content.id)
        world.do("subscription.cancel", {"timing": "next_billing_cycle"}, id=id)
        world.do("subscription.continue", None, id=id)
        assert [one.name for one in live(world.gathering())].count("Base fee") == expected


def test_a_dearer_plan_in_the_middle_of_a_month_costs_the_difference() -> None:
    world = subscribed()
    [id] = world.published.subscriptions
    world.now_s = at("2026-02-24")
    dear = {**FEE, "price": {"type": "flat", "amount": "60", "paymentTerm": "in_advance"}}
    plan = {
        **without_key(ONE_PHASE),
        "currency": "EUR",
        "phases": [{**ONE_PHASE["phases"][0], "rateCards": [dear]}],
    }
    world.do("subscription.change", {"timing": "immediate", "customPlan": plan}, id=id)
    world.until(at("2026-02-25"))
    assert lines_of(world.billed()[2]) == [
        ("Tokens", "2026-02-10", "0"),
        ("Base fee", "2026-02-24", "30"),
        ("Base fee: correction", "2026-02-24", "-10"),  # what was paid and is not used
    ]


def test_a_price_that_cannot_be_rated_stops_its_draft_and_nothing_else() -> None:
    """Such a price is refused by the catalog; one that was stored before must not stop the stage."""
    world = subscribed()
    period = {"from": "2026-02-12T00:00:00Z", "to": "2026-02-14T00:00:00Z"}
    card = {"featureKey": "tokens", "price": {"type": "unit", "amount": "1"}}
    line = {"name": "Calls", "period": period, "invoiceAt": period["to"], "rateCard": card}
    world.do("invoice.pending-lines", {"currency": "EUR", "lines": [line]})
    world.reprice(PercentagePrice(rate="2", fixed_amount="1"), lambda line: line.managed_by == "manual")
    world.until(at("2026-03-12"))
    _, _, draft, following = world.billed()
    assert (draft.progress.state, following.progress.state) == ("draft.invalid", "paid")
    assert [one.code for one in draft.content.validation_issues] == ["invoice_line_needs_events"]


def test_results_and_keys_of_commands_are_removed_once_they_are_old() -> None:
    world = subscribed()
    sent = {"currency": "EUR", "lines": []}
    world.send("invoice.pending-lines", sent, command="key-1", request="r1")
    world.now_s += 60
    world.do("subscription.cancel", {"timing": "next_billing_cycle"}, id=next(iter(world.published.subscriptions)),
             command="key-2", request="r2")  # fmt: skip
    kinds = {key[:1] for key in world.table.rows}
    assert {b"o", b"k", b"x"} <= kinds
    world.now_s += 2 * DAY_S
    for _ in range(3):
        world.tick()
    assert not {b"o", b"k", b"x"} & {key[:1] for key in world.table.rows}
