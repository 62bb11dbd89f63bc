"""What is left of an entitlement, now or at another time, and what led to it.

Owns: `.../value` by id or feature key, `.../history`, their parameters. Does not own: live values by feature
(live_values), counting again (recount), the burn-down (core.quota.history).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any, cast, get_args
from zoneinfo import ZoneInfo

from fastapi import Depends, Query, Request, Response

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.quota import lookup
from pipeline.api.quota.answers import HistoryAnswer, ValueAnswer
from pipeline.api.quota.entitlements import BY_CUSTOMER, BY_SUBJECT, ONE
from pipeline.api.quota.live_values import value
from pipeline.api.quota.lookup import CustomerRef, HolderOf
from pipeline.api.quota.recount import AHEAD_S, recount
from pipeline.core.quota import history
from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement, StaticEntitlement
from pipeline.core.quota.entitlement_json import history_json, snapshot_json
from pipeline.core.quota.history import MAX_WINDOWS, HistorySize
from pipeline.core.quota.late_usage import correction_of
from pipeline.core.values import calendar
from pipeline.core.values import zone as zones
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected

READ = [Depends(needs("query"))]
VALUE = described(answer=ValueAnswer, reasons=["bad-query"])
HISTORY = described(answer=HistoryAnswer, reasons=["bad-entitlement", "bad-query"])
SIZES = get_args(HistorySize)
SECONDS = {"MINUTE": 60, "HOUR": 3600, "DAY": 82_800, "MONTH": 28 * 86_400}  # at least
NS_PER_S = 1_000_000_000

customers = Router(prefix=BY_CUSTOMER, tags=["access"])  # of v1 and v2
customers_v2 = Router(prefix=BY_CUSTOMER, tags=["access"])
subjects = Router(prefix=BY_SUBJECT, tags=["access"])

BalanceTime = Annotated[str | None, Query(description="RFC 3339, or a date")]
HistorySizeParam = Annotated[str, Query(description=", ".join(SIZES))]
Zone = Annotated[str, Query(description="IANA time zone")]


@customers_v2.get(
    ONE + "/value",
    name="get_value_of_customer",
    summary="What a customer may use of a feature",
    dependencies=READ,
    **VALUE,
)
@subjects.get(
    ONE + "/value",
    name="get_value_of_subject",
    summary="What a subject's customer may use of a feature",
    dependencies=READ,
    **VALUE,
)
async def get_value(
    request: Request, holder: HolderOf, entitlementIdOrFeatureKey: str, time: BalanceTime = None
) -> Response:
    """Now, from the live balance; at `time`, rounded up to the next minute, from the stored usage."""
    await loaded(services_of(request).definitions)
    return await _value(request, holder.find(request), entitlementIdOrFeatureKey, time)


@customers.get(
    ONE + "/history",
    name="get_history_of_customer",
    summary="How a balance came about",
    dependencies=READ,
    **HISTORY,
)
@subjects.get(
    ONE + "/history",
    name="get_history_of_subject",
    summary="How a balance came about",
    dependencies=READ,
    **HISTORY,
)
async def get_history(
    request: Request,
    holder: HolderOf,
    entitlementIdOrFeatureKey: str,
    from_: Annotated[BalanceTime, Query(alias="from")] = None,
    to: BalanceTime = None,
    windowSize: HistorySizeParam = "DAY",
    windowTimeZone: Zone = "UTC",
) -> Response:
    """Two lists that cover the same span: windows, and segments of the burn-down.

    The span begins at the last reset unless `from` is given, and ends now unless `to` is given; windows are cut there.
    Late usage is counted in the period that it belongs to, and `late` is the part of the usage that arrived late.
    """
    await loaded(services_of(request).definitions)
    found = holder.find(request)
    return await _history(request, found, entitlementIdOrFeatureKey, from_, to, windowSize, windowTimeZone)


async def _value(request: Request, holder: CustomerRef, wanted: str, at: str | None) -> Response:
    entitlement = lookup.entitlement(request, holder, wanted)
    if at is None:
        asked = [(holder.id, [entitlement.feature_key])]
        ((balance,),) = await (await services_of(request).balances()).read(namespace_of(request), asked)
        if balance is not None and balance.entitlement == entitlement.id:
            return answer(value(balance))
    # Another time, an entitlement that is not in force, or one that is so new that no balance is there yet.
    at_s = lookup.now_s() if at is None else _seconds("time", at)
    clickhouse = services_of(request).bulkheads.clickhouse
    return answer(await clickhouse.run(partial(_value_at, request, entitlement, at_s)))


def _value_at(request: Request, entitlement: Entitlement, at_s: int) -> dict[str, Any]:
    if not isinstance(entitlement, MeteredEntitlement):
        has_access = entitlement.in_force(at_s)
        if isinstance(entitlement, StaticEntitlement) and has_access:
            return {"hasAccess": True, "config": entitlement.config}
        return {"hasAccess": has_access}
    counted = recount(services_of(request), namespace_of(request), entitlement)
    return snapshot_json(*history.value_at(counted.terms, counted.usage, at_s))


async def _history(
    request: Request,
    holder: CustomerRef,
    wanted: str,
    from_: str | None,
    to: str | None,
    size: str,
    zone: str,
) -> Response:
    entitlement = lookup.entitlement(request, holder, wanted)
    if size not in SIZES:
        raise Rejected("bad-query", f"windowSize must be one of {', '.join(SIZES)}")
    if not isinstance(entitlement, MeteredEntitlement):
        raise Rejected("bad-entitlement", "only metered entitlements have a history")
    _check_zone(zone)
    to_s = lookup.now_s() + 1 if to is None else _seconds("to", to, zone, up=True)
    from_s = _last_reset_s(entitlement, to_s) if from_ is None else _seconds("from", from_, zone)
    if (to_s - from_s) // SECONDS[size] > MAX_WINDOWS:
        raise Rejected("bad-query", f"the history would have more than {MAX_WINDOWS} windows")
    services = services_of(request)
    late_log = await services.bulkheads.kafka.run(services.late)
    late = [correction_of(one) for one in late_log.of(entitlement.id)]

    def counted() -> dict[str, Any]:
        terms, usage = recount(services, namespace_of(request), entitlement)
        return history_json(
            history.history(terms, usage, from_s, to_s, cast(HistorySize, size), ZoneInfo(zone), late)
        )

    return answer(await services.bulkheads.clickhouse.run(counted))


def _last_reset_s(entitlement: MeteredEntitlement, to_s: int) -> int:
    """The last reset by now and before `to_s`, or when measuring began."""
    schedule, (_, end_s) = entitlement.schedule, entitlement.span
    at_s = max(min(lookup.now_s(), to_s - 1, end_s - calendar.MINUTE_S), schedule.start_s)
    return calendar.usage_period(schedule, at_s)[0]


def _seconds(name: str, text: str, zone: str = "UTC", up: bool = False) -> int:
    at_ns = instant_ns(name, text, zone)
    assert at_ns is not None
    at_s = -(-at_ns // NS_PER_S) if up else at_ns // NS_PER_S
    if at_s > time.time() + AHEAD_S:
        raise Rejected("bad-query", f"{name} must not be in the future")
    return at_s


def _check_zone(name: str) -> None:
    try:
        zones.named(name)
    except Rejected as refusal:
        raise Rejected("bad-query", f"windowTimeZone: {refusal.detail}") from None
