"""What billing could not do: it is counted, shown on the invoices of the customer, and done once it can be."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.core.bills.problems import COMPONENT, POSTPONED_MS
from pipeline.core.bills.terms import BillTerms
from pipeline.core.catalog.price import PercentagePrice, UnitPrice
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.kinds import BILLING_PROFILE
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.records import BillingWork
from tests.core.bills.bill_world import DAY_S, BillWorld, Definitions, at, live
from tests.core.bills.invoices_made import line, pending

KEPT_S = 60 * DAY_S
UNRATED = PercentagePrice(rate="2", fixed_amount="1")  # it needs the amount of each event


def problems(stored: StoredInvoice) -> list[tuple[str, str]]:
    return [
        (one.severity, one.code or "")
        for one in stored.content.validation_issues
        if one.component == COMPONENT
    ]


def without_profile(world: BillWorld) -> None:
    """No profile is the default any more, which no command can do: nothing can be billed."""
    stored = {key: one for key, one in world.definitions.log.state.items() if f"/{BILLING_PROFILE}/" in key}
    bodies = {key: {**(one.body or {}), "default": False} for key, one in stored.items()}
    changed = {key: msgspec.structs.replace(one, body=bodies[key]) for key, one in stored.items()}
    assert changed
    world.definitions.billing.update(Changes(changed))


def with_profile(**named: Any) -> BillWorld:
    return BillWorld(Definitions(profile={"name": "Ours"}), **named)


def is_first(line: InvoiceLine) -> bool:
    return line.name == "Tokens" and line.period.start.startswith("2026-01")


def test_a_step_that_is_refused_is_shown_and_counted_until_it_is_done() -> None:
    world = with_profile()
    world.now_s = at("2026-01-10")
    world.subscribe()
    without_profile(world)
    world.until(at("2026-02-10"))
    [gathering] = [one for one in world.invoices() if one.progress.state == "gathering" and problems(one)]
    assert problems(gathering) == [("critical", "default_profile_not_found")]
    shown = gathering.content.validation_issues[0]
    assert world.now_s * 1000 < world.index.next_ms() <= world.now_s * 1000 + POSTPONED_MS
    world.use(at("2026-02-09"), "5")  # usage does not make it spin
    assert world.index.next_ms() > world.now_s * 1000
    tried = world.noted["default", "refused"]
    world.until(at("2026-02-11"))
    assert world.invoice(gathering.content.id).content.validation_issues == (shown,)
    assert world.noted["default", "refused"] == tried + 24  # every hour
    world.definitions.read()
    world.until(at("2026-02-12"))
    assert all(problems(one) == [] for one in world.invoices())
    assert "paid" in [one.progress.state for one in world.billed()][-1:]
    counted = world.noted["default", "refused"]
    world.until(at("2026-02-13"))
    assert world.noted["default", "refused"] == counted


def test_a_draft_shows_the_refusal_and_is_issued_once_it_is_remedied() -> None:
    world = with_profile()
    world.now_s = at("2026-01-10")
    world.subscribe()
    world.until(at("2026-02-10T00:30:00Z"))
    id = world.billed()[-1].content.id
    assert world.invoice(id).progress.state == "draft.waiting_for_collection"
    pending(world, line(invoiceAt="2026-02-10T00:40:00Z"))
    without_profile(world)
    world.until(at("2026-02-10T03:00:00Z"))
    assert problems(world.invoice(id)) == [("critical", "default_profile_not_found")]
    world.definitions.read()
    world.until(at("2026-02-10T05:00:00Z"))
    assert problems(world.invoice(id)) == []
    assert world.invoice(id).progress.state == "paid"


def test_a_number_is_kept_although_the_step_after_it_is_refused() -> None:
    world = with_profile()
    world.now_s = at("2026-01-10")
    world.subscribe()
    world.until(at("2026-02-10T00:30:00Z"))
    id = world.billed()[-1].content.id
    world.now_s = at("2026-02-10T01:00:00Z")
    world.tick()
    world.record(BillingWork("settled", settled_ms=world.now_s * 1000))
    assert world.invoice(id).progress.number is None
    without_profile(world)
    world.now_s = at("2026-03-10T00:00:01Z")
    world.answer_numbers()
    assert world.invoice(id).progress.number is not None
    assert world.noted["default", "refused"] == 1
    assert problems(world.gathering()) == [("critical", "default_profile_not_found")]
    world.definitions.read()
    world.until(at("2026-03-11"))
    assert [one.progress.state for one in world.billed()] == ["paid", "paid", "paid"]


def test_a_correction_that_cannot_be_rated_is_shown_and_comes_back_when_it_can() -> None:
    world = BillWorld()
    world.now_s = at("2026-01-10")
    id = world.subscribe()
    world.use(at("2026-01-11"), "1000")
    world.until(at("2026-02-12"))
    world.do("subscription.cancel", {"timing": "next_billing_cycle"}, id=id)
    world.until(at("2026-03-20"))
    assert [one for one in world.invoices() if one.progress.state == "gathering" and live(one)] == []
    world.reprice(UNRATED, is_first)
    world.use(at("2026-01-12"), "500")
    world.until(at("2026-03-22"))
    assert problems(world.gathering()) == [("critical", "invoice_line_needs_events")]
    assert live(world.gathering()) == []
    world.until(at("2026-04-22"))
    assert problems(world.gathering()) == [("critical", "invoice_line_needs_events")]
    world.reprice(UnitPrice(amount="0.01"), is_first)
    world.use(at("2026-01-12"), "600")
    world.tick()
    assert problems(world.gathering()) == []
    assert [one.totals.total for one in live(world.gathering())] == ["6"]
    world.until(at("2026-04-25"))
    assert world.billed()[-1].content.totals.total == "6"


def test_usage_beyond_the_horizon_is_shown_as_late_unbilled_and_then_on_the_next_invoice() -> None:
    world = BillWorld(terms=BillTerms(kept_s=KEPT_S))
    world.now_s = at("2026-01-10")
    world.subscribe()
    world.until(at("2026-06-15"))
    bills = [one.content.totals.total for one in world.billed()]
    world.use(at("2026-01-11"), "1000")
    world.use(at("2026-01-12"), "1")
    assert world.noted["default", "late-unbilled"] == 2
    world.until(at("2026-06-16"))
    assert problems(world.gathering()) == [("warning", "late-unbilled")]
    [shown] = world.gathering().content.validation_issues
    assert "2026-01-11T00:00:00.000Z to 2026-01-12T00:00:00.000Z" in shown.message
    assert shown.message.endswith("windows that are not billed: 2.")
    world.until(at("2026-07-12"))
    assert problems(world.gathering()) == []
    assert [problems(one) for one in world.billed()][len(bills) :] == [[("warning", "late-unbilled")]]
    assert [one.content.totals.total for one in world.billed()] == [*bills, "20"]


def test_a_correction_whose_lines_are_forgotten_is_late_unbilled() -> None:
    world = BillWorld(terms=BillTerms(kept_s=KEPT_S))
    world.now_s = at("2026-01-10")
    world.subscribe()
    world.use(at("2026-01-11"), "1000")
    world.until(at("2026-02-12"))
    world.reprice(UNRATED, is_first)
    world.use(at("2026-01-12"), "500")
    world.until(at("2026-02-13"))
    assert problems(world.gathering()) == [("critical", "invoice_line_needs_events")]
    world.until(at("2026-05-11"))
    assert problems(world.gathering()) == [("warning", "late-unbilled")]
    world.until(at("2026-06-12"))
    assert problems(world.gathering()) == []
    assert problems(world.billed()[-1]) == [("warning", "late-unbilled")]
