"""Which usage is sent to which meter of Stripe, and in what measure.

Owns: what the definition of a mapping holds, what of it is shown. Does not own: deciding stripe-meter.*
(stripe_meter_commands), the meter (metering.meter), the meter at Stripe (stores.stripe_api), the units that are sent
(stripe_units).
"""

from __future__ import annotations

from typing import Literal

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import STRIPE_METER

StripeWindowSize = Literal["HOUR", "DAY"]
HOUR_MS = 3_600_000


class StripeMeter(DefinitionBody, frozen=True, kw_only=True):
    """The mapping of a meter to a meter of Stripe. id: a ULID. Instants are RFC 3339 in UTC with milliseconds.

    Attributes:
        app_id: of the Stripe app.
        meter_slug, meter_id: of the meter, whose aggregation is SUM or COUNT. A meter that was created again under the
            same slug has another id and is another meter.
        event_name: of the meter at Stripe; stripe_meter_id: Stripe's id of it.
        customer_key, value_key: members of the payload, as the meter at Stripe defines them.
        window: of UTC, whose usage is one sum at Stripe.
        multiplier: units of Stripe for one unit of usage; plain decimal text above 0.
        dimensions: {group-by key of the meter: member of the payload}; usage is sent separately for each combination
            of their values.
        from_at: the start of the first window that is sent.
        deleted_at: the mapping has ended, and nothing more is sent.
    """

    kind = STRIPE_METER

    id: str
    app_id: str
    meter_slug: str
    meter_id: str
    event_name: str
    stripe_meter_id: str
    customer_key: str
    value_key: str
    window: StripeWindowSize
    multiplier: str
    dimensions: dict[str, str] | None = None
    from_at: str
    metadata: dict[str, str] | None = None
    created_at: str
    updated_at: str
    deleted_at: str | None = None

    @property
    def shown(self) -> dict[str, object]:
        """Its JSON as answers have it: `fromAt` is `from`."""
        return {"from" if name == "fromAt" else name: value for name, value in self.members.items()}


def window_ms(window: StripeWindowSize) -> int:
    """The length of a window.

    >>> window_ms("HOUR"), window_ms("DAY")
    (3600000, 86400000)
    """
    return HOUR_MS if window == "HOUR" else 24 * HOUR_MS


def window_end_ms(window: StripeWindowSize, at_ms: int) -> int:
    """The end of the window in which an instant lies.

    >>> window_end_ms("HOUR", 3_600_000), window_end_ms("DAY", 1)
    (7200000, 86400000)
    """
    size_ms = window_ms(window)
    return at_ms // size_ms * size_ms + size_ms
