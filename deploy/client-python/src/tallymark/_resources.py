"""The calls on meters, events, customers, features, subjects and portal tokens.

Owns: their Python signatures. Does not own: what they ask (_api). `_async_resources` is made from this file.
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
    """What is counted."""

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
        """Makes a meter. Events sent after the call returns are counted by it.

        value_property, group_by: JSONPaths into the data, as `$.tokens`; COUNT takes no value_property.
        Raises Conflict if the slug is taken.
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
        """Replaces what may change of a meter: what is not given is cleared."""
        body = {"name": name, "description": description, "groupBy": group_by, "metadata": metadata}
        return self._do(_api.update_meter(slug, body))

    def delete(self, slug: str) -> None:
        """Ends a meter: its usage can no longer be asked for. Raises NotFound."""
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
    """Stored events and what became of each."""

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

        id: a part of it. from_: 72 hours before now or `to` if absent.
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
    """Customers; the usage of one is the sum over its subjects. Bodies are JSON as the API has it."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(self, **conditions: str | int | bool | None) -> builtins.list[JSON]:
        """All that fit, over all pages. conditions: parameters of the API, as key="acme"."""
        return self._do(_api.every("customers", **conditions))

    def get(self, id_or_key: str) -> JSON:
        """Raises NotFound."""
        return self._do(_api.get("customers", id_or_key))

    def create(self, key: str, name: str, *, subjects: Iterable[str] = (), **more: Any) -> JSON:
        """Makes a customer with these subjects. more: further members, as currency="EUR". Raises Conflict."""
        body = {
            "key": key,
            "name": name,
            "usageAttribution": {"subjectKeys": builtins.list(subjects)},
            **more,
        }
        return self._do(_api.create(body, "customers"))

    def update(self, id_or_key: str, body: Mapping[str, Any]) -> JSON:
        """Replaces the customer by `body`."""
        return self._do(_api.replace(body, "customers", id_or_key))

    def delete(self, id_or_key: str) -> None:
        """Raises NotFound, Conflict."""
        return self._do(_api.delete("customers", id_or_key))


class Features:
    """Features: what customers are given, measured by a meter."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(self, **conditions: str | int | bool | None) -> builtins.list[JSON]:
        """All that fit, over all pages. conditions: parameters of the API."""
        return self._do(_api.every("features", **conditions))

    def get(self, id_or_key: str) -> JSON:
        """Raises NotFound."""
        return self._do(_api.get("features", id_or_key))

    def create(self, key: str, name: str, *, meter: str | None = None, **more: Any) -> JSON:
        """Makes a feature. meter: slug. more: further members, as meterGroupByFilters={...}. Raises Conflict."""
        body = {"key": key, "name": name, **({} if meter is None else {"meterSlug": meter}), **more}
        return self._do(_api.create(body, "features"))

    def delete(self, id_or_key: str) -> None:
        """Archives it: what has it keeps it, nobody gets it anew."""
        return self._do(_api.delete("features", id_or_key))


class Subjects:
    """Subjects: whom events are about. They need not be made before events name them."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(self) -> builtins.list[JSON]:
        """All that were made here; for those of events see `Meters.subjects`."""
        return self._do(_api.every("subjects"))

    def get(self, id_or_key: str) -> JSON:
        """Raises NotFound."""
        return self._do(_api.get("subjects", id_or_key))

    def upsert(self, *subjects: Mapping[str, Any]) -> builtins.list[JSON]:
        """Makes or changes subjects by their `key`."""
        return self._do(_api.upsert(subjects, "subjects"))

    def delete(self, id_or_key: str) -> None:
        """Raises NotFound."""
        return self._do(_api.delete("subjects", id_or_key))


class PortalTokens:
    """Short-lived tokens with which a customer's browser may see the usage of one subject."""

    def __init__(self, do: Do) -> None:
        self._do = do

    def list(self, **conditions: str | int | bool | None) -> builtins.list[JSON]:
        """All that were made, without the tokens themselves."""
        return self._do(_api.every("portal", "tokens", **conditions))

    def create(self, subject: str, *, meters: Iterable[str] | None = None, **more: Any) -> JSON:
        """A token; its text is in `token`, and is shown only now. meters: slugs, None for all."""
        allowed = {} if meters is None else {"allowedMeterSlugs": builtins.list(meters)}
        return self._do(_api.create({"subject": subject, **allowed, **more}, "portal", "tokens"))

    def invalidate(self, *, id: str | None = None, subject: str | None = None) -> None:
        """Revokes one token, or all of a subject."""
        body = {name: value for name, value in (("id", id), ("subject", subject)) if value is not None}
        return self._do(_api.invalidate(body, "portal", "tokens", "invalidate"))


def resources(do: Do) -> tuple[Meters, Events, Customers, Features, Subjects, PortalTokens]:
    """All of them, on one client."""
    return Meters(do), Events(do), Customers(do), Features(do), Subjects(do), PortalTokens(do)
