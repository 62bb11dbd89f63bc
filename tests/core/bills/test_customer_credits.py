"""Credits in the billing stage: burnt when an invoice is issued, sold by invoices, ended, topped up, and booked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.bills.bill_rows import CREDIT_ACCOUNT, BillRows
from pipeline.core.bills.usage_rows import customer_key
from pipeline.core.credits.credit_balance import balances, balances_at, changed_by, held_at, movements
from pipeline.core.credits.credit_grant import CreditGrant
from pipeline.core.credits.settlement import UNCOVERED, cover
from pipeline.core.invoices.line_rows import line_rows
from pipeline.core.invoices.printed_invoice import printed_invoice
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.ledger.trial_balance import trial_balance
from pipeline.core.notifications.rule import CREDIT
from pipeline.core.values import number, timestamp
from pipeline.records import Alert
from tests.core.bills.bill_world import NAMESPACE, BillWorld, Definitions, at
from tests.core.inputs import ENDPOINT
from tests.fixtures.catalog_bodies import Body

TAXED = {"taxRates": [{"code": "default", "percent": 10}], "workflow": {"tax": {"enabled": True}}}
HOOKS = {"enableDraftSyncHook": False, "enableIssuingSyncHook": False}


class CreditWorld(BillWorld):
    """A partition with what readers see of credits."""

    def grant(self, amount: str = "100", **sent: Any) -> str:
        body = {"name": sent.pop("name", "Pack"), "currency": "EUR", "amount": amount, **sent}
        return str(self.do("credit.grant", body)["grant"])

    def granted(self, id: str) -> CreditGrant:
        return msgspec.json.decode(self.published.credits[id].body, type=CreditGrant)

    def grants(self) -> list[CreditGrant]:
        return [self.granted(id) for id in sorted(self.published.credits)]

    def live(self) -> int:
        found = balances(self.grants(), self.now_s * 1000).get("EUR")
        return 0 if found is None else found.live

    def accounts(self) -> dict[str, str]:
        found = trial_balance(self.published.ledger.values())
        assert found.differences == []
        return {row.account: row.balance for row in found.rows if row.balance != "0"}

    def check(self) -> None:
        """The ledger sums to 0, holds for each grant what its document has left, and what none covers.

        A grant covers that as soon as it can.
        """
        held = held_at(self.published.ledger.values(), 1 << 60)
        account = BillRows(self.table).credit_accounts.get(
            CREDIT_ACCOUNT + customer_key(NAMESPACE, self.customer)
        )
        charges = () if account is None else account.uncovered
        booked = [changed_by(one).get(UNCOVERED, 0) for one in self.published.ledger.values()]
        assert -sum(booked) == sum(one.amount for one in charges)
        assert not cover(charges, self.grants(), self.now_s * 1000)
        for one in self.grants():
            assert held.get(one.id, 0) == one.balance >= 0
        assert sum(number.parse(balance) for balance in self.accounts().values()) == 0

    def charge(self, amount: str, **card: Any) -> StoredInvoice:
        """An invoice over a fixed amount, issued now."""
        now = self.published_now
        line = {
            "name": "Work", "period": {"from": now, "to": now}, "invoiceAt": now,
            "rateCard": {"price": {"type": "flat", "amount": amount}, **card},
        }  # fmt: skip
        self.do("invoice.pending-lines", {"currency": "EUR", "lines": [line]})
        return self.issue()

    def issue(self) -> StoredInvoice:
        id = self.do("invoice.now", {"customerId": self.customer})["created"][0]
        self.until(self.now_s + 3600)
        return self.invoice(id)

    @property
    def published_now(self) -> str:
        return timestamp.text_of(self.now_s * 1000)


def totals(stored: StoredInvoice) -> tuple[str, str]:
    return stored.content.totals.credits_total, stored.content.totals.total


def quick(**profile: Any) -> CreditWorld:
    workflow = {"invoicing": {"draftPeriod": "PT0S"}, **profile.pop("workflow", {})}
    return CreditWorld(Definitions(profile={"workflow": workflow, **profile}))


def test_a_reply_names_the_transactions_that_it_booked() -> None:
    """The API reads them back before it answers, so that a balance has them."""
    world = quick()
    sent = {"name": "Pack", "currency": "EUR", "amount": "10"}
    reply = world.do("credit.grant", sent)
    assert reply["ledger"] == [one.id for one in world.published.ledger.values()] != []
    assert "ledger" not in world.do("credit.rule", {"currency": "EUR", "threshold": "0", "amount": "5"})


def test_a_grant_pays_the_next_invoices_until_it_is_empty() -> None:
    world = quick()
    grant = world.grant("100")
    assert [totals(world.charge(amount)) for amount in ("30", "80", "5")] == [
        ("30", "0"),
        ("70", "10"),
        ("0", "5"),
    ]
    assert world.granted(grant).balance == 0
    assert world.accounts() == {"earnings": "115", "promotion": "-100", "wash": "-15"}
    world.check()
    found = [(one.kind, one.amount, one.after) for one in movements(world.published.ledger.values())]
    assert found == [
        ("credit.granted", 10_000, 10_000),
        ("invoice.accrued", -3_000, 7_000),
        ("invoice.accrued", -7_000, 0),
    ]


def test_what_credits_pay_is_shown_and_not_taxed() -> None:
    world = quick(**TAXED)
    world.grant("20", name="Welcome")
    stored = world.charge("30")
    line = stored.content.lines[0]
    assert totals(stored) == ("20", "11")
    assert stored.content.totals.taxes_total == "1"
    assert [(one.amount, one.description) for one in line.children[0].credit_allocations] == [
        ("20", "Welcome")
    ]
    assert world.accounts() == {"earnings": "30", "promotion": "-20", "tax_payable": "1", "wash": "-11"}
    page = printed_invoice(stored, {})
    shown = {one.label: one.amount for one in page.totals}
    assert (shown["Paid by credits"], shown["Total"]) == ("\N{MINUS SIGN}€20.00", "€11.00")
    (row,) = line_rows(stored)
    assert (row.amount, row.credits_total, row.total) == ("30", "20", "11")


def test_only_grants_for_the_feature_and_in_force_pay() -> None:
    world = quick()
    for_sso = world.grant("10", filters={"features": ["sso"]}, priority=1)
    later = world.grant("10", effective_at="2026-03-01T00:00:00Z")
    assert totals(world.charge("5")) == ("0", "5")
    assert totals(world.charge("5", featureKey="sso")) == ("5", "0")
    assert (world.granted(for_sso).balance, world.granted(later).balance) == (500, 1_000)


def test_a_grant_ends_at_its_instant() -> None:
    world = quick()
    grant = world.grant("100", expires_after="P10D")
    world.charge("30")
    world.until(at("2026-01-20"))
    assert world.granted(grant).status(world.now_s * 1000) == "expired"
    assert world.accounts() == {"breakage": "70", "earnings": "30", "promotion": "-100"}
    ledger = world.published.ledger.values()
    live = [
        balances_at(world.grants(), ledger, at(text) * 1000)["EUR"].live
        for text in ("2026-01-10T23:59:59Z", "2026-01-11")
    ]
    assert live == [7_000, 0]
    assert totals(world.charge("5")) == ("0", "5")
    world.check()


@pytest.mark.parametrize(("then", "again"), [("discard", 0), ("pending", 1)])
def test_a_void_gives_credits_back(then: str, again: int) -> None:
    world = CreditWorld(Definitions(app=HOOKS, profile={"workflow": {"invoicing": {"draftPeriod": "PT0S"}}}))
    grant = world.grant("20")
    stored = world.charge("30")
    assert totals(stored) == ("20", "10")
    body = {"reason": "r", "action": {"percentage": 100, "action": {"type": then}}}
    world.do("invoice.void", body, id=stored.content.id)
    assert world.granted(grant).balance == 2_000
    assert world.accounts() == {"customer_fbo": "20", "promotion": "-20"}
    world.until(world.now_s + 7_200)
    issued = [one for one in world.billed() if one.progress.state == "payment_processing.pending"]
    assert [totals(one) for one in issued] == [("20", "10")] * again
    world.check()


def test_a_correction_first_gives_back_what_its_line_had_burnt() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    world.subscribe(timing="immediate")
    world.use(at("2026-01-03"), "5000")
    world.until(at("2026-01-05"))
    grant = world.grant("4", filters={"features": ["tokens"]})
    world.until(at("2026-02-02"))
    assert totals(world.billed()[-1])[0] == "4"
    assert world.granted(grant).balance == 0
    world.use(at("2026-01-03"), "4000")
    world.until(at("2026-03-02"))
    correction = next(line for line in world.billed()[-1].content.lines if line.corrects is not None)
    assert (correction.totals.amount, correction.totals.credits_total, correction.totals.total) == (
        "-10",
        "-4",
        "-6",
    )
    assert world.granted(grant).balance == 400
    world.check()
    sent = {"reason": "r", "action": {"percentage": 100, "action": {"type": "discard"}}}
    id = world.billed()[-1].content.id
    assert world.refused("invoice.void", sent, id=id) == "invoice_has_returned_credits"


def test_credits_are_sold_by_an_invoice() -> None:
    world = quick(**TAXED)
    given = world.grant("500")
    purchase = {"per_unit_cost_basis": "0.8", "availability_policy": "on_settlement"}
    bought = world.grant("100", funding_method="invoice", purchase=purchase, priority=1)
    assert world.granted(bought).status(world.now_s * 1000) == "pending"
    stored = world.issue()
    assert totals(stored) == ("0", "88")  # credits do not pay for credits
    assert stored.progress.state == "paid"
    assert world.granted(bought).status(world.now_s * 1000) == "active"
    assert world.accounts() == {
        "customer_fbo": "600", "promotion": "-500", "tax_payable": "8", "wash": "-108",
    }  # fmt: skip
    world.charge("10")
    assert (world.granted(bought).balance, world.granted(given).balance) == (9_000, 50_000)
    world.check()


def test_a_sale_that_is_deleted_ends_its_grant() -> None:
    world = CreditWorld(Definitions(profile={"workflow": {"invoicing": {"autoAdvance": False}}}))
    grant = world.grant("100", funding_method="invoice")
    world.tick()
    draft = world.billed()[0]
    world.do("invoice.delete", id=draft.content.id)
    assert world.granted(grant).status(world.now_s * 1000) == "voided"
    assert world.accounts() == {}
    world.check()


def test_a_purchase_elsewhere_is_settled_by_its_own_report() -> None:
    world = quick()
    grant = world.grant("50", funding_method="external", purchase={"availability_policy": "on_authorization"})
    assert world.live() == 0
    world.do("credit.settle", {"status": "authorized"}, id=grant)
    assert world.live() == 5_000
    world.do("credit.settle", {"status": "settled"}, id=grant)
    assert world.accounts() == {"customer_fbo": "50", "wash": "-50"}
    assert world.refused("credit.settle", {"status": "authorized"}, id=grant) == "credit_payment_goes_back"
    sold = world.grant("50", funding_method="invoice")
    assert world.refused("credit.settle", {"status": "settled"}, id=sold) == "credit_grant_is_invoiced"


def test_voids_and_adjustments() -> None:
    world = quick()
    first, second = world.grant("30"), world.grant("20", priority=1)
    world.do("credit.adjust", {"name": "Goodwill", "currency": "EUR", "amount": "5"})
    world.do("credit.adjust", {"name": "Mistake", "currency": "EUR", "amount": "-25"})
    assert (world.granted(first).balance, world.granted(second).balance, world.live()) == (2_500, 0, 3_000)
    assert world.refused("credit.adjust", {"name": "x", "currency": "EUR", "amount": "-30.01"}) == (
        "credit_balance_too_low"
    )
    world.do("credit.void", id=first)
    assert world.refused("credit.void", id=first) == "credit_grant_has_ended"
    assert world.live() == 500
    world.check()


REFUSED: list[tuple[Body, str]] = [
    ({"amount": "0"}, "bad-credit-grant"), ({"amount": "1.001"}, "bad-credit-grant"),
    ({"purchase": {}}, "bad-credit-grant"), ({"priority": 0}, "bad-credit-grant"),
    ({"funding_method": "external", "purchase": {"currency": "USD"}}, "bad-credit-grant"),
    ({"funding_method": "invoice", "purchase": {"per_unit_cost_basis": "0"}}, "bad-credit-grant"),
    ({"effective_at": "2020-01-01T00:00:00Z", "expires_after": "P1D"}, "bad-credit-grant"),
    ({"tax_config": {}}, "bad-credit-grant"), ({"unknown": 1}, "bad-credit-grant"),
    ({"key": "k"}, "credit_grant_key_exists"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "reason"), REFUSED, ids=str)
def test_what_is_refused_leaves_nothing(more: Body, reason: str) -> None:
    world = quick()
    world.grant("1", key="k")
    body = {"name": "Pack", "currency": "EUR", "amount": "100", **more}
    assert world.refused("credit.grant", body) == reason


RULE: Body = {"currency": "EUR", "threshold": "10", "amount": "50", "per_unit_cost_basis": "0.9"}


def test_a_rule_tops_up_when_credits_run_low() -> None:
    world = quick()
    world.do("credit.rule", RULE)
    assert world.live() == 5_000
    assert totals(world.issue()) == ("0", "45")
    world.charge("39")
    assert world.live() == 1_100
    assert len(world.grants()) == 1
    world.charge("2")
    assert [(one.source, one.balance) for one in world.grants()] == [("top_up", 900), ("top_up", 5_000)]
    world.check()
    world.do("credit.rule-delete", id="EUR")
    world.charge("55")
    assert world.live() == 400
    assert world.refused("credit.rule-delete", id="EUR") == "not-found"


def test_a_rule_waits_for_the_payment_of_what_it_added() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    world.do("credit.rule", {**RULE, "availability_policy": "on_settlement", "target": "70"})
    world.tick()
    world.until(at("2026-01-05"))
    assert [(one.amount, one.status(world.now_s * 1000)) for one in world.grants()] == [(7_000, "pending")]
    issued = world.billed()[0]
    assert issued.progress.state == "payment_processing.pending"
    world.do("invoice.payment-status", {"trigger": "paid"}, id=issued.content.id)
    assert world.live() == 7_000
    world.check()


def paying_by_hand(**rule: Any) -> CreditWorld:
    """Invoices of top-ups are not paid by themselves."""
    world = CreditWorld(Definitions(app=HOOKS))
    world.do("credit.rule", {**RULE, **rule})
    world.until(world.now_s + 7_200)
    return world


def pass_days(world: CreditWorld, days: int) -> None:
    for _ in range(days):
        world.until(world.now_s + 86_400)


@pytest.mark.parametrize("policy", ["on_creation", "on_settlement"])
def test_a_top_up_that_is_not_paid_is_not_followed_by_another_when_it_expires(policy: str) -> None:
    world = paying_by_hand(expires_after="P3D", availability_policy=policy)
    pass_days(world, 40)
    assert len(world.grants()) == len(world.billed()) == 1
    world.do("invoice.payment-status", {"trigger": "paid"}, id=world.billed()[0].content.id)
    assert len(world.grants()) == 2
    pass_days(world, 40)
    assert len(world.grants()) == 2
    world.check()


def test_a_top_up_that_is_not_paid_is_not_followed_by_another_when_it_is_used_up() -> None:
    world = paying_by_hand()
    for _ in range(3):
        world.charge("45")
    assert len(world.grants()) == 1
    sold = next(one for one in world.billed() if one.content.totals.total == "45")
    void = {"reason": "r", "action": {"percentage": 100, "action": {"type": "discard"}}}
    world.do("invoice.void", void, id=sold.content.id)
    assert len(world.grants()) == 2
    world.do("credit.rule", RULE)
    assert len(world.grants()) == 2
    world.check()


def test_what_is_given_and_expires_has_the_maximum_of_its_period() -> None:
    world = quick()
    world.do("credit.rule", {**RULE, "funding_method": "none", "expires_after": "P1D", "max_amount": "150"})
    pass_days(world, 25)
    assert len(world.grants()) == 3
    world.until(at("2026-02-01"))  # the period ends, which nothing but the clock says
    assert len(world.grants()) == 4
    world.check()


def test_low_credits_fire_once_until_they_recover() -> None:
    definitions = Definitions(profile={"workflow": {"invoicing": {"draftPeriod": "PT0S"}}})
    channel = definitions.log.do("endpoint.create", ENDPOINT)
    rule = {"type": CREDIT, "name": "low", "channels": [channel["id"]], "currency": "EUR", "threshold": 20}
    definitions.log.do("rule.create", rule)
    definitions.read()
    world = CreditWorld(definitions)

    def fired() -> list[Alert]:
        return [one for one in world.published.alerts.values() if one.type == CREDIT]

    world.grant("50", expires_after="P30D")
    world.charge("29")
    assert fired() == []
    world.charge("1")
    assert [one.annotations["balance"] for one in fired()] == ["20"]
    world.charge("1")
    assert len(fired()) == 1
    world.grant("30", expires_after="P10D")
    world.until(at("2026-01-20"))
    assert [one.annotations["balance"] for one in fired()] == ["20", "19"]
    data = msgspec.json.decode(fired()[1].payload)["data"]
    assert (data["currency"], data["threshold"], data["balance"], data["customer"]["key"]) == (
        "EUR",
        20,
        19,
        "c0",
    )
