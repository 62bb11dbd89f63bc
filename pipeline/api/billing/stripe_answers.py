"""Answers about usage at Stripe, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (stripe_drift, stripe_status, stripe_retry,
stripe_webhook).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pipeline.api.http.members import Instant, Ulid
from pipeline.core.billing.stripe_drift import Drift

Plain = Annotated[str, Meta(description="plain decimal text, exact")]
Units = Annotated[str, Meta(description="units of Stripe, plain decimal text, exact")]


class DriftCauseAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a difference."""

    cause: Drift
    difference: Units
    detail: Annotated[str, Meta(description="a sentence, with Stripe's own message where there is one")]


class DriftItem(msgspec.Struct, forbid_unknown_fields=True):
    """A window of a customer and meter whose counts differ."""

    customerId: Ulid
    customerKey: Annotated[str | None, Meta(description="null: it has none, or was deleted")]
    stripeCustomerId: Annotated[str | None, Meta(description="null: the customer has no id at Stripe")]
    appId: Ulid
    mappingId: Ulid
    meter: Annotated[str, Meta(description="slug")]
    stripeMeterId: str
    start: Instant
    end: Instant
    counted: Annotated[str, Meta(description="usage by the stored events, plain decimal text, exact")]
    exact: Annotated[str, Meta(description="usage that was to be sent, plain decimal text, exact")]
    wanted: Units
    confirmed: Annotated[str, Meta(description="units that Stripe has confirmed")]
    pending: Annotated[str, Meta(description="units of requests in progress")]
    unsendable: Annotated[str, Meta(description="units that Stripe does not take")]
    stripe: Annotated[str | None, Meta(description="units by Stripe's summaries; null: not read")]
    difference: Annotated[
        str, Meta(description="`stripe` less `counted` times the multiplier; the causes sum to it")
    ]
    causes: list[DriftCauseAnswer]


class UnreadStripe(msgspec.Struct, forbid_unknown_fields=True):
    """A customer and meter that could not be compared."""

    customerId: Ulid
    appId: Ulid
    meter: Annotated[str, Meta(description="slug")]
    detail: Annotated[str, Meta(description="Stripe's own message")]


class DriftAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """One page of customers, with their windows that differ."""

    ok: Annotated[
        bool, Meta(description="everything on this page was compared, and each difference has a cause")
    ]
    from_: Instant = msgspec.field(name="from")
    to: Instant
    totalCount: Annotated[int, Meta(ge=0, description="customers of all pages")]
    page: Annotated[int, Meta(ge=1, description="from 1")]
    pageSize: Annotated[int, Meta(ge=1, description="most customers of a page")]
    windows: Annotated[int, Meta(ge=0, description="windows that were compared")]
    causes: Annotated[dict[str, int], Meta(description="number of windows by cause")]
    items: list[DriftItem]
    unread: list[UnreadStripe]


class StripeAppStatus(msgspec.Struct, forbid_unknown_fields=True):
    """One app."""

    appId: Ulid
    name: str
    status: Annotated[
        str, Meta(description="`ready`, or `unauthorized`: its key was refused and nothing is sent")
    ]
    detail: Annotated[
        str, Meta(description="Stripe's own message where the key was refused; empty otherwise")
    ]
    stripeAccountId: str
    livemode: bool
    maskedAPIKey: str
    mappings: Annotated[int, Meta(ge=0, description="mappings of meters in force")]
    waitingWindows: Annotated[
        int, Meta(ge=0, description="windows that Stripe does not have as they are wanted")
    ]
    oldestWaiting: Annotated[
        Instant | None, Meta(description="start of the oldest of them; null: there is none")
    ]
    pendingUnits: Annotated[str, Meta(description="units of requests in progress")]
    unsendableUnits: Annotated[dict[str, str], Meta(description="units that Stripe did not take, by cause")]
    messages: Annotated[list[str], Meta(description="Stripe's newest messages about them, at most 5")]


class StripeStatusAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The sync of usage with Stripe, of the key's namespace."""

    lag: Annotated[int | None, Meta(description="records that stripe-sync has not read yet; null: unknown")]
    requests: Annotated[dict[str, int], Meta(description="calls of Stripe since the beginning, by outcome")]
    reports: Annotated[int, Meta(ge=0, description="error reports that Stripe sent in the last 40 days")]
    apps: list[StripeAppStatus]


class WebhookReceived(msgspec.Struct, forbid_unknown_fields=True):
    received: Annotated[bool, Meta(description="whether the event was of a kind that is kept")]


class StripeRetried(msgspec.Struct, forbid_unknown_fields=True):
    """What a mapping has of the customer that Stripe did not take."""

    appId: Ulid
    mappingId: Ulid
    meter: Annotated[str, Meta(description="slug")]
    refusedWindows: Annotated[int, Meta(ge=0, description="windows that are sent again")]
    refusedUnits: Annotated[str, Meta(description="units of Stripe in them")]
    blockedWindows: Annotated[int, Meta(ge=0, description="windows that are sent again only with `accept`")]
    blockedUnits: Annotated[str, Meta(description="units of Stripe in them whose outcome is unknown")]


class StripeRetryAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What will be tried, by mapping."""

    customerId: Ulid
    accept: Annotated[Literal["stripe"] | None, Meta(description="as in the request; null: it had none")]
    items: list[StripeRetried]
