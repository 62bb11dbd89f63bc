"""One Stripe account: its keys, customers and meters.

Owns: these objects and what Stripe checks of them. Does not own: meter events (meter_events), idempotency keys
(idempotency), limits (limits). Instants are seconds since 1970 and are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.local.stripe_sandbox.errors import StripeRefusal, forbidden, invalid, missing, unauthorized
from pipeline.local.stripe_sandbox.form import Form, integer, only, part, text, texts

Formula = Literal["sum", "count", "last"]
FORMULAS: tuple[Formula, ...] = ("sum", "count", "last")


@dataclass(slots=True)
class SandboxCustomer:
    id: str
    created_s: int
    name: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    deleted: bool = False
    email: str = ""

    def json(self) -> dict[str, object]:
        if self.deleted:
            return {"id": self.id, "object": "customer", "deleted": True}
        return {
            "id": self.id, "object": "customer", "created": self.created_s, "livemode": False,
            "metadata": self.metadata, "name": self.name or None, "email": self.email or None,
        }  # fmt: skip


@dataclass(slots=True)
class SandboxMeter:
    """Usage of events with one name. customer_key, value_key: the members of a payload."""

    id: str
    created_s: int
    display_name: str
    event_name: str
    formula: Formula
    customer_key: str = "stripe_customer_id"
    value_key: str = "value"
    active: bool = True

    def json(self) -> dict[str, object]:
        return {
            "id": self.id, "object": "billing.meter", "created": self.created_s, "livemode": False,
            "display_name": self.display_name, "event_name": self.event_name,
            "status": "active" if self.active else "inactive",
            "default_aggregation": {"formula": self.formula},
            "customer_mapping": {"type": "by_id", "event_payload_key": self.customer_key},
            "value_settings": {"event_payload_key": self.value_key},
            "event_time_window": None, "updated": self.created_s,
            "status_transitions": {"deactivated_at": None},
        }  # fmt: skip


class SandboxAccount:
    """An account with no objects. keys: of secret and restricted keys, the rights of each; "*" is all of them."""

    def __init__(self, id: str, keys: dict[str, frozenset[str]]) -> None:
        self.id = id
        self.keys = keys
        self.customers: dict[str, SandboxCustomer] = {}
        self.meters: dict[str, SandboxMeter] = {}

    def authorize(self, key: str, right: str) -> None:
        """Check a key.

        Args:
            key: as the request sent it.
            right: what the route needs, such as `rak_billing_meter_write`.

        Raises:
            StripeRefusal: 401 for a key of no account, 403 for one without the right.
        """
        rights = self.keys.get(key)
        if rights is None:
            raise unauthorized(key)
        if "*" not in rights and right not in rights:
            raise forbidden(key, right)

    def json(self) -> dict[str, object]:
        return {"id": self.id, "object": "account", "business_profile": {"name": "Sandbox"}, "country": "US",
                "default_currency": "usd", "settings": {"dashboard": {"display_name": "Sandbox"}}}  # fmt: skip

    def create_customer(self, form: Form, now_s: int) -> SandboxCustomer:
        only(form, "name", "email", "metadata", "description", "address", "phone", "tax_exempt")
        name = form.get("name", "")
        id = f"cus_sandbox{len(self.customers) + 1:08d}"
        made = SandboxCustomer(id, now_s, name if isinstance(name, str) else "", texts(form, "metadata"))
        made.email = str(form.get("email", ""))
        self.customers[id] = made
        return made

    def update_customer(self, id: str, form: Form) -> SandboxCustomer:
        """Change what is sent. Raises StripeRefusal 404 where there is none, or it is deleted."""
        found = self.customer(id)
        if found.deleted:
            raise missing("customer", id)
        only(form, "name", "email", "metadata", "description", "address", "phone", "tax_exempt")
        found.name, found.email = str(form.get("name", found.name)), str(form.get("email", found.email))
        found.metadata = found.metadata | texts(form, "metadata")
        return found

    def list_customers(self, form: Form) -> dict[str, object]:
        """Those that are not deleted, the newest first."""
        only(form, "created", "limit", "starting_after", "email")
        since_s = integer(part(form, "created"), "gte", 0)
        found = [
            one for one in reversed(self.customers.values()) if not one.deleted and one.created_s >= since_s
        ]
        after = form.get("starting_after")
        if isinstance(after, str):
            found = found[[one.id for one in found].index(after) + 1 :]
        page = found[: integer(form, "limit", 10)]
        return {"object": "list", "url": "/v1/customers", "has_more": len(page) < len(found),
                "data": [one.json() for one in page]}  # fmt: skip

    def customer(self, id: str) -> SandboxCustomer:
        """Raises StripeRefusal 404 where there is none; a deleted one is still shown."""
        found = self.customers.get(id)
        if found is None:
            raise missing("customer", id)
        return found

    def create_meter(self, form: Form, now_s: int) -> SandboxMeter:
        only(form, "display_name", "event_name", "default_aggregation", "customer_mapping", "value_settings",
             "event_time_window")  # fmt: skip
        event_name = text(form, "event_name", 100)
        if any(meter.active and meter.event_name == event_name for meter in self.meters.values()):
            raise invalid(f"An active meter already exists for event name {event_name}.", param="event_name")
        formula = texts(form, "default_aggregation").get("formula", "")
        if formula not in FORMULAS:
            raise invalid(f"Invalid default_aggregation[formula]: must be one of {', '.join(FORMULAS)}")
        mapping, value = texts(form, "customer_mapping"), texts(form, "value_settings")
        id = f"mtr_sandbox{len(self.meters) + 1:08d}"
        made = SandboxMeter(
            id, now_s, text(form, "display_name", 250), event_name, formula,
            mapping.get("event_payload_key", "stripe_customer_id"), value.get("event_payload_key", "value"),
        )  # fmt: skip
        self.meters[id] = made
        return made

    def meter(self, id: str) -> SandboxMeter:
        """Raises StripeRefusal 404 where there is none."""
        found = self.meters.get(id)
        if found is None:
            raise missing("billing meter", id)
        return found

    def meter_of_event(self, event_name: str) -> SandboxMeter | None:
        """The meter that counts events of this name: the active one, else one that is archived, else none."""
        named = [meter for meter in self.meters.values() if meter.event_name == event_name]
        return next((meter for meter in named if meter.active), named[-1] if named else None)

    def set_active(self, id: str, active: bool) -> SandboxMeter:
        """Deactivate or reactivate a meter. Raises StripeRefusal 404, or 400 where it is so already."""
        found = self.meter(id)
        if found.active == active:
            raise StripeRefusal(400, f"The meter {id} is already {'active' if active else 'inactive'}.")
        found.active = active
        return found
