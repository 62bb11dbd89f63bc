"""The commands about webhook endpoints.

Owns: which endpoints may be made, rotation of the secret, deciding endpoint.*. Does not own: what an endpoint is
(endpoint), making a secret and sealing it (the sender of the command: the plaintext never gets here unless nothing is
sealed), where webhooks may go (safe_address: the sender of the command gives the reason in `urlRefusal`, since it
depends on settings), delivery (delivery_table). No reply holds a secret.
"""

from __future__ import annotations

import re

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import ENDPOINT, RULE_ENDPOINT
from pipeline.core.notifications.endpoint import TYPE, Endpoint, PreviousSecret
from pipeline.core.notifications.rule import Rule
from pipeline.core.notifications.standard_webhooks import signing_key
from pipeline.core.values import timestamp
from pipeline.core.values.sealed import PREFIX
from pipeline.errors import Rejected

MAX_URL = 2048
MAX_HEADERS = 20
MAX_SEALED = 1024
OVERLAP_S = 86_400  # how long the previous secret signs too, by default
MOST_OVERLAP_S = 30 * 86_400

_MEMBERS = ("type", "name", "url", "customHeaders", "signingSecret", "disabled", "metadata")
_REFUSAL = "urlRefusal"
_WRITTEN = (
    "id",
    "createdAt",
    "updatedAt",
    "deletedAt",
    "disabledReason",
    "disabledAt",
    "annotations",
    "previousSecret",
)
_URL = re.compile(r"https?://[^\s/?#]+\S*").fullmatch
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}").fullmatch
_HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]*").fullmatch


def create(context: CommandContext) -> Decided:
    """endpoint.create. The secret is needed: the sender of the command makes one, if the user gave none."""
    sent = BodyReader(ENDPOINT, context.asked(_REFUSAL), _MEMBERS, _WRITTEN)
    secret = _secret(sent)
    if secret is None:
        sent.refuse("endpoint signingSecret is required")
    endpoint = _read(context, sent, context.id())
    return _decided(endpoint.changed(signing_secret=secret, created_at=context.now, updated_at=context.now))


def update(context: CommandContext) -> Decided:
    """endpoint.update {id, as for create}: replaces all of it but the secret, which stays unless another is given."""
    old = context.existing(Endpoint)
    sent = BodyReader(ENDPOINT, context.asked("id", _REFUSAL), _MEMBERS, _WRITTEN, old.shown)
    new = _read(context, sent, old.id).changed(created_at=old.created_at)
    new = new.changed(
        signing_secret=old.signing_secret, previous_secret=old.previous_secret, updated_at=old.updated_at
    )
    if new.disabled and old.disabled:
        new = new.changed(disabled_reason=old.disabled_reason, disabled_at=old.disabled_at)
    secret = _secret(sent)
    if secret is not None and secret != old.signing_secret:
        new = _rotated(context, new, secret, OVERLAP_S)
    if new == old:
        return Decided([], old.shown)
    return _decided(new.in_place_of(old).changed(updated_at=context.now))


def rotate(context: CommandContext) -> Decided:
    """endpoint.rotate {id, signingSecret, overlapS?}: both secrets sign until the overlap is over."""
    sent = BodyReader(ENDPOINT, context.asked("id"), ("signingSecret", "overlapS"))
    old, secret = context.existing(Endpoint), _secret(sent)
    if secret is None or secret == old.signing_secret:
        sent.refuse("endpoint signingSecret must be a new one")
    overlap_s = sent.integer("overlapS", 0, MOST_OVERLAP_S)
    rotated = _rotated(context, old, secret, OVERLAP_S if overlap_s is None else overlap_s)
    return _decided(rotated.changed(updated_at=context.now))


def disable(context: CommandContext) -> Decided:
    """endpoint.disable {id, reason}: nothing is sent to it any more. Disabling twice changes nothing."""
    sent = BodyReader(ENDPOINT, context.body, ("id", "reason"))
    old, reason = context.existing(Endpoint), sent.text("reason", 256)
    if old.disabled:
        return Decided([], old.shown)
    return _decided(
        old.changed(disabled=True, disabled_reason=reason, disabled_at=context.now, updated_at=context.now)
    )


def delete(context: CommandContext) -> Decided:
    """endpoint.delete {id}: 409 while a rule sends to it. Its secrets are dropped."""
    old = context.existing(Endpoint)
    for rule in context.index.having(Rule, context.namespace, RULE_ENDPOINT, old.id):
        raise Rejected("endpoint-conflict", f"the rule {rule.name} ({rule.id}) sends to endpoint {old.id}")
    deleted = old.without_secrets().changed(signing_secret="", deleted_at=context.now, updated_at=context.now)
    return _decided(deleted)


def _decided(endpoint: Endpoint) -> Decided:
    return Decided([DefinitionChange(ENDPOINT, endpoint.id, endpoint)], endpoint.shown)


def _rotated(context: CommandContext, endpoint: Endpoint, secret: str, overlap_s: int) -> Endpoint:
    """The endpoint with a new secret, beside which the one before signs for `overlap_s` seconds."""
    until = timestamp.text_of(context.at_ms + 1000 * overlap_s)
    previous = PreviousSecret(endpoint.signing_secret or "", until)
    return endpoint.changed(signing_secret=secret, previous_secret=previous)


def _secret(sent: BodyReader) -> str | None:
    secret = sent.text("signingSecret", MAX_SEALED)
    if secret is not None and not secret.startswith(PREFIX):
        try:
            signing_key(secret)
        except Rejected as refusal:
            sent.refuse(f"endpoint signingSecret is not valid: {refusal.detail}")
    return secret


def _read(context: CommandContext, sent: BodyReader, id: str) -> Endpoint:
    """The endpoint that was sent, without its secret and dates."""
    if sent.text("type", 64) not in (None, TYPE):
        sent.refuse(f"endpoint type must be {TYPE}")
    url = sent.required("url", MAX_URL)
    if not _URL(url):
        sent.refuse("endpoint url must begin with https:// or http:// and name a host")
    if (why := context.body.get(_REFUSAL)) is not None:
        sent.refuse(str(why))
    headers = sent.strings("customHeaders", MAX_HEADERS, 128, 1024)
    for name, value in (headers or {}).items():
        if not _HEADER(name) or not _HEADER_VALUE(value):
            sent.refuse(f"endpoint customHeaders {ascii(name)[:64]} is not a header")
    return Endpoint(
        id=id,
        type=TYPE,
        name=sent.required("name", 256),
        url=url,
        custom_headers=headers or None,
        disabled=sent.flag("disabled") or False,
        metadata=sent.metadata(),
    )
