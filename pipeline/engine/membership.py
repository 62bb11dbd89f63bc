"""A worker's membership of its consumer group, kept in its folder, so that the next process there can end it.

Owns: the file with the member id, and the request that ends the membership of a dead process. Does not own: who may
send it (the process that holds the lock of the folder), or joining the group (transport).

Kafka notices the death of a process only when `session_timeout_s` has passed without a heartbeat, and until then its
partitions have no owner. The process that starts next in the same folder knows at once that the former one is dead. It
leaves the group in its name, so that the other members take the partitions over while the new process still starts.
Were the former process alive after all, it would only join the group again: fencing keeps it from counting twice.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaError, UnknownMemberIdError, for_code
from aiokafka.protocol.group import LeaveGroupRequest

from pipeline.engine.credentials import of_client

FILE = "member"
LEAVE_S = 5.0  # later, Kafka has nearly noticed the death by itself

log = logging.getLogger("tallymark.engine")


def note(folder: Path, member_id: str) -> None:
    """Keep the member id of this process. Blocks for one small write.

    A full disk is no reason to stop a worker that has no state: only the next start takes longer without the id.
    """
    part = folder / f"{FILE}.part"
    try:
        part.write_text(member_id, "utf-8")
        part.replace(folder / FILE)
    except OSError as error:
        log.warning("cannot keep the member id in %s: %s", folder, error.strerror)


def former(folder: Path) -> str | None:
    """The member id of the last process that used the folder, or None."""
    try:
        return (folder / FILE).read_text("utf-8") or None
    except FileNotFoundError:
        return None


def end(bootstrap: str, security: Any, group: str, member_id: str) -> bool:
    """Leave a group in the name of a member, within LEAVE_S. Blocks.

    Args:
        bootstrap: Kafka bootstrap servers, `a:9092,b:9092`.
        security: See credentials.
        group: Consumer group.
        member_id: The id that Kafka gave to the member.

    Returns:
        Whether the group had this member. False, with a warning, if Kafka did not answer: its session then ends it.
    """
    try:
        return asyncio.run(asyncio.wait_for(_leave(bootstrap, security, group, member_id), LEAVE_S))
    except UnknownMemberIdError:
        return False
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("cannot remove the former worker from %s: %s", group, str(error) or type(error).__name__)
        return False


async def _leave(bootstrap: str, security: Any, group: str, member_id: str) -> bool:
    client = AIOKafkaClient(
        bootstrap_servers=bootstrap, request_timeout_ms=int(LEAVE_S * 1000), **of_client(security)
    )
    try:
        await client.bootstrap()
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        await client.ready(node, group=ConnectionGroup.COORDINATION)
        answer = await client.send(
            node, LeaveGroupRequest(group, member_id), group=ConnectionGroup.COORDINATION
        )
    finally:
        await client.close()
    if answer.error_code:
        raise for_code(answer.error_code)()
    return True
