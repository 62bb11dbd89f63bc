"""`/notification/rules`: what fires an event, and to which channels it is delivered.

Owns: the routes, the form of a rule, a rule's test. Does not own: what a rule may be (core.notifications.rule), when it
fires (threshold), the events that it fired (events).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.http.addressed import addressed
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Paged, Several, ordered, paginated, split
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import body_of, definitions, submit
from pipeline.api.notifications.answers import RuleAnswer, RuleEventAnswer, RulePage
from pipeline.api.notifications.bodies import RuleBody
from pipeline.api.notifications.events import event_json
from pipeline.api.notifications.rule_json import rule_json
from pipeline.core.notifications.rule import EntitlementRule, Rule
from pipeline.errors import Rejected
from pipeline.records import Alert

router = Router(prefix="/notification/rules", tags=["notifications"])
READ = [Depends(needs("query"))]
WRITE = [Depends(needs("webhooks:write"))]
ORDER_BY = ("id", "type", "name", "createdAt", "updatedAt")
SEEN_S = 5.0
RuleRequest = Annotated[dict[str, Any], Body()]


@router.get("", summary="Rules", dependencies=READ, **described(answer=RulePage, reasons=["bad-query"]))
def list_rules(
    request: Request,
    page: Paged,
    includeDeleted: bool = False,
    includeDisabled: bool = False,
    feature: Several = None,
    channel: Several = None,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
) -> Response:
    """One page, oldest first. `feature` (id or key) and `channel` select the rules that name one of them."""
    features, channels = split(feature), split(channel)
    rows = [
        rule_json(rule)
        for rule in definitions(request).all(Rule, namespace_of(request))
        if (includeDeleted or not rule.is_deleted)
        and (includeDisabled or not rule.disabled)
        and (not features or features & _features(rule))
        and (not channels or channels & set(rule.channels))
    ]
    return answer(paginated(ordered(rows, orderBy, ORDER_BY, page), page))


@router.post(
    "",
    status_code=201,
    summary="Create a rule",
    dependencies=WRITE,
    **described(RuleBody, RuleAnswer, status=201, reasons=["bad-rule", "not-found"]),
)
def create_rule(request: Request, rule: RuleRequest) -> Response:
    """Types: entitlements.balance.threshold, entitlements.reset, invoice.created and invoice.updated as in OpenMeter,
    and beside them entitlements.grant.expiring, meter.volume.threshold, invoice.overdue and credit.low_balance, which
    fires when the credits in `currency` that a customer can use fall to `threshold`.

    The `data` of an event about an invoice is the invoice as `GET /billing/invoices/{invoiceId}` shows it at that time.
    Gathering invoices fire nothing. invoice.updated fires when the extended status changes, once for all changes that
    happen at the same time. invoice.overdue fires when the invoice becomes overdue, and for each reminder (`notify`) of
    its billing profile.

    The `data` of the event of a threshold has the members that OpenMeter has, and these:
    `state`: `fired`, or `resolved` once the threshold is no longer met or its usage period has ended;
    `passed`: lower thresholds of the rule that were crossed, or resolved, at the same time, as `kind:value`; they
    send no event of their own; `event`: source and id of the event that crossed it; `period`: the usage period.
    """
    return answer(rule_json(Rule.read(body_of(submit(request, "rule.create", rule)))), 201)


@router.get("/{ruleId}", summary="One rule", dependencies=READ, **described(answer=RuleAnswer))
def get_rule(request: Request, ruleId: str) -> Response:
    """By its id, also when it was deleted."""
    return answer(rule_json(_find(request, ruleId)))


@router.put(
    "/{ruleId}",
    summary="Replace a rule",
    dependencies=WRITE,
    **described(RuleBody, RuleAnswer, reasons=["bad-rule"]),
)
def update_rule(request: Request, ruleId: str, rule: RuleRequest) -> Response:
    """Replaces every member except the type, which cannot change."""
    replaced = body_of(submit(request, "rule.update", addressed("rule", rule, id=ruleId)))
    return answer(rule_json(Rule.read(replaced)))


@router.delete(
    "/{ruleId}",
    status_code=204,
    summary="Delete a rule",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-rule"]),
)
def delete_rule(request: Request, ruleId: str) -> Response:
    """The rule stops firing. It can still be read by its id."""
    submit(request, "rule.delete", {"id": ruleId})
    return Response(status_code=204)


@router.post(
    "/{ruleId}/test",
    status_code=201,
    summary="Test the channels of a rule",
    dependencies=WRITE,
    **described(answer=RuleEventAnswer, status=201, reasons=["bad-rule"]),
)
def try_rule(request: Request, ruleId: str) -> Response:
    """Sends an event with invented data to all its channels, with the annotation `notification.rule.test`."""
    alert = msgspec.convert(body_of(submit(request, "rule.test", {"id": ruleId})), Alert)
    services_of(request).alerts().wait_for(
        lambda seen: alert.id in seen, SEEN_S
    )  # so that it can be asked for at once
    return answer(event_json(alert, definitions(request), []), 201)


def _features(rule: Rule) -> set[str]:
    features = rule.features if isinstance(rule, EntitlementRule) else None
    return {name for one in features or () for name in (one.id, one.key)}


def _find(request: Request, id: str) -> Rule:
    rule = definitions(request).find(Rule, namespace_of(request), id)
    if rule is None:
        raise Rejected("not-found", f"There is no rule with the id {id[:64]}.")
    return rule
