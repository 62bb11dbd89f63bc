"""API keys: who may do what with one, and the commands that make, rotate and revoke them.

Owns: making a key of random bytes, its check, scopes, expiry, deciding key.*. Does not own: how a key is written
(key_text), chance (random bytes are an argument), or where a plaintext goes: it is shown once and never stored.

An API key that creates, rotates or revokes a key needs each scope of that key. Commands that come from no API key
(`--direct`, or auth off) may do all of it. A namespace keeps an admin key.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from pipeline.core.access import key_text
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import KEY
from pipeline.core.values import timestamp
from pipeline.errors import Broken, Rejected

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
OVERLAP_S = 86_400  # how long a rotated key still works, unless the command has another value
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


class ApiKey(DefinitionBody, frozen=True, kw_only=True):
    """A key, revoked and expired ones too: `holds` says whether it opens anything.

    id: its public part, also the definition's name. name: for people. hash: hex SHA-256 of the secret, empty once it is
    revoked. rotated_to: the id of the key that follows it. Instants are RFC 3339 in UTC with milliseconds.
    """

    kind = KEY

    id: str
    namespace: str
    name: str
    scopes: list[str]
    hash: str
    last4: str
    created_at: str | None = None
    updated_at: str | None = None
    expires_at: str | None = None
    rotated_to: str | None = None
    revoked_at: str | None = None

    @cached_property
    def expires_at_ms(self) -> int | None:
        """Its end in ms since 1970; None: it has none."""
        return None if self.expires_at is None else timestamp.ms_of(self.expires_at)

    def holds(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired at `now_ms` (ms since 1970)."""
        return self.revoked_at is None and (self.expires_at_ms is None or now_ms < self.expires_at_ms)

    def allows(self, scope: str) -> bool:
        """Whether it has a scope, itself or by `admin`."""
        return scope in self.scopes or ADMIN in self.scopes

    @property
    def shown(self) -> Body:
        """Its JSON members without the hash, as replies and answers show it."""
        return shown(self.members)


def make(environment: str, random: bytes) -> Made:
    """A new key.

    Args:
        environment: a word of lower-case letters, as `live`.
        random: RANDOM_BYTES random bytes: the caller has the source of chance.

    Raises:
        Rejected: `bad-key` for another environment.
    """
    if len(random) != RANDOM_BYTES:
        raise Broken(f"A key is made of {RANDOM_BYTES} random bytes, not of {len(random)}.")
    public = _base62(int.from_bytes(random[:_PUBLIC_BYTES]), key_text.PUBLIC_LENGTH)
    secret = _base62(int.from_bytes(random[_PUBLIC_BYTES:]), key_text.SECRET_LENGTH)
    return Made(key_text.write(environment, public, secret), public, key_text.digest(secret), secret[-4:])


def parse(text: str) -> ParsedKey:
    """The parts of a key.

    Raises:
        Rejected: `bad-key` if it has another form or a typing error.
    """
    parts = key_text.read(text)
    if parts is None:
        raise Rejected("bad-key", "This is no API key of the form um_<env>_<id>_<secret>_<checksum>.")
    return parts


def check(secret: str, hash: str) -> bool:
    """Whether `hash` is that of `secret`, in constant time. An empty hash (a revoked key's) fits nothing."""
    return hmac.compare_digest(key_text.digest(secret), hash)


def shown(body: Mapping[str, object]) -> Body:
    """A key's JSON members without its hash."""
    return {name: value for name, value in body.items() if name != "hash"}


def create(context: CommandContext) -> Decided:
    """key.create: a new key; the API made its secret, the command has the hash.

    Raises:
        Rejected: `bad-key`; `forbidden` for scopes that the asking key lacks; `key-conflict` for a public id that is
            taken.
    """
    sent = BodyReader(KEY, context.asked("id", "hash", "last4"), ("name", "scopes", "expiresAt"), _WRITTEN)
    public, hash, last4 = _identity(context, "id")
    scopes = sent.texts("scopes", len(SCOPES), 64) or sent.refuse("key scopes are required")
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        sent.refuse(f"there is no scope {unknown[0]!a}; there are {', '.join(SCOPES)}")
    _check_reach(context, scopes)
    name = sent.text("name", 256) or sent.refuse("key name is required")
    expires_at_ms = _expiry(context, sent)
    key = ApiKey(
        id=public,
        namespace=context.namespace,
        name=name,
        scopes=[scope for scope in SCOPES if scope in scopes],
        hash=hash,
        last4=last4,
        created_at=context.now,
        updated_at=context.now,
        expires_at=None if expires_at_ms is None else timestamp.text_of(expires_at_ms),
    )
    return Decided([DefinitionChange(KEY, public, key)], key.shown)


def rotate(context: CommandContext) -> Decided:
    """key.rotate: a new key with the same scopes and end; the old one works for `overlapS` seconds at most.

    Raises:
        Rejected: `bad-key`, `not-found`; `key-conflict` for a key that has ended or was rotated already; `forbidden`.
    """
    sent = BodyReader(KEY, context.asked("id", "newId", "hash", "last4"), ("overlapS",))
    old = _in_force(context)
    _check_reach(context, old.scopes)
    overlap_s = sent.integer("overlapS", 0, MOST_OVERLAP_S)
    public, hash, last4 = _identity(context, "newId")
    end_ms = context.at_ms + 1000 * (OVERLAP_S if overlap_s is None else overlap_s)
    if old.expires_at_ms is not None:
        end_ms = min(end_ms, old.expires_at_ms)
    ending = old.changed(expires_at=timestamp.text_of(end_ms), rotated_to=public, updated_at=context.now)
    new = old.changed(id=public, hash=hash, last4=last4, created_at=context.now, updated_at=context.now)
    changes = [DefinitionChange(KEY, old.id, ending), DefinitionChange(KEY, public, new)]
    return Decided(changes, {"key": new.shown, "old": ending.shown})


def revoke(context: CommandContext) -> Decided:
    """key.revoke {id, force?}: the key opens nothing from now on; its hash is dropped. Revoking twice changes nothing.

    force: revoke even the last admin key; no API key may use it.

    Raises:
        Rejected: `not-found`, `forbidden`; `key-conflict` for the last admin key of a namespace.
    """
    sent = BodyReader(KEY, context.asked("id"), ("force",))
    old, force = _existing(context), sent.flag("force") or False
    _check_reach(context, old.scopes)
    if force and _asking(context) is not None:
        raise Rejected("forbidden", "Only `tallymark keys revoke --direct` may force it.")
    if old.revoked_at is not None:
        return Decided([], old.shown)
    if not force:
        _check_admin_left(context, old)
    revoked = old.changed(hash="", revoked_at=context.now, updated_at=context.now)
    return Decided([DefinitionChange(KEY, old.id, revoked)], revoked.shown)


def _asking(context: CommandContext) -> ApiKey | None:
    """The API key that sent the command; None where none did."""
    return ApiKey.of(context.index.key_definition(context.command.actor))


def _check_reach(context: CommandContext, scopes: Iterable[str]) -> None:
    """The one rule for all verbs. Raises Rejected `forbidden`."""
    asking = _asking(context)
    if asking is None:
        return
    if not asking.holds(context.at_ms):
        raise Rejected("forbidden", f"The key {asking.id}, which asks for it, has ended.")
    if lacking := [scope for scope in scopes if not asking.allows(scope)]:
        raise Rejected(
            "forbidden",
            f"A key can only make, rotate or revoke keys whose scopes it has: this one lacks {lacking[0]}.",
        )


def _check_admin_left(context: CommandContext, revoked: ApiKey) -> None:
    """Raises Rejected `key-conflict` if no other admin key lasts as long as the one that is revoked."""
    if ADMIN not in revoked.scopes or not revoked.holds(context.at_ms):
        return
    others = (key for key in context.index.all(ApiKey, context.namespace) if key.id != revoked.id)
    if not any(ADMIN in key.scopes and key.holds(context.at_ms) and _lasts(key, revoked) for key in others):
        raise Rejected(
            "key-conflict",
            f"The key {revoked.id} is the last admin key of {context.namespace} that lasts so long: create another one "
            f"first. `tallymark keys revoke {revoked.id} --direct --force` revokes it all the same.",
        )


def _lasts(key: ApiKey, revoked: ApiKey) -> bool:
    """Whether a key ends no sooner than the one that is revoked."""
    if key.expires_at_ms is None or revoked.expires_at_ms is None:
        return key.expires_at_ms is None
    return key.expires_at_ms >= revoked.expires_at_ms


def _identity(context: CommandContext, member: str) -> tuple[str, str, str]:
    """The public id, hash and last characters of a key that the sender of the command has made."""
    members = (member, "hash", "last4")
    sent = BodyReader(KEY, {name: context.body.get(name) for name in members}, members)
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


def _existing(context: CommandContext) -> ApiKey:
    """The key that the body's `id` names, ended ones too."""
    public = BodyReader(KEY, {"id": context.body.get("id")}, ("id",)).text("id", 64) or ""
    key = context.index.find(ApiKey, context.namespace, public)
    if key is None:
        raise Rejected("not-found", f"There is no key {public}.")
    return key


def _in_force(context: CommandContext) -> ApiKey:
    """As `_existing`; one that has ended or was rotated is a conflict."""
    key = _existing(context)
    if not key.holds(context.at_ms):
        raise Rejected("key-conflict", f"The key {key.id} has ended: create a new one.")
    if key.rotated_to is not None:
        raise Rejected("key-conflict", f"The key {key.id} was rotated already, to {key.rotated_to}.")
    return key


def _base62(number: int, digits: int) -> str:
    """The last `digits` base-62 digits of `number`, with zeros in front."""
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, len(key_text.ALPHABET))
        text = key_text.ALPHABET[digit] + text
    return text
