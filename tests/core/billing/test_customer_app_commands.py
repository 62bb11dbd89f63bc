"""core.billing.customer_app_commands: which id at Stripe a customer may have."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.billing.customer_app import customer_app_name
from tests.core.billing.stripe_log import connected, install
from tests.fixtures.control_log import Log


def customer(log: Log, key: str) -> str:
    body = {"key": key, "name": key, "usageAttribution": {"subjectKeys": []}}
    return str(log.do("customer.create", body)["id"])


def data(app: str, of: str = "acme", **more: Any) -> dict[str, Any]:
    return {"customerId": of, "appId": app, "stripeCustomerId": "cus_1", **more}


def test_an_id_is_set_by_key_or_id_changed_and_deleted() -> None:
    log, app = connected()
    first = log.do("customer-app.upsert", data(app, stripeDefaultPaymentMethodId="pm_1"))
    again = log.do("customer-app.upsert", data(app, first["customerId"]))
    assert "stripeDefaultPaymentMethodId" not in again and again["createdAt"] == first["createdAt"]
    revision = log.revision
    assert log.do("customer-app.upsert", data(app)) == again and log.revision == revision
    log.do("customer-app.delete", {"customerId": "acme", "appId": app})
    assert log.body("customer-app", customer_app_name(first["customerId"], app)) is None
    assert log.refused("customer-app.delete", {"customerId": "acme", "appId": app})[0] == "not-found"


def test_the_ids_that_a_customer_had_are_remembered_but_for_the_one_that_it_has() -> None:
    log, app = connected()
    for id in ("cus_1", "cus_2", "cus_2", "cus_3", "cus_1"):
        body = log.do("customer-app.upsert", data(app, stripeCustomerId=id))
    assert (body["stripeCustomerId"], body["formerStripeIds"]) == ("cus_1", ["cus_2", "cus_3"])
    for number in range(20):
        body = log.do("customer-app.upsert", data(app, stripeCustomerId=f"cus_a{number}"))
    assert body["formerStripeIds"] == [f"cus_a{number}" for number in range(9, 19)]


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"customerId": "no"}, "not-found", "There is no customer with the id or key no."),
        ({"appId": "no"}, "not-found", "There is no app with the id no."),
        (
            {"stripeCustomerId": "acct_1"},
            "bad-customer-app",
            "customer-app stripeCustomerId must be the id of a customer at Stripe: cus_...",
        ),
        ({"stripeCustomerId": None}, "bad-customer-app", "customer-app stripeCustomerId is required"),
    ],
)
def test_what_names_nothing_is_refused(change: dict[str, Any], reason: str, detail: str) -> None:
    log, app = connected()
    assert log.refused("customer-app.upsert", {**data(app), **change}) == (reason, detail)


def test_a_customer_of_stripe_belongs_to_one_customer_of_an_app() -> None:
    log, app = connected()
    acme = log.do("customer-app.upsert", data(app))["customerId"]
    customer(log, "other")
    assert log.refused("customer-app.upsert", data(app, "other")) == (
        "customer-app-conflict",
        f"the Stripe customer cus_1 is that of the customer {acme} already: give each customer one of its own",
    )
    log.do("customer-app.upsert", data(install(log, "acct_2"), "other"))  # of another account
    log.do("customer.delete", {"id": acme})
    log.do("customer-app.upsert", data(app, "other"))


def test_an_uninstalled_app_takes_no_customers() -> None:
    log, app = connected()
    log.do("app.uninstall", {"id": app})
    assert log.refused("customer-app.upsert", data(app))[0] == "not-found"
