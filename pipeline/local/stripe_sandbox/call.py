"""One request to the sandbox, from its key to its answer.

Owns: the order of checks (key, limits, idempotency, faults), the routes, and what each does to the account. Does not
own: HTTP (server), the rules of the objects (account, meter_events).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from pipeline.local.stripe_sandbox.account import SandboxAccount
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.errors import StripeRefusal, failed, too_many
from pipeline.local.stripe_sandbox.faults import EXECUTED, FaultKind, Faults
from pipeline.local.stripe_sandbox.form import Form, parse, texts
from pipeline.local.stripe_sandbox.idempotency import IdempotencyKeys
from pipeline.local.stripe_sandbox.invoices import SandboxInvoices
from pipeline.local.stripe_sandbox.journal import JournalEntry, SandboxJournal
from pipeline.local.stripe_sandbox.limits import METER_EVENT_PATH, SandboxLimits
from pipeline.local.stripe_sandbox.meter_events import MeterEvents
from pipeline.local.stripe_sandbox.sessions import SandboxSessions
from pipeline.local.stripe_sandbox.webhooks import SandboxWebhooks

Json = dict[str, object]
READ_METERS, WRITE_METERS, WRITE_EVENTS = (
    "billing_meter_read",
    "billing_meter_write",
    "billing_meter_event_write",
)


READ_INVOICES, WRITE_INVOICES = "invoice_read", "invoice_write"


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """query, body: form-encoded. key: the API key; empty where there is none."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    key: str = ""
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class SandboxAnswer:
    """lost: how the answer gets lost; None: it arrives."""

    status: int
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: FaultKind | None = None


Handler = Callable[["StripeSandbox", Form, list[str]], Json]


class StripeSandbox:
    """One Stripe account that answers requests.

    latency_s: how long a meter event takes, so that two of one customer and meter can meet. journal: where changes are
    kept; its calls are done again at once.
    """

    def __init__(
        self,
        account: SandboxAccount,
        clock: SandboxClock,
        limits: SandboxLimits | None = None,
        latency_s: float = 0.0,
        journal: SandboxJournal | None = None,
    ) -> None:
        self.account = account
        self.clock = clock
        self.limits = limits or SandboxLimits()
        self.events = MeterEvents(account)
        self.faults = Faults()
        self.webhooks = SandboxWebhooks()
        self.invoices = SandboxInvoices(account)
        self.sessions = SandboxSessions(account)
        self.requests = 0
        # Of meter events by identifier, and of other calls by idempotency key, whatever became of them.
        self.bodies: dict[str, set[str]] = {}
        self._keys = IdempotencyKeys()
        self._latency_s = latency_s
        self._journal = journal
        self._do_again()

    async def answer(self, request: SandboxRequest) -> SandboxAnswer:
        """Serve one request; an error of Stripe is an answer like another."""
        self.requests += 1
        try:
            handler, right, names = _route(request)
            self.account.authorize(request.key, right)
            form = parse(request.query if request.method == "GET" else request.body)
            if request.path == METER_EVENT_PATH and isinstance(identifier := form.get("identifier"), str):
                self.bodies.setdefault(identifier, set()).add(request.body)
            elif request.method == "POST" and request.idempotency_key:
                self.bodies.setdefault(request.idempotency_key, set()).add(request.path + request.body)
            self.limits.take(request.method, request.path, self.clock.now_us())
            fault = self.faults.next(request.method, request.path, self.clock.now_s())
            refused = _before(fault)
            if refused is not None:
                return refused
            executed = await self._once(request, lambda: handler(self, form, names), form)
        except StripeRefusal as refusal:
            return SandboxAnswer(refusal.status, refusal.body(), refusal.headers)
        if fault not in EXECUTED:
            return executed
        is_first = request.method == "POST" and "Idempotent-Replayed" not in executed.headers
        if fault == "error-stored" and is_first and request.idempotency_key:
            self._keys.end(request.idempotency_key, 500, failed().body())
        return _after(fault, executed)

    async def _once(self, request: SandboxRequest, execute: Callable[[], Json], form: Form) -> SandboxAnswer:
        key = request.idempotency_key if request.method == "POST" else ""
        if key:
            stored = self._keys.begin(key, request.path, request.body, self.clock.now_s())
            if stored is not None and stored.answer is not None:
                return SandboxAnswer(stored.status, stored.answer, {"Idempotent-Replayed": "true"})
        try:
            with self._alone(request, form):
                if request.path == METER_EVENT_PATH and self._latency_s:
                    await asyncio.sleep(self._latency_s)
                body = self._execute(request, execute)
        except StripeRefusal:
            if key:
                self._keys.release(key)
            raise
        if key:
            self._keys.end(key, 200, body)
        return SandboxAnswer(200, body)

    def _execute(self, request: SandboxRequest, execute: Callable[[], Json]) -> Json:
        at_us = self.clock.now_us()
        body = execute()
        if self._journal is not None and request.method != "GET":
            secret = str(body.get("secret", ""))
            self._journal.add(JournalEntry(at_us, request.method, request.path, request.body, secret))
        return body

    def _do_again(self) -> None:
        """Do what the journal holds, each call at its time; then the clock runs on from now, and never from before."""
        now_us = self.clock.now_us()
        for entry in self._journal.entries() if self._journal is not None else ():
            self.clock.set(entry.at_us)
            request = SandboxRequest(entry.method, entry.path, body=entry.body)
            handler, _, names = _route(request)
            form = parse(entry.body)
            handler(self, form, names)
            if entry.secret:
                self.webhooks.restore(form, entry.secret)
            if entry.path == METER_EVENT_PATH and isinstance(identifier := form.get("identifier"), str):
                self.bodies.setdefault(identifier, set()).add(entry.body)
        self.clock.set(max(now_us, self.clock.now_us()))

    def _alone(self, request: SandboxRequest, form: Form) -> AbstractContextManager[None]:
        if request.path != METER_EVENT_PATH:
            return nullcontext()
        name = form.get("event_name", "")
        return self.limits.alone(texts(form, "payload").get("stripe_customer_id", ""), str(name))


def _before(fault: FaultKind | None) -> SandboxAnswer | None:
    """The answer of a call that is not executed; None: it is."""
    if fault is None or fault in EXECUTED:
        return None
    if fault in ("rate-limited", "rate-limited-retry"):
        refusal = too_many("global-rate")
        headers = {"Stripe-Should-Retry": "true"} if fault == "rate-limited-retry" else {}
        return SandboxAnswer(429, refusal.body(), {**refusal.headers, **headers})
    if fault == "error-not-stored":
        return SandboxAnswer(500, failed().body())
    return SandboxAnswer(503, {}, lost=fault)


def _after(fault: FaultKind, executed: SandboxAnswer) -> SandboxAnswer:
    if fault == "error-stored":
        return SandboxAnswer(500, failed().body())
    return SandboxAnswer(executed.status, executed.body, executed.headers, lost=fault)


def _route(request: SandboxRequest) -> tuple[Handler, str, list[str]]:
    for method, pattern, right, handler in ROUTES:
        found = pattern.fullmatch(request.path)
        if found and method == request.method:
            return handler, right, list(found.groups())
    raise StripeRefusal(404, f"Unrecognized request URL ({request.method}: {request.path}).")


def _get_account(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.account.json()


def _create_customer(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.account.create_customer(form, sandbox.clock.now_s()).json()


def _get_customer(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.account.customer(names[0]).json()


def _update_customer(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.account.update_customer(names[0], form).json()


def _delete_customer(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    customer = sandbox.account.customer(names[0])
    customer.deleted = True
    return customer.json()


def _create_meter(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.account.create_meter(form, sandbox.clock.now_s()).json()


def _list_meters(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    rows = [meter.json() for meter in sandbox.account.meters.values()]
    return {"object": "list", "url": "/v1/billing/meters", "has_more": False, "data": rows}


def _get_meter(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.account.meter(names[0]).json()


def _deactivate(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.account.set_active(names[0], False).json()


def _reactivate(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.account.set_active(names[0], True).json()


def _create_event(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.events.create(form, sandbox.clock.now_s()).json()


def _cancel_event(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.events.cancel(form, sandbox.clock.now_s())


def _list_summaries(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.events.summaries(sandbox.account.meter(names[0]), form, sandbox.clock.now_s())


def _create_endpoint(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.webhooks.create(form)


def _delete_endpoint(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.webhooks.delete(names[0])


def _create_destination(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.webhooks.create_destination(form)


def _get_event(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.webhooks.event(names[0])


def _list_customers(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.account.list_customers(form)


def _create_invoice(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.invoices.create(form, sandbox.clock.now_s())


def _list_invoices(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.invoices.listed(form)


def _get_invoice(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.invoices.get(names[0]).json()


def _delete_invoice(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.invoices.delete(names[0], sandbox.clock.now_s())


def _add_lines(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.invoices.add_lines(names[0], form, sandbox.clock.now_s())


def _finalize(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.invoices.finalize(names[0], form, sandbox.clock.now_s())


def _pay(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.invoices.pay(names[0], form, sandbox.clock.now_s())


def _void(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.invoices.void(names[0], sandbox.clock.now_s())


def _uncollectible(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.invoices.mark_uncollectible(names[0], sandbox.clock.now_s())


def _checkout(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.sessions.checkout(form, sandbox.clock.now_s())


def _portal(sandbox: StripeSandbox, form: Form, names: list[str]) -> Json:
    return sandbox.sessions.portal(form, sandbox.clock.now_s())


_ID = r"([A-Za-z0-9_]+)"
_INVOICES = "/v1/invoices"
_METERS = "/v1/billing/meters"
ROUTES: list[tuple[str, re.Pattern[str], str, Handler]] = [
    (method, re.compile(path.replace("{id}", _ID)), right, handler)
    for method, path, right, handler in (
        ("GET", "/v1/account", "account_read", _get_account),
        ("POST", "/v1/customers", "customer_write", _create_customer),
        ("GET", "/v1/customers", "customer_read", _list_customers),
        ("GET", "/v1/customers/{id}", "customer_read", _get_customer),
        ("POST", "/v1/customers/{id}", "customer_write", _update_customer),
        ("POST", _INVOICES, WRITE_INVOICES, _create_invoice),
        ("GET", _INVOICES, READ_INVOICES, _list_invoices),
        ("GET", _INVOICES + "/{id}", READ_INVOICES, _get_invoice),
        ("DELETE", _INVOICES + "/{id}", WRITE_INVOICES, _delete_invoice),
        ("POST", _INVOICES + "/{id}/add_lines", WRITE_INVOICES, _add_lines),
        ("POST", _INVOICES + "/{id}/finalize", WRITE_INVOICES, _finalize),
        ("POST", _INVOICES + "/{id}/pay", WRITE_INVOICES, _pay),
        ("POST", _INVOICES + "/{id}/void", WRITE_INVOICES, _void),
        ("POST", _INVOICES + "/{id}/mark_uncollectible", WRITE_INVOICES, _uncollectible),
        ("POST", "/v1/checkout/sessions", "checkout_session_write", _checkout),
        ("POST", "/v1/billing_portal/sessions", "customer_portal_write", _portal),
        ("DELETE", "/v1/customers/{id}", "customer_write", _delete_customer),
        ("POST", _METERS, WRITE_METERS, _create_meter),
        ("GET", _METERS, READ_METERS, _list_meters),
        ("GET", _METERS + "/{id}", READ_METERS, _get_meter),
        ("POST", _METERS + "/{id}/deactivate", WRITE_METERS, _deactivate),
        ("POST", _METERS + "/{id}/reactivate", WRITE_METERS, _reactivate),
        ("GET", _METERS + "/{id}/event_summaries", READ_METERS, _list_summaries),
        ("POST", METER_EVENT_PATH, WRITE_EVENTS, _create_event),
        ("POST", "/v1/billing/meter_event_adjustments", WRITE_EVENTS, _cancel_event),
        ("POST", "/v1/webhook_endpoints", "webhook_write", _create_endpoint),
        ("DELETE", "/v1/webhook_endpoints/{id}", "webhook_write", _delete_endpoint),
        ("POST", "/v2/core/event_destinations", "event_destination_write", _create_destination),
        ("DELETE", "/v2/core/event_destinations/{id}", "event_destination_write", _delete_endpoint),
        ("GET", "/v2/core/events/{id}", "event_read", _get_event),
    )
]
