"""What the compacted topics say now: definitions, counts, heartbeats, replies.

Owns: one reader a topic, typed. Does not own: following a topic (view), what the values mean (core), or who writes
them. `Definitions` gives the typed body of a definition, whose `members` are its JSON, or None where there is none;
`wait_revision` lets a process read its own changes.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from pipeline.core.access.api_key import ApiKey
from pipeline.core.access.portal_token import PortalToken
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

LIVE_S = 5.0  # a worker whose last heartbeat is older is not counted as up


_readable = reader_of(Definition)


def _definition(value: bytes) -> Definition:
    """Raises Broken: a record under a key hides the definition that was there, so nobody may count without it."""
    try:
        return _readable(value)
    except Rejected as refusal:
        raise Broken(f"a record that is no definition hides one. {refusal.detail}") from refusal


class Definitions(CompactedView[Definition]):
    """`control`: every definition by `namespace/kind/name`, deleted ones too (with body None).

    kinds: keep only these; the others count for `revision` alone. Each reader is a few look-ups, not a pass over all.
    Bodies are shared: read them, do not change them.
    """

    def __init__(self, settings: Settings, kinds: Collection[str] | None = None) -> None:
        super().__init__(settings, "control", _definition, guarded=True)
        self._kinds = kinds
        self._catalog = DefinitionIndex(self._values)

    @property
    def revision(self) -> int:
        """The newest revision that was read; 0 where nothing is defined."""
        with self._changed:
            self._check()
            return self._catalog.revision

    def wait_revision(self, revision: int, timeout_s: float) -> bool:
        """Whether `revision` was read within `timeout_s`."""
        return self.wait_for(lambda _: self._catalog.revision >= revision, timeout_s)

    def meters(self, namespace: str | None = None) -> list[Meter]:
        """The meters in force, of one namespace or of all, by namespace and slug."""
        found = [meter for _, meter in self.in_force(namespace)]
        return sorted(found, key=lambda meter: (meter.namespace, meter.slug))

    def in_force(self, namespace: str | None = None) -> list[tuple[Definition, Meter]]:
        """Each meter in force with its newest definition."""
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
        """The meter in force with this slug or ULID, and its definition."""
        with self._changed:
            self._check()
            for slug in (id_or_slug, self._catalog.one(namespace, METER_ULID, id_or_slug)):
                definition = None if slug is None else self._catalog.get(namespace, METER, slug)
                meter = Meter.of(definition)
                if definition is not None and meter is not None:
                    return definition, meter
        return None

    def customers(self, namespace: str, deleted: bool = False) -> list[Customer]:
        """By time of creation, as ULIDs sort; with deleted ones or without."""
        found = self._all(Customer, namespace)
        return [customer for customer in found if deleted or not customer.is_deleted]

    def customer(self, namespace: str, id_or_key: str) -> Customer | None:
        """By its id, deleted or not, else by its key."""
        return self._find_by(Customer, namespace, CUSTOMER_KEY, id_or_key)

    def customer_of(self, namespace: str, subject: str) -> Customer | None:
        """The customer whose usage the subject's is: one of its subjectKeys, or its own key."""
        with self._changed:
            self._check()
            id = self._catalog.one(namespace, CUSTOMER_SUBJECT, subject)
            return None if id is None else self._catalog.find(Customer, namespace, id)

    def subjects(self, namespace: str) -> list[Subject]:
        """By time of creation."""
        return self._all(Subject, namespace)

    def subject(self, namespace: str, id_or_key: str) -> Subject | None:
        """By its id, else by its key."""
        return self._find_by(Subject, namespace, SUBJECT_KEY, id_or_key)

    def features(self, namespace: str, archived: bool = False) -> list[Feature]:
        """By time of creation; with archived ones or without."""
        found = self._all(Feature, namespace)
        return [feature for feature in found if archived or feature.archived_at is None]

    def feature(self, namespace: str, id_or_key: str) -> Feature | None:
        """By its id, archived or not, else the one in force with the key."""
        return self._find_by(Feature, namespace, FEATURE_KEY, id_or_key)

    def features_of(self, namespace: str, meter: str) -> list[Feature]:
        """The features in force whose usage is that of the meter with this slug, or a part of it."""
        with self._changed:
            self._check()
            return self._catalog.having(Feature, namespace, FEATURE_METER, meter)

    def keys(self, namespace: str) -> list[ApiKey]:
        """All of a namespace, revoked and expired ones too, by public id."""
        return self._all(ApiKey, namespace)

    def key(self, public: str) -> ApiKey | None:
        """The key with this public id, of whatever namespace; ask it whether it `holds`."""
        with self._changed:
            self._check()
            return ApiKey.of(self._catalog.key_definition(public))

    def portal_tokens(self, namespace: str) -> list[PortalToken]:
        """By time of creation; ended and invalidated ones too, until they are forgotten."""
        return self._all(PortalToken, namespace)

    def portal_token(self, namespace: str, id: str) -> PortalToken | None:
        """The token with this jti; None: no request may use it."""
        with self._changed:
            self._check()
            return self._catalog.find(PortalToken, namespace, id)

    def find(self, kind: type[B], namespace: str, name: str) -> B | None:
        """The body of any definition by its name; None if there is none or it is deleted for good."""
        with self._changed:
            self._check()
            return self._catalog.find(kind, namespace, name)

    def all(self, kind: type[B], namespace: str) -> list[B]:
        """Those of a kind by name, so by time of creation where names are ULIDs; deleted ones too."""
        with self._changed:
            self._check()
            return self._catalog.all(kind, namespace)

    def entitlements_of(self, namespace: str, customer: str) -> list[Entitlement]:
        """Those of a customer (id), ended and deleted ones too, oldest first."""
        with self._changed:
            self._check()
            return entitlement_lookup.of_customer(self._catalog, namespace, customer)

    def entitlement(self, namespace: str, wanted: str, at_s: int, customer: str | None = None) -> Entitlement:
        """By id, else of the customer (id) by the feature's key as of `at_s`. Raises Rejected `not-found`."""
        with self._changed:
            self._check()
            return entitlement_lookup.find(self._catalog, namespace, wanted, at_s, customer)

    def grants_of(self, namespace: str, entitlement: str) -> list[GrantDefinition]:
        """Those of an entitlement (id), by time of creation, voided ones too."""
        with self._changed:
            self._check()
            return self._catalog.having(GrantDefinition, namespace, GRANT_ENTITLEMENT, entitlement)

    def attributions(self, namespace: str, customer: str) -> list[Definition]:
        """The histories of all subjects that the customer (id) held at some time."""
        with self._changed:
            self._check()
            subjects = self._catalog.many(namespace, ATTRIBUTION_CUSTOMER, customer)
            found = [self._catalog.get(namespace, ATTRIBUTION, subject) for subject in subjects]
        return [definition for definition in found if definition is not None]

    def definition(self, namespace: str, kind: str, name: str) -> Definition | None:
        """The newest definition of any name; its body is None where it is deleted for good."""
        with self._changed:
            self._check()
            return self._catalog.get(namespace, kind, name)

    def body(self, namespace: str, kind: str, name: str) -> Body | None:
        """The body of any definition; None if there is none or it is deleted for good."""
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
    """`counts`: what every stage has done with every input partition since the beginning."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "counts", reader_of(Counts), guarded=True)


class WorkersView(CompactedView[Worker]):
    """`workers`: the newest heartbeat of each worker that has not said goodbye."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "workers", reader_of(Worker))

    def live(self, stage: str | None = None) -> list[Worker]:
        """Workers whose newest heartbeat is younger than LIVE_S, of one stage or of all, by stage and id."""
        oldest_ms = (time.time() - LIVE_S) * 1000
        found = [
            worker
            for worker in self.snapshot().values()
            if worker.at_ms >= oldest_ms and stage in (None, worker.stage)
        ]
        return sorted(found, key=lambda worker: (worker.stage, worker.id))


class BackfillsView(CompactedView[Backfill]):
    """`backfill-work`: the newest step of each backfill by `meter_id/shard`, finished ones too."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "backfill-work", reader_of(Backfill))


class Replies(CompactedView[Reply]):
    """`replies`, from now on; reads only answers that are waited for."""

    def __init__(self, settings: Settings) -> None:
        self._expected: set[str] = set()
        super().__init__(settings, "replies", reader_of(Reply), begin="latest")

    def expect(self, attempt: str) -> None:
        """Keeps the reply to the command with this attempt; call before the command is sent."""
        with self._changed:
            self._expected.add(attempt)

    def take(self, attempt: str, timeout_s: float) -> Reply | None:
        """The reply to the command as soon as it is there; None after `timeout_s`. It is forgotten then."""
        self.wait_for(lambda replies: attempt in replies, timeout_s)
        with self._changed:
            self._expected.discard(attempt)
            return self._values.pop(attempt, None)

    def _wants(self, key: str) -> bool:
        return key in self._expected
