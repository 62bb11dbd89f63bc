"""Endpoints: where webhooks go and what they are signed with. OpenMeter calls them channels.

Owns: the rules of a definition, rotation of the secret, deciding endpoint.*. Does not own: making a secret and sealing
it (who sends the command: the plaintext never gets here unless nothing is sealed), where webhooks may go (safe_address:
who sends the command says in `urlRefusal` why not, since it depends on settings), delivery (delivery_table).

    {id, type: "WEBHOOK", name, url, customHeaders?, signingSecret, previousSecret? {secret, until}, disabled,
     disabledReason?, disabledAt?, metadata?, createdAt, updatedAt, deletedAt?}
No reply holds a secret.
"""

from __future__ import annotations

import re

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import ENDPOINT, RULE, RULE_ENDPOINT
from pipeline.core.notifications.standard_webhooks import signing_key
from pipeline.core.values import timestamp
from pipeline.core.values.sealed import PREFIX
from pipeline.errors import Rejected

TYPE = "WEBHOOK"
MAX_URL = 2048
MAX_HEADERS = 20
MAX_SEALED = 1024
OVERLAP_S = 86_400  # how long the secret before signs along, unless the command says otherwise
MOST_OVERLAP_S = 30 * 86_400
SECRETS = ("signingSecret", "previousSecret")

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


def place(namespace: str) -> str:
    """What the sealed secrets of a namespace's endpoints are bound to."""
    return f"{namespace}/{ENDPOINT}"


def shown(body: Body) -> Body:
    """An endpoint without its secrets, for everybody's eyes."""
    return {name: value for name, value in body.items() if name not in SECRETS}


def create(context: CommandContext) -> Decided:
    """endpoint.create. The secret is needed: who sends the command makes one, if the user gave none."""
    sent = BodyReader(ENDPOINT, context.asked(_REFUSAL), _MEMBERS, _WRITTEN)
    secret = _secret(sent)
    if secret is None:
        sent.refuse("endpoint signingSecret is required")
    id = context.id()
    body = {
        "id": id,
        **_read(context, sent),
        "signingSecret": secret,
        "createdAt": context.now,
        "updatedAt": context.now,
    }
    return Decided([DefinitionChange(ENDPOINT, id, body)], shown(body))


def update(context: CommandContext) -> Decided:
    """endpoint.update {id, as for create}: replaces all of it but the secret, which stays unless another is given."""
    old = context.living(ENDPOINT)
    sent = BodyReader(ENDPOINT, context.asked("id", _REFUSAL), _MEMBERS, _WRITTEN, shown(old))
    kept = {name: old[name] for name in ("createdAt", *SECRETS) if name in old}
    body = {"id": old["id"], **_read(context, sent), **kept, "updatedAt": old["updatedAt"]}
    if body["disabled"] and old["disabled"]:
        body |= {name: old[name] for name in ("disabledReason", "disabledAt") if name in old}
    secret = _secret(sent)
    if secret is not None and secret != old["signingSecret"]:
        body |= _turned(context, old, secret, OVERLAP_S)
    if body == old:
        return Decided([], shown(old))
    body["updatedAt"] = context.now
    return Decided([DefinitionChange(ENDPOINT, str(old["id"]), body)], shown(body))


def rotate(context: CommandContext) -> Decided:
    """endpoint.rotate {id, signingSecret, overlapS?}: both secrets sign until the overlap is over."""
    sent = BodyReader(ENDPOINT, context.asked("id"), ("signingSecret", "overlapS"))
    old, secret = context.living(ENDPOINT), _secret(sent)
    if secret is None or secret == old["signingSecret"]:
        sent.refuse("endpoint signingSecret must be a new one")
    overlap_s = sent.integer("overlapS", 0, MOST_OVERLAP_S)
    body = {
        **old,
        **_turned(context, old, secret, OVERLAP_S if overlap_s is None else overlap_s),
        "updatedAt": context.now,
    }
    return Decided([DefinitionChange(ENDPOINT, str(old["id"]), body)], shown(body))


def disable(context: CommandContext) -> Decided:
    """endpoint.disable {id, reason}: nothing is sent to it any more. Disabling twice changes nothing."""
    sent = BodyReader(ENDPOINT, context.body, ("id", "reason"))
    old, reason = context.living(ENDPOINT), sent.text("reason", 256)
    if old["disabled"]:
        return Decided([], shown(old))
    body = {
        **old,
        "disabled": True,
        "disabledReason": reason,
        "disabledAt": context.now,
        "updatedAt": context.now,
    }
    body = {name: value for name, value in body.items() if value is not None}
    return Decided([DefinitionChange(ENDPOINT, str(old["id"]), body)], shown(body))


def delete(context: CommandContext) -> Decided:
    """endpoint.delete {id}: 409 while a rule sends to it. Its secrets are dropped."""
    old = context.living(ENDPOINT)
    id = str(old["id"])
    for name in context.index.many(context.namespace, RULE_ENDPOINT, id):
        rule = context.index.body(context.namespace, RULE, name)
        if rule is not None:
            raise Rejected("endpoint-conflict", f"the rule {rule['name']} ({name}) sends to endpoint {id}")
    body = {**shown(old), "signingSecret": "", "deletedAt": context.now, "updatedAt": context.now}
    return Decided([DefinitionChange(ENDPOINT, id, body)], shown(body))


def _turned(context: CommandContext, old: Body, secret: str, overlap_s: int) -> Body:
    until = timestamp.text_of(context.at_ms + 1000 * overlap_s)
    return {"signingSecret": secret, "previousSecret": {"secret": old["signingSecret"], "until": until}}


def _secret(sent: BodyReader) -> str | None:
    secret = sent.text("signingSecret", MAX_SEALED)
    if secret is not None and not secret.startswith(PREFIX):
        try:
            signing_key(secret)
        except Rejected as refusal:
            sent.refuse(f"endpoint signingSecret is not valid: {refusal.detail}")
    return secret


def _read(context: CommandContext, sent: BodyReader) -> Body:
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
    found: Body = {
        "type": TYPE,
        "name": sent.required("name", 256),
        "url": url,
        "customHeaders": headers or None,
        "disabled": sent.flag("disabled") or False,
        "metadata": sent.metadata(),
    }
    return {name: value for name, value in found.items() if value is not None}
