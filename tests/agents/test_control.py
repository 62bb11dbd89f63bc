"""CONTROL's agent: commands in order, each on what the one before left, and one reply each."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agents import control
from pipeline.agents.control import MOST_BYTES
from pipeline.agents.control_memory import REPLIES_KEPT, Memory
from pipeline.core.definitions.audit import verify
from pipeline.core.definitions.kinds import SUBJECT_KEY
from pipeline.engine.table import Overlay
from pipeline.records import Audit, Command, Definition, Reply
from tests.fixtures.fake_transaction import DictTable, Working, chunk_of


def command(id: str, kind: str, /, **body: object) -> bytes:
    return msgspec.json.encode(Command(id, kind, "default", "someone", 1, body))


def apply(id: str, slug: str) -> bytes:
    return command(id, "meter.apply", slug=slug, eventType="t", aggregation="COUNT")


def run(*commands: bytes, table: DictTable | None = None, offset: int = 0) -> Working:
    """One chunk, decided by a worker that has just taken the partition over."""
    numbered = dict(enumerate(commands, offset))
    working = Working(chunk_of("commands", numbered), table)
    control.fill(working.transaction, Memory(cast(Overlay, working.table)))
    return working


def replies(working: Working) -> list[Reply]:
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
        command("2", "meter.delete", slug="a"), command("3", "meter.delete", slug="a"), table=first.table
    )
    assert [(reply.revision, reply.error) for reply in replies(again)] == [(2, ""), (2, "not-found")]


def test_a_command_that_cannot_be_read_is_refused_and_the_next_is_decided() -> None:
    working = run(b"{", apply("2", "a"))
    assert [reply.error for reply in replies(working)] == ["bad-command", ""]


def audits(working: Working) -> list[Audit]:
    return [msgspec.json.decode(one.value or b"", type=Audit) for one in working.to("audit")]


def test_every_command_has_one_audit_record_and_the_chain_goes_on_over_workers() -> None:
    first = run(apply("1", "a"), command("2", "meter.delete", slug="nothing"), b"{")
    second = run(apply("4", "b"), table=first.table, offset=3)
    told = audits(first) + audits(second)
    assert [(one.command_id, one.name, one.error) for one in told] == [
        ("1", "a", ""),
        ("2", "nothing", "not-found"),
        ("", "", "bad-command"),
        ("4", "b", ""),
    ]
    assert verify(told).seq == 4


def test_a_command_sent_again_gets_its_reply_and_has_no_second_effect() -> None:
    first = run(apply("1", "a"), apply("1", "b"))  # whatever else it says the second time
    second = run(apply("1", "a"), table=first.table, offset=2)
    assert replies(first)[0] == replies(first)[1] == replies(second)[0]
    assert len(audits(first)) == 1 and audits(second) == []
    assert b"default/meter/b" not in second.table.rows


def test_a_command_read_again_says_again_what_it_said() -> None:
    first = run(apply("1", "a"), command("2", "meter.delete", slug="b"))
    rows = dict(first.table.rows)
    second = run(apply("1", "a"), command("2", "meter.delete", slug="b"), table=first.table)
    assert (replies(second), audits(second)) == (replies(first), audits(first))
    assert second.table.rows == rows
    assert verify([*audits(first), *audits(second)[1:]]).seq == 2


def test_another_namespace_may_use_the_same_command_id() -> None:
    other = msgspec.json.encode(Command("1", "meter.delete", "other", "someone", 1, {"slug": "a"}))
    assert [reply.error for reply in replies(run(apply("1", "a"), other))] == ["", "not-found"]


def test_only_the_newest_replies_are_kept() -> None:
    table = DictTable()
    memory = Memory(cast(Overlay, table))
    for start in range(0, REPLIES_KEPT + 2, 500):
        chunk = chunk_of(
            "commands", {n: command(str(n), "meter.delete", slug="a") for n in range(start, start + 500)}
        )
        control.fill(Working(chunk, table).transaction, memory)
    for known in (memory, Memory(cast(Overlay, table))):
        asked = [Command(str(n), "", "default", "", 0, {}) for n in range(start + 500)]
        assert [known.earlier(one) is not None for one in asked] == [
            n >= start + 500 - REPLIES_KEPT for n in range(start + 500)
        ]
    assert sum(key.startswith(b"/reply/") for key in table.rows) == REPLIES_KEPT


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
    wishes = [
        command(str(n), "subject.upsert", subjects=subjects[n : n + 1000])
        for n in range(0, len(subjects), 1000)
    ]
    control.fill(Working(chunk_of("commands", wishes), table).transaction, memory)
    table.commit()
    anew = Memory(cast(Overlay, table))
    assert anew.head == memory.head and anew.catalog.revision == memory.catalog.revision == len(subjects)
    for subject in subjects:
        one = anew.catalog.one("default", SUBJECT_KEY, subject["key"])
        assert one is not None and one == memory.catalog.one("default", SUBJECT_KEY, subject["key"])


keys = st.sampled_from(["a", "b"])
count = {"eventType": st.just("t"), "aggregation": st.just("COUNT")}
wishes = st.one_of(
    st.tuples(st.just("meter.apply"), st.fixed_dictionaries({"slug": keys, **count})),
    st.tuples(st.just("meter.delete"), st.fixed_dictionaries({"slug": keys})),
    st.tuples(st.just("feature.create"), st.fixed_dictionaries({"key": keys, "name": keys, "meterSlug": keys})),
    st.tuples(st.just("feature.archive"), st.fixed_dictionaries({"id": keys})),
    st.tuples(st.just("customer.create"), st.fixed_dictionaries({"name": keys, "key": keys})),
    st.tuples(st.just("customer.delete"), st.fixed_dictionaries({"id": keys})),
    st.tuples(st.just("subject.upsert"), st.fixed_dictionaries({"key": keys, "displayName": keys})),
    st.tuples(st.just("portal-token.create"), st.fixed_dictionaries({"subject": keys})),
    st.tuples(st.just("portal-token.invalidate"), st.fixed_dictionaries({"subject": keys})),
)  # fmt: skip


@given(st.lists(wishes, min_size=1, max_size=12), st.sets(st.integers(1, 11)))
def test_the_log_does_not_depend_on_chunks_or_on_who_decides(
    script: list[tuple[str, dict[str, str]]], cuts: set[int]
) -> None:
    commands = [command(str(number), kind, **body) for number, (kind, body) in enumerate(script)]
    whole = run(*commands)
    table, said = DictTable(), []
    places = [0, *sorted(cut for cut in cuts if cut < len(commands)), len(commands)]
    for begin, end in pairwise(places):
        part = run(*commands[begin:end], table=table, offset=begin)
        said += [(one.topic, one.value) for one in part.sent]
    assert said == [(one.topic, one.value) for one in whole.sent]
    assert table.rows == whole.table.rows
    assert verify(audits(whole)).seq == len(commands)
