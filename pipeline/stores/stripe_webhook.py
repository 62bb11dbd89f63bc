"""The signature of Stripe's webhooks, by Stripe's own package.

Owns: which signature is taken, and how old or new it may be. Does not own: what an event means
(core.billing.stripe_report). Source: Stripe's documentation, "Verify webhook signatures".
"""

from __future__ import annotations

from collections.abc import Iterable

import stripe

from pipeline.errors import Rejected

TOLERANCE_S = 300


def verify(body: bytes, header: str, secrets: Iterable[str], now_s: int) -> None:
    """Return where one of the secrets signed the body within the last 5 minutes.

    While a secret is rotated, Stripe signs with the old and the new one, and either is enough.

    Args:
        body: as it was received, byte by byte.
        header: `Stripe-Signature`.
        secrets: `whsec_...`; those that may have signed it.
        now_s: seconds since 1970.

    Raises:
        Rejected: `bad-signature`.
    """
    if not header.isascii():  # the package compares ASCII only
        raise Rejected("bad-signature", "The header Stripe-Signature is not ASCII.")
    refusal = "The app has no webhook secret."
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(body, header, secret)
        except (stripe.SignatureVerificationError, UnicodeDecodeError) as error:
            refusal = f"The signature of the webhook is wrong: {str(error)[:200]}."
            continue
        if abs(now_s - _signed_at(header)) <= TOLERANCE_S:
            return
        refusal = f"The webhook was signed more than {TOLERANCE_S} s ago, or in the future."
    raise Rejected("bad-signature", refusal)


def _signed_at(header: str) -> int:
    """The instant of a header that was verified, as the package read it: the first `t`."""
    return int(next(part for part in header.split(",") if part.startswith("t="))[2:])
