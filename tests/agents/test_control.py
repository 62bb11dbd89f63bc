"""CONTROL's agent: commands in order, each on what the one before left, and one reply each."""

from __future__ import annotations

from typing import cast

import msgspec

from pipeline.agents import control
from pipeline.agents.control_memory import Memory
from pipeline.engine.table import Overlay
from pipeline.records import Command, Definition, Reply
from tests.agents.working import DictTable, Working, chunk_of


def command(id: str, kind: str, **body: object) -> bytes:
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
