"""Prices that clients send: what comes back, and what is refused with which sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.catalog.price import PercentagePrice, Price
from pipeline.core.catalog.price_reading import MAX_TIERS, read_price
from pipeline.errors import Rejected

FLAT = {"type": "flat", "amount": "1"}
UNIT = {"type": "unit", "amount": "0.5"}
LAST = {"flatPrice": None, "unitPrice": UNIT}


def tiered(*tiers: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"type": "tiered", "mode": "graduated", "tiers": list(tiers), **more}


SENT: list[dict[str, Any]] = [
    {"type": "flat", "amount": "29.99", "paymentTerm": "in_advance"},
    {"type": "flat", "amount": "0", "paymentTerm": "in_arrears"},
    {"type": "unit", "amount": "0.000000000000000001", "minimumAmount": "5", "maximumAmount": "5"},
    {"type": "unit", "amount": "999999999999999999.123456789012345678"},
    {"type": "package", "amount": "15", "quantityPerPackage": "0.5", "maximumAmount": "0"},
    {"type": "dynamic", "multiplier": "1.33333", "minimumAmount": "100"},
    tiered({"upToAmount": "0", "flatPrice": FLAT, "unitPrice": None}, {"flatPrice": FLAT, "unitPrice": UNIT}),
    tiered(LAST, mode="volume", minimumAmount="1", maximumAmount="2"),
    {"type": "percentage", "rate": "2.9", "fixedAmount": "0.3", "freeEvents": 3, "freeAmount": "250",
     "eventMinimum": "1.75", "eventMaximum": "12", "minimumAmount": "1"},
    {"type": "graduated_percentage", "tiers": [{"upToAmount": "10", "rate": "1", "flatAmount": "200"}, {"rate": "3"}]},
]  # fmt: skip


@pytest.mark.parametrize("sent", SENT)
def test_what_was_sent_comes_back(sent: dict[str, Any]) -> None:
    price = read_price("plan", sent, by_event=True)
    assert msgspec.json.decode(msgspec.json.encode(price)) == sent
    assert msgspec.json.decode(msgspec.json.encode(price), type=Price) == price
    assert msgspec.convert(sent, Price) == price


@pytest.mark.parametrize("sent", SENT)
def test_a_price_can_be_a_key(sent: dict[str, Any]) -> None:
    assert {read_price("plan", sent, by_event=True): 1}[read_price("plan", sent, by_event=True)] == 1


@pytest.mark.parametrize(
    ("spelled", "text"), [("1.50", "1.5"), ("007", "7"), ("1e2", "100"), (3, "3"), (0.1, "0.1"), ("-0", "0")]
)
def test_an_amount_has_one_text(spelled: object, text: str) -> None:
    assert msgspec.to_builtins(read_price("plan", {"type": "unit", "amount": spelled}))["amount"] == text


def test_defaults_are_written() -> None:
    assert (
        msgspec.to_builtins(read_price("plan", {"type": "flat", "amount": "1"}))["paymentTerm"]
        == "in_advance"
    )
    assert msgspec.to_builtins(read_price("plan", {"type": "dynamic"}))["multiplier"] == "1"


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({}, "plan price type is required"),
        ({"type": "seat"}, "plan price type must be one of flat, unit, tiered, dynamic, package, percentage, "
                           "graduated_percentage"),
        ({"type": ["flat"]}, "plan price type must be one of"),
        ({"type": "flat"}, "plan price amount is required"),
        ({"type": "flat", "amount": "-0.01"}, "plan price amount must not be negative"),
        ({"type": "flat", "amount": "1", "minimumAmount": "1"}, "plan price has an unknown member 'minimumAmount'"),
        ({"type": "flat", "amount": "1", "paymentTerm": "later"}, "paymentTerm must be one of in_advance, in_arrears"),
        ({"type": "unit", "amount": "1", "paymentTerm": "in_advance"}, "unknown member 'paymentTerm'"),
        ({"type": "unit", "amount": "x"}, "plan price amount is not valid: value cannot be parsed as a number: x"),
        ({"type": "unit", "amount": True}, "plan price amount is not valid"),
        ({"type": "unit", "amount": "1" * 19}, "value must be below 10^18"),
        ({"type": "unit", "amount": "0." + "1" * 19}, "value has more than 18 decimals"),
        ({"type": "unit", "amount": 0.1234567890123456}, "too many digits for a JSON number"),
        ({"type": "unit", "amount": "1", "minimumAmount": "-1"}, "minimumAmount must not be negative"),
        ({"type": "unit", "amount": "1", "minimumAmount": "2", "maximumAmount": "1"},
         "plan price minimumAmount must not be above maximumAmount"),
        ({"type": "package", "amount": "1"}, "plan price quantityPerPackage is required"),
        ({"type": "package", "amount": "1", "quantityPerPackage": "0"}, "quantityPerPackage must be above 0"),
        ({"type": "dynamic", "multiplier": "-1"}, "multiplier must not be negative"),
        ({"type": "tiered", "tiers": [LAST]}, "plan price mode is required"),
        (tiered(LAST, mode="steps"), "plan price mode must be one of volume, graduated"),
        ({"type": "tiered", "mode": "volume"}, "plan price tiers is required"),
        (tiered(), f"plan price tiers must be a list of 1 to {MAX_TIERS} objects"),
        (tiered(*[LAST] * (MAX_TIERS + 1)), f"plan price tiers must be a list of 1 to {MAX_TIERS} objects"),
        (tiered({"upToAmount": "10", "unitPrice": UNIT}), "tiers[0] is the last tier and must have no upToAmount"),
        (tiered(LAST, LAST), "price tiers[0] upToAmount is required, since only the last tier is without a bound"),
        (tiered({"upToAmount": "10", "unitPrice": UNIT}, {"upToAmount": "10", "unitPrice": UNIT}, LAST),
         "plan price tiers[1] upToAmount must be above that of the tier before"),
        (tiered({"upToAmount": "-1", "unitPrice": UNIT}, LAST), "tiers[0] upToAmount must not be negative"),
        (tiered({}), "plan price tiers[0] must have a flatPrice or a unitPrice"),
        (tiered({"flatPrice": UNIT}), "plan price tiers[0] flatPrice type must be one of flat"),
        (tiered({"flatPrice": {"amount": "1"}}), "plan price tiers[0] flatPrice type is required"),
        (tiered({"flatPrice": {"type": "flat"}}), "plan price tiers[0] flatPrice amount is required"),
        (tiered({"flatPrice": {**FLAT, "paymentTerm": "in_advance"}}), "flatPrice has an unknown member"),
        (tiered({**LAST, "price": 1}), "plan price tiers[0] has an unknown member 'price'"),
        ({"type": "percentage"}, "plan price rate is required"),
        ({"type": "percentage", "rate": "1", "eventMinimum": "2", "eventMaximum": "1"},
         "plan price eventMinimum must not be above eventMaximum"),
        ({"type": "percentage", "rate": "1", "freeEvents": -1}, "freeEvents must be an integer from 0"),
        ({"type": "graduated_percentage", "tiers": [{}]}, "plan price tiers[0] rate is required"),
    ],
)  # fmt: skip
def test_refusals(sent: dict[str, Any], detail: str) -> None:
    with pytest.raises(Rejected) as refusal:
        read_price("plan", sent, by_event=True)
    assert refusal.value.reason == "bad-plan"
    assert detail in refusal.value.detail


@pytest.mark.parametrize(
    ("more", "needed"),
    [({}, False), ({"freeAmount": "9"}, False), ({"fixedAmount": "1"}, True), ({"eventMaximum": "1"}, True)],
)
def test_which_percentage_needs_single_events(more: dict[str, str], needed: bool) -> None:
    price = read_price("plan", {"type": "percentage", "rate": "1", **more}, by_event=True)
    assert isinstance(price, PercentagePrice)
    assert price.needs_events is needed


@pytest.mark.parametrize("member", ["fixedAmount", "freeEvents", "eventMinimum", "eventMaximum"])
def test_what_is_sold_needs_no_single_events(member: str) -> None:
    sent = {"type": "percentage", "rate": "1", member: 0}
    with pytest.raises(Rejected) as refusal:
        read_price("plan", sent)
    assert (refusal.value.reason, refusal.value.detail) == (
        "bad-plan",
        f"plan price {member} needs the amount of each event, and usage is kept as sums: leave it out",
    )
