"""A metered entitlement counted again: its terms from the control log, its usage from ClickHouse.

Owns: bringing the two together. Does not own: the burn-down (core.quota.history), SQL (stores.clickhouse.windows), the
live balance.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from pipeline.api.http.services import Services
from pipeline.core.customers.attribution import Holders, attribute
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.index import key_of
from pipeline.core.definitions.kinds import ENTITLEMENT, FEATURE, GRANT, METER
from pipeline.core.quota import history
from pipeline.core.quota.accounts import Accounts, Use, UsedMeter
from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement
from pipeline.core.quota.history import MinuteUsage
from pipeline.core.quota.terms import Terms
from pipeline.core.values import number
from pipeline.errors import Rejected
from pipeline.records import Definition, Window
from pipeline.stores.clickhouse.windows import stored_windows
from pipeline.stores.kafka.definitions import Definitions

AHEAD_S = 86_400  # how far ahead one may look, and events may lie


class Recount(NamedTuple):
    """All that a balance follows from."""

    terms: Terms
    usage: MinuteUsage


class _Source(NamedTuple):
    terms: Terms
    use: Use
    meter: UsedMeter
    subjects: list[str]
    holders: Holders


def recount(services: Services, namespace: str, entitlement: Entitlement) -> Recount:
    """The terms and all usage by minute. Raises Rejected `bad-entitlement` unless it is metered, Unavailable."""
    if not isinstance(entitlement, MeteredEntitlement):
        raise Rejected("bad-entitlement", "only metered entitlements have a history")
    source = _source(services.definitions, namespace, entitlement)
    until_s = int(time.time()) // 60 * 60 + 2 * AHEAD_S
    terms, latest = source.terms, source.terms.latest
    values: list[tuple[int, int, str]] = []
    seen: list[tuple[int, str]] = []
    from_s = max(0, terms.schedule.start_s)
    pages = stored_windows(
        services.clickhouse_pages, namespace, source.meter.meter_id, source.subjects, from_s, until_s
    )
    for page in pages if source.subjects else ():
        for window in _mine(page, source, entitlement.customer_id):
            if terms.aggregation == "UNIQUE_COUNT":
                seen += [(window.start_s, member) for member in window.members]
            else:
                values.append((window.start_s, number.exact(window.value), window.order if latest else ""))
    return Recount(terms, MinuteUsage(history.new_members(seen, terms) if seen else values, latest))


def _mine(page: list[Window], source: _Source, customer: str) -> list[Window]:
    return [
        one.window
        for one in attribute(page, source.holders)
        if one.customer == customer and source.use.takes(one.window.dimensions)
    ]


def _source(definitions: Definitions, namespace: str, entitlement: Entitlement) -> _Source:
    """As the stages build it, from those definitions alone that matter."""
    customer, id = entitlement.customer_id, entitlement.id
    feature = definitions.definition(namespace, FEATURE, entitlement.feature_id)
    slug = None if feature is None or feature.body is None else feature.body.get("meterSlug")
    attributions = definitions.attributions(namespace, customer)
    found: list[Definition | None] = [
        feature,
        None if slug is None else definitions.definition(namespace, METER, str(slug)),
        definitions.definition(namespace, ENTITLEMENT, id),
        *(definitions.definition(namespace, GRANT, one.id) for one in definitions.grants_of(namespace, id)),
        *attributions,
    ]  # fmt: skip
    changes = Changes({key_of(one): one for one in found if one is not None})
    accounts, holders = Accounts(), Holders()
    accounts.update(changes)
    holders.update(changes)
    account = accounts.get((namespace, customer, entitlement.feature_key))
    terms = None if account is None else accounts.terms(account, entitlement)
    use = accounts.use(entitlement)
    meter = accounts.meter(namespace, use)
    if terms is None or use is None or meter is None:
        raise Rejected("not-found", f"The meter of the feature {entitlement.feature_key} was deleted.")
    return _Source(terms, use, meter, sorted(one.name for one in attributions), holders)
