"""Views of compacted topics: definitions, counts, heartbeats, replies.

Owns: one typed view per topic. Does not own: following a topic (view), the meaning of the values (core), writing them.
Start at `Definitions`: its methods look definitions up by kind and return typed bodies, whose `members` are the JSON;
`wait_revision` waits for the caller's own writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pipeline.core.access.api_key import ApiKey
from pipeline.core.access.portal_token import PortalToken
from pipeline.core.billing.app import App, StripeApp, stripe_accounts
from pipeline.core.catalog.feature import Feature
from pipeline.core.customers.customer import Customer
from pipeline.core.customers.subject import Subject
from pipeline.core.definitions.index import OWN, B, Body, DefinitionIndex
from pipeline.core.definitions.kinds import (
    ATTRIBUTION,
    ATTRIBUTION_CUSTOMER,
    CUSTOMER_KEY,
    CUSTOMER_SUBJECT,
    FEATURE_KEY,
    FEATURE_METER,
    GRANT_ENTITLEMENT,
    METER,
    METER_ULID,
    SUBJECT_KEY,
)
from pipeline.core.metering.meter import Meter
from pipeline.core.quota import entitlement_lookup
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.quota.grant import GrantDefinition
from pipeline.core.values.json_value import reader_of
from pipeline.errors import Broken, Rejected
from pipeline.records import Backfill, Counts, Definition, Reply, Worker
from pipeline.settings import Settings
from pipeline.stores.kafka.view import CompactedView

__all__ = ["CompactedView", "CountsView", "Definitions", "Replies", "WorkersView"]

T = TypeVar("T")
LIVE_S = 5.0  # a worker without a heartbeat for so long is not considered as up


_readable = reader_of(Definition)


def _definition(value: bytes) -> Definition:
    """Decode. Raises Broken: an unreadable record hides the earlier definition of its key."""
    try:
        return _readable(value)
    except Rejected as refusal:
        raise Broken(f"a record that is not a definition hides one. {refusal.detail}") from refusal


class Definitions(CompactedView[Definition]):
    """`control`: every definition by `namespace/kind/name`, including deleted ones (with body None).

    kinds: keep only these; others count only for `revision`. A method is a few look-ups, not a scan.
    Bodies are shared: do not modify them.
    """

    def __init__(self, settings: Settings, kinds: Collection[str] | None = None) -> None:
        super().__init__(settings, "control", _definition, guarded=True)
        self._kinds = kinds
        self._catalog = DefinitionIndex(self._values)

    @property
    def revision(self) -> int:
        """The newest revision that was read; 0 if there are no definitions."""
        with self._changed:
            self._check()
            return self._catalog.revision

    def wait_revision(self, revision: int, timeout_s: float) -> bool:
        """Whether `revision` was read within `timeout_s`."""
        return self.wait_for(lambda _: self._catalog.revision >= revision, timeout_s)

    def meters(self, namespace: str | None = None) -> list[Meter]:
        """The current meters of one namespace or of all, by namespace and slug."""
        found = [meter for _, meter in self.in_force(namespace)]
        return sorted(found, key=lambda meter: (meter.namespace, meter.slug))

    def in_force(self, namespace: str | None = None) -> list[tuple[Definition, Meter]]:
        """Each current meter with its newest definition."""
        with self._changed:
            self._check()
            namespaces = self._catalog.namespaces(METER) if namespace is None else [namespace]
            found = [
                self._catalog.get(one, METER, slug)
                for one in namespaces
                for slug in self._catalog.names(one, METER)
            ]
        return [
            (definition, meter)
            for definition in found
            if definition is not None and (meter := Meter.of(definition)) is not None
        ]

    def meter(self, namespace: str, id_or_slug: str) -> tuple[Definition, Meter] | None:
        """The current meter with this slug or ULID, and its definition."""
        with self._changed:
            self._check()
            for slug in (id_or_slug, self._catalog.one(namespace, METER_ULID, id_or_slug)):
                definition = None if slug is None else self._catalog.get(namespace, METER, slug)
                meter = Meter.of(definition)
                if definition is not None and meter is not None:
                    return definition, meter
        return None

    def customers(self, namespace: str, deleted: bool = False) -> list[Customer]:
        """By time of creation (the order of ULIDs), with or without deleted ones."""
        found = self._all(Customer, namespace)
        return [customer for customer in found if deleted or not customer.is_deleted]

    def customer(self, namespace: str, id_or_key: str) -> Customer | None:
        """By id, deleted or not, else by key."""
        return self._find_by(Customer, namespace, CUSTOMER_KEY, id_or_key)

    def customer_of(self, namespace: str, subject: str) -> Customer | None:
        """The customer to which a subject belongs: by its subjectKeys, or by its own key."""
        with self._changed:
            self._check()
            id = self._catalog.one(namespace, CUSTOMER_SUBJECT, subject)
            return None if id is None else self._catalog.find(Customer, namespace, id)

    def subjects(self, namespace: str) -> list[Subject]:
        """By time of creation."""
        return self._all(Subject, namespace)

    def subject(self, namespace: str, id_or_key: str) -> Subject | None:
        """By id, else by key."""
        return self._find_by(Subject, namespace, SUBJECT_KEY, id_or_key)

    def features(self, namespace: str, archived: bool = False) -> list[Feature]:
        """By time of creation, with or without archived ones."""
        found = self._all(Feature, namespace)
        return [feature for feature in found if archived or feature.archived_at is None]

    def feature(self, namespace: str, id_or_key: str) -> Feature | None:
        """By id, archived or not, else the current one with this key."""
        return self._find_by(Feature, namespace, FEATURE_KEY, id_or_key)

    def features_of(self, namespace: str, meter: str) -> list[Feature]:
        """The current features of the meter with this slug."""
        with self._changed:
            self._check()
            return self._catalog.having(Feature, namespace, FEATURE_METER, meter)

    def keys(self, namespace: str) -> list[ApiKey]:
        """All keys of a namespace, including revoked and expired ones, by public id."""
        return self._all(ApiKey, namespace)

    def key(self, public: str) -> ApiKey | None:
        """The key with this public id, of any namespace; check that it `holds`."""
        with self._changed:
            self._check()
            return ApiKey.of(self._catalog.key_definition(public))

    def stripe_apps(self) -> list[tuple[str, StripeApp]]:
        """The accounts of Stripe of all namespaces, without uninstalled ones, with their namespaces."""
        with self._changed:
            self._check()
            found = [(name, self._catalog.all(App, name)) for name in self._catalog.namespaces(App.kind)]
        return [(name, app) for name, apps in found for app in stripe_accounts(apps)]

    def stripe_app(self, id: str) -> tuple[str, StripeApp] | None:
        """The account of Stripe with this app id and its namespace, of any namespace; None for an uninstalled one."""
        with self._changed:
            self._check()
            definition = self._catalog.app_definition(id)
            app = App.of(definition)
        if definition is None or not isinstance(app, StripeApp) or app.is_deleted:
            return None
        return definition.namespace, app

    def portal_tokens(self, namespace: str) -> list[PortalToken]:
        """By time of creation, including expired and invalidated ones, until they are removed."""
        return self._all(PortalToken, namespace)

    def portal_token(self, namespace: str, id: str) -> PortalToken | None:
        """The token with this jti; None: the token is invalid."""
        with self._changed:
            self._check()
            return self._catalog.find(PortalToken, namespace, id)

    def find(self, kind: type[B], namespace: str, name: str) -> B | None:
        """The body of a definition by its name; None if there is none, or if it is deleted for good."""
        with self._changed:
            self._check()
            return self._catalog.find(kind, namespace, name)

    def all(self, kind: type[B], namespace: str) -> list[B]:
        """Those of a kind by name (by time of creation if names are ULIDs), including deleted ones."""
        with self._changed:
            self._check()
            return self._catalog.all(kind, namespace)

    def look_up(self, question: Callable[[DefinitionIndex], T]) -> T:
        """The answer to a question that needs several look-ups in one state. It must keep nothing of the index."""
        with self._changed:
            self._check()
            return question(self._catalog)

    def entitlements_of(self, namespace: str, customer: str) -> list[Entitlement]:
        """Those of a customer (id), including ended and deleted ones, oldest first."""
        with self._changed:
            self._check()
            return entitlement_lookup.of_customer(self._catalog, namespace, customer)

    def entitlement(self, namespace: str, wanted: str, at_s: int, customer: str | None = None) -> Entitlement:
        """By id, else of the customer (id) by the feature's key at `at_s`. Raises Rejected `not-found`."""
        with self._changed:
            self._check()
            return entitlement_lookup.find(self._catalog, namespace, wanted, at_s, customer)

    def grants_of(self, namespace: str, entitlement: str) -> list[GrantDefinition]:
        """Those of an entitlement (id), by time of creation, including voided ones."""
        with self._changed:
            self._check()
            return self._catalog.having(GrantDefinition, namespace, GRANT_ENTITLEMENT, entitlement)

    def attributions(self, namespace: str, customer: str) -> list[Definition]:
        """The histories of all subjects that have ever belonged to the customer (id)."""
        with self._changed:
            self._check()
            subjects = self._catalog.many(namespace, ATTRIBUTION_CUSTOMER, customer)
            found = [self._catalog.get(namespace, ATTRIBUTION, subject) for subject in subjects]
        return [definition for definition in found if definition is not None]

    def definition(self, namespace: str, kind: str, name: str) -> Definition | None:
        """The newest definition by its name; its body is None if it is deleted for good."""
        with self._changed:
            self._check()
            return self._catalog.get(namespace, kind, name)

    def body(self, namespace: str, kind: str, name: str) -> Body | None:
        """The body of a definition; None if there is none, or if it is deleted for good."""
        with self._changed:
            self._check()
            return self._catalog.body(namespace, kind, name)

    def _find_by(self, kind: type[B], namespace: str, by: str, wanted: str) -> B | None:
        with self._changed:
            self._check()
            return self._catalog.find_by(kind, namespace, by, wanted)

    def _all(self, kind: type[B], namespace: str) -> list[B]:
        with self._changed:
            self._check()
            return self._catalog.all(kind, namespace)

    def _bodies(self, namespace: str, kind: str) -> list[Body]:
        with self._changed:
            self._check()
            names = self._catalog.names(namespace, kind)
            found = [self._catalog.body(namespace, kind, name) for name in names]
        return [body for body in found if body is not None]

    def _wants(self, key: str) -> bool:
        return not key.startswith(OWN)

    def _keep(self, key: str, value: Definition | None) -> None:
        if value is None:
            self._catalog.forget(key)
        elif self._kinds is None or value.kind in self._kinds:
            self._catalog.keep(value)
        else:
            self._catalog.pass_over(value)


class CountsView(CompactedView[Counts]):
    """`counts`: the totals of every stage and input partition since the beginning."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "counts", reader_of(Counts), guarded=True)


class WorkersView(CompactedView[Worker]):
    """`workers`: the newest heartbeat of each worker that has not stopped."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "workers", reader_of(Worker))

    def live(self, stage: str | None = None) -> list[Worker]:
        """Workers with a heartbeat younger than LIVE_S, of one stage or of all, by stage and id."""
        oldest_ms = (time.time() - LIVE_S) * 1000
        found = [
            worker
            for worker in self.snapshot().values()
            if worker.at_ms >= oldest_ms and stage in (None, worker.stage)
        ]
        return sorted(found, key=lambda worker: (worker.stage, worker.id))


class BackfillsView(CompactedView[Backfill]):
    """`backfill-work`: the newest step of each backfill by `meter_id/shard`, including finished ones."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "backfill-work", reader_of(Backfill))


class Replies(CompactedView[Reply]):
    """`replies`, from the start of the view; it keeps only replies that a caller expects."""

    def __init__(self, settings: Settings) -> None:
        self._expected: set[str] = set()
        super().__init__(settings, "replies", reader_of(Reply), begin="latest")

    @contextmanager
    def expected(self, attempt: str) -> Iterator[None]:
        """Keep the reply to the command with this attempt until the block ends; the command is sent within it."""
        with self._changed:
            self._expected.add(attempt)
        try:
            yield
        finally:
            with self._changed:
                self._expected.discard(attempt)
                self._values.pop(attempt, None)

    def take(self, attempt: str, timeout_s: float) -> Reply | None:
        """Wait for an expected reply; None after `timeout_s`."""
        self.wait_for(lambda replies: attempt in replies, timeout_s)
        return self.get(attempt)

    def _wants(self, key: str) -> bool:
        return key in self._expected

    def _keep(self, key: str, value: Reply | None) -> None:
        if key in self._expected:  # its caller may have given up meanwhile
            super()._keep(key, value)
