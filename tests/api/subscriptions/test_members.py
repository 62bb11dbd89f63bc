"""Every member of every body about subscriptions that OpenAPI shows acts or is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.subscriptions.decide import SubscriptionDecision
from pipeline.errors import Rejected
from tests.api.test_input_contract import MEMBERS, at
from tests.core.inputs import Body
from tests.core.subscriptions.subscriber import CUSTOM, NOW_MS, Subscriber
from tests.core.test_inputs import REMOVED, changed, others
from tests.fixtures.catalog_bodies import FEE, FULL_CARD, FULL_PLAN, OTHER_CARDS, without_key

_ONE, _ADDONS = "/api/v1/subscriptions/{subscriptionId}", "/api/v1/subscriptions/{subscriptionId}/addons"
_CARDS = [FULL_CARD, *OTHER_CARDS]
_PLAN = {**without_key(FULL_PLAN), "currency": "EUR"}
_CHOSEN: Body = {
    "customPlan": _PLAN,
    "timing": "2026-01-20T00:00:00Z",
    "billingAnchor": "2026-01-02T00:00:00Z",
    "startingPhase": "paid",
    "name": "N",
    "description": "d",
    "metadata": {"a": "b"},
    "alignment": {"billablesMustAlign": False},
    "settlementMode": "credit_then_invoice",
    "costBasisMode": "dynamic",
}
_OF_PLAN = {**_CHOSEN, "customPlan": None, "plan": {"key": "pro", "version": 1}}
_CHANGE: Body = {**_CHOSEN, "timing": "next_billing_cycle"}
_BOUGHT: Body = {
    "addon": {"id": "more"},
    "quantity": 2,
    "timing": "next_billing_cycle",
    "name": "N",
    "description": "d",
    "metadata": {"a": "b"},
}


def _edit(*ops: Body) -> Body:
    return {"customizations": list(ops), "timing": "immediate"}


def _each_card(order: Body) -> list[Body]:
    phase = {"key": "main", "name": "Main"}
    plans = [{**CUSTOM, "phases": [{**phase, "rateCards": [card]}]} for card in (*_CARDS, FEE)]
    return [{"customPlan": plan, "timing": order["timing"]} for plan in (*plans, _PLAN)]


# By operation: the action, whether there is a subscription already, and bodies that are accepted.
BODIES: dict[str, tuple[str, bool, list[Body]]] = {
    "POST /api/v1/subscriptions": (
        "create",
        False,
        [{**one, "customerKey": "acme"} for one in (_CHOSEN, _OF_PLAN, *_each_card(_CHOSEN))]
        + [{"customerId": "id", "plan": {"key": "pro"}}],
    ),
    f"PATCH {_ONE}": (
        "edit",
        True,
        [
            *(
                _edit({"op": "add_item", "phaseKey": "paid", "rateCard": card})
                for card in (*_CARDS, {**FEE, "key": "more_fee"})
            ),
            _edit({"op": "remove_item", "phaseKey": "paid", "itemKey": "fee"}),
            _edit({"op": "add_phase", "phase": {"key": "mid", "name": "M", "description": "d", "startAfter": "P14D",
                                                "duration": "P1M"}}),
            _edit({"op": "remove_phase", "phaseKey": "paid", "shift": "next"}),
            _edit({"op": "stretch_phase", "phaseKey": "trial", "extendBy": "P1M"}),
        ],
    ),
    f"POST {_ONE}/cancel": ("cancel", True, [{"timing": "next_billing_cycle"}]),
    f"POST {_ONE}/change": (
        "change",
        True,
        [_CHANGE, {**_OF_PLAN, "timing": "next_billing_cycle"}, *_each_card(_CHANGE)],
    ),
    f"POST {_ONE}/migrate": (
        "migrate",
        True,
        [{"timing": "next_billing_cycle", "targetVersion": 2, "startingPhase": "paid",
          "billingAnchor": "2026-01-02T00:00:00Z"}],
    ),
    f"POST {_ADDONS}": ("addon-create", True, [_BOUGHT]),
    f"PATCH {_ADDONS}/{{subscriptionAddonId}}": (
        "addon-update",
        True,
        [{"quantity": 3, "timing": "next_billing_cycle", "name": "N", "description": "d", "metadata": {"a": "b"}}],
    ),
}  # fmt: skip
PLACES = [(operation, path) for operation, path in MEMBERS if operation in BODIES]


class Desk:
    """Decides each body on the same state, with what the commands before it have made."""

    def __init__(self, action: str, subscribed: bool) -> None:
        self._action, self._have = action, Subscriber()
        self._named = {"id": self._have.subscribe()} if subscribed else {}
        if action in ("migrate", "create", "change"):
            self._have.log.do("plan.next", {"id": "pro"}, at_ms=NOW_MS - 2)
        if action == "migrate":
            self._have.log.do("plan.publish", {"id": "pro"}, at_ms=NOW_MS - 1)
        if action == "addon-update":
            self._named["addon"] = str(
                self._have.do("addon-create", {**_BOUGHT, "timing": "immediate"}, **self._named)["addon"]
            )

    def decide(self, body: Body) -> SubscriptionDecision | str:
        if body.get("customerId") == "id":
            body = {**body, "customerId": self._have.customer.id}
        try:
            return self._have.decide(self._action, body, command="c", **self._named)
        except Rejected as refusal:
            return f"{refusal.reason} {refusal.detail}"


@pytest.mark.parametrize("operation", BODIES)
def test_every_member_acts_or_is_refused(operation: str) -> None:
    action, subscribed, bodies = BODIES[operation]
    desk, wrong = Desk(action, subscribed), []
    found = [desk.decide(body) for body in bodies]
    assert [one for one in found if isinstance(one, str)] == []
    for _, path in (place for place in PLACES if place[0] == operation):
        acting: list[Any] = [
            any(
                desk.decide(changed(body, path, value)) != base
                for value in (REMOVED, *others(at(body, path)))
            )
            for body, base in zip(bodies, found, strict=True)
            if at(body, path) is not REMOVED
        ]
        if not any(acting):
            wrong.append(f"{path} {'is accepted and changes nothing' if acting else 'is in no body'}")
    assert wrong == []
