"""Idempotency keys: a change that is sent again under its key is done once, and another change under it is refused.

Owns: when two requests are the same, what the second one is answered, how long a key holds. Does not own: the header
(api.http.submit), where answers are kept (agents.control_answers).

The rules are those of draft-ietf-httpapi-idempotency-key-header and of Stripe: a key is one of its namespace, whatever
API key or process sends it. It holds for KEPT_MS by the broker's time of the commands. A refused request changed
nothing, so it leaves its key unused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b

import msgspec

from pipeline.errors import Broken, Rejected
from pipeline.records import Command, Reply

KEPT_MS = 86_400_000
REUSED = "idempotency-key-reused"
DIGEST_BYTES = 16

_encode = msgspec.json.Encoder(order="deterministic").encode


class DoneCommand(msgspec.Struct, array_like=True, frozen=True):
    """A command that was done under a key: when, its offset in `commands`, its request and its reply."""

    at_ms: int
    offset: int
    request: str
    reply: Reply


def command_id(key: str) -> str:
    """The id of every command that is sent under a key."""
    return "key-" + blake2b(key.encode(), digest_size=DIGEST_BYTES).hexdigest()


def request_of(kind: str, body: Mapping[str, object]) -> str:
    """What a command asks, as a digest: equal for equal JSON values, where 50, 50.0 and 5e1 are one number.

    body: as the client sent it, without what the server adds. Raises Rejected `bad-request` for one nested too deeply.
    """
    try:
        text = _encode([kind, _comparable(body)])
    except RecursionError:
        raise Rejected("bad-request", "The body is nested too deeply.") from None
    return blake2b(text, digest_size=DIGEST_BYTES).hexdigest()


def holds(done: DoneCommand, offset: int, at_ms: int) -> bool:
    """Whether the command at `offset`, which the broker had at `at_ms`, comes after `done` and while its key holds.

    One at the same offset is that command itself, read again.
    """
    return done.offset < offset and at_ms - done.at_ms < KEPT_MS


def repeated(done: DoneCommand, command: Command) -> Reply:
    """The first answer again. Raises Rejected `idempotency-key-reused` for a command that asks for something else."""
    if command.request != done.request:
        raise Rejected(
            REUSED,
            "This Idempotency-Key was used for another request. A key is for one request and its retries; "
            f"it holds for {KEPT_MS // 3_600_000} hours.",
        )
    return msgspec.structs.replace(done.reply, attempt=command.attempt, repeated=True)


def _comparable(value: object) -> object:
    """A JSON value with each number in one spelling."""
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(name): _comparable(one) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_comparable(one) for one in value]
    if isinstance(value, int):
        return msgspec.Raw(_spelled(Decimal(value)).encode())
    if isinstance(value, float | Decimal):
        return msgspec.Raw(_spelled(Decimal(str(value))).encode())
    raise Broken(f"A request's body holds a {type(value).__name__}.")


def _spelled(number: Decimal) -> str:
    """Sign, digits without zeros at either end, exponent; no context rounds it."""
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return f'"{number}"'  # no JSON number: a lenient reader's NaN or Infinity
    text = "".join(map(str, digits)).lstrip("0")
    short = text.rstrip("0")
    if not short:
        return "0"
    return f"{'-' if sign else ''}{short}E{exponent + len(text) - len(short)}"
