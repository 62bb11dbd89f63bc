"""Accounts: which entitlement is in force, when that changes, whose usage it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.kinds import ENTITLEMENT, GRANT
from pipeline.core.quota.accounts import Account, Accounts, account_key
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.number import SCALE
from tests.fixtures.alert_desk import AT_S, DAY_S, METER, METERED, MINUTE_S, log
from tests.fixtures.control_log import Log

DAY_2 = "2026-01-02T00:00:00Z"


def read(made: Log, backwards: bool = False) -> Accounts:
    """As read from the log, in the order of revisions or backwards, as compaction may leave them."""
    accounts = Accounts()
    definitions = sorted(made.state.items(), key=lambda one: one[1].revision, reverse=backwards)
    for name, definition in definitions:
        accounts.update(Changes({name: definition}))
    return accounts


def only(accounts: Accounts) -> Account:
    (name,) = accounts.names()
    account = accounts.get(name)
    assert account is not None
    return account


def id_at(account: Account, at_s: int) -> str | None:
    current = account.current(at_s)
    return None if current is None else current.id


@pytest.mark.parametrize("backwards", [False, True])
def test_entitlements_follow_one_another(backwards: bool) -> None:
    made, customer, _ = log()
    first = made.do("entitlement.create", {**METERED, "activeTo": DAY_2, "grants": [{"amount": 5}]})["id"]
    second = made.do("entitlement.create", {**METERED, "activeFrom": "2026-01-03T00:00:00Z"})["id"]
    accounts = read(made, backwards)
    account = only(accounts)
    assert account.name == ("default", customer, "gpt")
    assert accounts.by_key(account_key(account.name)) is account
    days = [id_at(account, AT_S + day * DAY_S) for day in (-1, 0, 1, 2, 3)]
    assert days == [None, first, first, second, second]
    in_force = [account.in_force(first, AT_S + day * DAY_S) for day in (-1, 0, 1)]
    assert in_force == [False, True, False]
    assert account.ended(first, AT_S + DAY_S) and not account.ended(second, AT_S + DAY_S)
    changes = [account.next_change_s(AT_S + day * DAY_S) for day in (-1, 0, 1, 2)]
    assert changes == [AT_S, AT_S + DAY_S, AT_S + 2 * DAY_S, NEVER_S]
    terms = accounts.terms(account, account.entitlements[first])
    assert terms is not None
    assert sorted(grant.amount // SCALE for grant in terms.order) == [5, 100]
    assert terms.revision == account.revision == made.revision


def test_one_that_was_deleted_before_it_began_never_is_in_force() -> None:
    made, _, _ = log()
    planned = made.do("entitlement.create", {**METERED, "activeFrom": DAY_2})["id"]
    made.do("entitlement.delete", {"id": planned}, at_ms=(AT_S + 60) * 1000)
    kept = made.do("entitlement.create", METERED, at_ms=(AT_S + 120) * 1000)["id"]
    account = only(read(made))
    assert [id_at(account, AT_S + day * DAY_S) for day in (1, 2)] == [kept, kept]


def test_a_change_says_which_accounts_it_touches() -> None:
    made, customer, _ = log()
    accounts, seen = Accounts(), 0

    def touched(kind: str, body: dict[str, Any], at_s: int = AT_S) -> tuple[Any, set[Any]]:
        nonlocal seen
        reply = made.do(kind, body, at_ms=at_s * 1000)
        new = {name: one for name, one in made.state.items() if one.revision > seen}
        seen = made.revision
        return reply, accounts.update(Changes(new))

    account = ("default", customer, "gpt")
    made_, names = touched("entitlement.create", METERED)
    assert names == {account}
    assert touched("grant.create", {"entitlementId": made_["id"], "amount": 5})[1] == {account}
    assert touched("meter.apply", {**METER, "slug": "others"})[1] == set()
    assert touched("meter.apply", {**METER, "description": "more"})[1] == set()
    acme = {"id": "acme", "key": "acme", "name": "Acme", "usageAttribution": {"subjectKeys": ["a", "c"]}}
    assert touched("customer.update", acme)[1] == {account}
    assert touched("entitlement.reset", {"id": made_["id"]}, AT_S + 3600)[1] == {account}
    assert touched("entitlement.delete", {"id": made_["id"]}, AT_S + 7200)[1] == {account}
    subjects = accounts.subjects("default", customer)
    assert set(subjects) == {"acme", "a", "b", "c"}
    assert subjects["c"] > subjects["a"]


def test_a_grant_that_was_read_first_waits_for_its_entitlement() -> None:
    made, _, _ = log()
    made.do("entitlement.create", METERED)
    by_kind = {one.kind: {name: one} for name, one in made.state.items() if one.kind in (ENTITLEMENT, GRANT)}
    accounts = Accounts()
    assert accounts.update(Changes(by_kind[GRANT])) == set()
    assert len(accounts.update(Changes(by_kind[ENTITLEMENT]))) == 1
    assert next(iter(only(accounts).grants.values()))


@pytest.mark.parametrize(
    ("more", "takes"),
    [
        ({}, "small large none"),
        ({"meterGroupByFilters": {"model": "large"}}, "large"),
        ({"advancedMeterGroupByFilters": {"model": {"$in": ["small", ""]}}}, "small none"),
        ({"advancedMeterGroupByFilters": {"model": {"$ne": "small"}}}, "large none"),
    ],
)
def test_a_feature_takes_what_its_filters_match(more: dict[str, Any], takes: str) -> None:
    made, _, _ = log()
    made.do("feature.create", {"key": "some", "name": "Some", "meterSlug": "tokens", **more})
    made.do("entitlement.create", {**METERED, "featureKey": "some"})
    accounts = read(made)
    account = only(accounts)
    use = accounts.use(next(iter(account.entitlements.values())))
    assert use is not None
    taken = [name for name in ("small", "large") if use.takes({"model": name})]
    taken += ["none"] if use.takes({}) else []
    assert " ".join(taken) == takes


def test_what_is_not_metered_has_no_terms() -> None:
    made, _, _ = log()
    made.do("entitlement.create", {"customerId": "acme", "featureKey": "sso", "type": "boolean"})
    accounts = read(made)
    account = only(accounts)
    (entitlement,) = account.entitlements.values()
    assert accounts.terms(account, entitlement) is None and accounts.use(entitlement) is None


def without_meter_id(made: Log) -> Log:
    """The log as an earlier version wrote it, whose features have their meter's slug only."""
    for key, one in made.state.items():
        if one.kind == "feature" and one.body is not None:
            body = {
                name: value for name, value in one.body.items() if name not in ("meterId", "meterAggregation")
            }
            made.state[key] = msgspec.structs.replace(one, body=body)
    return made


def made_again(made: Log, **more: Any) -> None:
    """The meter is deleted, and another one has its slug."""
    made.do("feature.archive", {"id": "gpt"})
    made.do("meter.delete", {"slug": "tokens"})
    made.do("meter.apply", {**METER, **more})


def test_a_feature_keeps_its_meter_when_another_one_has_the_slug() -> None:
    made, _, _ = log()
    entitlement = Entitlement.read(made.do("entitlement.create", METERED))
    accounts = read(made)
    before = accounts.balance_key(only(accounts), entitlement)
    made_again(made, aggregation="AVG")
    assert accounts.update(Changes(made.state)) >= {only(accounts).name}
    for known in (accounts, read(made)):  # followed, and after a restart
        terms = known.terms(only(known), entitlement)
        assert terms is not None and terms.aggregation == METER["aggregation"]
        assert known.balance_key(only(known), entitlement) == before
        meter = known.meter("default", known.use(entitlement))
        assert meter is not None and meter.meter_id == 1
    made.do("meter.delete", {"slug": "tokens"})
    assert read(made).terms(only(accounts), entitlement) is not None


def test_archiving_a_feature_that_was_stored_without_its_meters_id_keeps_the_meter() -> None:
    made, _, _ = log()
    entitlement = Entitlement.read(made.do("entitlement.create", METERED))
    made_again(without_meter_id(made), aggregation="AVG")
    accounts = read(made)
    meter = accounts.meter("default", accounts.use(entitlement))
    assert meter is not None and (meter.meter_id, meter.aggregation) == (1, METER["aggregation"])


def test_another_feature_of_the_key_and_another_meter_of_the_slug_begin_again() -> None:
    made, _, _ = log()
    first = Entitlement.read(made.do("entitlement.create", {**METERED, "activeTo": "2026-01-01T00:01:00Z"}))
    made.do("feature.archive", {"id": "gpt"})
    accounts = read(without_meter_id(made))
    account = only(accounts)
    ledgers = [accounts.balance_key(account, first)]
    made.do("meter.delete", {"slug": "tokens"})
    made.do("meter.apply", {**METER, "aggregation": "COUNT", "valueProperty": None})
    again = {name: one for name, one in made.state.items() if one.kind == "meter"}
    assert accounts.update(Changes(again)) == {account.name}
    terms = accounts.terms(account, first)
    assert terms is not None and terms.aggregation == "COUNT"
    ledgers.append(accounts.balance_key(account, first))
    made.do("feature.create", {"key": "gpt", "name": "GPT", "meterSlug": "tokens"})
    second = Entitlement.read(made.do("entitlement.create", METERED, at_ms=(AT_S + MINUTE_S) * 1000))
    accounts = read(made)
    ledgers.append(accounts.balance_key(only(accounts), second))
    assert len(set(ledgers)) == 3
    assert {len(ledger) for ledger in ledgers} == {len(account_key(account.name))}


def test_a_meter_that_is_recreated_of_which_no_balance_can_be_kept_has_no_terms() -> None:
    made, _, _ = log()
    entitlement = Entitlement.read(made.do("entitlement.create", METERED))
    made_again(made, aggregation="AVG")
    accounts = read(without_meter_id(made))
    assert accounts.terms(only(accounts), entitlement) is None
