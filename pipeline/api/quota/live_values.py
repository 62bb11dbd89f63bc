"""`/customers/.../value`, `/customers/.../access`, `/entitlements/check`: what may be used, now.

Owns: the shape of the answers. Does not own: balances (alert), their copy in Redis (live, stores.redis_balances).
Answered from Redis in one round trip. Without a whole copy there the answer is 503, never a guess.
"""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Depends, Request, Response

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.body import JSON_BODY
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.services import Services, services_of
from pipeline.api.http.short_way import Asked, ShortRoute, is_object
from pipeline.api.quota.answers import AccessAnswer, ChecksAnswer, ValueAnswer
from pipeline.api.quota.bodies import Check, Checks
from pipeline.core.customers.customer import Customer
from pipeline.core.values import json_value
from pipeline.errors import Rejected
from pipeline.records import Balance

router = Router(tags=["access"])
_may_read = needs("query")
READ = [Depends(_may_read)]
VALUE, CHECK = "/customers/{customerIdOrKey}/entitlements/{featureKey}/value", "/entitlements/check"
MOST_CHECKS = 1_000
Balances = dict[tuple[str, str], Balance | None]  # by id of the customer and key of the feature


@router.get(
    VALUE,
    summary="What a customer may use of a feature, now",
    dependencies=READ,
    **described(answer=ValueAnswer),
)
async def get_value(request: Request, customerIdOrKey: str, featureKey: str) -> Response:
    """`hasAccess`; for metered entitlements also `balance`, `usage`, `overage` and `totalAvailableGrantAmount`.

    The answer is 404 when the customer has no entitlement to the feature.
    """
    customer = await _customer(request, customerIdOrKey)
    wanted = [(customer, [featureKey])]
    ((balance,),) = await (await services_of(request).balances()).read(namespace_of(request), wanted)
    if balance is None or not balance.type:
        raise Rejected(
            "not-found", f"The customer {customerIdOrKey[:256]} has no entitlement to {featureKey[:64]}."
        )
    return _json(value(balance))


@router.get(
    "/customers/{customerIdOrKey}/access",
    summary="All that a customer may use, now",
    dependencies=READ,
    **described(answer=AccessAnswer),
)
async def get_access(request: Request, customerIdOrKey: str) -> Response:
    """The value of each entitlement of the customer, by key of the feature."""
    customer = await _customer(request, customerIdOrKey)
    found = await (await services_of(request).balances()).read_all(namespace_of(request), customer)
    return _json({"entitlements": {one.feature: value(one) for one in found if one.type}})


@router.post(
    CHECK,
    summary="Check many pairs of customer and feature",
    dependencies=READ,
    **described(Checks, ChecksAnswer),
)
async def check(request: Request) -> Response:
    """One result for each check, in order.

    When `hasAccess` is false because something is missing, `reason` names it: `customer-not-found`,
    `feature-not-found`, or `no-entitlement` when the customer has no entitlement to the feature in force.
    Usage that has just been sent changes the results within about a second.
    """
    try:
        checks = msgspec.convert(await _sent(request), Checks).checks
    except (Rejected, msgspec.ValidationError) as error:
        raise Rejected("bad-request", f"The body is not a list of checks: {error}") from error
    if len(checks) > MOST_CHECKS:
        raise Rejected("bad-request", f"There may be {MOST_CHECKS} checks at most.")
    services = services_of(request)
    await loaded(services.definitions)
    namespace = namespace_of(request)
    ids = {
        name: _id(services.definitions.customer(namespace, name)) for name in {one.customer for one in checks}
    }
    wanted: dict[str, dict[str, None]] = {}
    for one in checks:
        if ids[one.customer]:
            wanted.setdefault(ids[one.customer], {})[one.feature] = None
    asked = [(customer, list(features)) for customer, features in wanted.items()]
    held = await (await services.balances()).read(namespace, asked) if asked else []
    found = {
        (customer, feature): balance
        for (customer, features), balances in zip(asked, held, strict=True)
        for feature, balance in zip(features, balances, strict=True)
    }
    return _json({"results": [_result(services, namespace, one, ids[one.customer], found) for one in checks]})


async def _sent(request: Request) -> object:
    """The value of the body, which was read before. Raises Rejected for an empty one."""
    sent: object = request.scope["state"].get(JSON_BODY)
    return json_value.read(await request.body()) if sent is None else sent


async def _get_value(asked: Asked) -> Response:
    return await get_value(asked.request, asked.path["customerIdOrKey"], asked.path["featureKey"])


async def _check(asked: Asked) -> Response:
    return await check(asked.request)


SHORT = (
    ShortRoute("GET", VALUE, _may_read, None, _get_value),
    ShortRoute("POST", CHECK, _may_read, is_object, _check),
)


def value(balance: Balance) -> dict[str, Any]:
    """An entitlement's value as OpenMeter shows it; amounts are JSON numbers with all their digits."""
    answer: dict[str, Any] = {"hasAccess": balance.has_access}
    if balance.type == "static":
        answer["config"] = balance.config
    if balance.type == "metered":
        answer |= {
            "balance": msgspec.Raw(balance.balance.encode()),
            "usage": msgspec.Raw(balance.usage.encode()),
            "overage": msgspec.Raw(balance.overage.encode()),
            "totalAvailableGrantAmount": msgspec.Raw(balance.total_available.encode()),
        }
    return answer


def _result(services: Services, namespace: str, one: Check, customer: str, found: Balances) -> dict[str, Any]:
    named = {"customer": one.customer, "feature": one.feature}
    balance = found.get((customer, one.feature))
    if balance is not None and balance.type:
        return {**named, **value(balance)}
    reason = "no-entitlement"
    if not customer:
        reason = "customer-not-found"
    elif balance is None and services.definitions.feature(namespace, one.feature) is None:
        reason = "feature-not-found"
    return {**named, "hasAccess": False, "reason": reason}


async def _customer(request: Request, name: str) -> str:
    """The id of a customer named by id or key. Raises Rejected `not-found`."""
    services = services_of(request)
    await loaded(services.definitions)
    found = _id(services.definitions.customer(namespace_of(request), name))
    if not found:
        raise Rejected("not-found", f"There is no customer {name[:256]}.")
    return found


def _id(customer: Customer | None) -> str:
    return "" if customer is None else customer.id


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
