"""Accounts: what a customer may use of a feature by the definitions, indexed by what changes its balance.

Owns: which entitlement of an account is in force at an instant, when that changes, its terms, which windows are its
usage. Does not own: what a definition is (entitlement, grant, catalog.feature), balances (balance), following the log
(agents). An account is (namespace, customer id, feature key): its entitlements follow one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from pipeline.core.catalog.feature import Feature
from pipeline.core.customers.attribution import Attribution
from pipeline.core.definitions.changes import ChangedBody, Changes
from pipeline.core.metering.meter import Meter
from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement
from pipeline.core.quota.grant import GrantDefinition
from pipeline.core.quota.terms import Terms, counted, terms_of
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.filters import Filter, filter_string, matches

ACCOUNT = b"a"
AccountName = tuple[str, str, str]  # namespace, customer, feature
_encode = msgspec.json.Encoder().encode


def account_key(name: AccountName) -> bytes:
    """The 17 bytes of an account in keys of the state; its usage and balance are under `Accounts.balance_key`."""
    return ACCOUNT + blake2b(_encode(name), digest_size=16).digest()


@dataclass
class Account:
    """A customer's feature: its entitlements, which follow one another.

    Args:
        name: namespace, customer and feature.
        key: `account_key` of it.
        entitlements: by id.
        spans: of the entitlements by id, [start, end) in seconds since 1970.
        grants: by id, for each entitlement's id.
        revision: the newest of all of these definitions.
    """

    name: AccountName
    key: bytes
    entitlements: dict[str, Entitlement] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    grants: dict[str, dict[str, GrantDefinition]] = field(default_factory=dict)
    revision: int = 0

    def current(self, now_s: int) -> Entitlement | None:
        """The entitlement in force; else the one that ended last, or None before the first begins."""
        if len(self.spans) == 1:  # the common case
            ((id, span),) = self.spans.items()
            return self.entitlements[id] if span[0] <= now_s else None
        begun = [(now_s < span[1], span, id) for id, span in self.spans.items() if span[0] <= now_s]
        return self.entitlements[max(begun)[2]] if begun else None

    def in_force(self, id: str, now_s: int) -> bool:
        """Whether an entitlement of the account is in force."""
        start_s, end_s = self.spans[id]
        return start_s <= now_s < end_s

    def ended(self, id: str, now_s: int) -> bool:
        """Whether an entitlement of the account is over."""
        return self.spans[id][1] <= now_s

    def next_change_s(self, now_s: int) -> int:
        """When an entitlement begins or ends next; NEVER_S if none does."""
        next_s = NEVER_S
        for start_s, end_s in self.spans.values():
            if now_s < end_s < next_s:
                next_s = end_s
            if now_s < start_s < next_s:
                next_s = start_s
        return next_s


class UsedMeter(NamedTuple):
    """The meter of a feature.

    Args:
        meter_id: the revision of the definitions at which its slug was made.
        aggregation: which it keeps for ever.
    """

    meter_id: int
    aggregation: str


@dataclass(frozen=True)
class Use:
    """Which usage is a feature's.

    Args:
        meter: its slug.
        filters: by dimension; all of them must match.
        of: the meter that the feature was made for; None where the feature was stored without its id.
    """

    meter: str
    filters: tuple[tuple[str, Filter], ...]
    of: UsedMeter | None = None

    def takes(self, dimensions: Mapping[str, str]) -> bool:
        """Whether a window with these dimensions is usage of the feature."""
        return all(matches(filter_, dimensions.get(name, "")) for name, filter_ in self.filters)


class Counting(NamedTuple):
    """How usage of an entitlement is counted by the definitions.

    Args:
        revision: of the account, as of which this is so.
        use: which usage it is; None where it is not metered or its feature has no meter.
        meter_id: of the meter; -1 where it is not known.
        key: `Accounts.balance_key`.
        terms: None where no balance can be kept.
    """

    revision: int
    use: Use | None
    meter_id: int
    key: bytes
    terms: Terms | None


class Accounts:
    """All accounts. Not thread-safe: the caller serializes `update` and the reading methods."""

    def __init__(self) -> None:
        self._accounts: dict[AccountName, Account] = {}
        self._by_key: dict[bytes, Account] = {}
        self._of_customer: dict[tuple[str, str], dict[str, Account]] = {}  # by feature
        self._entitlement: dict[str, AccountName] = {}
        self._orphans: dict[
            str, dict[str, ChangedBody[GrantDefinition]]
        ] = {}  # grants read before their entitlement
        self._uses: dict[str, Use] = {}  # by feature id
        self._meters: dict[tuple[str, str], Meter] = {}
        # Of a customer: each subject with the revision of its newest change.
        self._subjects: dict[tuple[str, str], dict[str, int]] = {}
        self._terms: dict[str, Terms] = {}  # by entitlement
        self._counting: dict[str, Counting] = {}  # by entitlement, while features and meters stay the same

    # -- following ----------------------------------------------------------------------------------------------

    def update(self, changes: Changes) -> set[AccountName]:
        """Apply changes of definitions.

        Returns:
            The accounts whose balance may change with them.
        """
        for feature in changes.of(Feature):
            self._take_feature(feature.body)
        touched: set[AccountName] = set()
        for meter in changes.of(Meter):
            touched |= self._take_meter(meter)
        for entitlement in changes.of(Entitlement):
            touched |= self._take_entitlement(entitlement)
        for grant in changes.of(GrantDefinition):
            touched |= self._take_grant(grant)
        for attribution in changes.of(Attribution):
            touched |= self._take_attribution(attribution)
        return touched

    def _take_entitlement(self, changed: ChangedBody[Entitlement]) -> set[AccountName]:
        entitlement = changed.body
        if entitlement is None:
            return set()
        name = (changed.namespace, entitlement.customer_id, entitlement.feature_key)
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account(name, account_key(name))
            self._by_key[account.key] = account
            self._of_customer.setdefault(name[:2], {})[name[2]] = account
        id = entitlement.id
        account.entitlements[id], account.spans[id] = entitlement, entitlement.span
        account.revision = max(account.revision, changed.revision)
        self._entitlement[id] = name
        for orphan in self._orphans.pop(id, {}).values():
            self._take_grant(orphan)
        return {name}

    def _take_grant(self, changed: ChangedBody[GrantDefinition]) -> set[AccountName]:
        grant = changed.body
        if grant is None:
            return set()
        id = grant.entitlement_id
        name = self._entitlement.get(id)
        if name is None:
            self._orphans.setdefault(id, {})[changed.name] = changed
            return set()
        account = self._accounts[name]
        account.grants.setdefault(id, {})[grant.id] = grant
        account.revision = max(account.revision, changed.revision)
        return {name}

    def _take_feature(self, feature: Feature | None) -> None:
        self._counting = {}
        if feature is None or feature.meter_slug is None:
            return
        filters = tuple((name, filter_string(name, wanted)) for name, wanted in feature.filters.items())
        of = None
        if feature.meter_id is not None and feature.meter_aggregation is not None:
            of = UsedMeter(feature.meter_id, feature.meter_aggregation)
        self._uses[feature.id] = Use(feature.meter_slug, filters, of)

    def _take_meter(self, changed: ChangedBody[Meter]) -> set[AccountName]:
        meter = changed.body
        self._counting = {}
        if meter is None:
            return set()
        key = (changed.namespace, meter.slug)
        before = self._meters.get(key)
        self._meters[key] = meter
        if before is None or before.meter_id == meter.meter_id:
            return set()
        self._terms = {}  # the slug names another meter, which may have another aggregation
        return {name for name, account in self._accounts.items() if self._counts(account, key)}

    def _counts(self, account: Account, meter: tuple[str, str]) -> bool:
        uses = (self.use(one) for one in account.entitlements.values())
        return account.name[0] == meter[0] and any(
            use is not None and use.of is None and use.meter == meter[1] for use in uses
        )

    def _take_attribution(self, changed: ChangedBody[Attribution]) -> set[AccountName]:
        touched: set[AccountName] = set()
        for holding in [] if changed.body is None else changed.body.holders:
            if holding.customer:
                customer = (changed.namespace, holding.customer)
                self._subjects.setdefault(customer, {})[changed.name] = changed.revision
                touched |= {account.name for account in self._of_customer.get(customer, {}).values()}
        return touched

    # -- asking -------------------------------------------------------------------------------------------------

    def get(self, name: AccountName) -> Account | None:
        return self._accounts.get(name)

    def by_key(self, key: bytes) -> Account | None:
        """The account whose state begins with `key`."""
        return self._by_key.get(key)

    def names(self) -> list[AccountName]:
        return list(self._accounts)

    def of(self, namespace: str, customer: str) -> Iterable[Account]:
        """The accounts of a customer."""
        return self._of_customer.get((namespace, customer), {}).values()

    def use(self, entitlement: Entitlement) -> Use | None:
        """Which usage is that of an entitlement's feature; None where the feature has no meter."""
        return self._uses.get(entitlement.feature_id)

    def meter(self, namespace: str, use: Use | None) -> UsedMeter | None:
        """The meter of a feature, deleted or not: its usage stays in balances.

        A feature that was stored without its meter's id has the newest meter of the slug, as far as it was read.
        """
        if use is None or use.of is not None:
            return None if use is None else use.of
        meter = self._meters.get((namespace, use.meter))
        return None if meter is None else UsedMeter(meter.meter_id, meter.aggregation)

    def balance_key(self, account: Account, entitlement: Entitlement) -> bytes:
        """The 17 bytes with which keys of a balance begin in the state.

        Entitlements of one feature and meter share usage. A new feature with the key of an archived one starts without
        usage; an archived one keeps that of its meter when its slug is made again.
        """
        meter = self.meter(account.name[0], self.use(entitlement))
        kept_for = (account.name, entitlement.feature_id, 0 if meter is None else meter.meter_id)
        return ACCOUNT + blake2b(_encode(kept_for), digest_size=16).digest()

    def subjects(self, namespace: str, customer: str) -> dict[str, int]:
        """Every subject that was the customer's at some time, with the revision of its newest change."""
        return self._subjects.get((namespace, customer), {})

    def counting(self, account: Account, entitlement: Entitlement) -> Counting:
        """How usage of an entitlement of the account is counted."""
        found = self._counting.get(entitlement.id)
        if found is None or found.revision != account.revision:
            use = self.use(entitlement) if isinstance(entitlement, MeteredEntitlement) else None
            meter = self.meter(account.name[0], use)
            found = self._counting[entitlement.id] = Counting(
                account.revision,
                use,
                -1 if meter is None else meter.meter_id,
                self.balance_key(account, entitlement),
                self.terms(account, entitlement),
            )
        return found

    def terms(self, account: Account, entitlement: Entitlement) -> Terms | None:
        """The terms of a metered entitlement of the account; None for others, and where no balance can be kept."""
        meter = self.meter(account.name[0], self.use(entitlement))
        if meter is None or not isinstance(entitlement, MeteredEntitlement):
            return None
        terms = self._terms.get(entitlement.id)
        if terms is None or terms.revision != account.revision:
            aggregation = counted(meter.aggregation)
            if aggregation is None:
                return None
            grants = account.grants.get(entitlement.id, {}).values()
            terms = self._terms[entitlement.id] = terms_of(entitlement, grants, aggregation, account.revision)
        return terms
