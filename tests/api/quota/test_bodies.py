"""What OpenAPI shows of requests about quotas is what is accepted, and every member that is accepted acts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.api.http.addressed import addressed
from pipeline.api.notifications.bodies import RuleBody
from pipeline.api.quota import bodies
from pipeline.core.definitions.kinds import GRANT_ENTITLEMENT
from pipeline.core.notifications import rule_commands
from pipeline.core.quota import entitlement_commands, grant_commands
from pipeline.core.quota.entitlement import MeteredEntitlement
from pipeline.core.quota.grant import GrantDefinition, grant_of
from pipeline.core.quota.terms import terms_of
from pipeline.errors import Rejected
from tests.core.quota.test_entitlement_commands import METERED, log
from tests.fixtures.control_log import AT_MS, Log

Body = dict[str, Any]


def members(body: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(body)}


def test_the_members_are_those_that_the_rules_take() -> None:
    of_types = {name for names in entitlement_commands._OF_TYPE.values() for name in names}
    assert members(bodies.EntitlementBody) == of_types | set(entitlement_commands._ANY)
    assert members(bodies.GrantBody) == set(grant_commands.MEMBERS)
    of_rules = {name for names in rule_commands._OF_TYPE.values() for name in names}
    assert members(RuleBody) == of_rules | set(rule_commands._ANY)


def outcome(made: Log, body: Body) -> object:
    """What an entitlement is to a balance."""
    grants = made.catalog.having(GrantDefinition, "default", GRANT_ENTITLEMENT, body["id"])
    terms = terms_of(MeteredEntitlement.read(body), grants, "SUM", 1)
    order = [msgspec.structs.replace(one, id="") for one in terms.order]
    return msgspec.structs.replace(terms, entitlement="", order=tuple(order))


MONTHLY: Body = METERED["usagePeriod"]
OF_METERED: list[tuple[Body, Body]] = [  # with one value, and with another or without
    ({}, {"activeFrom": "2026-01-02T00:00:00Z"}),
    ({}, {"activeTo": "2026-02-02T00:00:00Z"}),
    ({}, {"usagePeriod": {**MONTHLY, "interval": "WEEK"}}),
    ({}, {"usagePeriod": {**MONTHLY, "anchor": "2025-12-16T00:00:00Z"}}),
    ({}, {"usagePeriod": {**MONTHLY, "timeZone": "Asia/Tokyo"}}),
    ({}, {"measureUsageFrom": "CURRENT_PERIOD_START"}),
    ({}, {"isSoftLimit": True}),
    ({}, {"isUnlimited": True}),
    ({}, {"preserveOverageAtReset": True}),
    ({}, {"gracePeriod": "PT1H"}),
    ({}, {"grants": [{"amount": 5}]}),
    ({"issueAfterReset": 5}, {"issueAfterReset": 6}),
    ({"issueAfterReset": 5}, {"issueAfterReset": 5, "issueAfterResetPriority": 2}),
    ({"issue": {"amount": 5}}, {"issue": {"amount": 6}}),
    ({"issue": {"amount": 5}}, {"issue": {"amount": 5, "priority": 2}}),
]


@pytest.mark.parametrize(("one", "other"), OF_METERED, ids=str)
def test_each_member_of_a_metered_entitlement_changes_its_terms(one: Body, other: Body) -> None:
    found = []
    for more in (one, other):
        made = log()
        found.append(outcome(made, made.do("entitlement.create", {**METERED, **more})))
    assert found[0] != found[1]


def test_no_member_of_a_metered_entitlement_is_left_out() -> None:
    tried = {name for pair in OF_METERED for more in pair for name in more}
    shown = {"type", "featureKey", "featureId", "customerId", "subject", "metadata", "config"}
    assert tried | shown == members(bodies.EntitlementBody)


GRANT: Body = {
    "entitlementId": "gpt",
    "customerId": "acme",
    "amount": 10,
    "effectiveAt": "2026-01-01T00:00:00Z",
    "maxRolloverAmount": 5,
}
OF_GRANT: list[Body] = [
    {"amount": 11}, {"priority": 2}, {"effectiveAt": "2026-01-01T01:00:00Z"},
    {"expiration": {"duration": "DAY", "count": 1}}, {"recurrence": {"interval": "DAY"}},
    {"minRolloverAmount": 1}, {"maxRolloverAmount": 1},
]  # fmt: skip


@pytest.mark.parametrize("more", OF_GRANT, ids=str)
def test_each_member_of_a_grant_changes_how_it_burns(more: Body) -> None:
    made = log()
    made.do("entitlement.create", METERED)
    plain, other = (
        grant_of(GrantDefinition.read(made.do("grant.create", body, at_ms=AT_MS)))
        for body in (GRANT, {**GRANT, **more})
    )
    assert msgspec.structs.replace(plain, id="") != msgspec.structs.replace(other, id="")


def test_the_body_may_repeat_what_the_path_names_and_nothing_else() -> None:
    assert addressed("grant", {"amount": 1, "customerId": "acme"}, customerId="acme") == {
        "amount": 1, "customerId": "acme",
    }  # fmt: skip
    assert addressed("rule", {"id": None}, id="r") == {"id": "r"}
    with pytest.raises(Rejected) as raised:
        addressed("grant", {"customerId": "other"}, customerId="acme")
    assert raised.value.reason == "bad-grant" and "customerId is named by the path" in raised.value.detail
