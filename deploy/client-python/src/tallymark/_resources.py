"""The calls on meters, events, customers, features, subjects and portal tokens.

Owns: their Python signatures. Does not own: their requests (_api). `_async_resources` is generated from this file.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from typing import Any

from tallymark import _api
from tallymark._api import At
from tallymark._do import Do
from tallymark._models import JSON, Aggregation, Meter, StoredEvent


class Meters:
    """Meters define what is counted."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(self) -> builtins.list[Meter]:
        """All meters."""
        return self._do(_api.list_meters())

    def get(self, slug: str) -> Meter:
        """The meter with the slug (or id). Raises NotFound."""
        return self._do(_api.get_meter(slug))

    def create(
        self,
        slug: str,
        event_type: str,
        aggregation: Aggregation,
        value_property: str | None = None,
        *,
        group_by: Mapping[str, str] | None = None,
        name: str | None = None,
        description: str | None = None,
        event_from: At | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Meter:
        """Create a meter. It counts all events that are sent after the call returns.

        value_property, group_by: JSONPaths into the data, such as `$.tokens`; COUNT has no value_property.
        Raises Conflict if the slug exists.
        """
        body = {
            "slug": slug,
            "eventType": event_type,
            "aggregation": aggregation,
            "valueProperty": value_property,
            "groupBy": group_by,
            "name": name,
            "description": description,
            "eventFrom": event_from,
            "metadata": metadata,
        }
        return self._do(_api.create_meter(body))

    def update(
        self,
        slug: str,
        *,
        name: str | None = None,
        description: str | None = None,
        group_by: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Meter:
        """Replace the changeable members of a meter: a member without a value is cleared."""
        body = {"name": name, "description": description, "groupBy": group_by, "metadata": metadata}
        return self._do(_api.update_meter(slug, body))

    def delete(self, slug: str) -> None:
        """Delete a meter: its usage cannot be queried any more. Raises NotFound."""
        return self._do(_api.delete("meters", slug))

    def subjects(self, slug: str, *, from_: At | None = None, to: At | None = None) -> builtins.list[str]:
        """The subjects with usage in [from_, to)."""
        return self._do(_api.meter_subjects(slug, from_, to))

    def values(
        self, slug: str, dimension: str, *, from_: At | None = None, to: At | None = None
    ) -> builtins.list[str]:
        """The values of a dimension of the meter in [from_, to)."""
        return self._do(_api.meter_values(slug, dimension, from_, to))


class Events:
    """Stored events with their fates."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(
        self,
        *,
        subject: str | None = None,
        id: str | None = None,
        source: str | None = None,
        type: str | None = None,
        fate: str | None = None,
        from_: At | None = None,
        to: At | None = None,
        limit: int = 100,
    ) -> builtins.list[StoredEvent]:
        """The newest first, at most `limit` (1 to 100), with the event's time in [from_, to).

        id: a part of the id. from_: the default is 72 hours before now or before `to`.
        """
        conditions: dict[str, str | int | None] = {
            "subject": subject,
            "id": id,
            "source": source,
            "type": type,
            "fate": fate,
            "limit": limit,
        }
        return self._do(_api.list_events(conditions, from_, to))

    def get(self, source: str, id: str) -> StoredEvent:
        """The event with this identity. Raises NotFound, also shortly after ingest, before it is stored."""
        return self._do(_api.get_event(source, id))


class Customers:
    """Customers; the usage of one is the sum over its subjects. Bodies are the JSON of the API."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(self, **conditions: str | int | bool | None) -> builtins.list[JSON]:
        """All matching customers, from all pages. conditions: parameters of the API, such as key="acme"."""
        return self._do(_api.every("customers", **conditions))

    def get(self, id_or_key: str) -> JSON:
        """Raises NotFound."""
        return self._do(_api.get("customers", id_or_key))

    def create(self, key: str, name: str, *, subjects: Iterable[str] = (), **more: Any) -> JSON:
        """Create a customer with these subjects. more: other members, such as currency="EUR". Raises Conflict."""
        body = {
            "key": key,
            "name": name,
            "usageAttribution": {"subjectKeys": builtins.list(subjects)},
            **more,
        }
        return self._do(_api.create(body, "customers"))

    def update(self, id_or_key: str, body: Mapping[str, Any]) -> JSON:
        """Replace the customer by `body`."""
        return self._do(_api.replace(body, "customers", id_or_key))

    def upcoming(self, id_or_key: str) -> JSON:
        """The next invoices of the customer: totals until now, and `forecast` if usage continues. Raises NotFound."""
        return self._do(_api.get("customers", id_or_key, "billing", "upcoming"))

    def credits(self, id_or_key: str, *, at: str | None = None) -> JSON:
        """The prepaid credits of the customer by currency, now or at an RFC 3339 instant. Raises NotFound."""
        return self._do(_api.credits(id_or_key, "balance", at=at))

    def grant_credits(self, id_or_key: str, name: str, currency: str, amount: str, **more: Any) -> JSON:
        """Grant credits. more: other members, such as priority=1. Raises NotFound, Conflict."""
        body = {"name": name, "currency": currency, "amount": amount, **more}
        return self._do(_api.change_credits(body, id_or_key, "grants"))

    def void_credits(self, id_or_key: str, grant_id: str) -> JSON:
        """Take back what is left of a grant. Raises NotFound, Conflict."""
        return self._do(_api.change_credits(None, id_or_key, "grants", grant_id, "void"))

    def delete(self, id_or_key: str) -> None:
        """Raises NotFound, Conflict."""
        return self._do(_api.delete("customers", id_or_key))


class Features:
    """Features to which customers are entitled, measured by a meter."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(self, **conditions: str | int | bool | None) -> builtins.list[JSON]:
        """All matching features, from all pages. conditions: parameters of the API."""
        return self._do(_api.every("features", **conditions))

    def get(self, id_or_key: str) -> JSON:
        """Raises NotFound."""
        return self._do(_api.get("features", id_or_key))

    def create(self, key: str, name: str, *, meter: str | None = None, **more: Any) -> JSON:
        """Create a feature. meter: slug. more: other members, such as meterGroupByFilters={...}. Raises Conflict."""
        body = {"key": key, "name": name, **({} if meter is None else {"meterSlug": meter}), **more}
        return self._do(_api.create(body, "features"))

    def delete(self, id_or_key: str) -> None:
        """Archive a feature: existing entitlements keep it, and there are no new ones."""
        return self._do(_api.delete("features", id_or_key))


class Subjects:
    """The subjects of events. They need not be created before events use them."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(self) -> builtins.list[JSON]:
        """All created subjects; for those of events see `Meters.subjects`."""
        return self._do(_api.whole("subjects"))

    def get(self, id_or_key: str) -> JSON:
        """Raises NotFound."""
        return self._do(_api.get("subjects", id_or_key))

    def upsert(self, *subjects: Mapping[str, Any]) -> builtins.list[JSON]:
        """Create or change subjects by their `key`."""
        return self._do(_api.upsert(subjects, "subjects"))

    def delete(self, id_or_key: str) -> None:
        """Raises NotFound."""
        return self._do(_api.delete("subjects", id_or_key))


class PortalTokens:
    """Short-lived tokens with which a customer's browser may see the usage of one subject."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(self, **conditions: str | int | bool | None) -> builtins.list[JSON]:
        """All portal tokens, without their text."""
        return self._do(_api.whole("portal", "tokens", **conditions))

    def create(self, subject: str, *, meters: Iterable[str] | None = None, **more: Any) -> JSON:
        """Create a token; its text is in `token`, and is returned only once. meters: slugs, None for all."""
        allowed = {} if meters is None else {"allowedMeterSlugs": builtins.list(meters)}
        return self._do(_api.create({"subject": subject, **allowed, **more}, "portal", "tokens"))

    def invalidate(self, *, id: str | None = None, subject: str | None = None) -> None:
        """Revoke one token, or all of a subject."""
        body = {name: value for name, value in (("id", id), ("subject", subject)) if value is not None}
        return self._do(_api.invalidate(body, "portal", "tokens", "invalidate"))


def resources(do: Do) -> tuple[Meters, Events, Customers, Features, Subjects, PortalTokens]:
    """All of them, on one client."""
    return Meters(do), Events(do), Customers(do), Features(do), Subjects(do), PortalTokens(do)
