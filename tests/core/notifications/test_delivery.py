"""One delivery, and the table of them: states, tries, resends, replays, and work that is applied twice."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.notifications import delivery, delivery_table
from pipeline.core.notifications.standard_webhooks import SCHEDULE_MS
from pipeline.core.values.sweep import Swept
from pipeline.records import Alert, Attempt, Delivery, WebhookWork
from tests.fixtures.fake_transaction import DictTable

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
OUTCOMES = ("delivered", "failed", "gone", "dropped")


def alert(id: str = "a1", at_ms: int = NOW_MS) -> Alert:
    return Alert(id, "acme", "t", "rule", at_ms, ["e1"], '{"type":"t"}')


def attempt(number: int, outcome: str, at_ms: int = NOW_MS, **more: object) -> Attempt:
    whole = {"number": number, "at_ms": at_ms, "duration_ms": 10, "outcome": outcome} | more
    return msgspec.convert(whole, Attempt)


def after(*outcomes: str, schedule: Sequence[int] = SCHEDULE_MS) -> Delivery:
    found = delivery.begin(alert(), "e1", NOW_MS, schedule)
    for number, outcome in enumerate(outcomes, 1):
        found = delivery.tried(found, attempt(number, outcome, found.next_at_ms), schedule)
    return found


@pytest.mark.parametrize(
    ("outcomes", "state", "reason"),
    [
        ([], "PENDING", ""),
        (["delivered"], "SUCCESS", ""),
        (["failed"], "SENDING", ""),
        (["failed"] * 9, "SENDING", ""),
        (["failed"] * 10, "FAILED", "exhausted"),
        (["failed"] * 9 + ["delivered"], "SUCCESS", ""),
        (["gone"], "FAILED", "gone"),
        (["failed", "gone"], "FAILED", "gone"),
    ],
)
def test_states(outcomes: list[str], state: str, reason: str) -> None:
    found = after(*outcomes)
    assert (found.state, found.reason) == (state, reason)
    assert len(found.attempts) == found.tries == len(outcomes)
    assert (found.next_at_ms == 0) == (state in ("SUCCESS", "FAILED")) == (found.ended_at_ms > 0)


def test_the_first_try_is_at_once_and_the_others_by_the_schedule() -> None:
    found = delivery.begin(alert(), "e1", NOW_MS, SCHEDULE_MS)
    assert found.next_at_ms == NOW_MS
    for number, delay in enumerate(SCHEDULE_MS[1:], 1):
        at_ms = found.next_at_ms
        found = delivery.tried(found, attempt(number, "failed", at_ms), SCHEDULE_MS)
        assert at_ms + 10 + delay <= found.next_at_ms <= at_ms + 10 + delay * 11 // 10


def test_a_receiver_may_ask_for_more_time_but_not_for_less() -> None:
    begun = delivery.begin(alert(), "e1", NOW_MS, SCHEDULE_MS)
    later = delivery.tried(begun, attempt(1, "failed", retry_after_ms=60_000), SCHEDULE_MS)
    assert later.next_at_ms == NOW_MS + 10 + 60_000
    sooner = delivery.tried(begun, attempt(1, "failed", retry_after_ms=1_000), SCHEDULE_MS)
    assert sooner.next_at_ms >= NOW_MS + 10 + 5_000


def test_a_try_that_was_made_twice_is_listed_twice_and_moves_nothing() -> None:
    once = after("failed")
    twice = delivery.tried(once, attempt(1, "failed"), SCHEDULE_MS)
    assert (twice.next_at_ms, twice.failures, twice.tries) == (once.next_at_ms, 1, 1)
    assert len(twice.attempts) == 2
    assert delivery.tried(once, attempt(1, "delivered"), SCHEDULE_MS).state == "SUCCESS"
    done = after("delivered")
    assert delivery.tried(done, attempt(1, "failed"), SCHEDULE_MS).state == "SUCCESS"


def test_sent_again_it_has_its_whole_schedule() -> None:
    failed = after(*["failed"] * 10)
    again = delivery.resend(failed, NOW_MS + DAY_MS)
    assert (again.state, again.next_at_ms, again.failures, again.reason) == (
        "RESENDING",
        NOW_MS + DAY_MS,
        0,
        "",
    )
    for number in range(11, 20):
        again = delivery.tried(again, attempt(number, "failed", again.next_at_ms), SCHEDULE_MS)
        assert again.state == "RESENDING"
    assert delivery.tried(again, attempt(20, "failed"), SCHEDULE_MS).reason == "exhausted"
    waiting = after("failed", "failed", "failed")
    assert delivery.resend(waiting, NOW_MS).next_at_ms == NOW_MS
    assert delivery.resend(waiting, NOW_MS).failures == 3


def test_ids_sort_by_time_and_say_it() -> None:
    ids = [delivery.delivery_id(alert(f"a{number}", NOW_MS + number // 2), "e1") for number in range(20)]
    assert [delivery.at_ms_of(id) for id in ids] == [NOW_MS + number // 2 for number in range(20)]
    for at_ms in range(NOW_MS, NOW_MS + 10):
        assert all((id >= delivery.first_id(at_ms)) == (delivery.at_ms_of(id) >= at_ms) for id in ids)
    assert delivery.delivery_id(alert(), "e2") != delivery.delivery_id(alert(), "e1")


def deliver(id: str, at_ms: int = NOW_MS, endpoint: str = "e1") -> WebhookWork:
    return WebhookWork("deliver", "acme", endpoint, "", NOW_MS, alert(id, at_ms))


def tried(id: str, made: Attempt, endpoint: str = "e1") -> WebhookWork:
    return WebhookWork("attempt", "acme", endpoint, id, made.at_ms, attempt=made)


class Run:
    """Work applied in order, as the stage does."""

    def __init__(self, replayed_at_once: int = delivery_table.REPLAYED_AT_ONCE) -> None:
        self.table = DictTable()
        self.offset = -1
        self.replayed_at_once = replayed_at_once

    def __call__(self, work: WebhookWork, now_ms: int = NOW_MS) -> delivery_table.Applied:
        self.offset += 1
        applied = delivery_table.apply(
            work, self.offset, now_ms, self.table, SCHEDULE_MS, self.replayed_at_once
        )
        self.table.commit()
        return applied

    def forget(self, place: bytes, before_ms: int, limit: int) -> Swept:
        swept = delivery_table.forget(self.table, place, before_ms, limit)
        self.table.commit()
        return swept

    def states(self) -> dict[str, str]:
        found = [
            msgspec.json.decode(row, type=Delivery)
            for key, row in self.table.rows.items()
            if key[:2] == b"d/"
        ]
        return {one.alert: one.state for one in found}

    def active(self) -> set[str]:
        return {id for batch in delivery_table.active(self.table.scan, 3) for id in batch}


def test_what_has_not_ended_is_found_and_its_payload_too() -> None:
    run = Run()
    ids = [run(deliver(f"a{number}")).deliveries[0].id for number in range(10)]
    assert run.active() == set(ids)
    found = delivery_table.message(ids[3], run.table.get_many)
    assert found is not None and found[1] == b'{"type":"t"}'
    run(tried(ids[3], attempt(1, "delivered")))
    run(tried(ids[4], attempt(1, "failed")))
    assert run.active() == set(ids) - {ids[3]}
    assert delivery_table.message("none", run.table.get_many) is None


def test_the_same_alert_twice_is_one_delivery() -> None:
    run = Run()
    (first,) = run(deliver("a")).deliveries
    run(tried(first.id, attempt(1, "delivered")))
    assert run(deliver("a")).deliveries[0].state == "SUCCESS"
    assert run.active() == set()


def test_a_replay_takes_its_range_its_states_and_its_endpoint() -> None:
    run = Run()
    for number in range(6):
        (one,) = run(deliver(f"a{number}", NOW_MS + number)).deliveries
        run(tried(one.id, attempt(1, "gone" if number % 2 else "delivered")))
    (other,) = run(deliver("other", NOW_MS + 3, "e2")).deliveries
    run(tried(other.id, attempt(1, "gone"), "e2"))
    work = WebhookWork(
        "replay", "acme", "e1", "", NOW_MS, from_ms=NOW_MS + 1, to_ms=NOW_MS + 5, states=["FAILED"]
    )
    assert [one.alert for one in run(work).deliveries] == ["a1", "a3"]
    assert {id for id, state in run.states().items() if state == "RESENDING"} == {"a1", "a3"}


def test_a_long_replay_continues_in_further_work() -> None:
    run = Run(replayed_at_once=4)
    for number in range(10):
        (one,) = run(deliver(f"a{number}", NOW_MS + number // 3)).deliveries
        run(tried(one.id, attempt(1, "delivered")))
    work = [WebhookWork("replay", "acme", "e1", "", NOW_MS, from_ms=0, to_ms=NOW_MS + 10, states=["SUCCESS"])]
    steps = 0
    while work:
        work = run(work[0]).further
        steps += 1
    assert set(run.states().values()) == {"RESENDING"}
    assert steps == 3


def test_an_endpoint_that_fails_for_five_days_is_to_be_disabled_once() -> None:
    run = Run()
    (one,) = run(deliver("a")).deliveries
    commands = []
    for number in range(12):
        at_ms = NOW_MS + number * DAY_MS // 2
        commands += run(tried(one.id, attempt(number + 1, "failed", at_ms))).commands
    assert [(command.kind, command.body) for command in commands] == [
        ("endpoint.disable", {"id": "e1", "reason": "failing"})
    ]


def test_a_success_between_begins_the_five_days_again() -> None:
    run = Run()
    (one,) = run(deliver("a")).deliveries
    for number in range(30):
        outcome = "delivered" if number % 9 == 8 else "failed"
        assert not run(tried(one.id, attempt(number + 1, outcome, NOW_MS + number * DAY_MS // 2))).commands


def test_gone_asks_for_the_endpoint_to_be_disabled_under_an_id_of_its_cause() -> None:
    run = Run()
    (one,) = run(deliver("a")).deliveries
    (first,) = run(tried(one.id, attempt(1, "gone"))).commands
    (again,) = delivery_table.apply(
        tried(one.id, attempt(1, "gone")), run.offset, NOW_MS, run.table, SCHEDULE_MS
    ).commands
    assert first == again
    assert first.body == {"id": "e1", "reason": "gone"}


def test_what_has_ended_and_is_old_is_forgotten() -> None:
    run = Run()
    for number in range(10):
        (one,) = run(deliver(f"a{number}", NOW_MS + number)).deliveries
        if number != 2:
            run(tried(one.id, attempt(1, "delivered", NOW_MS + number)))
    removed, place = run.forget(b"", NOW_MS + 15, 4)
    assert len(removed) == 3 and place
    more, place = run.forget(place, NOW_MS + 15, 4)
    last, place = run.forget(place, NOW_MS + 15, 4)
    assert not place
    # The newest ended at its alert's time plus its try's 10 ms, so it stays; so does the one that has not ended.
    assert run.states().keys() == {"a2", *(f"a{number}" for number in range(5, 10))}
    assert len(removed + more + last) == 4
    assert {key[:2] for key in run.table.rows} == {b"d/", b"m/", b"a/"}
    assert sum(key.startswith(b"m/") for key in run.table.rows) == 6


works = st.lists(
    st.one_of(
        st.builds(deliver, st.sampled_from("abc"), st.integers(NOW_MS, NOW_MS + 2)),
        st.builds(
            lambda id, at, number, outcome: tried(
                delivery.delivery_id(alert(id, at), "e1"), attempt(number, outcome, at)
            ),
            st.sampled_from("abc"),
            st.integers(NOW_MS, NOW_MS + 2),
            st.integers(1, 12),
            st.sampled_from(OUTCOMES),
        ),
        st.builds(
            lambda id, at: WebhookWork(
                "resend", "acme", "e1", delivery.delivery_id(alert(id, at), "e1"), NOW_MS
            ),
            st.sampled_from("abc"),
            st.integers(NOW_MS, NOW_MS + 2),
        ),
        st.just(
            WebhookWork(
                "replay", "acme", "e1", "", NOW_MS, from_ms=0, to_ms=NOW_MS + 9, states=["FAILED", "SUCCESS"]
            )
        ),
    ),
    min_size=1,
    max_size=40,
)


@given(works, st.data())
def test_work_that_is_read_again_changes_nothing(work: list[WebhookWork], data: st.DataObject) -> None:
    """The second lock: from any place on, all of it once more."""
    once, twice = DictTable(), DictTable()
    begin = data.draw(st.integers(0, len(work) - 1))
    for table, order in (
        (once, [*enumerate(work)]),
        (twice, [*enumerate(work), *[*enumerate(work)][begin:]]),
    ):
        for offset, one in order:
            delivery_table.apply(one, offset, NOW_MS + offset, table, SCHEDULE_MS)
            table.commit()
    kept = {key: value for key, value in once.rows.items() if key[:2] != b"e/"}
    assert kept == {key: value for key, value in twice.rows.items() if key[:2] != b"e/"}


@given(works)
def test_what_is_active_is_what_has_a_next_try(work: list[WebhookWork]) -> None:
    run = Run()
    for one in work:
        run(one)
    found = [
        msgspec.json.decode(row, type=Delivery) for key, row in run.table.rows.items() if key[:2] == b"d/"
    ]
    assert run.active() == {one.id for one in found if one.next_at_ms}
    for one in found:
        assert (one.state in ("SUCCESS", "FAILED")) == (one.next_at_ms == 0) == bool(one.ended_at_ms)
        assert len(one.attempts) <= delivery.MOST_ATTEMPTS
