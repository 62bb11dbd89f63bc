"""The marketplace, Stripe apps, customers in them, mappings of meters."""

from __future__ import annotations

import json
import time
from typing import Any

import stripe

from tests.api.recording.world import World
from tests.api.scope_table import APPS, LISTINGS, MAPPINGS
from tests.local.stripe_sandbox.sandbox_server import KEY

INSTALL = f"{LISTINGS}/stripe/install/apikey"
CUSTOMER = "/api/v1/customers/{customerIdOrKey}"
CUS = "cus_sandbox00000001"


def marketplace(world: World) -> None:
    ask, one = world.recorder.ask, f"{LISTINGS}/{{listingType}}"
    ask(f"GET {LISTINGS}", "all of them", LISTINGS)
    ask(f"GET {one}", "one", f"{LISTINGS}/stripe")
    ask(f"GET {one}/install/oauth2", "it is not offered", f"{LISTINGS}/stripe/install/oauth2")
    authorize = f"{LISTINGS}/stripe/install/oauth2/authorize?state=a&code=b"
    ask(f"GET {one}/install/oauth2/authorize", "it is not offered", authorize)


def apps(world: World) -> None:
    """Installs the world's app, after another one that was uninstalled."""
    ask, one, post = world.recorder.ask, f"{APPS}/{{appId}}", f"POST {INSTALL}"
    made = ask(post, "an account is connected", INSTALL, {"apiKey": KEY, "name": "Stripe, test"})
    app: dict[str, Any] = made["app"]
    world.app = app["id"]
    ask(post, "the account is connected already", INSTALL, {"apiKey": KEY})
    ask(post, "a key that Stripe refuses", INSTALL, {"apiKey": "sk_test_wrong"})
    ask(post, "a key that is none", INSTALL, {"apiKey": "pk_test_1"})
    ask(post, "a live key, which only Stripe gets", INSTALL, {"apiKey": "sk_live_1"})
    ask(post, "an unknown member", INSTALL, {"apiKey": KEY, "zz": 1})
    ask(post, "a billing profile", INSTALL, {"apiKey": KEY, "createBillingProfile": True})
    ask(f"GET {APPS}", "all of them", APPS)
    ask(f"GET {one}", "one", f"{APPS}/{world.app}")
    changed = {
        "type": "stripe",
        "name": "Stripe",
        "description": "Test mode.",
        "metadata": {"team": "billing"},
    }
    ask(f"PUT {one}", "an app is changed", f"{APPS}/{world.app}", changed)
    ask(f"PUT {one}", "an unknown member", f"{APPS}/{world.app}", {**changed, "zz": 1})
    ask(f"PUT {one}", "another type", f"{APPS}/{world.app}", {**changed, "type": "sandbox"})
    key = f"{APPS}/{world.app}/stripe/api-key"
    ask(f"PUT {one}/stripe/api-key", "the key is replaced", key, {"secretAPIKey": KEY})
    ask(f"PUT {one}/stripe/api-key", "a key that is none", key, {"secretAPIKey": "zz"})
    ask(f"DELETE {one}", "an app is uninstalled", f"{APPS}/{world.app}")
    made = ask(post, "the account is connected again", INSTALL, {"apiKey": KEY})
    world.app = made["app"]["id"]


def mappings(world: World) -> None:
    ask, one, post = world.recorder.ask, f"{MAPPINGS}/{{mappingId}}", f"POST {MAPPINGS}"
    tokens = {
        "meterSlug": "tokens", "eventName": "tokens", "window": "HOUR", "multiplier": "0.001",
        "dimensions": {"model": "model"}, "from": "2026-02-01T00:00:00Z", "metadata": {"team": "ai"},
    }  # fmt: skip
    made = ask(post, "a meter is mapped", MAPPINGS, tokens)
    world.mapping = made["id"]
    ask(post, "the meter of Stripe has a mapping", MAPPINGS, tokens)
    ask(post, "Stripe has no such meter", MAPPINGS, {**tokens, "eventName": "nothing"})
    ask(post, "a meter that does not add up", MAPPINGS, {**tokens, "meterSlug": "users"})
    ask(post, "an unknown member", MAPPINGS, {**tokens, "zz": 1})
    ask(f"GET {MAPPINGS}", "all of them", MAPPINGS)
    ask(f"GET {MAPPINGS}", "an unknown order", f"{MAPPINGS}?orderBy=zz")
    ask(f"GET {one}", "one", f"{MAPPINGS}/{world.mapping}")
    changed = {**tokens, "multiplier": "0.01"}
    ask(f"PUT {one}", "it is changed before it begins", f"{MAPPINGS}/{world.mapping}", changed)
    ask(f"PUT {one}", "another meter", f"{MAPPINGS}/{world.mapping}", {**tokens, "meterSlug": "calls"})
    ask(f"PUT {one}", "an unknown member", f"{MAPPINGS}/{world.mapping}", {**tokens, "zz": 1})
    ask(f"DELETE {one}", "it is ended", f"{MAPPINGS}/{world.mapping}")
    ask(post, "another one", MAPPINGS, {**tokens, "from": "2026-03-01T00:00:00Z"})
    calls = {"meterSlug": "calls", "eventName": "calls", "window": "DAY"}
    ask(post, "a whole day, from the one in progress", MAPPINGS, calls)


def customers(world: World) -> None:
    ask, of_stripe, of_apps = world.recorder.ask, f"{CUSTOMER}/stripe", f"{CUSTOMER}/apps"
    acme = "/api/v1/customers/acme"
    ask(f"PUT {of_stripe}", "a customer gets its id", f"{acme}/stripe", {"stripeCustomerId": CUS})
    ask(
        f"PUT {of_stripe}",
        "Stripe has no such customer",
        f"{acme}/stripe",
        {"stripeCustomerId": "cus_nothing"},
    )
    ask(f"PUT {of_stripe}", "an unknown member", f"{acme}/stripe", {"stripeCustomerId": CUS, "zz": 1})
    ask(f"GET {of_stripe}", "its id", f"{acme}/stripe")
    data = [
        {"type": "stripe", "id": world.app, "stripeCustomerId": CUS, "stripeDefaultPaymentMethodId": "pm_1"}
    ]
    ask(f"PUT {of_apps}", "its ids in apps", f"{acme}/apps", data)
    ask(f"PUT {of_apps}", "an app of another type", f"{acme}/apps", [{"type": "sandbox"}])
    ask(f"GET {of_apps}", "all of them", f"{acme}/apps?type=stripe")
    ask(f"DELETE {of_apps}/{{appId}}", "it is deleted", f"{acme}/apps/{world.app}")
    ask(f"PUT {of_stripe}", "it is set again", f"{acme}/stripe", {"stripeCustomerId": CUS})
    _sessions(world, acme)


def _sessions(world: World, acme: str) -> None:
    """Sessions of a customer that Stripe has. acme: its path."""
    ask, portal = world.recorder.ask, f"POST {CUSTOMER}/stripe/portal"
    options = {"successURL": "https://us.example/done", "metadata": {"from": "docs"}}
    sent = {"customer": {"key": "acme"}, "options": options}
    checkout = "/api/v1/stripe/checkout/sessions"
    ask(f"POST {checkout}", "a page to give a payment method", checkout, sent)
    ask(f"POST {checkout}", "no customer", checkout, {"options": options})
    ask(f"POST {checkout}", "an unknown customer", checkout, {"customer": {"key": "zz"}, "options": options})
    ask(portal, "a page of invoices", f"{acme}/stripe/portal", {"returnUrl": "https://us.example"})
    ask(portal, "an unknown member", f"{acme}/stripe/portal", {"zz": 1})


def reports(world: World) -> None:
    """Whether Stripe has our usage, and what it reports by webhook."""
    ask, of_stripe = world.recorder.ask, "/api/v1/billing/stripe"
    ask(f"GET {of_stripe}/drift", "nothing was to be sent yet", f"{of_stripe}/drift")
    ask(f"GET {of_stripe}/drift", "one customer and meter", f"{of_stripe}/drift?customer=acme&meter=calls")
    ask(f"GET {of_stripe}/drift", "too long a time", f"{of_stripe}/drift?from=2026-01-01&to=2026-06-01")
    ask(f"GET {of_stripe}/drift", "no mapping sends it", f"{of_stripe}/drift?meter=zz")
    of_invoices = f"{of_stripe}/drift/invoices"
    ask(f"GET {of_invoices}", "every invoice is the same at Stripe", of_invoices)
    ask(f"GET {of_invoices}", "too long a time", f"{of_invoices}?from=2026-01-01&to=2026-06-01")
    ask(f"GET {of_invoices}", "no such app", f"{of_invoices}?app=zz")
    ask(f"GET {of_stripe}/status", "each account", f"{of_stripe}/status")
    retry = f"{of_stripe}/retry"
    ask(f"POST {retry}", "a customer", retry, {"customer": "acme"})
    ask(
        f"POST {retry}",
        "what Stripe has of a meter",
        retry,
        {"customer": "acme", "meter": "calls", "accept": "stripe"},
    )
    ask(f"POST {retry}", "an unknown customer", retry, {"customer": "zz"})
    ask(f"POST {retry}", "an unknown member", retry, {"customer": "acme", "zz": 1})
    webhooks(world)


def webhooks(world: World) -> None:
    secret, operation = "whsec_recorded", f"POST {APPS}/{{appId}}/stripe/webhook"
    changed = {"type": "stripe", "name": "Stripe", "webhookSecret": secret}
    assert world.answer("PUT", f"{APPS}/{world.app}", changed)[0] == 200
    report = {
        "id": "evt_1", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
        "created": "2026-01-15T12:00:00.000Z", "related_object": {"id": "mtr_sandbox00000001"},
        "data": {"reason": {"error_types": [{"code": "archived_meter", "error_count": 2}]}},
    }  # fmt: skip

    def ask(name: str, body: dict[str, Any], key: str = secret, app: str = world.app) -> None:
        text, at_s = json.dumps(body), int(time.time())
        signature = stripe.WebhookSignature.generate_signature_header(text, key, at_s)
        world.recorder.hide(signature, "t=1768478400,v1=...")
        headers = {"stripe-signature": signature}
        world.recorder.ask(operation, name, f"{APPS}/{app}/stripe/webhook", body, key="", headers=headers)

    ask("a report is kept", report)
    ask("an event that is not kept", {**report, "type": "v1.billing.meter.created"})
    ask("another secret", report, "whsec_other")
    ask("no event", {"type": "zz"})
    ask("an unknown app", report, app="nothing")
