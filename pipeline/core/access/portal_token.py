"""Portal tokens: what a customer's browser may ask, for a short while.

Owns: a token's record and its end, deciding portal-token.*. Does not own: the JWT, which the API signs over this
record's id (as jti), subject, meters and end; nothing here is secret.
"""

from __future__ import annotations

from functools import cached_property

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import METER, PORTAL_TOKEN, TOKEN_SUBJECT
from pipeline.core.values import timestamp
from pipeline.errors import Rejected

LIFETIME_S = 3600  # the longest, and the default
CLOCK_SKEW_S = 60  # the API's clock, which asked for the end, may be ahead of the broker's
MAX_SUBJECT = 1024
MAX_METERS = 100
FORGOTTEN_EACH = 2  # ended tokens that go for each new one: more go than come, without a sweep


class PortalToken(DefinitionBody, frozen=True, kw_only=True):
    """A portal token, ended and invalidated ones too. id: a ULID, the JWT's `jti`. subject: whose usage it reads.

    allowed_meter_slugs: None: all meters. Instants are RFC 3339 in UTC with milliseconds.
    """

    kind = PORTAL_TOKEN

    id: str
    subject: str
    allowed_meter_slugs: list[str] | None = None
    expires_at: str
    created_at: str
    updated_at: str
    invalidated_at: str | None = None

    @cached_property
    def expires_at_ms(self) -> int:
        """Its end in ms since 1970."""
        return timestamp.ms_of(self.expires_at)

    def holds(self, now_ms: int) -> bool:
        """Whether it is neither invalidated nor expired at `now_ms` (ms since 1970)."""
        return self.invalidated_at is None and now_ms < self.expires_at_ms


def create(context: CommandContext) -> Decided:
    """portal-token.create: a new token; a few that have ended are forgotten with it.

    Raises:
        Rejected: `bad-portal-token`.
    """
    sent = BodyReader(
        PORTAL_TOKEN,
        context.body,
        ("subject", "allowedMeterSlugs", "expiresAt"),
        ("id", "createdAt", "expired"),
    )
    subject = sent.required("subject", MAX_SUBJECT)
    slugs = sent.texts("allowedMeterSlugs", MAX_METERS, 64) or None
    for slug in slugs or ():
        if context.index.body(context.namespace, METER, slug) is None:
            sent.refuse(f"meter with slug {slug} does not exist")
    latest_ms = context.at_ms + 1000 * LIFETIME_S
    expires_at_ms = sent.instant_ms("expiresAt")
    if expires_at_ms is None:
        expires_at_ms = latest_ms
    if not context.at_ms < expires_at_ms <= latest_ms + 1000 * CLOCK_SKEW_S:
        sent.refuse(f"{PORTAL_TOKEN} expiresAt must lie in the future, by {LIFETIME_S} s at most")
    token = PortalToken(
        id=context.id(),
        subject=subject,
        allowed_meter_slugs=slugs,
        expires_at=timestamp.text_of(expires_at_ms),
        created_at=context.now,
        updated_at=context.now,
    )
    forgotten = context.index.ended(context.at_ms, FORGOTTEN_EACH)
    return Decided([DefinitionChange(PORTAL_TOKEN, token.id, token)], token.members, forgotten)


def invalidate(context: CommandContext) -> Decided:
    """portal-token.invalidate: one by its id, or all of a subject; with both, the id's if it is the subject's.

    Raises:
        Rejected: `bad-portal-token`, `not-found`.
    """
    sent = BodyReader(PORTAL_TOKEN, context.body, ("id", "subject"))
    id, subject = sent.text("id", 64), sent.text("subject", MAX_SUBJECT)
    if id is None and subject is None:
        sent.refuse("either id or subject is required")
    ids = [id] if id is not None else context.index.many(context.namespace, TOKEN_SUBJECT, subject or "")
    changes = []
    for one in ids:
        token = context.index.find(PortalToken, context.namespace, one)
        if token is None or subject not in (None, token.subject):
            raise Rejected("not-found", f"There is no portal token {one}.")
        if token.holds(context.at_ms):
            invalidated = token.changed(invalidated_at=context.now, updated_at=context.now)
            changes.append(DefinitionChange(PORTAL_TOKEN, one, invalidated))
    return Decided(changes, {"invalidated": len(changes)})
