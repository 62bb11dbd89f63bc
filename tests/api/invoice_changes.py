"""A request that succeeds for every route that changes an invoice.

Owns: these rows of the table in changes. Does not own: the table, making what others need. The invoices are those of a
client's own invoicing system, which has to call before anything happens: so an answer is the same a moment later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pipeline.core.values import timestamp
from tests.api.scope_table import (
    APPS,
    CUSTOM_INVOICING,
    INVOICES,
    LISTINGS,
    OF_CUSTOMER_INVOICES,
    OVERRIDES,
    PROFILES,
)
from tests.fixtures.billing_bodies import ADDRESS, of_app

if TYPE_CHECKING:
    from tests.api.changes import World

ONE = INVOICES + "/{invoiceId}"
START, END = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
HOUR_S = 3600
_profiles: WeakKeyDictionary[World, str] = WeakKeyDictionary()


def _profile(world: World) -> str:
    """A profile whose drafts wait for an approval, and whose app waits for calls."""
    if world not in _profiles:
        wanted = {"name": "Ours", "createBillingProfile": False}
        app = world.make(f"{LISTINGS}/custom_invoicing/install", wanted)["app"]["id"]
        hooks = {"enableDraftSyncHook": True, "enableIssuingSyncHook": True}
        world.make(f"{APPS}/{app}", {"type": "custom_invoicing", "name": "Ours", **hooks}, "PUT")
        workflow = {"invoicing": {"autoAdvance": False}}
        body = {"name": "Ours", "supplier": {}, "default": False, "workflow": workflow, "apps": of_app(app)}
        _profiles[world] = world.make(PROFILES, body)["id"]
    return _profiles[world]


def _customer(world: World) -> str:
    """The key of a customer with that profile."""
    key = str(world.customer()["key"])
    world.make(f"{OVERRIDES}/{key}", {"billingProfileId": _profile(world)}, "PUT")
    return key


def _line(**changed: Any) -> dict[str, Any]:
    card = {
        "price": {"type": "flat", "amount": "10", "paymentTerm": "in_arrears"},
        "taxConfig": {"behavior": "inclusive", "stripe": {"code": "txcd_10000000"}, "customInvoicing": {"code": "x"},
                      "taxCodeId": "vat"},
        "discounts": {"percentage": {"percentage": 5}},
    }  # fmt: skip
    usual = {
        "name": "Line", "description": "d", "metadata": {"a": "b"}, "period": {"from": START, "to": END},
        "invoiceAt": START, "currency": "EUR", "rateCard": card,
    }  # fmt: skip
    return {**usual, **changed}


def _metered(world: World, **changed: Any) -> dict[str, Any]:
    price = {"type": "unit", "amount": "0.1", "minimumAmount": "1", "maximumAmount": "9"}
    card = {"price": price, "featureKey": world.feature()["key"], "discounts": {"usage": {"quantity": "5"}}}
    return _line(rateCard=card, **changed)


def _lines(world: World) -> tuple[str, Any]:
    path = OF_CUSTOMER_INVOICES.replace("{customerIdOrKey}", _customer(world)) + "/pending-lines"
    return path, {"currency": "EUR", "lines": [_line(), _metered(world)]}


def _pending(world: World, *lines: Any) -> tuple[str, Any]:
    """A customer and the answer to its new pending lines."""
    path, body = _lines(world)
    made = world.make(path, {**body, "lines": list(lines) or [_line()]})
    return path.split("/")[-3], made


def _now(world: World) -> tuple[str, Any]:
    key, made = _pending(world)
    return f"{INVOICES}/invoice", {
        "customerId": key, "asOf": END, "filters": {"lineIds": [made["lines"][0]["id"]]},
        "progressiveBillingOverride": False,
    }  # fmt: skip


def draft(world: World, *lines: Any) -> str:
    """The path of a draft that waits until its usage is complete."""
    key, _ = _pending(world, *lines)
    made = world.make(f"{INVOICES}/invoice", {"customerId": key, "progressiveBillingOverride": False})
    return f"{INVOICES}/{made[0]['id']}"


def _waiting(world: World) -> str:
    """The path of a draft for which late usage was awaited until a moment ago."""
    path, body = _lines(world)
    at_s = int(time.time()) - HOUR_S + 5
    (_, line), invoice_at = body["lines"], timestamp.text_of(at_s * 1000)
    world.make(path, {**body, "lines": [{**line, "invoiceAt": invoice_at}]})
    sent = {"customerId": path.split("/")[-3], "progressiveBillingOverride": False}
    draft = world.make(f"{INVOICES}/invoice", sent)[0]
    while time.time() <= at_s + HOUR_S:
        time.sleep(0.05)
    return f"{INVOICES}/{draft['id']}"


def _collected(world: World) -> str:
    path = draft(world)
    world.make(f"{path}/snapshot-quantities", None)
    return path


def _callback(path: str, step: str) -> str:
    return CUSTOM_INVOICING.replace("{invoiceId}", path.rsplit("/", 1)[1]) + f"/{step}"


def _call(world: World, path: str, step: str, body: Any) -> None:
    answer = world.api.post(f"http://testserver{_callback(path, step)}", json=body)
    assert answer.status_code == 204, answer.text


def _checked(world: World) -> str:
    path = _collected(world)
    _call(world, path, "draft/synchronized", {})
    return path


def _approved(world: World) -> str:
    path = _checked(world)
    world.make(f"{path}/approve", None)
    return path


def _issued(world: World) -> str:
    path = _approved(world)
    _call(world, path, "issuing/synchronized", {"invoicing": {"invoiceNumber": f"R-{world.name()}"}})
    return path


def _failed(world: World) -> str:
    path = _issued(world)
    _call(world, path, "payment/status", {"trigger": "payment_failed"})
    return path


def _updated(world: World) -> tuple[str, Any]:
    path = draft(world)
    found = world.make(path, None, "GET")
    party = {"name": "N", "taxId": {"code": "DE1"}, "addresses": [ADDRESS]}
    invoicing = {
        "autoAdvance": False, "draftPeriod": "P1D", "dueAfter": "P2D", "progressiveBilling": False,
        "subscriptionEndProrationMode": "bill_full_period",
    }  # fmt: skip
    workflow = {"workflow": {"invoicing": invoicing, "payment": {"collectionMethod": "send_invoice"}}}
    return path, {
        "description": "d", "metadata": {"a": "b"}, "supplier": {"key": "k", **party}, "customer": party,
        "lines": [{**_line(), "id": found["lines"][0]["id"]}, _line(name="New")], "workflow": workflow,
    }  # fmt: skip


def _void(world: World) -> tuple[str, Any]:
    path = _issued(world)
    line = world.make(path, None, "GET")["lines"][0]["id"]
    again = {"percentage": 100, "action": {"type": "pending", "nextInvoiceAt": "2999-01-01T00:00:00Z"}}
    discard = {"percentage": 100, "action": {"type": "discard"}}
    return f"{path}/void", {
        "reason": "r",
        "action": discard,
        "overrides": [{"lineId": line, "action": again}],
    }


def _synchronized(world: World) -> tuple[str, Any]:
    path = _collected(world)
    line = world.make(path, None, "GET")["lines"][0]["id"]
    ids = {"lineExternalIds": [{"lineId": line, "externalId": "e-1"}], "lineDiscountExternalIds": []}
    return _callback(path, "draft/synchronized"), {
        "invoicing": {"invoiceNumber": f"R-{world.name()}", "externalId": "e", **ids}
    }


# By method and route: the path and the body of a request.
OF_INVOICES: dict[tuple[str, str], Callable[[World], tuple[str, Any]]] = {
    ("POST", OF_CUSTOMER_INVOICES + "/pending-lines"): _lines,
    ("POST", INVOICES + "/invoice"): _now,
    ("PUT", ONE): _updated,
    ("DELETE", ONE): lambda w: (draft(w), None),
    ("POST", ONE + "/advance"): lambda w: (f"{_waiting(w)}/advance", None),
    ("POST", ONE + "/approve"): lambda w: (f"{_checked(w)}/approve", None),
    ("POST", ONE + "/retry"): lambda w: (f"{_failed(w)}/retry", None),
    ("POST", ONE + "/snapshot-quantities"): lambda w: (f"{draft(w)}/snapshot-quantities", None),
    ("POST", ONE + "/taxes/recalculate"): lambda w: (f"{draft(w)}/taxes/recalculate", None),
    ("POST", ONE + "/void"): _void,
    ("POST", CUSTOM_INVOICING + "/draft/synchronized"): _synchronized,
    ("POST", CUSTOM_INVOICING + "/issuing/synchronized"): lambda w: (
        _callback(_approved(w), "issuing/synchronized"),
        {
            "invoicing": {"invoiceNumber": f"R-{w.name()}", "sentToCustomerAt": "2026-01-03T00:00:00Z"},
            "payment": {"externalId": "p"},
        },
    ),
    ("POST", CUSTOM_INVOICING + "/payment/status"): lambda w: (
        _callback(_issued(w), "payment/status"),
        {"trigger": "paid"},
    ),
}
