"""The sandbox app: an invoicing system that does everything at once, so that no account is needed to try billing.

Owns: its answers. Does not own: what they do (machine, payment). The metadata of an invoice decides how its payment
ends: `openmeter.io/sandbox/target-payment-status` is paid, failed, uncollectible or action_required.
Source: openmeterio/openmeter at 7e57a394, `openmeter/app/sandbox/app.go`: anything else is paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeline.core.invoices.payment_fact import FactTrigger, PaymentFact
from pipeline.core.invoices.progress import EffectAnswer, InvoiceIntent
from pipeline.core.invoices.workflow import CollectionMethod

TARGET: Final = "openmeter.io/sandbox/target-payment-status"
_TARGETS: Final[Mapping[str, FactTrigger]] = {
    "failed": "payment_failed",
    "uncollectible": "uncollectible",
    "action_required": "action_required",
}


def answer_of(intent: InvoiceIntent) -> EffectAnswer | None:
    """The answer to an intent for the app; None for one that it does not answer."""
    if intent.effect not in ("sync_draft", "finalize", "sync_delete"):
        return None
    return EffectAnswer(sequence=intent.sequence, effect=intent.effect)


def payment_of(
    intent: InvoiceIntent,
    metadata: Mapping[str, str] | None,
    method: CollectionMethod = "charge_automatically",
) -> PaymentFact | None:
    """How the payment ends that an intent begins; None for another intent, and for a payment that is awaited.

    Args:
        metadata: of the invoice.
        method: of the invoice's settings. With send_invoice only the metadata ends a payment.
    """
    target = (metadata or {}).get(TARGET)
    if intent.effect != "collect_payment" or (target is None and method == "send_invoice"):
        return None
    return PaymentFact(_TARGETS.get(target or "", "paid"), intent.at_s * 1000)
