"""Accounts: what a customer may use of a feature, as the definitions have it, found by what moves them.

Owns: which entitlement of an account holds at an instant, when that changes, its terms, which windows are its usage.
Does not own: what a definition may say (entitlement, grant, catalog.feature), balances (balance), following the log
(agents). An account is (namespace, customer id, feature key): entitlements of it follow one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from pipeline.core.definitions.attribution_history import read as read_holders
from pipeline.core.definitions.kinds import ATTRIBUTION, ENTITLEMENT, FEATURE, GRANT, METER
from pipeline.core.metering.meter import Meter, meter_of
from pipeline.core.quota import entitlement_lookup
from pipeline.core.quota.entitlement import terms_of
from pipeline.core.quota.terms import Terms
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.filters import Filter, filter_string, matches
from pipeline.records import Definition

ACCOUNT = b"a"
AccountName = tuple[str, str, str]  # namespace, customer, feature
StoredMembers = Mapping[str, object]
_encode = msgspec.json.Encoder().encode


def account_key(name: AccountName) -> bytes:
    """The 17 bytes by which the state knows an account; its usage and balance are in a `ledger`."""
    return ACCOUNT + blake2b(_encode(name), digest_size=16).digest()


@dataclass
class Account:
    """entitlements, grants: bodies by id; revision: the newest of all of these. spans: of entitlements, by id."""

    name: AccountName
    key: bytes
    entitlements: dict[str, StoredMembers] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    grants: dict[str, dict[str, StoredMembers]] = field(default_factory=dict)  # by entitlement
    revision: int = 0

    def current(self, now_s: int) -> StoredMembers | None:
        """The entitlement in force; else the one that ended last, or None before the first begins."""
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
        instants = (at_s for span in self.spans.values() for at_s in span)
        return min((at_s for at_s in instants if at_s > now_s), default=NEVER_S)


@dataclass(frozen=True)
class Use:
    """Which usage is a feature's: of this meter, where every filter matches."""

    meter: str
    filters: tuple[tuple[str, Filter], ...]

    def takes(self, dimensions: Mapping[str, str]) -> bool:
        """Whether a window with these dimensions is usage of the feature."""
        return all(matches(filter_, dimensions.get(name, "")) for name, filter_ in self.filters)


class Accounts:
    """All accounts, followed change by change. Not thread-safe: `update` and the rest take turns."""

    def __init__(self) -> None:
        self._accounts: dict[AccountName, Account] = {}
        self._by_key: dict[bytes, Account] = {}
        self._of_customer: dict[tuple[str, str], dict[str, Account]] = {}  # by feature
        self._entitlement: dict[str, AccountName] = {}
        self._orphans: dict[str, dict[str, Definition]] = {}  # grants read before their entitlement
        self._uses: dict[str, Use] = {}  # by feature id
        self._meters: dict[tuple[str, str], Meter] = {}
        self._subjects: dict[
            tuple[str, str], dict[str, int]
        ] = {}  # of a customer, with the change's revision
        self._terms: dict[str, Terms] = {}  # by entitlement

    # -- following ----------------------------------------------------------------------------------------------

    def update(self, changes: Mapping[str, Definition | None]) -> set[AccountName]:
        """Takes what was read from `control`; gives the accounts that it touches."""
        touched: set[AccountName] = set()
        for definition in changes.values():
            if definition is None:
                continue
            if definition.kind == ENTITLEMENT:
                touched |= self._take_entitlement(definition)
            elif definition.kind == GRANT:
                touched |= self._take_grant(definition)
            elif definition.kind == FEATURE and definition.body is not None:
                self._take_feature(definition.body)
            elif definition.kind == METER:
                touched |= self._take_meter(definition)
            elif definition.kind == ATTRIBUTION:
                touched |= self._take_attribution(definition)
        return touched

    def _take_entitlement(self, definition: Definition) -> set[AccountName]:
        body = definition.body
        if body is None:
            return set()
        name = (definition.namespace, str(body["customerId"]), str(body["featureKey"]))
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account(name, account_key(name))
            self._by_key[account.key] = account
            self._of_customer.setdefault(name[:2], {})[name[2]] = account
        id = str(body["id"])
        account.entitlements[id], account.spans[id] = body, entitlement_lookup.span(body)
        account.revision = max(account.revision, definition.revision)
        self._entitlement[id] = name
        for grant in self._orphans.pop(id, {}).values():
            self._take_grant(grant)
        return {name}

    def _take_grant(self, definition: Definition) -> set[AccountName]:
        body = definition.body
        if body is None:
            return set()
        id = str(body["entitlementId"])
        name = self._entitlement.get(id)
        if name is None:
            self._orphans.setdefault(id, {})[definition.name] = definition
            return set()
        account = self._accounts[name]
        account.grants.setdefault(id, {})[str(body["id"])] = body
        account.revision = max(account.revision, definition.revision)
        return {name}

    def _take_feature(self, body: StoredMembers) -> None:
        slug = body.get("meterSlug")
        if not isinstance(slug, str):
            return
        plain, advanced = body.get("meterGroupByFilters"), body.get("advancedMeterGroupByFilters")
        wanted = (
            {name: {"$eq": value} for name, value in plain.items()} if isinstance(plain, dict) else advanced
        )
        filters = wanted.items() if isinstance(wanted, dict) else ()
        self._uses[str(body["id"])] = Use(
            slug, tuple((name, filter_string(name, one)) for name, one in filters)
        )

    def _take_meter(self, definition: Definition) -> set[AccountName]:
        meter = meter_of(definition)
        if meter is None:
            return set()
        place = (definition.namespace, meter.slug)
        known = self._meters.get(place)
        self._meters[place] = meter
        if known is None or known.meter_id == meter.meter_id:
            return set()
        self._terms = {}  # a slug made anew is another meter, and may add up in another way
        return {name for name, account in self._accounts.items() if self._counts(account, place)}

    def _counts(self, account: Account, meter: tuple[str, str]) -> bool:
        uses = (self.use(one) for one in account.entitlements.values())
        return account.name[0] == meter[0] and any(use is not None and use.meter == meter[1] for use in uses)

    def _take_attribution(self, definition: Definition) -> set[AccountName]:
        touched: set[AccountName] = set()
        for holding in read_holders(definition):
            if holding.customer:
                place = (definition.namespace, holding.customer)
                self._subjects.setdefault(place, {})[definition.name] = definition.revision
                touched |= {account.name for account in self._of_customer.get(place, {}).values()}
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

    def use(self, entitlement: StoredMembers) -> Use | None:
        """The usage that an entitlement's feature stands for."""
        return self._uses.get(str(entitlement["featureId"]))

    def meter(self, namespace: str, slug: str) -> Meter | None:
        """The newest meter of the slug, deleted or not: what it counted stays counted."""
        return self._meters.get((namespace, slug))

    def balance_key(self, account: Account, entitlement: StoredMembers) -> bytes:
        """The 17 bytes with which a balance begins in the state: entitlements of one feature and meter share usage.

        A feature whose key another had before, and a meter whose slug another had, begin anew.
        """
        use = self.use(entitlement)
        meter = None if use is None else self.meter(account.name[0], use.meter)
        counted = (account.name, entitlement["featureId"], 0 if meter is None else meter.meter_id)
        return ACCOUNT + blake2b(_encode(counted), digest_size=16).digest()

    def subjects(self, namespace: str, customer: str) -> dict[str, int]:
        """Every subject that the customer held at some time, with the revision of its newest change."""
        return self._subjects.get((namespace, customer), {})

    def terms(self, account: Account, entitlement: StoredMembers) -> Terms | None:
        """The terms of a metered entitlement of the account; None for others."""
        use = self.use(entitlement)
        meter = None if use is None else self.meter(account.name[0], use.meter)
        if entitlement["type"] != "metered" or meter is None:
            return None
        id = str(entitlement["id"])
        found = self._terms.get(id)
        if found is None or found.revision != account.revision:
            grants = account.grants.get(id, {}).values()
            found = self._terms[id] = terms_of(entitlement, grants, meter.aggregation, account.revision)
        return found
