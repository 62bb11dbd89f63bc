"""Commands, the definitions that they change, their replies and the audit log."""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, omit_defaults=True):
    """`commands`: a change that a caller requests. The control agent decides it and publishes the result on `replies`.

    With `request` it is applied once in 24 hours, however often it is sent: a later command with the same `id` gets the
    same reply if its `request` is the same, and is refused otherwise.
    """

    id: str
    kind: str  # "meter.apply", "customer.create", ...: see schemas/commands.md
    namespace: str
    actor: str  # public id of an API key, or another name
    at_ms: int
    body: dict[str, object]
    request_id: str = ""  # of the HTTP request
    ip: str = ""  # address of the client
    attempt: str = ""  # id of this attempt to send the command; the reply's key
    request: str = ""  # digest of the request; empty: the id is not reused
    error: str = ""  # reason of a refusal before it was published, for the audit log; empty: control decides
    detail: str = ""  # the sentence of that refusal
    applied: str = ""  # id of a command that another stage applied: control only records it, without a reply


class Definition(msgspec.Struct, dict=True):  # `__dict__`: its body as a typed value, see core.definitions
    """`control` (compacted), key `namespace/kind/name`: a current definition. A deleted one has a null `body`."""

    revision: int  # of the whole log; grows by one with each change
    kind: str  # "meter", "customer", "subject", "feature", "key", "portal-token"; others are internal to control
    namespace: str
    name: str  # a meter's slug, a key's public id, otherwise a ULID
    actor: str
    at_ms: int
    body: dict[str, object] | None


class Reply(msgspec.Struct):
    """`replies`, key = the command's `attempt`, or its id.

    error: the reason of a Rejected. detail: its sentence. body: the result; of a refused command further facts.
    """

    id: str
    revision: int
    error: str = ""
    detail: str = ""
    body: dict[str, object] | None = None
    attempt: str = ""  # the command's
    repeated: bool = False  # the command was applied before, and this is the stored reply


class Audit(msgspec.Struct):
    """`audit`: one command and its result, including refused ones. `hash` covers all other fields, with `previous`.

    before, after: the body of the definition that changed; if several changed, their bodies by `kind/name`, and `name`
    is empty. Secrets are left out. A body that is too long is replaced by {"bytes": n, "sha256": hex}.
    """

    seq: int  # from 1, without gaps, over all namespaces
    at_ms: int  # the broker's time of the command
    namespace: str
    actor: str
    kind: str  # the command's
    name: str  # of the definition, or the requested one
    command_id: str
    before: dict[str, object] | None
    after: dict[str, object] | None
    error: str  # the reason of a Rejected; empty: applied
    detail: str
    request_id: str
    ip: str
    previous: str  # the hash of the previous record, 64 hex digits; zeros in the first
    hash: str  # SHA-256 of the record's JSON without `hash`, members sorted by name
