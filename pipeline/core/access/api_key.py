"""API keys: who may do what with one, and the commands that make, rotate and revoke them.

Owns: making a key of random bytes, its check, scopes, expiry, deciding key.*. Does not own: how a key is written
(key_text), chance (random bytes are an argument), or where a plaintext goes: it is shown once and never stored.

Whoever makes, rotates or revokes a key with an API key needs each scope that the key has, on that API key. Commands
that come from no API key (`--direct`, or auth off) may do all of it. A namespace keeps an admin key.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import msgspec

from pipeline.core.access import key_text
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.values import timestamp
from pipeline.errors import Broken, Rejected
from pipeline.records import Definition

KIND = "key"
ADMIN = "admin"  # holds every other scope
SCOPES = (
    "ingest",
    "query",
    "meters:write",
    "customers:write",
    "entitlements:write",
    "webhooks:write",
    "billing:write",
    "keys:write",
    "audit:read",
    ADMIN,
)
RANDOM_BYTES = 38  # 6 for the public part, 32 for the secret
OVERLAP_S = 86_400  # how long a rotated key goes on, unless the command says otherwise
MOST_OVERLAP_S = 30 * 86_400

ParsedKey = key_text.KeyText  # what `parse` gives
_WRITTEN = ("namespace", "createdAt", "updatedAt", "revokedAt", "rotatedTo")
_PUBLIC_BYTES = 6
_PUBLIC_ID = re.compile(rf"[0-9A-Za-z]{{{key_text.PUBLIC_LENGTH}}}", re.ASCII).fullmatch
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
_LAST4 = re.compile(r"[0-9A-Za-z]{4}", re.ASCII).fullmatch


class Made(NamedTuple):
    """A new key: `text` is for its owner alone, the others for the command `key.create`."""

    text: str
    public: str
    hash: str
    last4: str

    def __repr__(self) -> str:
        return f"Made({self.public}, ***{self.last4})"


class ApiKey(msgspec.Struct, frozen=True):
    """A key on the log, revoked and expired ones too: `holds` says whether it opens anything."""

    public: str
    namespace: str
    name: str
    scopes: frozenset[str]
    hash: str  # hex SHA-256 of the secret; empty when revoked
    last4: str
    expires_at_ms: int | None
    revoked: bool

    def holds(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired at `now_ms`."""
        return not self.revoked and (self.expires_at_ms is None or now_ms < self.expires_at_ms)

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or ADMIN in self.scopes


def make(environment: str, random: bytes) -> Made:
    """The key that these RANDOM_BYTES random bytes are. Raises Rejected `bad-key` for a wrong environment."""
    if len(random) != RANDOM_BYTES:
        raise Broken(f"A key is made of {RANDOM_BYTES} random bytes, not of {len(random)}.")
    public = _base62(int.from_bytes(random[:_PUBLIC_BYTES]), key_text.PUBLIC_LENGTH)
    secret = _base62(int.from_bytes(random[_PUBLIC_BYTES:]), key_text.SECRET_LENGTH)
    return Made(key_text.write(environment, public, secret), public, key_text.digest(secret), secret[-4:])


def parse(text: str) -> ParsedKey:
    """The parts of a key. Raises Rejected `bad-key` if it has another form or a typing error."""
    found = key_text.read(text)
    if found is None:
        raise Rejected("bad-key", "This is no API key of the form um_<env>_<id>_<secret>_<checksum>.")
    return found


def check(secret: str, hash: str) -> bool:
    """Whether `hash` is that of `secret`, in constant time. An empty hash (a revoked key's) fits nothing."""
    return hmac.compare_digest(key_text.digest(secret), hash)


def key_of(definition: Definition | None) -> ApiKey | None:
    """The key that a definition on the log holds; None for another kind or none at all."""
    if definition is None or definition.kind != KIND or definition.body is None:
        return None
    body = definition.body
    scopes, expires_at = body["scopes"], body.get("expiresAt")
    if not isinstance(scopes, list):
        raise Broken(f"The definition of the key {definition.name} has no scopes.")
    return ApiKey(
        public=definition.name,
        namespace=definition.namespace,
        name=str(body["name"]),
        scopes=frozenset(scopes),
        hash=str(body["hash"]),
        last4=str(body["last4"]),
        expires_at_ms=None if expires_at is None else timestamp.ms_of(str(expires_at)),
        revoked="revokedAt" in body,
    )


def shown(body: Mapping[str, object]) -> Body:
    """A key's body without its hash, for everybody's eyes."""
    return {name: value for name, value in body.items() if name != "hash"}


def create(context: CommandContext) -> Decided:
    """key.create: the API made the secret; the command knows its hash."""
    sent = BodyReader(KIND, context.asked("id", "hash", "last4"), ("name", "scopes", "expiresAt"), _WRITTEN)
    public, hash, last4 = _identity(context, "id")
    scopes = sent.texts("scopes", len(SCOPES), 64) or sent.refuse("key scopes are required")
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        sent.refuse(f"there is no scope {unknown[0]!a}; there are {', '.join(SCOPES)}")
    _check_reach(context, scopes)
    body: Body = {
        "id": public,
        "namespace": context.namespace,
        "name": sent.text("name", 256) or sent.refuse("key name is required"),
        "scopes": [scope for scope in SCOPES if scope in scopes],
        "hash": hash,
        "last4": last4,
        "createdAt": context.now,
        "updatedAt": context.now,
    }
    if (expires_at_ms := _expiry(context, sent)) is not None:
        body["expiresAt"] = timestamp.text_of(expires_at_ms)
    return Decided([DefinitionChange(KIND, public, body)], shown(body))


def rotate(context: CommandContext) -> Decided:
    """key.rotate: a new key with the same rights and end; the old one goes on for `overlapS` at most."""
    sent = BodyReader(KIND, context.asked("id", "newId", "hash", "last4"), ("overlapS",))
    old = _living(context)
    _check_reach(context, _scopes_of(old))
    overlap_s = sent.integer("overlapS", 0, MOST_OVERLAP_S)
    public, hash, last4 = _identity(context, "newId")
    end_ms = context.at_ms + 1000 * (OVERLAP_S if overlap_s is None else overlap_s)
    if (expires_at := old.get("expiresAt")) is not None:
        end_ms = min(end_ms, timestamp.ms_of(str(expires_at)))
    ending = {**old, "expiresAt": timestamp.text_of(end_ms), "rotatedTo": public, "updatedAt": context.now}
    new = {
        **old,
        "id": public,
        "hash": hash,
        "last4": last4,
        "createdAt": context.now,
        "updatedAt": context.now,
    }
    changes = [DefinitionChange(KIND, str(old["id"]), ending), DefinitionChange(KIND, public, new)]
    return Decided(changes, {"key": shown(new), "old": shown(ending)})


def revoke(context: CommandContext) -> Decided:
    """key.revoke {id, force?}: it opens nothing any more; its hash is dropped. Revoking twice changes nothing.

    409 for the last admin key of a namespace, but for `force`, which no API key may use.
    """
    sent = BodyReader(KIND, context.asked("id"), ("force",))
    old, force = _found(context), sent.flag("force") or False
    _check_reach(context, _scopes_of(old))
    if force and _asking(context) is not None:
        raise Rejected("forbidden", "Only `tallymark keys revoke --direct` may force it.")
    if "revokedAt" in old:
        return Decided([], shown(old))
    if not force:
        _check_admin_left(context, str(old["id"]))
    body = {**old, "hash": "", "revokedAt": context.now, "updatedAt": context.now}
    return Decided([DefinitionChange(KIND, str(old["id"]), body)], shown(body))


def _asking(context: CommandContext) -> ApiKey | None:
    """The API key that sent the command; None where none did."""
    return key_of(context.index.key_definition(context.command.actor))


def _check_reach(context: CommandContext, scopes: Iterable[str]) -> None:
    """The one rule for all verbs. Raises Rejected `forbidden`."""
    asking = _asking(context)
    if asking is None:
        return
    if not asking.holds(context.at_ms):
        raise Rejected("forbidden", f"The key {asking.public}, which asks for it, has ended.")
    if lacking := [scope for scope in scopes if not asking.allows(scope)]:
        raise Rejected(
            "forbidden",
            f"A key can only make, rotate or revoke keys whose scopes it has: this one lacks {lacking[0]}.",
        )


def _check_admin_left(context: CommandContext, public: str) -> None:
    """Raises Rejected `key-conflict` if no other admin key lasts as long as this one, which is to go."""
    bodies = (
        context.index.get(context.namespace, KIND, name)
        for name in context.index.names(context.namespace, KIND)
    )
    admins = {
        key.public: key
        for body in bodies
        if (key := key_of(body)) is not None and ADMIN in key.scopes and key.holds(context.at_ms)
    }
    going = admins.pop(public, None)
    if going is not None and not any(_lasts(key, going) for key in admins.values()):
        raise Rejected(
            "key-conflict",
            f"The key {public} is the last admin key of {context.namespace} that lasts so long: create another one "
            f"first. `tallymark keys revoke {public} --direct --force` revokes it all the same.",
        )


def _lasts(key: ApiKey, going: ApiKey) -> bool:
    """Whether a key ends no sooner than the one that goes."""
    if key.expires_at_ms is None or going.expires_at_ms is None:
        return key.expires_at_ms is None
    return key.expires_at_ms >= going.expires_at_ms


def _scopes_of(body: Body) -> list[str]:
    return [str(scope) for scope in cast(list[object], body["scopes"])]


def _identity(context: CommandContext, member: str) -> tuple[str, str, str]:
    """The public id, hash and last characters of a key that the sender of the command has made."""
    members = (member, "hash", "last4")
    sent = BodyReader(KIND, {name: context.body.get(name) for name in members}, members)
    public, hash, last4 = (sent.text(name, 64) or "" for name in (member, "hash", "last4"))
    if not _PUBLIC_ID(public):
        sent.refuse(f"key {member} must be {key_text.PUBLIC_LENGTH} letters and digits")
    if not _HASH(hash) or not _LAST4(last4):
        sent.refuse("key hash must be the 64 hex digits of the secret's SHA-256, last4 its last characters")
    if context.index.key_definition(public) is not None:
        raise Rejected("key-conflict", f"There is a key {public} already: make another one.")
    return public, hash, last4


def _expiry(context: CommandContext, sent: BodyReader) -> int | None:
    expires_at_ms = sent.instant_ms("expiresAt")
    if expires_at_ms is not None and expires_at_ms <= context.at_ms:
        sent.refuse("key expiresAt must lie in the future")
    return expires_at_ms


def _found(context: CommandContext) -> Body:
    public = BodyReader(KIND, {"id": context.body.get("id")}, ("id",)).text("id", 64) or ""
    body = context.index.body(context.namespace, KIND, public)
    if body is None:
        raise Rejected("not-found", f"There is no key {public}.")
    return body


def _living(context: CommandContext) -> Body:
    body = _found(context)
    key = key_of(context.index.get(context.namespace, KIND, str(body["id"])))
    if key is None or not key.holds(context.at_ms):
        raise Rejected("key-conflict", f"The key {body['id']} has ended: create a new one.")
    if "rotatedTo" in body:
        raise Rejected("key-conflict", f"The key {body['id']} was rotated already, to {body['rotatedTo']}.")
    return body


def _base62(number: int, digits: int) -> str:
    """The last `digits` base-62 digits of `number`, with zeros in front."""
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, len(key_text.ALPHABET))
        text = key_text.ALPHABET[digit] + text
    return text
