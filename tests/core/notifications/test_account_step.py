"""One step of one account: what a record makes of it, as a function of the account, the record and the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.core.notifications import rule
from pipeline.core.notifications.account_step import AccountRecord, AccountStep, StepState, update
from pipeline.core.notifications.balance_alerts import AlertAt
from pipeline.core.quota import balance_update
from pipeline.core.quota.accounts import Account
from pipeline.core.values.calendar import NEVER_S
from pipeline.records import Window
from tests.fixtures.alert_desk import AT_S, DAY_S, HOUR_S, METERED, Desk, Usage, data, log, watch
from tests.fixtures.fake_transaction import DictTable


class Bench:
    """Definitions by commands and an empty state; no agent, no chunk."""

    def __init__(self, *rules: dict[str, Any], **entitlement: Any) -> None:
        made, customer, endpoint = log()
        for one in rules:
            made.do("rule.create", {**one, "channels": [endpoint]})
        made.do("entitlement.create", {**METERED, **entitlement})
        self.known = Desk(made).known
        self._table = DictTable()
        self.state = StepState(self._table, self.known.accounts, self.known.rules)
        account = self.known.accounts.get(("default", customer, "gpt"))
        assert account is not None
        self.account: Account = account

    @property
    def rows(self) -> dict[bytes, bytes]:
        return self._table.rows

    def take(
        self, position: int, now_s: int, windows: Sequence[Window] = (), first: int | None = None
    ) -> AccountStep:
        at = AlertAt(position, now_s * 1000, position if first is None else first)
        step = update(self.account, AccountRecord(at, windows), self.state)
        self.state.flush()
        return step


def test_usage_moves_the_balance_fires_and_says_when_it_changes_next() -> None:
    bench, usage = Bench(watch("", 80, kind="usage_percentage")), Usage(1)
    quiet = bench.take(1, AT_S + 30, [usage.event("a", AT_S, 79)])
    assert (quiet.balance.usage, quiet.balance.balance, quiet.alerts, quiet.late) == ("79", "21", [], [])
    assert quiet.due_s == AT_S + 31 * DAY_S  # the usage period ends
    (alert,) = bench.take(2, AT_S + 31, [usage.event("a", AT_S, 1, id="crossing")]).alerts
    assert data(alert)["event"] == {"source": "/source", "id": "crossing"}
    assert bench.take(3, AT_S + 32, [usage.event("a", AT_S, 5)]).alerts == []


def test_the_due_instant_is_kept_in_the_state() -> None:
    bench = Bench({"type": rule.EXPIRING, "name": "n", "before": "P1D"}, issueAfterReset=None, grants=[
        {"amount": 10, "expiration": {"duration": "DAY", "count": 3}},
    ])  # fmt: skip
    step = bench.take(1, AT_S)
    assert step.due_s == AT_S + 2 * DAY_S  # the warning; the balance itself changes a day later
    assert step.balance.next_at_ms == (AT_S + 3 * DAY_S) * 1000
    (row,) = bench.state.table.get_many([balance_update.DUE + bench.account.key])
    assert row is not None and balance_update.read_due((b"", row))[1] == step.due_s
    (alert,) = bench.take(2, AT_S + 2 * DAY_S).alerts
    assert alert.type == rule.EXPIRING
    assert bench.take(3, AT_S + 2 * DAY_S).due_s == AT_S + 3 * DAY_S


def test_of_an_entitlement_that_has_ended_nothing_is_due() -> None:
    bench = Bench(activeTo="2026-01-01T01:00:00Z")
    assert bench.take(1, AT_S).due_s == AT_S + HOUR_S
    ended = bench.take(2, AT_S + HOUR_S)
    assert (ended.due_s, ended.balance.has_access) == (NEVER_S, False)


def test_late_usage_is_distinguished() -> None:
    bench, usage = Bench(), Usage(1)
    bench.take(1, AT_S + 5 * HOUR_S)
    late = usage.event("a", AT_S, 7)
    late.received_at_ms = (AT_S + 5 * HOUR_S) * 1000
    (found,) = bench.take(2, AT_S + 5 * HOUR_S, [late]).late
    assert (found.minute_s, found.change, found.counted) == (AT_S, "7", True)


def test_stored_usage_is_asked_for_by_time_and_by_the_first_usage_until_it_is_in() -> None:
    for first in ((), [Usage(1).event("a", AT_S)]):
        bench = Bench(measureUsageFrom="2025-12-30T00:00:00Z")
        history = bench.take(1, AT_S, first).needs_history
        assert history is not None
        assert (history.account, history.meter_id) == (bench.account.name, 1)
        assert (history.subjects, history.since_s) == (("a", "acme", "b"), AT_S - 2 * DAY_S)
        assert bench.take(2, AT_S, [Usage(1).event("a", AT_S, 2)]).needs_history is None  # it was asked for
        assert bench.take(3, AT_S).needs_history == history
        balance_update.keep_seeded(bench.state.table, bench.account, history.mark)
        assert bench.take(4, AT_S).needs_history is None


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_record_that_is_read_again_changes_nothing_and_fires_the_same(first: int) -> None:
    bench = Bench(watch("", 10, 20), {"type": rule.RESET, "name": "n"}, usagePeriod={"interval": "DAY"})
    usage = Usage(1)
    records = [
        (1, AT_S + 60, [usage.event("a", AT_S, 12)]),
        (2, AT_S + 90, [usage.event("b", AT_S, 9)]),
        (3, AT_S + DAY_S, []),
    ]
    fired = {position: bench.take(position, now_s, windows, 1).alerts for position, now_s, windows in records}
    assert [len(fired[position]) for position in (1, 2, 3)] == [
        1,
        1,
        3,
    ]  # fired, fired, reset and two resolved
    kept = dict(bench.rows)
    for position, now_s, windows in records[first - 1 :]:
        again = bench.take(position, now_s, windows, 1).alerts
        assert [one.id for one in again] == [one.id for one in fired[position]]
    assert bench.rows == kept
