"""Usage on its way to Stripe as it is stored: windows of a customer, customers of a mapping, totals of apps.

Owns: the SQL. Does not own: writing the rows (stores.clickhouse.rows), what they mean (core.billing.stripe_drift).
Units are decimal text and are summed here, exactly: no integer of ClickHouse holds all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.core.billing.stripe_drift import SentWindow
from pipeline.core.values import number
from pipeline.stores.clickhouse.client import ClickHouse, Parameter

_SCOPE = (
    " FROM stripe_usage FINAL WHERE namespace = {namespace:String} AND has({mappings:Array(String)}, mapping)"
    " AND start >= toDateTime({from_s:UInt32}, 'UTC') AND start < toDateTime({to_s:UInt32}, 'UTC')"
)
_WINDOWS = (
    "SELECT mapping, toUInt32(start), toUInt32(end_at), exact, wanted, confirmed, unsendable, pending, cause, message,"
    " requests, at_ms" + _SCOPE + " AND customer = {customer:String}"
)
_CUSTOMERS = "SELECT DISTINCT customer" + _SCOPE
_WHOLE = (
    "SELECT dimensions, exact, wanted FROM stripe_usage FINAL WHERE namespace = {namespace:String}"
    " AND mapping = {mapping:String} AND customer = {customer:String}"
)
_STATES = (
    "SELECT app, cause, message, unsendable, pending, count(), toUInt32(min(start))"
    " FROM stripe_usage FINAL WHERE namespace = {namespace:String}"
    " AND start >= toDateTime({from_s:UInt32}, 'UTC') AND wanted != confirmed"
    " AND (has({mappings:Array(String)}, mapping) OR pending != '0')"
    " GROUP BY app, cause, message, unsendable, pending"
)


class StoredWindow(NamedTuple):
    """A window of one mapping and combination of dimensions. [start_s, end_s)."""

    mapping: str
    start_s: int
    end_s: int
    sent: SentWindow


class OpenUsage(NamedTuple):
    """Windows of an app that Stripe does not have as they are wanted, with the same state.

    cause, message: of what Stripe did not take. unsendable, pending: units of each window. windows: how many. start_s:
    of the oldest.
    """

    app: str
    cause: str
    message: str
    unsendable: int
    pending: int
    windows: int
    start_s: int


def sent_windows(
    store: ClickHouse, namespace: str, customer: str, mappings: Sequence[str], from_s: int, to_s: int
) -> list[StoredWindow]:
    """The windows of a customer that begin in [from_s, to_s), with or without anything to send.

    Raises:
        Unavailable: ClickHouse does not answer, or the sink has not made its table yet.
    """
    scope: dict[str, Parameter] = {
        "namespace": namespace, "customer": customer, "mappings": list(mappings), "from_s": from_s, "to_s": to_s,
    }  # fmt: skip
    return [
        StoredWindow(
            str(mapping), int(start_s), int(end_s),
            SentWindow(
                number.exact(str(exact)), int(wanted), int(confirmed), int(unsendable), int(pending), str(cause),
                str(message), int(requests), int(at_ms),
            ),
        )
        for (
            mapping, start_s, end_s, exact, wanted, confirmed, unsendable, pending, cause, message, requests, at_ms
        ) in store.query(_WINDOWS, scope)
    ]  # fmt: skip


def customers_of(
    store: ClickHouse, namespace: str, mappings: Sequence[str], from_s: int, to_s: int
) -> set[str]:
    """Ids of the customers that have such windows. Raises Unavailable."""
    scope: dict[str, Parameter] = {
        "namespace": namespace,
        "mappings": list(mappings),
        "from_s": from_s,
        "to_s": to_s,
    }
    return {str(customer) for (customer,) in store.query(_CUSTOMERS, scope)}


def whole_usage(store: ClickHouse, namespace: str, customer: str, mapping: str) -> list[tuple[int, int]]:
    """Of all windows ever: exact usage in atto and whole units, in each combination of dimensions.

    Raises:
        Unavailable: ClickHouse does not answer.
    """
    scope = {"namespace": namespace, "customer": customer, "mapping": mapping}
    sums: dict[str, tuple[int, int]] = {}
    for dimensions, exact, wanted in store.query(_WHOLE, scope):
        before = sums.get(str(dimensions), (0, 0))
        sums[str(dimensions)] = before[0] + number.exact(str(exact)), before[1] + int(wanted)
    return list(sums.values())


def open_usage(store: ClickHouse, namespace: str, mappings: Sequence[str], from_s: int) -> list[OpenUsage]:
    """What Stripe does not have of the windows from `from_s` on, in groups of the same state.

    Args:
        store: ClickHouse.
        namespace: of the apps.
        mappings: ids of those in force; of others only requests in progress are found, since nothing else is sent.
        from_s: seconds since 1970.

    Raises:
        Unavailable: ClickHouse does not answer.
    """
    scope: dict[str, Parameter] = {"namespace": namespace, "mappings": list(mappings), "from_s": from_s}
    rows = store.query(_STATES, scope)
    return [
        OpenUsage(
            str(app), str(cause), str(message), int(unsendable), int(pending), int(windows), int(start_s)
        )
        for app, cause, message, unsendable, pending, windows, start_s in rows
    ]
