"""`/notification/rules`: what is to be told, and to which channels.

Owns: the routes, the form of a rule, a rule's test. Does not own: what a rule may be (core.notifications.rule), when it
tells (threshold), the events that it made (events).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.http.addressed import addressed
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Paged, Several, ordered, paginated, split
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import body_of, definitions, submit
from pipeline.api.notifications.events import event_json
from pipeline.api.notifications.rule_json import rule_json
from pipeline.api.quota.bodies import RuleBody, documented
from pipeline.errors import Rejected
from pipeline.records import Alert

router = Router(prefix="/notification/rules", tags=["notifications"])
READ = [Depends(needs("query"))]
WRITE = [Depends(needs("webhooks:write"))]
ORDER_BY = ("id", "type", "name", "createdAt", "updatedAt")
SEEN_S = 5.0
EXAMPLE = {
    "type": "entitlements.balance.threshold",
    "name": "80 % and all of the quota",
    "channels": ["01J5Z5Z5Z5Z5Z5Z5Z5Z5Z5Z5Z5"],
    "features": ["gpt_4_tokens"],
    "thresholds": [{"type": "usage_percentage", "value": 80}, {"type": "usage_percentage", "value": 100}],
}
RULE = documented(RuleBody)
RuleRequest = Annotated[dict[str, Any], Body(examples=[EXAMPLE])]


@router.get("", summary="Rules", dependencies=READ)
def list_rules(
    request: Request,
    page: Paged,
    includeDeleted: bool = False,
    includeDisabled: bool = False,
    feature: Several = None,
    channel: Several = None,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
) -> Response:
    """A page of them, oldest first. `feature` (id or key) and `channel` keep those that name one."""
    features, channels = split(feature), split(channel)
    rows = [
        rule_json(body)
        for body in definitions(request).rules(namespace_of(request))
        if (includeDeleted or "deletedAt" not in body)
        and (includeDisabled or not body["disabled"])
        and (not features or features & _features(body))
        and (not channels or channels & set(map(str, body["channels"])))  # type: ignore[call-overload]
    ]
    return answer(paginated(ordered(rows, orderBy, ORDER_BY, page), page))


@router.post("", status_code=201, summary="Create a rule", dependencies=WRITE, openapi_extra=RULE)
def create_rule(request: Request, rule: RuleRequest) -> Response:
    """Types: entitlements.balance.threshold and entitlements.reset as in OpenMeter; entitlements.grant.expiring and
    meter.volume.threshold are added. The types of invoices are refused: this version has no invoices.

    The `data` of a threshold's event has what OpenMeter's has, and
    `state`: `fired`, or `resolved` once the threshold is no longer met or its usage period has ended;
    `passed`: the lower thresholds of the rule that were crossed, or resolved, at once with it, as `kind:value`; they
    send no event of their own; `event`: the source and id of the event with which it was crossed; `period`: the usage
    period.
    """
    return answer(rule_json(body_of(submit(request, "rule.create", rule))), 201)


@router.get("/{ruleId}", summary="One rule", dependencies=READ)
def get_rule(request: Request, ruleId: str) -> Response:
    """Also a deleted one."""
    return answer(rule_json(_find(request, ruleId)))


@router.put("/{ruleId}", summary="Replace a rule", dependencies=WRITE, openapi_extra=RULE)
def update_rule(request: Request, ruleId: str, rule: RuleRequest) -> Response:
    """All of it but its type."""
    return answer(rule_json(body_of(submit(request, "rule.update", addressed("rule", rule, id=ruleId)))))


@router.delete("/{ruleId}", status_code=204, summary="Delete a rule", dependencies=WRITE)
def delete_rule(request: Request, ruleId: str) -> Response:
    """It tells nothing more, and stays readable by its id."""
    submit(request, "rule.delete", {"id": ruleId})
    return Response(status_code=204)


@router.post("/{ruleId}/test", status_code=201, summary="Try a rule's channels", dependencies=WRITE)
def try_rule(request: Request, ruleId: str) -> Response:
    """A real event with made-up data goes to all its channels, with the annotation `notification.rule.test`."""
    alert = msgspec.convert(body_of(submit(request, "rule.test", {"id": ruleId})), Alert)
    services_of(request).alerts().wait_for(
        lambda seen: alert.id in seen, SEEN_S
    )  # so that it can be asked for at once
    return answer(event_json(alert, definitions(request), []), 201)


def _features(rule: Mapping[str, Any]) -> set[str]:
    return {str(one[name]) for one in rule.get("features") or () for name in ("id", "key")}


def _find(request: Request, id: str) -> dict[str, Any]:
    found = definitions(request).body(namespace_of(request), "rule", id)
    if found is None:
        raise Rejected("not-found", f"There is no rule with the id {id[:64]}.")
    return found
