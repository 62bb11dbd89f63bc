"""ALERT's agent: time, a restart, what is asked for and what is kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from pipeline.agents.alert import ACCOUNT, SEEDED, Timers
from pipeline.agents.barriers import kept_revision
from pipeline.agents.clock import NEVER_MS
from pipeline.core.notifications import rule
from pipeline.core.quota.accounts import account_key
from pipeline.core.quota.balance_update import CALLED, DUE
from pipeline.core.values.calendar import NEVER_S
from pipeline.records import Window
from tests.fixtures.alert_desk import (
    AT_S,
    DAY_S,
    HOUR_S,
    METERED,
    Usage,
    data,
    desk,
    volume,
    watch,
)
from tests.fixtures.fake_transaction import DictTable, FakeTransactions, chunk_of

AT_S_TEXT = "2026-01-01T00:00:00Z"


def test_what_is_due_happens_at_a_clock_record_and_only_then() -> None:
    made, customer, endpoint = desk()
    made.do("rule.create", {"type": rule.RESET, "name": "n", "channels": [endpoint]})
    grants = [
        {"amount": 5, "effectiveAt": "2026-01-01T02:00:00Z"},
        {"amount": 7, "effectiveAt": AT_S_TEXT, "expiration": {"duration": "HOUR", "count": 1}},
    ]
    daily = {**METERED, "usagePeriod": {"interval": "DAY"}, "issueAfterReset": None, "grants": grants}
    made.do("entitlement.create", daily)
    seen = []
    while (next_s := made.timers.next_s()) < AT_S + 2 * DAY_S:
        rows = dict(made.table.rows)
        assert made.clock(next_s - 1) == []
        changed = {key for key in rows if made.table.rows.get(key) != rows[key]}
        assert {key[:1] for key in changed} <= {CALLED}
        fired_alerts = made.clock(next_s)
        seen.append(
            ((next_s - AT_S) // HOUR_S, made.balance(customer).balance, [one.type for one in fired_alerts])
        )
    assert seen == [(1, "0", []), (2, "5", []), (24, "0", [rule.RESET])]


def test_a_quota_that_is_used_up_exactly_fires_all_of_it() -> None:
    """Nothing comes after the tenth of ten, since access has ended."""
    made, customer, endpoint = desk()
    made.do("rule.create", watch(endpoint, 50, 100, kind="usage_percentage"))
    made.do("rule.create", watch(endpoint, 0, kind="balance_value"))
    made.do("entitlement.create", {**METERED, "issueAfterReset": 10})
    usage = Usage(1)
    for number in range(10):
        made.use([usage.event("a", AT_S, 1, id=str(number))], AT_S + 1)
    assert not made.balance(customer).has_access
    assert {one.annotations["threshold"]: data(one)["event"]["id"] for one in made.alerts} == {
        "usage_percentage:50": "4", "usage_percentage:100": "9", "balance_value:0": "9",
    }  # fmt: skip


def test_a_usage_period_ends_at_midnight_of_its_zone() -> None:
    made, customer, endpoint = desk()
    made.do("rule.create", {"type": rule.RESET, "name": "n", "channels": [endpoint]})
    berlin = {"interval": "DAY", "anchor": "2026-01-01T00:00:00+01:00", "timeZone": "Europe/Berlin"}
    made.do(
        "entitlement.create", {**METERED, "usagePeriod": berlin, "measureUsageFrom": "CURRENT_PERIOD_START"}
    )
    resets = []
    for day in ("2026-01-01T23:00", "2026-03-28T23:00", "2026-03-29T22:00", "2026-10-25T23:00"):
        at_s = int(datetime.fromisoformat(day + "Z").timestamp())
        made.clock(at_s - 60)
        resets.append([data(one)["period"]["to"][:16] for one in made.clock(at_s)])
        assert made.timers.next_s() - at_s in (23 * HOUR_S, DAY_S)
        assert made.balance(customer).period_from_ms == at_s * 1000
    assert resets == [["2026-01-01T23:00"], ["2026-03-28T23:00"], ["2026-03-29T22:00"], ["2026-10-25T23:00"]]


def test_after_a_restart_the_state_says_what_is_due() -> None:
    made, customer, _ = desk()
    grant = {"amount": 5, "effectiveAt": "2026-01-01T02:00:00Z"}
    made.do("entitlement.create", {**METERED, "issueAfterReset": None, "grants": [grant]})
    assert made.timers.next_s() == AT_S + 2 * HOUR_S
    made.restart()
    assert made.timers.next_s() == AT_S + 2 * HOUR_S
    made.clock(AT_S + 2 * HOUR_S)
    assert made.balance(customer).balance == "5"


def test_timers_are_read_page_by_page_and_nothing_else_is() -> None:
    table, timers = DictTable(), Timers()
    for number in range(20_001):
        table.put(DUE + account_key(("default", str(number), "f")), (number + 1).to_bytes(8))
    table.put(b"m" + b"x" * 17, b"")
    table.put(b"s" + b"x" * 17, b"")
    table.commit()
    timers.load(table)  # type: ignore[arg-type]
    assert timers.next_s() == 1
    assert len(timers.take(20_000, 15_000)) == 15_000
    assert timers.next_s() == 15_001
    assert len(timers.take(20_000, 15_000)) == 5_000
    assert timers.next_s() == 20_001
    timers.set(account_key(("default", "20000", "f")), NEVER_S)
    assert timers.next_s() == NEVER_S and timers.take(1 << 61) == []


def test_a_timer_that_was_moved_is_due_once_at_its_new_time() -> None:
    timers = Timers()
    timers.set(b"a", 10)
    timers.set(b"a", 20)
    timers.set(b"a", 10)
    assert timers.take(15) == [b"a"] and timers.take(30) == []


def test_the_next_owner_waits_for_the_definitions_that_were_known() -> None:
    made, _, _ = desk()
    made.do("entitlement.create", METERED)
    working = FakeTransactions(chunk_of("customer-usage", [b"[]"]), made.table)
    assert kept_revision(working.transaction) == made.log.revision > 0


def test_usage_from_before_is_asked_for_until_it_is_in() -> None:
    made, customer, _ = desk()
    made.do("entitlement.create", {**METERED, "measureUsageFrom": "2025-12-01T00:00:00Z"})
    (job,) = made.jobs
    subjects = ("a", "acme", "b")
    assert (job.customer, job.subjects, job.meter_id) == (customer, subjects, 1)
    assert job.since_s == AT_S - 31 * DAY_S
    assert job.revision == made.log.revision
    made.restart()
    made.known.agenda.add(0, msg(ACCOUNT, "default", customer, "gpt"))
    made.clock(AT_S + 60)
    assert made.jobs == [job, job]
    usage = Usage(1)
    windows = [usage.event("a", AT_S - 40 * DAY_S, 50), usage.event("b", AT_S - 9 * DAY_S, 30)]
    made.use([windows[1]], AT_S + 61)  # came live as well
    made.use(usage.stored(), AT_S + 62, customer)
    made.known.agenda.add(0, job.done_record)
    made.clock(AT_S + 63)
    made.clock(AT_S + 64)
    assert made.jobs == [job, job]
    assert made.balance(customer).balance == "100"  # the period after 2026-01-01: reset
    made.do("customer.update", update("a", "b", "c"), AT_S + 120)
    assert len(made.jobs) == 3 and "c" in made.jobs[-1].subjects


def msg(*parts: str) -> bytes:
    return msgspec.json.encode(parts)


def update(*subjects: str) -> dict[str, Any]:
    return {
        "id": "acme", "key": "acme", "name": "Acme", "usageAttribution": {"subjectKeys": list(subjects)}
    }  # fmt: skip


def test_an_entitlement_that_usage_finds_before_the_clock_does_is_seeded_too() -> None:
    made, _, _ = desk()
    later = {**METERED, "activeFrom": "2026-01-01T01:00:00Z", "measureUsageFrom": "2025-12-31T00:00:00Z"}
    made.do("entitlement.create", later)
    assert made.jobs == []
    usage = Usage(1)
    made.use([usage.event("a", AT_S + HOUR_S)], AT_S + HOUR_S)
    made.use([usage.event("a", AT_S + HOUR_S)], AT_S + HOUR_S)
    assert len(made.jobs) == 1


def test_windows_that_come_live_and_by_seed_count_once() -> None:
    for seed_first in (True, False):
        made, customer, endpoint = desk()
        made.do("rule.create", volume(endpoint, 26))
        made.do("entitlement.create", METERED)
        usage = Usage(1)
        live = [usage.event("a", AT_S, 10), usage.event("b", AT_S + 60, 5), usage.event("a", AT_S, 10)]
        seeds = [usage.stored(), live] if seed_first else [live, usage.stored()]
        for windows in seeds:
            made.use(windows, AT_S + 120, customer)
        assert made.balance(customer).usage == "25"
        assert made.alerts == []
        (fired_alerts,) = made.use([usage.event("b", AT_S + 60, 1, id="last")], AT_S + 130)
        assert data(fired_alerts)["value"] == 26 and data(fired_alerts)["event"] == {
            "source": "/source",
            "id": "last",
        }


def test_a_subject_that_moves_takes_no_usage_with_it() -> None:
    made, acme, _ = desk()
    made.do("entitlement.create", METERED)
    other = made.do("customer.create", {"key": "other", "name": "Other"})["id"]
    made.do("entitlement.create", {**METERED, "customerId": "other"})
    usage = Usage(1)
    made.use([usage.event("a", AT_S, 10)], AT_S + 1)
    moved_s = AT_S + 90
    made.do("customer.update", update("b"), moved_s)
    both = {"id": "other", "key": "other", "name": "Other", "usageAttribution": {"subjectKeys": ["a"]}}
    made.do("customer.update", both, moved_s)
    made.use([usage.event("a", AT_S, 1), usage.event("a", AT_S + 100, 2)], moved_s + 30)
    made.use([usage.event("a", AT_S + 120, 4)], moved_s + 60)
    assert (made.balance(acme).usage, made.balance(other).usage) == ("13", "4")
    assert {job.customer for job in made.jobs[-2:]} == {acme, other}


def test_agenda_and_timers_agree() -> None:
    made, _, _ = desk()
    assert made.timers.next_s() == NEVER_S
    assert made.known.agenda.take(NEVER_MS) == {0: []}
    made.log.do("entitlement.create", METERED)
    made.follow()
    ((item,),) = made.known.agenda.take(0).values()
    assert item.startswith(b'["account"') and not item.startswith(f'["{SEEDED}'.encode())


def test_the_same_windows_of_another_meter_are_no_usage() -> None:
    made, acme, endpoint = desk()
    made.do("rule.create", volume(endpoint, 0))
    made.do("entitlement.create", METERED)
    other: list[Window] = [Usage(1, "others").event("a", AT_S, 9), Usage(9).event("a", AT_S, 9)]
    made.use(other[:1], AT_S)
    assert made.alerts == []
    made.use(other[1:], AT_S)
    assert made.balance(acme).usage == "0"
