"""Portal tokens: what a customer's browser may ask, for a short while.

Owns: a token's record and its end, deciding portal-token.*. Does not own: the JWT, which the API signs over this
record's id (as jti), subject, meters and end; nothing here is secret.
"""

from __future__ import annotations

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import TOKEN_SUBJECT
from pipeline.core.values import timestamp
from pipeline.errors import Rejected

KIND = "portal-token"
LIFETIME_S = 3600  # the longest, and the default
CLOCK_SKEW_S = 60  # the API's clock, which asked for the end, may be ahead of the broker's
MAX_SUBJECT = 1024
MAX_METERS = 100
FORGOTTEN_EACH = 2  # ended tokens that go for each new one: more go than come, without a sweep


def create(context: CommandContext) -> Decided:
    """portal-token.create; ended tokens are forgotten on the way."""
    sent = BodyReader(
        KIND, context.body, ("subject", "allowedMeterSlugs", "expiresAt"), ("id", "createdAt", "expired")
    )
    body: Body = {"id": context.id(), "subject": sent.required("subject", MAX_SUBJECT)}
    slugs = sent.texts("allowedMeterSlugs", MAX_METERS, 64)
    if slugs:
        for slug in slugs:
            if context.index.body(context.namespace, "meter", slug) is None:
                sent.refuse(f"meter with slug {slug} does not exist")
        body["allowedMeterSlugs"] = slugs
    latest_ms = context.at_ms + 1000 * LIFETIME_S
    expires_at_ms = sent.instant_ms("expiresAt")
    if expires_at_ms is None:
        expires_at_ms = latest_ms
    if not context.at_ms < expires_at_ms <= latest_ms + 1000 * CLOCK_SKEW_S:
        sent.refuse(f"{KIND} expiresAt must lie in the future, by {LIFETIME_S} s at most")
    body |= {
        "expiresAt": timestamp.text_of(expires_at_ms),
        "createdAt": context.now,
        "updatedAt": context.now,
    }
    forgotten = context.index.ended(context.at_ms, FORGOTTEN_EACH)
    return Decided([DefinitionChange(KIND, str(body["id"]), body)], body, forgotten)


def invalidate(context: CommandContext) -> Decided:
    """portal-token.invalidate: one by its id, or all of a subject; with both, the id's if it is the subject's."""
    sent = BodyReader(KIND, context.body, ("id", "subject"))
    id, subject = sent.text("id", 64), sent.text("subject", MAX_SUBJECT)
    if id is None and subject is None:
        sent.refuse("either id or subject is required")
    ids = [id] if id is not None else context.index.many(context.namespace, TOKEN_SUBJECT, subject or "")
    changes = []
    for one in ids:
        body = context.index.body(context.namespace, KIND, one)
        if body is None or subject not in (None, body["subject"]):
            raise Rejected("not-found", f"There is no portal token {one}.")
        if "invalidatedAt" not in body and timestamp.ms_of(str(body["expiresAt"])) > context.at_ms:
            changes.append(
                DefinitionChange(KIND, one, {**body, "invalidatedAt": context.now, "updatedAt": context.now})
            )
    return Decided(changes, {"invalidated": len(changes)})
