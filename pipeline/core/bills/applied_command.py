"""The record of a command that billing applied, for the audit log.

Owns: what it says. Does not own: the log, which control writes (definitions.audit); commands that were refused, which
the API has recorded.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.bills.bill_moment import BillMoment
from pipeline.core.definitions.audit import note_of
from pipeline.core.values import ulid
from pipeline.records import Command


def applied_note(
    command: Command, customer: str, moment: BillMoment, replied: Mapping[str, object]
) -> Command:
    """The command to control that has an applied command recorded.

    Args:
        command: that was applied.
        customer: id.
        moment: the record that brought it.
        replied: the body of its reply: what it made and changed.
    """
    id = ulid.make(moment.now_ms, f"applied/{command.namespace}/{customer}/{moment.offset}")
    named = (command.body.get("id"), replied.get("subscription"), replied.get("invoice"), customer)
    about = next(str(one) for one in named if one)
    return note_of(command, id, moment.now_ms, about, {"asked": command.body, "done": dict(replied)})
