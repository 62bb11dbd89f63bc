"""CONTROL's agent: commands in order, each on what the one before left, and one reply each."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agents import control, control_answers
from pipeline.agents.control import MOST_BYTES
from pipeline.agents.control_memory import MOST_SLOTS, Memory
from pipeline.core.definitions.audit import verify
from pipeline.core.definitions.idempotency import KEPT_MS
from pipeline.core.definitions.kinds import SUBJECT_KEY
from pipeline.core.metering.identity import customer_hash
from pipeline.engine.table import Item, Overlay, Restored, Table
from pipeline.errors import Broken
from pipeline.records import Audit, Command, Definition, Reply, StripeWork
from tests.fixtures.fake_transaction import DictTable, FakeRecord, FakeTransactions, chunk_of

AT_MS = 1_700_000_000_000


def command(id: str, kind: str, /, **body: object) -> bytes:
    return msgspec.json.encode(Command(id, kind, "default", "someone", 1, body))


def keyed(key: str, attempt: str, kind: str, /, request: str = "r", **body: object) -> bytes:
    """A command under an idempotency key. request: what it asks."""
    sent = Command(key, kind, "default", "someone", 1, body, attempt=attempt, request=request)
    return msgspec.json.encode(sent)


def apply_keyed(key: str, attempt: str, slug: str, request: str = "r") -> bytes:
    return keyed(key, attempt, "meter.apply", request, slug=slug, eventType="t", aggregation="COUNT")


def apply(id: str, slug: str) -> bytes:
    return command(id, "meter.apply", slug=slug, eventType="t", aggregation="COUNT")


def run(
    *commands: bytes,
    table: DictTable | None = None,
    offset: int = 0,
    at_ms: int = AT_MS,
    memory: Memory | None = None,
) -> FakeTransactions:
    """One chunk. at_ms: when the broker had it. memory: of its worker; None: it has just taken the partition over."""
    chunk = chunk_of("commands", dict(enumerate(commands, offset)))
    for record in chunk.records:
        cast(FakeRecord, record).timestamp = at_ms
    working = FakeTransactions(chunk, table)
    control.fill(working.transaction, memory or Memory(cast(Overlay, working.table)))
    return working


def replies(working: FakeTransactions) -> list[Reply]:
    return [msgspec.json.decode(one.value or b"", type=Reply) for one in working.to("replies")]


def test_each_command_sees_what_the_one_before_did() -> None:
    working = run(apply("1", "a"), apply("2", "b"), apply("3", "a"), command("4", "meter.delete", slug="a"))
    assert [(reply.id, reply.revision, reply.error) for reply in replies(working)] == [
        ("1", 1, ""),
        ("2", 2, ""),
        ("3", 2, ""),  # no change, so no revision
        ("4", 3, ""),
    ]
    kept = {key: msgspec.json.decode(value, type=Definition) for key, value in working.table.rows.items()}
    assert all(key.startswith(b"/") == (not one.namespace) for key, one in kept.items())
    assert kept[b"default/meter/a"].body is None
    assert kept[b"default/meter/b"].body is not None


def test_the_state_of_earlier_chunks_counts() -> None:
    first = run(apply("1", "a"))
    again = run(
        command("2", "meter.delete", slug="a"),
        command("3", "meter.delete", slug="a"),
        table=first.table,
        offset=1,
    )
    assert [(reply.revision, reply.error) for reply in replies(again)] == [(2, ""), (2, "not-found")]


def test_a_command_that_cannot_be_read_is_refused_and_the_next_is_decided() -> None:
    working = run(b"{", apply("2", "a"))
    assert [reply.error for reply in replies(working)] == ["bad-command", ""]


def audits(working: FakeTransactions) -> list[Audit]:
    return [msgspec.json.decode(one.value or b"", type=Audit) for one in working.to("audit")]


def test_every_command_has_one_audit_record_and_the_chain_continues_over_workers() -> None:
    first = run(apply("1", "a"), command("2", "meter.delete", slug="nothing"), b"{")
    second = run(apply("4", "b"), table=first.table, offset=3)
    audited = audits(first) + audits(second)
    assert [(one.command_id, one.name, one.error) for one in audited] == [
        ("1", "a", ""),
        ("2", "nothing", "not-found"),
        ("", "", "bad-command"),
        ("4", "b", ""),
    ]
    assert verify(audited).seq == 4


def test_commands_under_one_key_have_one_effect_and_one_answer() -> None:
    """Two at once, in one chunk, and one later."""
    first = run(apply_keyed("k", "1", "a"), apply_keyed("k", "2", "a"))
    second = run(apply_keyed("k", "3", "a"), table=first.table, offset=2)
    decided = replies(first) + replies(second)
    assert [(one.attempt, one.repeated) for one in decided] == [("1", False), ("2", True), ("3", True)]
    assert len({(one.id, one.revision, str(one.body)) for one in decided}) == 1
    assert [one.key for one in first.to("replies")] == [b"1", b"2"]
    assert len(audits(first)) == 1 and audits(second) == []


def test_a_key_with_another_request_is_refused_and_audited() -> None:
    first = run(apply_keyed("k", "1", "a"))
    second = run(
        apply_keyed("k", "2", "b", request="other"), apply_keyed("k", "3", "a"), table=first.table, offset=1
    )
    assert [(one.error, one.repeated) for one in replies(second)] == [
        ("idempotency-key-reused", False),
        ("", True),
    ]
    assert [one.error for one in audits(second)] == ["idempotency-key-reused"]
    assert b"default/meter/b" not in second.table.rows


def test_a_refused_request_leaves_its_key_unused() -> None:
    first = run(keyed("k", "1", "meter.delete", slug="a"))
    second = run(apply_keyed("k", "2", "a", request="other"), table=first.table, offset=1)
    assert [one.error for one in replies(first) + replies(second)] == ["not-found", ""]


def test_a_key_is_one_of_its_namespace() -> None:
    other = Command("k", "meter.delete", "other", "someone", 1, {"slug": "a"}, attempt="2", request="r")
    working = run(apply_keyed("k", "1", "a"), msgspec.json.encode(other))
    assert [reply.error for reply in replies(working)] == ["", "not-found"]


def test_a_key_holds_for_a_day_whatever_else_happens() -> None:
    table = run(apply_keyed("k", "1", "a")).table
    many = [command(f"c{n}", "subject.upsert", key=f"s{n}") for n in range(2000)]
    run(*many, table=table, offset=1, at_ms=AT_MS + KEPT_MS // 2)
    last = run(apply_keyed("k", "2", "a"), table=table, offset=3000, at_ms=AT_MS + KEPT_MS - 1)
    assert [one.repeated for one in replies(last)] == [True]
    later = run(apply_keyed("k", "3", "b", "other"), table=table, offset=3001, at_ms=AT_MS + KEPT_MS)
    assert [(one.error, one.repeated) for one in replies(later)] == [("", False)]


def test_a_key_holds_when_the_clock_of_the_next_broker_is_behind() -> None:
    span_at_ms = -(-AT_MS // control_answers.SPAN_MS) * control_answers.SPAN_MS
    table = run(apply_keyed("k", "1", "a"), at_ms=span_at_ms).table
    again = run(apply_keyed("k", "2", "a"), table=table, offset=1, at_ms=span_at_ms - 1)
    assert [one.repeated for one in replies(again)] == [True]


def test_answers_go_and_their_place_is_free_again() -> None:
    table, expiry = DictTable(), control_answers.Expiry()
    memory = Memory(cast(Overlay, table))
    for number in range(600):
        at_ms = AT_MS + number * KEPT_MS // 100
        chunk = chunk_of("commands", {number: apply_keyed(f"k{number}", str(number), "a")})
        cast(FakeRecord, chunk.records[0]).timestamp = at_ms
        control.fill(FakeTransactions(chunk, table).transaction, memory)
        expiry.advance(cast(Overlay, table), at_ms, 1)
    kept = [int(key.rpartition(b"k")[2]) for key in table.rows if key.startswith(b"/done/")]
    assert set(range(500, 600)) <= set(kept)  # a day
    assert min(kept) >= 600 - 100 - 2 * 50 - 1  # and not much more than its spans


def test_as_many_answers_go_as_come_however_large_the_chunks_are() -> None:
    table, expiry = DictTable(), control_answers.Expiry()
    memory, size = Memory(cast(Overlay, table)), 2 * control_answers.REMOVED_AT_ONCE
    for number in range(10):
        at_ms, first = AT_MS + number * KEPT_MS // 2, number * size
        offsets = range(first, first + size)
        chunk = chunk_of("commands", {place: apply_keyed(f"k{place}", str(place), "a") for place in offsets})
        for record in chunk.records:
            cast(FakeRecord, record).timestamp = at_ms
        control.fill(FakeTransactions(chunk, table).transaction, memory)
        expiry.advance(cast(Overlay, table), at_ms, size)
    assert sum(key.startswith(b"/done/") for key in table.rows) <= 5 * size


def test_answers_are_not_in_the_topic_that_everybody_reads() -> None:
    working = run(apply_keyed("k", "1", "a"))
    assert any(control_answers.is_answer(key) for key in working.table.changes)
    written = {key for key, _ in control.CHANGELOG.pack(working.table.changes)}
    assert written and not any(control_answers.is_answer(key or b"") for key in written)
    ((key, value),) = [(one.key, one.value) for one in working.to(control_answers.TOPIC)]
    assert working.table.rows[key or b""] == value


def test_a_table_that_missed_answers_is_filled_from_their_topic(tmp_path: Path) -> None:
    working = run(apply_keyed("k", "1", "a"))
    topic = [(one.key or b"", one.value) for one in working.to(control_answers.TOPIC)]
    asked: list[int] = []

    def read(from_ms: int) -> list[list[Item]]:
        asked.append(from_ms)
        return [list(topic)]

    table = Table(tmp_path / "table")
    try:
        assert control_answers.fill(table, read) == 0 and asked == []  # nothing was ever decided
        known = {
            key: value for key, value in working.table.rows.items() if not control_answers.is_answer(key)
        }
        table.write(known.items(), Restored("id", 3))
        assert control_answers.fill(table, read) == 1
        assert dict(table.items()) == working.table.rows and table.restored() == Restored("id", 3)
        control_answers.fill(table, read)
        assert asked[0] == 0 and AT_MS - 120_000 < asked[1] < AT_MS
    finally:
        table.close()


def test_a_command_read_again_sends_again_what_it_sent() -> None:
    chunk = (apply_keyed("k", "1", "a"), command("2", "meter.delete", slug="b"), apply_keyed("k", "3", "a"))
    first = run(*chunk)
    rows = dict(first.table.rows)
    second = run(*chunk, table=first.table)
    assert [(one.topic, one.key, one.value) for one in second.sent] == [
        (one.topic, one.key, one.value) for one in first.sent
    ]
    assert second.table.rows == rows
    assert verify([*audits(first), *audits(second)[1:]]).seq == 2


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_torn_chunk_may_be_read_again_in_parts_and_each_part_may_tear(cut: int) -> None:
    """Every part is decided by a worker that knows only the table, twice, and sends what the whole chunk sent."""
    chunk = (apply("1", "a"), command("2", "meter.delete", slug="b"), apply("3", "b"), apply("4", "c"))
    first = run(*chunk)
    whole = [(one.topic, one.key, one.value) for one in first.sent]
    parts = [chunk[:cut], (*chunk[cut:], apply("5", "d"))]
    found = []
    for start, part in zip((0, cut), parts, strict=True):
        run(*part, table=first.table, offset=start)
        again = run(*part, table=first.table, offset=start)
        found += [(one.topic, one.key, one.value) for one in again.sent]
    assert found[: len(whole)] == whole
    assert sum(key.startswith(b"/reply/") for key in first.table.rows) == len(parts[1])


def test_a_torn_transaction_is_mended_whichever_part_of_it_is_there() -> None:
    """The definitions without the answers; the answers without the definitions."""
    chunk = (apply_keyed("k", "1", "a"), apply_keyed("k", "2", "a"))
    whole = run(*chunk)
    for is_lost in (
        control_answers.is_answer,
        lambda key: not control_answers.is_answer(key),
    ):
        torn = DictTable({key: value for key, value in whole.table.rows.items() if not is_lost(key)})
        again = run(*chunk, table=torn)
        assert again.table.rows == whole.table.rows
        assert [(one.topic, one.value) for one in again.sent] == [
            (one.topic, one.value) for one in whole.sent
        ]


def test_state_that_is_ahead_of_its_input_stops_the_stage() -> None:
    table = run(apply("1", "a"), apply("2", "b")).table
    run(apply("3", "c"), table=table, offset=2)
    with pytest.raises(Broken):
        run(apply("1", "a"), table=table)


def test_what_the_newest_chunk_sent_is_all_that_is_kept() -> None:
    table = DictTable()
    memory = Memory(cast(Overlay, table))
    for start, number in ((0, 50), (50, 3), (53, 10), (63, MOST_SLOTS + 5), (MOST_SLOTS + 68, 2)):
        chunk = chunk_of(
            "commands", {n: command(str(n), "meter.delete", slug="a") for n in range(start, start + number)}
        )
        control.fill(FakeTransactions(chunk, table).transaction, memory)
        kept = sum(key.startswith(b"/reply/") for key in table.rows)
        assert kept == min(number, MOST_SLOTS)


def test_a_test_of_a_rule_goes_out_with_its_decision() -> None:
    secret = "whsec_" + "A" * 32
    first = run(command("1", "endpoint.create", name="e", url="https://example.com", signingSecret=secret))
    endpoint = (replies(first)[0].body or {})["id"]
    wanted = {"type": "entitlements.reset", "name": "r", "channels": [endpoint]}
    second = run(command("2", "rule.create", **wanted), table=first.table, offset=1)
    rule = (replies(second)[0].body or {})["id"]
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    sends = (keyed("k", "3", "rule.test", id=rule), command("4", "endpoint.replay", id=endpoint, **span))
    third = run(*sends, keyed("k", "5", "rule.test", id=rule), table=second.table, offset=2)
    assert len(third.to("alerts")) == len(third.to("webhook-work")) == 1  # the repeat is only answered
    again = run(*sends, table=third.table, offset=2)
    for topic in ("alerts", "webhook-work"):
        assert again.to(topic) == third.to(topic)


@pytest.mark.parametrize(
    "hostile",
    [
        None,
        b"[" * 100_000,
        b'{"id":"1","kind":"subject.upsert","namespace":"default","actor":"a","at_ms":1,"body":'
        + b'{"a":' * 5000,
        command("1", "subject.upsert", key="ann", metadata={"a": "x" * MOST_BYTES}),
        command("1", "subject.upsert", key="ann", metadata={"a": [[[[[[[[[[1]]]]]]]]]]}),
        command("1", "feature.create", key="a", name="a", meterSlug="../../other/meter/a"),
    ],
)
def test_no_command_can_stop_the_stage(hostile: bytes | None) -> None:
    working = run(apply("0", "a"), cast(bytes, hostile), apply("2", "b"))
    assert [bool(reply.error) for reply in replies(working)] == [False, True, False]
    assert len(audits(working)) == 3


def test_what_a_worker_remembers_is_what_the_next_one_reads() -> None:
    """Also beyond the rows that one scan gives."""
    table = DictTable()
    memory = Memory(cast(Overlay, table))
    subjects = [{"key": f"s{number}"} for number in range(12_000)]
    requests = [
        command(str(n), "subject.upsert", subjects=subjects[n : n + 1000])
        for n in range(0, len(subjects), 1000)
    ]
    control.fill(FakeTransactions(chunk_of("commands", requests), table).transaction, memory)
    table.commit()
    reloaded = Memory(cast(Overlay, table))
    assert reloaded.head == memory.head and reloaded.catalog.revision == memory.catalog.revision == len(
        subjects
    )
    for subject in subjects:
        one = reloaded.catalog.one("default", SUBJECT_KEY, subject["key"])
        assert one is not None and one == memory.catalog.one("default", SUBJECT_KEY, subject["key"])


keys = st.sampled_from(["a", "b"])
count = {"eventType": st.just("t"), "aggregation": st.just("COUNT")}
requests = st.one_of(
    st.tuples(st.just("meter.apply"), st.fixed_dictionaries({"slug": keys, **count})),
    st.tuples(st.just("meter.delete"), st.fixed_dictionaries({"slug": keys})),
    st.tuples(st.just("feature.create"), st.fixed_dictionaries({"key": keys, "name": keys, "meterSlug": keys})),
    st.tuples(st.just("feature.archive"), st.fixed_dictionaries({"id": keys})),
    st.tuples(st.just("customer.create"), st.fixed_dictionaries({"name": keys, "key": keys})),
    st.tuples(st.just("customer.update"), st.fixed_dictionaries({"id": keys, "name": keys, "key": keys})),
    st.tuples(st.just("customer.delete"), st.fixed_dictionaries({"id": keys})),
    st.tuples(st.just("subject.upsert"), st.fixed_dictionaries({"key": keys, "displayName": keys})),
    st.tuples(st.just("portal-token.create"), st.fixed_dictionaries({"subject": keys})),
    st.tuples(st.just("portal-token.invalidate"), st.fixed_dictionaries({"subject": keys})),
)  # fmt: skip


@given(st.lists(requests, min_size=1, max_size=12), st.sets(st.integers(1, 11)))
def test_the_log_does_not_depend_on_chunks_or_on_who_decides(
    script: list[tuple[str, dict[str, str]]], cuts: set[int]
) -> None:
    commands = [command(str(number), kind, **body) for number, (kind, body) in enumerate(script)]
    whole = run(*commands)
    table, published = DictTable(), []
    places = [0, *sorted(cut for cut in cuts if cut < len(commands)), len(commands)]
    for begin, end in pairwise(places):
        part = run(*commands[begin:end], table=table, offset=begin)
        published += [(one.topic, one.value) for one in part.sent]
    assert published == [(one.topic, one.value) for one in whole.sent]
    assert without_slots(table) == without_slots(whole.table)
    assert verify(audits(whole)).seq == len(commands)
    one_worker, table = list[FakeTransactions](), DictTable()
    memory = Memory(cast(Overlay, table))  # it remembers what it has read and written
    for begin, end in pairwise(places):
        one_worker.append(run(*commands[begin:end], table=table, offset=begin, memory=memory))
    assert published == [(one.topic, one.value) for part in one_worker for one in part.sent]
    assert without_slots(table) == without_slots(whole.table)


def without_slots(table: DictTable) -> dict[bytes, bytes]:
    """All but what the newest chunk sent."""
    return {key: value for key, value in table.rows.items() if not key.startswith(b"/reply/")}


def test_a_retry_goes_where_the_customer_is() -> None:
    one = StripeWork("retry", namespace="default", customer="a", mapping="01MAP", accept="stripe")
    sent = control.sent_record(one, control.Partitions(stripe=16))
    assert (sent.topic, sent.key, sent.partition) == (
        "stripe-work",
        "retry",
        customer_hash("default", "a") % 16,
    )
    assert msgspec.json.decode(sent.value, type=StripeWork) == one
