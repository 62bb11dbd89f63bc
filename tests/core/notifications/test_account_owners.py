"""Whose each row of alert is."""

from __future__ import annotations

from pipeline.agents.barriers import LEAST_REVISION
from pipeline.core.metering.identity import customer_hash
from pipeline.core.notifications import rule
from pipeline.core.notifications.account_owners import RULES, account_owners
from pipeline.core.quota.accounts import ACCOUNT, Accounts
from pipeline.core.quota.balance_update import CALLED, DUE
from pipeline.core.values.state_owners import FIRST, Unowned
from pipeline.records import CustomerWindow
from tests.core.state_prefixes import prefixes
from tests.fixtures.alert_desk import AT_S, DAY_S, METERED, Desk, Usage, desk, volume, watch
from tests.fixtures.fake_transaction import DictTable

# What follows an account in a key, and the state of webhook.
NO_BEGINNING = ("HEAD", "TRAIL_KEY", "delivery_table", "delivery_owners")


def test_every_kind_of_row_has_a_rule() -> None:
    found = prefixes("pipeline.core.quota", "pipeline.core.notifications", without=NO_BEGINNING)
    assert {name: one for name, one in found.items() if one[FIRST] not in RULES} == {}
    assert {one[FIRST] for one in (*found.values(), LEAST_REVISION)} == set(RULES)


def test_the_rows_of_accounts_are_their_customers() -> None:
    made, customer, endpoint = desk()
    made.do("rule.create", watch(endpoint, 10))
    made.do("rule.create", volume(endpoint, 5))
    made.do("entitlement.create", {**METERED, "usagePeriod": {"interval": "PT1H"}})
    usage = Usage(1)
    for hour in range(30):
        made.use([usage.event("ab"[hour % 2], AT_S + hour * 3600, 20)], AT_S + hour * 3600)
        made.clock(AT_S + hour * 3600)
    made.clock(AT_S + 2 * DAY_S)
    rows = made.table.rows
    known = account_owners(made.known.accounts)
    found = {key: known.of(key) for key in rows}
    mine = {customer_hash("default", customer)}
    assert {owner for key, owner in found.items() if key[FIRST] not in b"vwx\xff"} == mine
    assert {ACCOUNT, DUE, CALLED} <= {key[FIRST] for key, owner in found.items() if isinstance(owner, int)}
    # Without definitions no worker looks up what is left: it may be anywhere.
    nothing = account_owners(Accounts())
    assert {nothing.of(key) for key in rows} == {Unowned.SHARED}


def test_a_new_partition_and_the_split_one_fire_what_the_whole_one_would() -> None:
    whole, _, endpoint = desk()
    names = ["acme", *(f"other-{n}" for n in range(5))]
    for n, name in enumerate(names[1:]):
        whole.log.do(
            "customer.create", {"key": name, "name": name, "usageAttribution": {"subjectKeys": [f"s{n}"]}}
        )
    whole.do("rule.create", watch(endpoint, 10, 50, rearm="resolved"))
    whole.do("rule.create", {"type": rule.RESET, "name": "n", "channels": [endpoint]})
    for name in names:
        whole.do("entitlement.create", {**METERED, "customerId": name, "usagePeriod": {"interval": "PT1H"}})
    usage, subjects = Usage(1), ["a", *(f"s{n}" for n in range(5))]

    def windows(at_s: int) -> list[CustomerWindow]:
        return whole.record([usage.event(one, at_s, 7 + place) for place, one in enumerate(subjects)])

    whole.chunk([(AT_S + 60, windows(AT_S))])
    halves = [Desk(whole.log, place, 2) for place in range(2)]
    known = account_owners(whole.known.accounts)
    for half in halves:
        half.clock_value()  # what it asks for at its start
        owned = {
            key: value
            for key, value in whole.table.rows.items()
            if not isinstance(owner := known.of(key), int) or owner % 2 == half.partition
        }
        half.table, half.offset = DictTable(owned), whole.offset
        half.restart()
    assert all(len(half.table.rows) < len(whole.table.rows) for half in halves)
    before = len(whole.alerts)
    for hour in range(1, 5):
        at_s = AT_S + hour * 3600
        usage_now = windows(at_s - 600)
        records = [(at_s - 300, usage_now), (at_s + 30, None)]
        whole.chunk(records)
        for half in halves:
            mine = [
                one
                for one in usage_now
                if customer_hash(one.window.namespace, one.customer) % 2 == half.partition
            ]
            half.chunk([(at_s - 300, mine), (at_s + 30, None)])
    fired = [one for half in halves for one in half.alerts]
    assert len(fired) >= 4 * len(names) and all(half.alerts for half in halves)
    by_id = lambda one: one.id  # noqa: E731
    assert sorted(fired, key=by_id) == sorted(whole.alerts[before:], key=by_id)
    balances = {place: one for half in halves for place, one in half.balances.items()}
    assert balances == whole.balances
