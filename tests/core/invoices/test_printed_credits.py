"""The texts of a page of credits: what is left, in the order in which it is used, and what changed it."""

from __future__ import annotations

from pipeline.core.credits.credit_balance import held_at
from pipeline.core.invoices.printed_credits import MOST_TRANSACTIONS, PrintedCredits, printed_credits
from pipeline.core.values import timestamp
from tests.core.bills.bill_world import Definitions, at
from tests.core.bills.test_customer_credits import CreditWorld, quick
from tests.fixtures.credits_to_print import CREDITS, spent


def page(world: CreditWorld, zone: str = "UTC") -> PrintedCredits:
    return printed_credits("Acme", world.grants(), world.published.ledger.values(), world.now_s * 1000, zone)


def test_grants_are_in_the_order_in_which_they_are_used_with_their_end() -> None:
    found = page(spent())
    assert [(one.name, one.left, one.amount, one.expires) for one in found.grants] == [
        ("For tokens", "€20.00", "€20.00", "Never"),
        ("Welcome", "€10.00", "€40.00", "31 Jan 2026"),
        ("Pack", "€100.00", "€100.00", "Never"),
        ("Unpaid", "€50.00", "€50.00", "Never"),
        ("Soon", "€15.00", "€15.00", "Never"),
    ]
    assert [one.notes for one in found.grants] == [
        ("In use", "For tokens"),
        ("In use", "a <gift>"),
        ("In use",),
        ("Usable once it is paid",),
        ("Usable from 1 Mar 2026",),
    ]
    (balance,) = found.balances
    assert (balance.amount, balance.is_negative) == ("€130.00", False)
    assert balance.notes == ("€100.00 of it is not paid yet.", "€65.00 more cannot be used yet.")


def test_transactions_are_the_newest_first_and_end_at_the_balance() -> None:
    world = spent()
    found = page(world)
    shown = [(one.kind, one.name, one.amount) for one in found.movements]
    assert shown[0] == ("Used", "", "\N{MINUS SIGN}€30.00")
    assert ("Added", "Unpaid", "€50.00") in shown
    held = held_at(world.published.ledger.values(), world.now_s * 1000)
    assert found.movements[0].balance == f"€{sum(held.values()) // 100}.00"
    assert found.left_out == 0


def test_what_is_not_covered_is_shown() -> None:
    (balance,) = page(CREDITS["negative"]()).balances
    assert (balance.amount, balance.is_negative) == ("\N{MINUS SIGN}€20.00", True)
    assert balance.notes == ("Used and not covered yet: the next credits cover it first.",)


def test_dates_are_those_of_the_zone() -> None:
    world = CreditWorld(Definitions())
    world.now_s = at("2026-01-01T23:30:00Z")
    world.grant("1")
    shown = page(world, "Europe/Berlin")
    assert (shown.as_of, shown.movements[0].day) == ("2 Jan 2026 00:30", "2 Jan 2026")


def test_the_page_has_the_newest_transactions_and_says_how_many_it_leaves_out() -> None:
    world = quick()
    for _ in range(MOST_TRANSACTIONS + 3):
        world.do("credit.adjust", {"name": "More", "currency": "EUR", "amount": "1"})
    found = page(world)
    assert (len(found.movements), found.left_out) == (MOST_TRANSACTIONS, 3)
    assert found.movements[0].balance == f"€{MOST_TRANSACTIONS + 3}.00"
    assert found.as_of == f"1 Jan 2026 {timestamp.text_of(world.now_s * 1000)[11:16]}"


def test_a_customer_without_credits_has_an_empty_page() -> None:
    assert page(quick())[2:] == ((), (), (), 0)
