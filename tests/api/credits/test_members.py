"""Every member of every body about credits that OpenAPI shows acts or is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.api.credit_changes import PACK, TOP_UP
from tests.api.invoices.test_members import TAX, Place, decider, idle_members
from tests.api.scope_table import CREDITS
from tests.core.bills.test_customer_credits import CreditWorld


def _grant() -> Place:
    sold = {**PACK, "funding_method": "invoice", "tax_config": TAX, "labels": {"a": "b"}, "key": "k"}
    return Place(CreditWorld(), {}, [{**PACK, "labels": {"a": "b"}, "key": "k"}, sold])


def _settle() -> Place:
    world = CreditWorld()
    return Place(world, {"id": world.grant("5", funding_method="external")}, [{"status": "settled"}])


def _adjust() -> Place:
    return Place(CreditWorld(), {}, [{"name": "n", "description": "d", "currency": "EUR", "amount": "5"}])


def _top_up() -> Place:
    return Place(CreditWorld(), {}, [{**TOP_UP, "currency": "EUR"}])


PLACES: dict[str, tuple[str, Callable[[], Place]]] = {
    f"POST {CREDITS}/grants": ("credit.grant", _grant),
    f"POST {CREDITS}/grants/{{grantId}}/settlement/external": ("credit.settle", _settle),
    f"POST {CREDITS}/adjustments": ("credit.adjust", _adjust),
    f"PUT {CREDITS}/top-ups/{{currency}}": ("credit.rule", _top_up),
}


@pytest.mark.parametrize("operation", PLACES)
def test_every_member_acts_or_is_refused(operation: str) -> None:
    kind, made = PLACES[operation]
    place = made()
    assert idle_members(operation, decider(kind, place), place.bodies) == []
