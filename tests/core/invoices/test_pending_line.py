"""Pending lines that clients send: both forms, and every code."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.customers.customer import UsageAttribution
from pipeline.core.invoices.pending_line import PendingContext, read_pending_lines
from pipeline.errors import Rejected
from tests.core.invoices.invoices import AT, START_S, customer

CONTEXT = PendingContext(customer(), "USD", {"tokens": True, "seats": False}, "01COMMAND", START_S * 1000)
PERIOD = {"from": "2026-01-01T00:00:00.9Z", "to": "2026-02-01T00:00:00Z"}
UNIT = {"type": "unit", "amount": "0.10"}
CARD = {
    "price": UNIT,
    "featureKey": "tokens",
    "taxConfig": {"behavior": "exclusive", "stripe": {"code": "txcd_10000000"}},
    "discounts": {"usage": {"quantity": "5"}},
}
SENT = {"name": "Tokens", "period": PERIOD, "invoiceAt": "2026-02-01T00:00:00Z", "rateCard": CARD}


def sent(**changed: object) -> dict[str, object]:
    members = SENT | changed
    return {name: value for name, value in members.items() if value is not None}


def code_of(*bodies: dict[str, object], context: PendingContext = CONTEXT) -> str:
    with pytest.raises(Rejected) as refused:
        read_pending_lines(bodies, context)
    return refused.value.reason


def test_a_line_has_whole_seconds_and_an_id_of_the_command() -> None:
    first, second = read_pending_lines([sent(), sent()], CONTEXT)
    assert first.period.start == "2026-01-01T00:00:00.000Z"
    assert first.id != second.id
    assert read_pending_lines([sent(), sent()], CONTEXT) == [first, second]
    assert (first.managed_by, first.status, first.currency) == ("manual", "valid", "USD")
    assert msgspec.to_builtins(first.rate_card.tax_config) == CARD["taxConfig"]


def test_the_older_form_is_the_same_line() -> None:
    (nested,) = read_pending_lines([sent()], CONTEXT)
    (older,) = read_pending_lines([sent(rateCard=None, **CARD)], CONTEXT)
    assert older == nested
    (both,) = read_pending_lines([sent(price={"type": "flat", "amount": "1"}, featureKey="seats")], CONTEXT)
    assert both == nested


def test_every_code() -> None:
    gone = msgspec.structs.replace(customer(), deleted_at=AT)
    without = msgspec.structs.replace(customer(), key=None, usage_attribution=UsageAttribution([]))
    short = {"from": "2026-01-01T00:00:00.1Z", "to": "2026-01-01T00:00:00.9Z"}
    zero = {"price": {"type": "flat", "amount": "0.00"}}
    assert code_of(context=CONTEXT) == "invoice_create_no_lines"
    assert code_of(sent(), context=CONTEXT._replace(customer=gone)) == "customer_deleted"
    assert code_of(sent(currency="EUR")) == "invoice_line_currency_mismatch"
    assert code_of(sent(rateCard=CARD | {"featureKey": "seats"})) == "invoice_line_feature_has_no_meters"
    assert code_of(sent(rateCard={"price": UNIT})) == "invoice_line_feature_has_no_meters"
    assert (
        code_of(sent(), context=CONTEXT._replace(customer=without))
        == "invoice_create_ubp_line_customer_has_no_subjects"
    )
    assert code_of(sent(period=short)) == "invoice_create_ubp_line_period_is_empty"
    assert code_of(sent(rateCard=zero)) == "invoice_line_zero_amount_create"


def test_a_fixed_amount_needs_no_usage() -> None:
    empty = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    (fee,) = read_pending_lines(
        [sent(rateCard={"price": {"type": "flat", "amount": "5"}}, period=empty)], CONTEXT
    )
    assert not fee.is_metered


@pytest.mark.parametrize(
    "wrong",
    [
        sent(name=None),
        sent(period=None),
        sent(invoiceAt=None),
        sent(invoiceAt="tomorrow"),
        sent(period={"from": PERIOD["to"], "to": PERIOD["from"]}),
        sent(rateCard={"featureKey": "tokens"}),
        sent(rateCard={"price": {"type": "unit"}}),
        sent(rateCard=CARD | {"taxConfig": {"stripe": {"code": "x"}}}),
        sent(rateCard=CARD | {"taxConfig": {"behavior": "maybe"}}),
        sent(quantity="5"),
    ],
)
def test_what_is_no_line_is_refused(wrong: dict[str, object]) -> None:
    assert code_of(wrong) == "bad-invoice-line"


def test_one_bad_line_refuses_all() -> None:
    assert code_of(sent(), sent(currency="EUR")) == "invoice_line_currency_mismatch"
    assert code_of(*[sent()] * 1001) == "bad-invoice-line"
