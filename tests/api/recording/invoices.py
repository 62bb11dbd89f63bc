"""Invoices: pending lines, drafts and what clients do with them, pages, callbacks of custom invoicing, the portal."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from pipeline.core.invoices.line_usage import LineUsage
from pipeline.core.values import ulid
from pipeline.core.values.timestamp import ms_of
from pipeline.stores.kafka import topics
from pipeline.stores.kafka.documents import document_key
from tests.api.recording.world import World
from tests.api.scope_table import (
    APPS,
    CREDIT_NOTES,
    CUSTOM_INVOICING,
    CUSTOMERS,
    INVOICES,
    LISTINGS,
    OF_CUSTOMER_INVOICES,
    OVERRIDES,
    PORTAL_CREDITS,
    PORTAL_INVOICES,
    PROFILES,
    TOKENS,
    UPCOMING,
)
from tests.fixtures.billing_bodies import of_app
from tests.fixtures.invoices_to_print import INVOICES as MADE
from tests.fixtures.invoices_to_print import NOW_S, document

LINES = "/api/v1/billing/lines"
USED: dict[str, Any] = {"headers": {"idempotency-key": "used for invoices"}}
JANUARY = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
DUE, LATER = "2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z"
TIERS = {
    "type": "tiered", "mode": "graduated", "tiers": [
        {"upToAmount": "1000", "flatPrice": {"type": "flat", "amount": "10"}, "unitPrice": None},
        {"flatPrice": None, "unitPrice": {"type": "unit", "amount": "0.002"}}],
}  # fmt: skip
SETUP = {
    "name": "Set-up", "description": "Two days", "period": {**JANUARY, "to": DUE}, "invoiceAt": DUE,
    "metadata": {"order": "17"},
    "rateCard": {"price": {"type": "flat", "amount": "250"}, "discounts": {"percentage": {"percentage": 10}}},
}  # fmt: skip
SUPPORT = {**SETUP, "name": "Support", "rateCard": {"price": {"type": "flat", "amount": "100"}}}
USAGE = {
    "name": "Tokens", "period": JANUARY, "invoiceAt": LATER, "rateCard": {"price": TIERS, "featureKey": "gpt_4_tokens"},
}  # fmt: skip
PROFILE = {
    "name": "By hand", "default": False, "timeZone": "Europe/Berlin",
    "supplier": {"name": "Us GmbH", "taxId": {"code": "DE1"}, "addresses": [{"country": "DE", "city": "Berlin"}]},
    "workflow": {"invoicing": {"autoAdvance": False}}, "taxRates": [{"code": "default", "percent": "19"}],
}  # fmt: skip


def invoices(world: World) -> None:
    """Of the customer `initech`, whose own system issues them."""
    _customer(world)
    pending_lines(world)
    first = _now(world, "what is due", {"customerId": "initech", "progressiveBillingOverride": False})
    changes(world, first)
    reads(world, first)
    callbacks(world, first)
    payments(world, first)
    proofs(world, first)
    collection(world)
    deletion(world)
    portal(world)
    explained(world)
    credit_notes(world)
    replay(world)


def credit_notes(world: World) -> None:
    """One of `acme`, which corrects an invoice that is not there any more."""
    ask, one = world.recorder.ask, f"{CREDIT_NOTES}/{{creditNoteId}}"
    note, customer = ulid.make(NOW_S * 1000, "credit note"), str(world.customer["id"])
    made = document(MADE["credit-note"](), note, customer)
    world.publish("invoices", document_key("default", customer, note), made)
    path = f"{CREDIT_NOTES}/{note}"
    while world.answer("GET", path, None)[0] == 404:  # until the API has read it
        time.sleep(0.02)
    ask(f"GET {CREDIT_NOTES}", "all of them", CREDIT_NOTES)
    ask(f"GET {one}", "one", path)
    ask(f"GET {one}", "there is none", f"{CREDIT_NOTES}/nothing")
    ask(f"GET {one}.html", "its page", f"{path}.html")
    ask(f"GET {one}.html", "there is none", f"{CREDIT_NOTES}/nothing.html")


def replay(world: World) -> None:
    ask, path = world.recorder.ask, "/api/v1/billing/replay"
    prices = {"rateCards": [{"key": "gpt_4_tokens", "price": {"type": "unit", "amount": "0.001"}}]}
    body = {**prices, "from": "2026-01-01", "to": "2026-02-01"}
    ask(f"POST {path}", "by another price", path, body)
    plan = {
        "name": "Flat", "currency": "EUR", "billingCadence": "P1M",
        "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": [
            {"type": "flat_fee", "key": "fee", "name": "Fee", "billingCadence": "P1M",
             "price": {"type": "flat", "amount": "5", "paymentTerm": "in_advance"}},
        ]}],
    }  # fmt: skip
    span = {"from": body["from"], "to": body["to"]}
    ask(f"POST {path}", "under another plan", path, {**span, "customPlan": plan})
    ask(f"POST {path}", "prices and a plan", path, {**body, "customPlan": plan})
    ask(f"POST {path}", "an unknown customer", path, {**body, "customer": "nothing"})
    ask(f"POST {path}", "no prices", path, {**body, "rateCards": []})


def _make(world: World, method: str, path: str, body: Any, purpose: str = "invoices") -> Any:
    """What is made without a record, the same in every run."""
    name = f"for {purpose}: {method} {path}"
    status, found = world.answer(method, path, body, {"idempotency-key": name})
    assert status < 300, found
    return found


def _customer(world: World) -> None:
    app = _make(
        world, "POST", f"{LISTINGS}/custom_invoicing/install", {"name": "ERP", "createBillingProfile": False}
    )["app"]["id"]
    hooks = {"enableDraftSyncHook": True, "enableIssuingSyncHook": True}
    _make(world, "PUT", f"{APPS}/{app}", {"type": "custom_invoicing", "name": "ERP", **hooks})
    profile = _make(world, "POST", PROFILES, {**PROFILE, "apps": of_app(app)})
    address = {"country": "GB", "postalCode": "EC1A 1BB", "city": "London", "line1": "1 Long Lane"}
    body = {
        "key": "initech",
        "name": "Initech Ltd",
        "usageAttribution": {"subjectKeys": ["initech-prod"]},
        "billingAddress": address,
    }
    customer = _make(world, "POST", CUSTOMERS, body)
    _make(world, "PUT", f"{OVERRIDES}/{customer['id']}", {"billingProfileId": profile["id"]})


def pending_lines(world: World) -> None:
    ask, path = world.recorder.ask, f"{CUSTOMERS.replace('customers', 'billing/customers')}/initech/invoices"
    post, simulate = f"POST {OF_CUSTOMER_INVOICES}/pending-lines", f"POST {OF_CUSTOMER_INVOICES}/simulate"
    body = {"currency": "EUR", "lines": [SETUP, SUPPORT, USAGE]}
    ask(post, "lines wait to be invoiced", f"{path}/pending-lines", body)
    ask(
        post, "one more, with an Idempotency-Key", f"{path}/pending-lines", {**body, "lines": [USAGE]}, **USED
    )
    ask(post, "the Idempotency-Key was used for other lines", f"{path}/pending-lines", body, **USED)
    ask(post, "no lines", f"{path}/pending-lines", {**body, "lines": []})
    ask(post, "an unknown member", f"{path}/pending-lines", {**body, "zz": 1})
    made_up = {"currency": "EUR", "lines": [{**USAGE, "quantity": "2500"}, {**SETUP, "quantity": "1"}]}
    ask(simulate, "what lines would cost", f"{path}/simulate", made_up)
    ask(simulate, "an unknown member", f"{path}/simulate", {**made_up, "zz": 1})


def _now(world: World, name: str, body: Any) -> Any:
    """The first invoice that is made."""
    made: list[Any] = world.recorder.ask(f"POST {INVOICES}/invoice", name, f"{INVOICES}/invoice", body)
    return made[0]


def changes(world: World, invoice: Any) -> None:
    ask, one, path = world.recorder.ask, f"{INVOICES}/{{invoiceId}}", f"{INVOICES}/{invoice['id']}"
    now = f"POST {INVOICES}/invoice"
    ask(
        now,
        "a line that there is not",
        f"{INVOICES}/invoice",
        {"customerId": "initech", "filters": {"lineIds": ["zz"]}},
    )
    ask(now, "an unknown member", f"{INVOICES}/invoice", {"customerId": "initech", "zz": 1})
    ask(now, "an unknown customer", f"{INVOICES}/invoice", {"customerId": "nothing"})
    ask(now, "the Idempotency-Key was used", f"{INVOICES}/invoice", {"customerId": "initech"}, **USED)
    (setup,) = (line for line in invoice["lines"] if line["name"] == "Set-up")
    kept = {name: setup[name] for name in ("id", "name", "description", "metadata", "period", "invoiceAt")}
    body = {
        "description": "Thank you for your order.",
        "metadata": {"order": "17"},
        "customer": {"name": "Initech Limited", "taxId": {"code": "GB1"}, "addresses": [{"country": "GB"}]},
        "lines": [{**kept, "rateCard": {**setup["rateCard"], "price": {"type": "flat", "amount": "300"}}}],
        "workflow": {"workflow": {"invoicing": {"dueAfter": "P14D"}}},
    }
    ask(f"PUT {one}", "one line is changed, the other deleted", path, body)
    ask(f"PUT {one}", "an unknown member", path, {**body, "zz": 1})
    ask(f"PUT {one}", "the Idempotency-Key was used", path, body, **USED)
    for verb in ("taxes/recalculate", "snapshot-quantities"):
        ask(f"POST {one}/{verb}", "of a draft", f"{path}/{verb}")
        ask(f"POST {one}/{verb}", "the Idempotency-Key was used", f"{path}/{verb}", **USED)


def reads(world: World, invoice: Any) -> None:
    ask, one, path = world.recorder.ask, f"{INVOICES}/{{invoiceId}}", f"{INVOICES}/{invoice['id']}"
    ask(f"GET {one}", "with its lines", path)
    ask(
        f"GET {one}",
        "with deleted lines and apps",
        f"{path}?includeDeletedLines=true&expand=lines,workflow.apps",
    )
    ask(f"GET {one}", "something else to expand", f"{path}?expand=zz")
    ask(f"GET {one}.html", "a page", f"{path}.html")
    ask(f"GET {one}.pdf", "an unknown invoice", f"{INVOICES}/nothing.pdf")
    ask(f"GET {one}/lines", "rows", f"{path}/lines")
    ask(f"GET {one}/lines", "as CSV", f"{path}/lines", headers={"accept": "text/csv"})
    ask(f"GET {INVOICES}", "all of them", INVOICES)
    conditions = "statuses=draft&extendedStatuses=draft.syncing&createdAfter=2026-01-15&orderBy=customer.name"
    ask(f"GET {INVOICES}", "those that match", f"{INVOICES}?{conditions}&expand=lines")
    ask(f"GET {INVOICES}", "an unknown order", f"{INVOICES}?orderBy=zz")
    ask(f"GET {INVOICES}", "an unknown status", f"{INVOICES}?statuses=zz")


def callbacks(world: World, invoice: Any) -> None:
    ask, of, one = (
        world.recorder.ask,
        f"/api/v1/apps/custom-invoicing/{invoice['id']}",
        f"{INVOICES}/{{invoiceId}}",
    )
    draft, issuing = (
        f"POST {CUSTOM_INVOICING}/draft/synchronized",
        f"POST {CUSTOM_INVOICING}/issuing/synchronized",
    )
    line = next(one for one in invoice["lines"] if one["name"] == "Set-up")["id"]
    taken = {"invoicing": {"externalId": "e-1", "lineExternalIds": [{"lineId": line, "externalId": "e-1-1"}]}}
    issued = {
        "invoicing": {"invoiceNumber": "R-2026-1", "sentToCustomerAt": "2026-01-15T13:00:00Z"},
        "payment": {"externalId": "p-1"},
    }
    ask(issuing, "it is not issued yet", f"{of}/issuing/synchronized", issued)
    ask(draft, "an unknown member", f"{of}/draft/synchronized", {"zz": 1})
    ask(draft, "the Idempotency-Key was used", f"{of}/draft/synchronized", taken, **USED)
    ask(draft, "the client's system has the draft", f"{of}/draft/synchronized", taken)
    path = f"{INVOICES}/{invoice['id']}/approve"
    ask(f"POST {one}/approve", "the Idempotency-Key was used", path, **USED)
    ask(f"POST {one}/approve", "it is to be issued", path)
    ask(f"POST {one}/approve", "it is approved already", path)
    ask(issuing, "an unknown member", f"{of}/issuing/synchronized", {"zz": 1})
    ask(issuing, "the Idempotency-Key was used", f"{of}/issuing/synchronized", issued, **USED)
    ask(issuing, "the client's system has issued it", f"{of}/issuing/synchronized", issued)


def payments(world: World, invoice: Any) -> None:
    ask, one, path = world.recorder.ask, f"{INVOICES}/{{invoiceId}}", f"{INVOICES}/{invoice['id']}"
    status, of = (
        f"POST {CUSTOM_INVOICING}/payment/status",
        f"/api/v1/apps/custom-invoicing/{invoice['id']}/payment/status",
    )
    ask(status, "an unknown trigger", of, {"trigger": "zz"})
    ask(status, "the Idempotency-Key was used", of, {"trigger": "paid"}, **USED)
    ask(status, "a payment failed", of, {"trigger": "payment_failed"})
    ask(f"POST {one}/retry", "the Idempotency-Key was used", f"{path}/retry", **USED)
    ask(f"POST {one}/retry", "the payment is tried again", f"{path}/retry")
    ask(f"POST {one}/retry", "nothing failed", f"{path}/retry")
    void = {"reason": "Ordered by mistake", "action": {"percentage": 100, "action": {"type": "discard"}}}
    ask(
        f"POST {one}/void",
        "a share of it",
        f"{path}/void",
        {**void, "action": {**void["action"], "percentage": 50}},
    )
    ask(f"POST {one}/void", "an unknown member", f"{path}/void", {**void, "zz": 1})
    ask(f"POST {one}/void", "the Idempotency-Key was used", f"{path}/void", void, **USED)
    ask(f"POST {one}/void", "it is taken back", f"{path}/void", void)
    ask(f"DELETE {one}", "it has a number", path)
    ask(f"DELETE {one}", "the Idempotency-Key was used", path, **USED)


def collection(world: World) -> None:
    """A draft of usage waits for late usage, until a client advances it when that time is over."""
    ask, one = world.recorder.ask, f"{INVOICES}/{{invoiceId}}"
    body = {"customerId": "initech", "asOf": "2026-01-15T13:00:00Z", "progressiveBillingOverride": True}
    path = f"{INVOICES}/{_now(world, 'usage up to now', body)['id']}/advance"
    ask(f"POST {one}/advance", "it waits", path)
    ask(f"POST {one}/advance", "the Idempotency-Key was used", path, **USED)
    world.shift(7200)
    ask(f"POST {one}/advance", "late usage is awaited no longer", path)
    path = path.replace("advance", "snapshot-quantities")
    ask(f"POST {one}/snapshot-quantities", "it is collected already", path)


def proofs(world: World, invoice: Any) -> None:
    ask, one = world.recorder.ask, f"GET {INVOICES}/{{invoiceId}}/proof"
    ask(one, "of an invoice that was issued", f"{INVOICES}/{invoice['id']}/proof")
    ask(one, "an unknown invoice", f"{INVOICES}/nothing/proof")


def deletion(world: World) -> None:
    path = f"{CUSTOMERS.replace('customers', 'billing/customers')}/initech/invoices/pending-lines"
    line = {"currency": "USD", "lines": [SUPPORT]}
    _make(world, "POST", path, line)
    body = {"customerId": "initech", "progressiveBillingOverride": False}
    draft = _now(world, "in another currency", body)
    world.recorder.ask(f"DELETE {INVOICES}/{{invoiceId}}", "a draft", f"{INVOICES}/{draft['id']}")


def portal(world: World) -> None:
    ask, one = world.recorder.ask, f"GET {PORTAL_INVOICES}/{{invoiceId}}.html"
    made = _make(world, "POST", TOKENS, {"subject": "initech-prod"})
    world.keys["portal"] = made["token"]
    found = ask(f"GET {PORTAL_INVOICES}", "those that were issued", PORTAL_INVOICES, key="portal")
    ask(f"GET {PORTAL_INVOICES}", "a page that is none", f"{PORTAL_INVOICES}?page=0", key="portal")
    ask(f"GET {PORTAL_INVOICES}", "no token", PORTAL_INVOICES, key="")
    path = f"{PORTAL_INVOICES}/{found['items'][0]['id']}.html"
    ask(one, "a page", path, key="portal")
    ask(one, "an unknown invoice", f"{PORTAL_INVOICES}/nothing.html", key="portal")
    pdf = f"GET {PORTAL_INVOICES}/{{invoiceId}}.pdf"
    ask(pdf, "an unknown invoice", f"{PORTAL_INVOICES}/nothing.pdf", key="portal")
    ask(pdf, "no token", f"{PORTAL_INVOICES}/nothing.pdf", key="")
    ask(one, "no token", path, key="")
    ask(f"GET {PORTAL_CREDITS}", "a page", PORTAL_CREDITS, key="portal")
    ask(f"GET {PORTAL_CREDITS}", "no token", PORTAL_CREDITS, key="")


def upcoming(world: World) -> None:
    ask, one = world.recorder.ask, f"GET {UPCOMING}"
    lines = {"currency": "EUR", "lines": [USAGE, {**SUPPORT, "invoiceAt": LATER, "period": JANUARY}]}
    path = f"{CUSTOMERS.replace('customers', 'billing/customers')}/initech/invoices/pending-lines"
    _make(world, "POST", path, lines, "upcoming")
    ask(one, "lines that wait", UPCOMING.replace("{customerIdOrKey}", "initech"))
    ask(one, "a customer that there is not", UPCOMING.replace("{customerIdOrKey}", "nothing"))
    path = f"{PORTAL_INVOICES}/upcoming"
    ask(f"GET {path}", "lines that wait", path, key="portal")
    ask(f"GET {path}", "no token", path, key="")


def explained(world: World) -> None:
    """A line of `acme` that counts the events of `World.rows`."""
    ask, one = world.recorder.ask, f"GET {LINES}/{{lineId}}/explain"
    stored = MADE["small"]()
    fee, line = stored.content.lines
    day_s = ms_of("2026-01-15T00:00:00Z") // 1000
    meter = world.meters["tokens"]["revision"]  # as it was made: its id
    seen = tuple(
        (partition, 9) for partition in range(topics.load(world.settings)["events-unique"].partitions)
    )
    usage = LineUsage(meter, "SUM", day_s, day_s, day_s + 86_400, "0", "2099.25", seen)
    counted = msgspec.structs.replace(
        line, counted=usage, metered_quantity="2099.25", metered_pre_line_period_quantity="0"
    )
    lines = (fee, counted)
    made = msgspec.structs.replace(stored, content=msgspec.structs.replace(stored.content, lines=lines))
    invoice, customer = ulid.make(NOW_S * 1000, "explained"), str(world.customer["id"])
    world.publish("invoices", document_key("default", customer, invoice), document(made, invoice, customer))
    path = f"{LINES}/{line.id}/explain"
    while world.answer("GET", path, None)[0] == 404:  # until the API has read it
        time.sleep(0.02)
    ask(one, "a line by usage", f"{path}?limit=2")
    ask(one, "a fixed amount", f"{LINES}/{fee.id}/explain")
    ask(one, "a line that there is not", f"{LINES}/nothing/explain")
