"""Webhooks of the sandbox: endpoints, events about meters and invoices, and their signatures.

Owns: what an event looks like and how it is signed. Does not own: sending it (server). Source: Stripe's documentation,
"Webhook signatures" and "Thin events".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets

from pipeline.local.stripe_sandbox.errors import missing
from pipeline.local.stripe_sandbox.form import Form, only, text, texts
from pipeline.local.stripe_sandbox.meter_events import ErrorReport

REPORT, NO_METER = "v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"


class SandboxWebhooks:
    """Endpoints by id with their secret, and events by id."""

    def __init__(self) -> None:
        self.endpoints: dict[str, tuple[str, str]] = {}  # url and secret
        self._events: dict[str, dict[str, object]] = {}
        self._types: dict[str, frozenset[str]] = {}  # by endpoint; absent: all of them

    def create(self, form: Form) -> dict[str, object]:
        """A new endpoint; its secret is shown this once."""
        id = f"we_sandbox{len(self.endpoints) + 1:08d}"
        url, secret = text(form, "url", 5_000), f"whsec_{secrets.token_hex(16)}"
        self.endpoints[id] = (url, secret)
        return {"id": id, "object": "webhook_endpoint", "url": url, "status": "enabled", "secret": secret,
                "livemode": False}  # fmt: skip

    def create_destination(self, form: Form) -> dict[str, object]:
        """A new endpoint for thin events, by the v2 API; its secret is shown this once."""
        only(form, "name", "type", "event_payload", "enabled_events", "webhook_endpoint", "include")
        url = texts(form, "webhook_endpoint").get("url", "")
        made = self.create({"url": url})
        types = list(texts(form, "enabled_events").values())
        self._types[str(made["id"])] = frozenset(types)
        return {"id": made["id"], "object": "v2.core.event_destination", "name": text(form, "name"),
                "type": text(form, "type"), "event_payload": text(form, "event_payload"), "status": "enabled",
                "enabled_events": types, "livemode": False,
                "webhook_endpoint": {"signing_secret": made["secret"], "url": url}}  # fmt: skip

    def receivers(self, type: str) -> list[tuple[str, str]]:
        """URL and secret of each endpoint that gets events of a type."""
        return [one for id, one in self.endpoints.items() if type in self._types.get(id, (type,))]

    def snapshot(self, type: str, at_s: int, shown: dict[str, object]) -> dict[str, object]:
        """The event about an object, with the object as it was then."""
        id = f"evt_sandbox{len(self._events) + 1:08d}"
        self._events[id] = {"id": id, "object": "event", "type": type, "created": at_s, "livemode": False,
                            "data": {"object": shown}}  # fmt: skip
        return self._events[id]

    def restore(self, form: Form, secret: str) -> None:
        """Give the newest endpoint the secret that it had."""
        self.endpoints[list(self.endpoints)[-1]] = (text(form, "url", 5_000), secret)

    def delete(self, id: str) -> dict[str, object]:
        """Raises StripeRefusal 404 where there is none."""
        if self.endpoints.pop(id, None) is None:
            raise missing("webhook endpoint", id)
        return {"id": id, "object": "webhook_endpoint", "deleted": True}

    def event(self, id: str) -> dict[str, object]:
        """An event with all its data. Raises StripeRefusal 404 where there is none."""
        if id not in self._events:
            raise missing("event", id)
        return self._events[id]

    def report(self, report: ErrorReport, now_s: int) -> dict[str, object]:
        """The event about meter events that were not counted, as an endpoint receives it."""
        id = f"evt_sandbox{len(self._events) + 1:08d}"
        kinds = [
            {
                "code": code,
                "error_count": count,
                "sample_errors": [
                    {"error_message": code, "request": {"identifier": identifier}}
                    for identifier in report.samples[code]
                ],
            }
            for code, count in sorted(report.counts.items())
        ]
        total = sum(report.counts.values())
        thin: dict[str, object] = {
            "id": id, "object": "v2.core.event", "type": REPORT if report.meter else NO_METER, "created": now_s,
            "livemode": False,
        }  # fmt: skip
        if report.meter:
            related = {
                "id": report.meter,
                "type": "billing.meter",
                "url": f"/v1/billing/meters/{report.meter}",
            }
            thin["related_object"] = related
        data = {
            "developer_message_summary": f"There are {total} invalid events.",
            "reason": {"error_count": total, "error_types": kinds},
            "validation_start": now_s,
            "validation_end": now_s,
        }
        self._events[id] = {**thin, "data": data}
        return thin


def signed(event: dict[str, object], secret: str, at_s: int) -> tuple[bytes, str]:
    """The body of a delivery, and its `Stripe-Signature`."""
    body = json.dumps(event, separators=(",", ":")).encode()
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return body, f"t={at_s},v1={digest}"
