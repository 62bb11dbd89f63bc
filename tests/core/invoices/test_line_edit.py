"""Edits of lines: what they change, and the code of each that is refused."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.catalog.price import FlatPrice
from pipeline.core.catalog.price_terms import Discounts, UnitConfig, UsageDiscount
from pipeline.core.invoices.line import InvoiceLine, LineRateCard, LineSubscription, ReferenceId
from pipeline.core.invoices.line_edit import SentLine, edited_lines
from pipeline.core.invoices.line_split import split
from pipeline.errors import Rejected
from tests.core.invoices.invoices import AT, HOUR_S, START_S, flat, line, period, text

NOW = text(START_S + 50)
OF_SUBSCRIPTION = line(
    "subscribed",
    managed_by="subscription",
    subscription=LineSubscription(
        subscription=ReferenceId("s"), phase=ReferenceId("p"), item=ReferenceId("i"), billing_period=period()
    ),
)
PART = split(line("parted"), START_S + HOUR_S, START_S * 1000).first


def edit(of: InvoiceLine, **changed: object) -> InvoiceLine:
    (found,) = edited_lines([of], [SentLine(of.id, msgspec.structs.replace(of, **changed))], NOW)
    return found


def test_what_is_sent_back_as_it_is_changes_nothing() -> None:
    lines = (line("a"), flat("b"), line("gone", deleted_at=AT), OF_SUBSCRIPTION, PART)
    sent = [SentLine(one.id, one) for one in lines if one.deleted_at is None]
    assert edited_lines(lines, sent, NOW) == lines


def test_a_changed_line_is_managed_by_hand_and_keeps_the_rest() -> None:
    changed = edit(OF_SUBSCRIPTION, name="Renamed", quantity="99", id="other", status="detailed")
    assert (changed.name, changed.managed_by, changed.updated_at) == ("Renamed", "manual", NOW)
    assert (changed.id, changed.quantity, changed.status) == (OF_SUBSCRIPTION.id, None, "valid")
    assert changed.subscription == OF_SUBSCRIPTION.subscription


def test_a_conversion_of_units_stays() -> None:
    card = LineRateCard(
        price=line().rate_card.price, unit_config=UnitConfig(operation="divide", conversion_factor="1000")
    )
    converted = line(rate_card=card)
    sent = msgspec.structs.replace(
        converted, rate_card=msgspec.structs.replace(card, unit_config=None), name="New"
    )
    (found,) = edited_lines([converted], [SentLine(converted.id, sent)], NOW)
    assert found.rate_card == card


def test_new_lines_come_last_and_missing_ones_are_deleted() -> None:
    found = edited_lines(
        [line("a"), line("b")], [SentLine(line("b").id, line("b")), SentLine(None, flat("c"))], NOW
    )
    assert [(one.name, one.deleted_at) for one in found] == [("a", NOW), ("b", None), ("c", None)]


def code_of(lines: list[InvoiceLine], sent: list[SentLine]) -> str:
    with pytest.raises(Rejected) as refused:
        edited_lines(lines, sent, NOW)
    return refused.value.reason


@pytest.mark.parametrize(
    ("of", "changed", "code"),
    [
        (PART, {"period": period()}, "invoice_line_no_period_change_for_split_line"),
        (
            OF_SUBSCRIPTION,
            {"period": period(START_S + 60)},
            "invoice_line_no_period_change_for_subscription_managed_line",
        ),
        (
            PART,
            {
                "rate_card": LineRateCard(
                    price=PART.rate_card.price, discounts=Discounts(None, UsageDiscount("5"))
                )
            },
            "invoice_line_progressive_billing_usage_discount_update_forbidden",
        ),
        (
            flat(),
            {"rate_card": LineRateCard(price=FlatPrice("0"))},
            "invoice_line_zero_amount_delete_instead",
        ),
    ],
)
def test_codes_of_changes(of: InvoiceLine, changed: dict[str, object], code: str) -> None:
    assert code_of([of], [SentLine(of.id, msgspec.structs.replace(of, **changed))]) == code


def test_other_codes() -> None:
    detailed = line(status="detailed")
    assert code_of([detailed], []) == "invoice_line_delete_invalid_status"
    assert code_of([line()], [SentLine("x", line())]) == "invoice_line_not_found"
    assert code_of([line(deleted_at=AT)], [SentLine(line().id, line())]) == "invoice_line_not_found"
    assert code_of([line()], [SentLine(line().id, line())] * 2) == "invoice_line_sent_twice"


def test_a_period_of_a_line_of_its_own_may_be_changed() -> None:
    assert edit(line(), period=period(START_S + 60)).period.start_s == START_S + 60
    assert edit(PART, name="Renamed").split == PART.split
