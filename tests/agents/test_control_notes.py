"""CONTROL's agent: commands that another stage applied are in the audit log."""

from __future__ import annotations

import msgspec

from pipeline.agents.control import MOST_BYTES
from pipeline.core.definitions.audit import note_of
from pipeline.records import Audit, Command
from tests.agents.test_control import AT_MS, run


def test_a_command_that_another_stage_applied_is_recorded_once_and_gets_no_reply() -> None:
    asked = Command("c", "subscription.create", "default", "ann", 1, {}, request_id="r", ip="10.0.0.1")
    note = msgspec.json.encode(
        note_of(asked, "note", AT_MS, "sub", {"done": {"apiKey": "s", "subscriptions": ["sub"]}})
    )
    first = run(note)
    (record,) = [msgspec.json.decode(one.value or b"", type=Audit) for one in first.to("audit")]
    assert (record.kind, record.name, record.command_id, record.error) == (
        "subscription.create",
        "sub",
        "c",
        "",
    )
    assert (record.actor, record.request_id, record.ip) == ("ann", "r", "10.0.0.1")
    assert (record.before, record.after) == (None, {"done": {"subscriptions": ["sub"]}})
    assert first.to("replies") == []
    again = run(note, table=first.table, offset=1, at_ms=AT_MS + 1)  # a replay of billing publishes it again
    assert (again.to("audit"), again.to("replies")) == ([], [])
    too_long = note_of(asked, "long", AT_MS, "sub", {"asked": "x" * MOST_BYTES})
    (record,) = [
        msgspec.json.decode(one.value or b"", type=Audit)
        for one in run(msgspec.json.encode(too_long)).to("audit")
    ]
    assert record.error == "" and record.after is not None and record.after["bytes"] > MOST_BYTES
