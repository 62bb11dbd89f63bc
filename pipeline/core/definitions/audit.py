"""The audit log: a record a command, each bound to the one before by its hash.

Owns: which part of a command is recorded, the command by which another stage has one recorded that it applied, the
chain, its check. Does not own: where it is stored (the control stage).
Secrets and their hashes are left out. That the newest records were cut off shows when the chain is compared with its
head, which the control stage stores elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from pipeline.core.definitions.index import Body
from pipeline.core.definitions.kinds import ATTRIBUTION
from pipeline.errors import Rejected
from pipeline.records import Audit, Command, Definition, Reply

SECRETS = frozenset({
    "hash", "secret", "secrets", "signingSecret", "apiKey", "secretAPIKey", "webhookSecret", "sealedApiKey",
    "sealedWebhookSecret",
})  # fmt: skip
DERIVED = frozenset({ATTRIBUTION})  # they follow from the rest, so they are not recorded
MOST_BODY_BYTES = 65_536
MOST_TEXT = 1024
APPLIED = "applied"  # the member of the body of a command that another stage applied: what it did

_encode = msgspec.json.Encoder(order="sorted").encode


class AuditHead(NamedTuple):
    """The newest record of the chain: its `seq` and `hash`."""

    seq: int
    hash: str


EMPTY = AuditHead(0, "0" * 64)


def following(
    head: AuditHead,
    command: Command,
    at_ms: int,
    reply: Reply,
    before: Sequence[Definition | None],
    after: Sequence[Definition],
) -> Audit:
    """The record after `head`.

    Args:
        head: of the chain.
        command: what was asked.
        at_ms: the broker's time of the command's record, in ms since 1970.
        reply: how it was answered.
        before: the definitions that it changed, None where there was none.
        after: the same ones after the change.
    """
    pairs = [pair for pair in zip(before, after, strict=True) if pair[1].kind not in DERIVED]
    before, after = [one for one, _ in pairs], [one for _, one in pairs]
    single = after[0] if len(after) == 1 else None
    record = Audit(
        seq=head.seq + 1,
        at_ms=at_ms,
        namespace=command.namespace[:MOST_TEXT],
        actor=command.actor[:MOST_TEXT],
        kind=command.kind[:MOST_TEXT],
        name=single.name if single is not None else ("" if after else _named(command)),
        command_id=(command.applied or command.id)[:MOST_TEXT],
        before=_shown(before, after),
        after=recorded(command.body.get(APPLIED)) if command.applied else _shown(after, after),
        error=reply.error,
        detail=reply.detail[:MOST_TEXT],
        request_id=command.request_id[:MOST_TEXT],
        ip=command.ip[:MOST_TEXT],
        previous=head.hash,
        hash="",
    )
    return msgspec.structs.replace(record, hash=digest(record))


def note_of(command: Command, id: str, at_ms: int, name: str, applied: Body) -> Command:
    """The command by which the stage that applied another one has it recorded, once however often it is published.

    Args:
        command: that was applied.
        id: of the note: the same whenever it is made again, and of no other command.
        at_ms: when it was applied, in ms since 1970.
        name: of what it is about.
        applied: what was asked and done.
    """
    body: Body = {"id": name, APPLIED: recorded(applied)}
    return Command(
        id,
        command.kind,
        command.namespace,
        command.actor,
        at_ms,
        body,
        request_id=command.request_id,
        ip=command.ip,
        request=id,
        applied=command.id,
    )


def digest(record: Audit) -> str:
    """The hash that the record must have: SHA-256 of its JSON without `hash`, members sorted, in hex."""
    members = {name: value for name, value in msgspec.structs.asdict(record).items() if name != "hash"}
    return sha256(_encode(members)).hexdigest()


def verify(records: Iterable[Audit], start: AuditHead = EMPTY) -> AuditHead:
    """Check a chain.

    Args:
        records: in order. One that follows itself counts once: a crash may have repeated it.
        start: the head of the records before.

    Returns:
        The head after the last record.

    Raises:
        Rejected: `audit-broken`, with the first record that does not follow from the one before.
    """
    head = start
    for record in records:
        if AuditHead(record.seq, record.hash) == head and digest(record) == record.hash:
            continue
        if record.seq != head.seq + 1:
            _broken(head.seq + 1, f"the record {record.seq} is in its place")
        if record.previous != head.hash:
            _broken(record.seq, "it does not follow from the one before")
        if digest(record) != record.hash:
            _broken(record.seq, "it was changed")
        head = AuditHead(record.seq, record.hash)
    return head


def without_secrets(value: object) -> object:
    """JSON without the members of SECRETS, at any depth."""
    if isinstance(value, Mapping):
        return {name: without_secrets(one) for name, one in value.items() if name not in SECRETS}
    if isinstance(value, list):
        return [without_secrets(one) for one in value]
    return value


def _shown(definitions: Sequence[Definition | None], after: Sequence[Definition]) -> Body | None:
    """One definition's body, or those of several by kind and name."""
    bodies = [None if one is None else one.body for one in definitions]
    shown: object = None
    if len(after) == 1:
        shown = bodies[0]
    elif after:
        shown = {f"{one.kind}/{one.name}": body for one, body in zip(after, bodies, strict=True)}
    return recorded(shown)


def recorded(body: object) -> Body | None:
    """A JSON object as a record holds it: without secrets, and one that is too long by its size and its hash."""
    shown = without_secrets(body)
    if not isinstance(shown, dict):
        return None
    text = _encode(shown)
    if len(text) > MOST_BODY_BYTES:
        return {"bytes": len(text), "sha256": sha256(text).hexdigest()}
    return shown


def _named(command: Command) -> str:
    for member in ("slug", "id", "key", "subject"):
        if isinstance(name := command.body.get(member), str):
            return name[:MOST_TEXT]
    return ""


def _broken(seq: int, why: str) -> None:
    raise Rejected("audit-broken", f"The audit log is broken at record {seq}: {why}.")
