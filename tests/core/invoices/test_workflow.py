"""Settings: their defaults, the terms of a draft that follow, and what a client may send."""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.dunning import Dunning, DunningStep
from pipeline.core.invoices.workflow import BillingWorkflow, InvoicingSettings, dunning_of, terms_of
from pipeline.core.invoices.workflow_reading import read_workflow
from pipeline.core.values.calendar import Interval

NOON_S = 1_800_014_400


def test_the_defaults_are_those_of_the_api() -> None:
    assert msgspec.to_builtins(BillingWorkflow()) == {
        "collection": {"alignment": {"type": "subscription"}, "interval": "PT1H"},
        "invoicing": {
            "autoAdvance": True,
            "draftPeriod": "P0D",
            "dueAfter": "P30D",
            "progressiveBilling": True,
            "subscriptionEndProrationMode": "bill_actual_period",
        },
        "payment": {"collectionMethod": "charge_automatically"},
        "tax": {"enabled": True, "enforced": False},
        "dunning": {},
    }


def test_the_terms_of_a_draft() -> None:
    terms = terms_of(BillingWorkflow(), NOON_S, [NOON_S - 60, NOON_S], "UTC")
    assert (terms.collection_at_s, terms.draft_until_s) == (NOON_S + 3600, NOON_S + 3600)
    assert (terms.due_after, terms.auto_advance) == (Interval(0, 0, 30), True)
    flat = terms_of(BillingWorkflow(invoicing=InvoicingSettings(draft_period="P1D")), NOON_S, [], "UTC")
    assert (flat.collection_at_s, flat.draft_until_s) == (NOON_S, NOON_S + 86_400)
    by_hand = terms_of(BillingWorkflow(invoicing=InvoicingSettings(auto_advance=False)), NOON_S, [], "UTC")
    assert by_hand.draft_until_s is None


def test_reminders_have_intervals() -> None:
    settings = read_workflow(
        {
            "dunning": {
                "steps": [{"after": "P3D", "action": "notify"}],
                "giveUpAfter": "P1M",
                "then": "uncollectible",
            }
        }
    ).dunning
    assert dunning_of(settings) == Dunning(
        (DunningStep(Interval(0, 0, 3), "notify"),), Interval(1, 0), "uncollectible"
    )
