"""Plans that clients send, read member by member.

Owns: which members a plan and a phase have and their form. Does not own: rules that have a code (plan_validation): a
value that breaks one of these is read as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import msgspec

from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.iso_duration import read_duration
from pipeline.core.catalog.plan import (
    Plan,
    PlanAlignment,
    PlanPhase,
    ProRatingConfig,
    ProRatingMode,
    SettlementMode,
)
from pipeline.core.catalog.rate_card_reading import MOST_DESCRIPTION, MOST_KEY, MOST_NAME, read_rate_cards
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.kinds import PLAN

MOST_PHASES = 50
DEFAULT_CURRENCY = "USD"
MEMBERS = (
    "name", "description", "metadata", "billingCadence", "alignment", "proRatingConfig", "settlementMode", "phases",
)  # fmt: skip
_PHASE = ("key", "name", "description", "metadata", "duration", "rateCards")


def read_plan(sent: BodyReader, catalog: CatalogNow, base: Plan) -> Plan:
    """A plan with what a client sent in place of all that a client can change.

    Args:
        sent: the body.
        catalog: where features are found.
        base: its id, key, version, currency and instants are kept.
    """
    return msgspec.structs.replace(
        base,
        name=sent.text_or_empty("name", MOST_NAME),
        description=sent.text("description", MOST_DESCRIPTION, multiline=True),
        metadata=sent.metadata(),
        billing_cadence=_cadence(sent),
        alignment=_alignment(sent),
        pro_rating_config=_pro_rating(sent),
        settlement_mode=_settlement(sent),
        phases=_phases(sent, catalog),
    )


def _cadence(sent: BodyReader) -> str:
    cadence = sent.text("billingCadence", 64)
    if cadence is None:
        sent.refuse(f"{sent.kind} billingCadence is required")
    return cadence


def _alignment(sent: BodyReader) -> PlanAlignment | None:
    body = sent.nested("alignment")
    if body is None:
        return None
    parts = BodyReader(PLAN, body, ("billablesMustAlign",), inside="alignment")
    return PlanAlignment(parts.flag("billablesMustAlign"))


def _pro_rating(sent: BodyReader) -> ProRatingConfig:
    body = sent.nested("proRatingConfig")
    if body is None:
        return ProRatingConfig()
    parts = BodyReader(PLAN, body, ("enabled", "mode"), inside="proRatingConfig")
    enabled = parts.flag("enabled")
    mode: ProRatingMode = parts.one_of("mode", get_args(ProRatingMode)) or "prorate_prices"
    return ProRatingConfig(True if enabled is None else enabled, mode)


def _settlement(sent: BodyReader) -> SettlementMode:
    mode: SettlementMode | None = sent.one_of("settlementMode", get_args(SettlementMode))
    return mode or "credit_then_invoice"


def _phases(sent: BodyReader, catalog: CatalogNow) -> tuple[PlanPhase, ...]:
    bodies = sent.objects("phases", 0, MOST_PHASES)
    if bodies is None:
        sent.refuse(f"{sent.kind} phases is required")
    return tuple(_phase(body, f"phases[{place}]", catalog) for place, body in enumerate(bodies))


def _phase(body: Mapping[str, object], place: str, catalog: CatalogNow) -> PlanPhase:
    sent = BodyReader(PLAN, body, _PHASE, inside=place)
    return PlanPhase(
        key=sent.slug("key", MOST_KEY),
        name=sent.required("name", MOST_NAME),
        description=sent.text("description", MOST_DESCRIPTION, multiline=True),
        metadata=sent.metadata(),
        duration=read_duration(sent, "duration"),
        rate_cards=read_rate_cards(sent, PLAN, place, catalog),
    )
