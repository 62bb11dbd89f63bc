"""The definitions that billing reads: customers, their profiles, apps, the catalog, features, meters and rules.

Owns: these look-ups. Does not own: the definitions (control), which of them are in force (profiles_now, catalog_now),
which meters are billed (billing.feature_meters).
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.billing.app import App
from pipeline.core.billing.apps_now import AppsNow
from pipeline.core.bills.line_group import GroupFeature
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.feature import Feature
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.definitions.kinds import (
    ADDON,
    APP,
    BILLING_OVERRIDE,
    BILLING_PROFILE,
    CUSTOMER,
    FEATURE,
    FEATURE_KEY,
    METER,
    PLAN,
    PLAN_ADDON,
    RULE,
)
from pipeline.core.invoices.profile import USUAL_ZONE, BillingProfile
from pipeline.core.invoices.profiles_now import ProfilesNow
from pipeline.core.metering.meter import Aggregation, Meter
from pipeline.core.notifications.rule import Rule
from pipeline.errors import Rejected
from pipeline.records import Definition

KINDS: Final = frozenset(
    {ADDON, APP, BILLING_OVERRIDE, BILLING_PROFILE, CUSTOMER, FEATURE, METER, PLAN, PLAN_ADDON, RULE}
)
# A change of one of these may change when something of a customer is due.
TOUCHING: Final = {CUSTOMER: "customer", BILLING_OVERRIDE: "customer"}


class BillingDefinitions:
    """The definitions that were read so far. `update` is called by one thread at a time."""

    def __init__(self) -> None:
        self.index = DefinitionIndex({})
        self._profiles: dict[str, ProfilesNow] = {}  # by namespace, until a definition changes

    def update(self, changes: Changes) -> list[list[str]]:
        """Apply changes.

        Returns:
            What may change when something is due, as items of a record of the clock.
        """
        touched = []
        for key, definition in changes.records.items():
            namespace, kind, name = key.split("/", 2) if key.count("/") == 2 else ("", "", "")
            if kind not in KINDS:
                continue
            if kind == BILLING_PROFILE and self._collects_otherwise(namespace, name, definition):
                touched.append(["profile", namespace, name])
            if definition is None:
                self.index.forget(key)
            else:
                self.index.keep(definition)
            if kind in (BILLING_PROFILE, BILLING_OVERRIDE, APP):
                self._profiles.pop(namespace, None)
            if kind in TOUCHING:
                touched.append([TOUCHING[kind], namespace, name])
        return touched

    def _collects_otherwise(self, namespace: str, id: str, after: Definition | None) -> bool:
        """Whether a profile collects lines at other times than before, or may be that of other customers."""
        before = self.index.get(namespace, BILLING_PROFILE, id)
        return _collection(before) != _collection(after)

    def catalog(self, namespace: str, at_ms: int) -> CatalogNow:
        """The catalog of a namespace at an instant."""
        return CatalogNow(self.index, namespace, at_ms)

    def customer(self, namespace: str, id: str) -> Customer | None:
        """A customer, deleted ones too."""
        return self.index.find(Customer, namespace, id)

    def profile_of(self, namespace: str, customer_id: str) -> BillingProfile:
        """The profile in force for a customer.

        Raises:
            Rejected: a code of profile.CODES.
        """
        return self._profiles_of(namespace).in_force(customer_id)

    def in_zone(self, namespace: str, customer: Customer) -> Customer:
        """The customer with the zone in which new subscriptions are counted: its own, else that of its profile."""
        try:
            zone = customer.time_zone or self.profile_of(namespace, customer.id).time_zone
        except Rejected:
            return customer  # without a profile nothing is billed
        if zone == USUAL_ZONE:
            return customer  # which is what none means
        changed: Customer = msgspec.structs.replace(customer, time_zone=zone)
        return changed

    def may_have(self, namespace: str, customer_id: str, profile_id: str) -> bool:
        """Whether a profile is the one in force for a customer; True too where none is."""
        try:
            return self.profile_of(namespace, customer_id).id == profile_id
        except Rejected:
            return True

    def profile(self, namespace: str, id: str) -> BillingProfile | None:
        """A profile, deleted ones too."""
        return self._profiles_of(namespace).profiles.get(id)

    def _profiles_of(self, namespace: str) -> ProfilesNow:
        found = self._profiles.get(namespace)
        if found is None:
            found = self._profiles[namespace] = ProfilesNow(self.index, namespace)
        return found

    def app(self, namespace: str, id: str) -> App | None:
        """An app, uninstalled ones too."""
        return AppsNow(self.index, namespace).find(id)

    def rules(self, namespace: str) -> list[Rule]:
        """The rules of notifications of a namespace, of any type."""
        return self.index.all(Rule, namespace)

    def feature(self, namespace: str, key: str | None, id: str | None = None) -> GroupFeature | None:
        """What is metered for a feature; None: there is no such feature, or it has no meter.

        Args:
            namespace: of the feature.
            key: of the current feature, if there is no `id`.
            id: of one that may be archived.
        """
        if id is None and key is not None:
            id = self.index.one(namespace, FEATURE_KEY, key)
        found = None if id is None else self.index.find(Feature, namespace, id)
        return None if found is None else self._feature(namespace, found)

    def _feature(self, namespace: str, feature: Feature) -> GroupFeature | None:
        if feature.meter_slug is None:
            return None
        meter = self.index.find(Meter, namespace, feature.meter_slug)
        if feature.meter_id is not None and feature.meter_aggregation is not None:
            aggregation = msgspec.convert(feature.meter_aggregation, Aggregation)
            return GroupFeature(feature.meter_id, aggregation, dict(feature.filters))
        if meter is None:
            return None
        return GroupFeature(meter.meter_id, meter.aggregation, dict(feature.filters))


def _collection(profile: Definition | None) -> object:
    """What says when a profile collects lines, and whose. profile: None: there is none."""
    if profile is None or profile.body is None:
        return None
    of_workflow = profile.body.get("workflow")
    collection = of_workflow.get("collection") if isinstance(of_workflow, dict) else None
    return collection, profile.body.get("timeZone"), profile.body.get("default")
