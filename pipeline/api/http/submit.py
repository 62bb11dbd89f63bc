"""From a request to a decided command: who asks, under which idempotency key, and that this process has the result.

Owns: what every changing route does in the same way, the header `Idempotency-Key`. Does not own: sending and waiting
(stores.kafka.commands), rules (core), when two requests are the same (core.definitions.idempotency).
Routes check nothing that the control stage decides, so that refused commands are in the audit log too; what only a
route can check, such as the answer of another system, is checked within `audited`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypedDict, TypeVar

from fastapi import Request

from pipeline.api.http.auth import REPLAYED, namespace_of, principal, request_id
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.services import Services, services_of
from pipeline.core.definitions import idempotency
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.records import Command, Reply
from pipeline.stores.kafka.commands import command_of
from pipeline.stores.kafka.definitions import Definitions

OWN_WRITE_S = 10.0
IDEMPOTENCY_KEY = "idempotency-key"
COMMAND_KIND = "command_kind"  # the member of a request's state with the kind of its command to billing
_KEY = re.compile(r"[ -~]{1,255}", re.ASCII).fullmatch
CommandBody = dict[str, object]
T = TypeVar("T")


def submit(
    request: Request,
    kind: str,
    asked: Mapping[str, object],
    added: Mapping[str, object] | None = None,
    *,
    follows: bool = False,
) -> Reply:
    """The reply to a command in the name of the request's principal, once this process knows its result.

    asked: what the client asks, in path and body: a later request with the same idempotency key has to ask the same.
    added: what the server puts into the command, such as a secret that it made; another one for each request.
    follows: whether it is another command of the same request, after the one that the idempotency key is of.
    Raises Rejected as decided, Unavailable when nothing is decided in time.
    """
    services, key = services_of(request), None if follows else idempotency_key(request)
    reply = services.commands.run(
        kind, namespace_of(request), {**asked, **(added or {})}, **caller(request), **keyed(key, kind, asked)
    )
    if not follows:
        request.scope["state"][REPLAYED] = reply.repeated
    read_own(services, reply.revision)
    return reply


async def change(
    request: Request,
    kind: str,
    asked: Mapping[str, object],
    added: Mapping[str, object] | None = None,
    *,
    everywhere: bool = True,
) -> Reply:
    """As `submit`, from a coroutine, without a thread: for the changes of which many come at once.

    everywhere: whether every running worker that reads definitions has to know it too, so that what comes next meets
    it.
    """
    services, key = services_of(request), idempotency_key(request)
    await loaded(services.definitions)
    await loaded(services.replies)
    command = command_of(
        kind, namespace_of(request), {**asked, **(added or {})}, **caller(request), **keyed(key, kind, asked)
    )
    return await services.bulkheads.changes.wait(partial(_change, request, services, command, everywhere))


async def _change(request: Request, services: Services, command: Command, everywhere: bool) -> Reply:
    commands = services.awaited()
    reply = await commands.run(command)
    request.scope["state"][REPLAYED] = reply.repeated
    if not await commands.read(reply.revision, OWN_WRITE_S):
        raise _not_read(reply.revision)
    if everywhere:
        await commands.until_known(reply.revision)
    return reply


async def submit_in_turn(
    request: Request,
    kind: str,
    asked: Mapping[str, object],
    added: Mapping[str, object] | None = None,
    *,
    follows: bool = False,
) -> Reply:
    """As `submit`, from a route that awaits something else too: the wait for the reply takes a turn of commands."""
    call = partial(submit, request, kind, asked, added, follows=follows)
    return await services_of(request).bulkheads.commands.run(call)


async def audited(request: Request, kind: str, named: Mapping[str, object], checks: Awaitable[T]) -> T:
    """The result of checks that a route makes itself. A refusal gets its entry in the audit log.

    Args:
        request: whose principal asks.
        kind: of the command that would follow.
        named: the members of its body that say what it is about; no secret.
        checks: raise Rejected.

    Raises:
        Rejected: as `checks` do.
        Unavailable: as `checks` do, or the refusal cannot be recorded in time.
    """
    try:
        return await checks
    except Rejected as refusal:
        await services_of(request).bulkheads.commands.run(partial(_record, request, kind, named, refusal))
        raise


@contextmanager
def recorded(request: Request, kind: str, named: Mapping[str, object]) -> Iterator[None]:
    """As `audited`, for checks in a route that runs in a thread."""
    try:
        yield
    except Rejected as refusal:
        _record(request, kind, named, refusal)
        raise


def refusals_recorded(kind: str) -> Callable[[Request], AsyncIterator[None]]:
    """A dependency of a route whose changes another stage than control decides: a refusal gets its entry.

    Args:
        kind: Of the entry, where the route refuses before there is a command (`COMMAND_KIND`).
    """

    async def refusals(request: Request) -> AsyncIterator[None]:
        try:
            yield
        except Rejected as refusal:
            found = request.scope["state"].get(COMMAND_KIND, kind)
            call = partial(_record, request, found, request.path_params, refusal)
            await services_of(request).bulkheads.commands.run(call)
            raise

    return refusals


def _record(request: Request, kind: str, named: Mapping[str, object], refusal: Rejected) -> None:
    with suppress(Rejected):  # it is the one that is recorded
        services_of(request).commands.run(
            kind, namespace_of(request), dict(named), **caller(request), refusal=refusal
        )


class Caller(TypedDict):
    """Who sends a command, as the audit log names them: arguments of Commands.run."""

    actor: str
    request_id: str
    ip: str


def caller(request: Request) -> Caller:
    """Who sends this request."""
    client = request.client
    return Caller(
        actor=principal(request).actor, request_id=request_id(request), ip=client.host if client else ""
    )


class Keyed(TypedDict):
    """By what a command that is sent again is known: arguments of Commands.run."""

    id: str
    request: str


def keyed(key: str | None, kind: str, asked: Mapping[str, object]) -> Keyed:
    """The same for a command that asks the same under the same key; empty without a key."""
    if key is None:
        return Keyed(id="", request="")
    return Keyed(id=idempotency.command_id(key), request=idempotency.request_of(kind, asked))


def idempotency_key(request: Request) -> str | None:
    """The header `Idempotency-Key`; None: there is none. Raises Rejected `bad-idempotency-key`."""
    sent = request.headers.getlist(IDEMPOTENCY_KEY)
    if not sent:
        return None
    if len(sent) > 1 or not _KEY(sent[0]):
        raise Rejected(
            "bad-idempotency-key", "The Idempotency-Key is one header of 1 to 255 printable ASCII characters."
        )
    return sent[0]


def with_id(
    kind: str, body: Mapping[str, object], named: str, stored: Mapping[str, object] | None = None
) -> CommandBody:
    """The body with the id that the path names.

    stored: what the path names, if it has an id that clients send back. Raises Rejected `bad-<kind>` for another id.
    """
    sent = body.get("id")
    if sent not in (None, named) and sent != (stored or {}).get("id"):
        raise Rejected(f"bad-{kind}", f"{kind} id is named by the path: leave it out of the body")
    return {**body, "id": named}


def submit_all(request: Request, asked: Mapping[int, tuple[str, Mapping[str, object]]]) -> list[Reply]:
    """The replies to many commands of one request, once every running worker knows their results.

    asked: kind and body of each, by its place in the request. Each has an idempotency key of its own: that of the
    request with its place. A command that is refused has a reply with `error`. Raises Unavailable when one of them is
    not decided in time.
    """
    services, namespace, who = services_of(request), namespace_of(request), caller(request)
    key = idempotency_key(request)
    keys = {place: None if key is None else f"{key}/{place}" for place in asked}
    commands = [
        command_of(kind, namespace, dict(body), **who, **keyed(keys[place], kind, body))
        for place, (kind, body) in asked.items()
    ]
    replies = services.commands.run_all(commands)
    request.scope["state"][REPLAYED] = bool(replies) and all(reply.repeated for reply in replies)
    revision = max((reply.revision for reply in replies), default=0)
    read_own(services, revision)
    services.commands.until_known(revision)
    return replies


def body_of(reply: Reply) -> CommandBody:
    """What a reply must have brought."""
    if reply.body is None:
        raise Broken(f"The reply to the command {reply.id} has no body.")
    return reply.body


def read_own(services: Services, revision: int) -> None:
    """Returns when this process has read `revision`. Raises Unavailable."""
    if not services.definitions.wait_revision(revision, OWN_WRITE_S):
        raise _not_read(revision)


def _not_read(revision: int) -> Unavailable:
    return Unavailable(
        f"The change holds (revision {revision}), but this process did not read it back in {OWN_WRITE_S:g} s."
    )


def definitions(request: Request) -> Definitions:
    """The definitions, read to their end once. Raises Unavailable."""
    services = services_of(request)
    services.definitions.wait_loaded()
    return services.definitions


async def definitions_loaded(request: Request) -> Definitions:
    """As `definitions`, for a coroutine; no thread waits."""
    found = services_of(request).definitions
    await loaded(found)
    return found
