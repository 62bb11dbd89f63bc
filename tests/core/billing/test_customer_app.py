"""core.billing.app, customer_app and stripe_meter: what is stored is read back, byte for byte."""

from __future__ import annotations

import pytest

from pipeline.core.billing.app import App
from pipeline.core.billing.customer_app import CustomerApp, customer_app_name
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.records import Definition

TIMES = {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z"}
STORED: list[tuple[type[DefinitionBody], dict[str, object]]] = [
    (
        App,
        {
            "id": "01A",
            "type": "stripe",
            "name": "Stripe",
            "status": "ready",
            "stripeAccountId": "acct_1",
            "livemode": False,
            "maskedApiKey": "sk_test_***abc",
            "sealedApiKey": "sealed",
            **TIMES,
        },
    ),
    (CustomerApp, {"customerId": "01C", "appId": "01A", "stripeCustomerId": "cus_1", **TIMES}),
    (
        StripeMeter,
        {
            "id": "01M",
            "appId": "01A",
            "meterSlug": "tokens",
            "meterId": "01T",
            "eventName": "tokens",
            "stripeMeterId": "mtr_1",
            "customerKey": "stripe_customer_id",
            "valueKey": "value",
            "window": "HOUR",
            "multiplier": "0.001",
            "dimensions": {"model": "model"},
            "fromAt": "2026-01-01T00:00:00.000Z",
            **TIMES,
        },
    ),
]


@pytest.mark.parametrize(("kind", "members"), STORED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_stored_body_is_read_back(kind: type[DefinitionBody], members: dict[str, object]) -> None:
    body = kind.of(Definition(1, kind.kind, "default", "name", "actor", 0, members))
    assert body is not None
    assert list(body.members.items()) == list(members.items())
    changed = body.changed(updated_at="2026-02-01T00:00:00.000Z")
    assert changed.members == members | {"updatedAt": "2026-02-01T00:00:00.000Z"}


def test_each_customer_and_app_has_one_name() -> None:
    assert customer_app_name("01A", "01B") == "01A.01B"
