"""Balances: now from grants and at an instant from the ledger are the same where they meet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.credits.credit_balance import CreditBalance, balances, balances_at, held_at, movements
from pipeline.core.credits.credit_grant import CreditGrant, with_burnt
from pipeline.core.credits.grant_postings import expired, granted, voided
from pipeline.core.ledger.transaction import LedgerCause, LedgerTime, Posting, transaction
from pipeline.records import LedgerTransaction
from tests.core.credits.grants_made import DAY_MS, NOW_MS, bought, made


def booked(grant: CreditGrant, kind: str, at_ms: int, postings: object, step: str = "") -> LedgerTransaction:
    cause = LedgerCause("default", "c", kind, grant.id + step)
    found = transaction(cause, grant.currency, LedgerTime(at_ms, at_ms), postings)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_parts_of_a_balance() -> None:
    grants = [
        made("given", 100), bought("unpaid", 50), made("later", 30, effective_ms=NOW_MS + 1),
        made("other", 7, currency="EUR"), made("a", 5, features=("a",)),
    ]  # fmt: skip
    assert balances(grants, NOW_MS) == {
        "USD": CreditBalance(live=155, settled=105, pending=30), "EUR": CreditBalance(7, 7, 0),
    }  # fmt: skip
    assert balances(grants, NOW_MS, "b")["USD"].live == 150


def test_the_past_shows_what_was_there() -> None:
    grant = made("g", 100, expires_ms=NOW_MS + DAY_MS)
    after = expired(with_burnt(grant, 40)).grant
    paid = [Posting("customer_fbo", -40, "g"), Posting("customer_accrued", 40)]
    log = [
        booked(grant, "credit.granted", NOW_MS - DAY_MS, granted(grant)),
        booked(grant, "invoice.accrued", NOW_MS, paid),
        booked(grant, "credit.expired", NOW_MS + DAY_MS, expired(with_burnt(grant, 40)).postings),
    ]
    live = [
        balances_at([after], log, at_ms)["USD"].live
        for at_ms in (NOW_MS - DAY_MS - 1, NOW_MS - 1, NOW_MS, NOW_MS + DAY_MS - 1, NOW_MS + DAY_MS)
    ]
    assert live == [0, 100, 60, 60, 0]
    found = movements(log[::-1])
    assert [(one.kind, one.amount, one.before, one.after) for one in found] == [
        ("credit.granted", 100, 0, 100), ("invoice.accrued", -40, 100, 60), ("credit.expired", -60, 60, 0),
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 150), st.booleans()), max_size=5))
def test_the_ledger_and_the_grants_agree(found: list[tuple[int, int, bool]]) -> None:
    grants, log = [], []
    for place, (amount, paid, is_voided) in enumerate(found):
        grant = made(f"g{place}", amount)
        log.append(booked(grant, "credit.granted", NOW_MS, granted(grant)))
        if paid := min(paid, amount):
            postings = [Posting("customer_fbo", -paid, grant.id), Posting("customer_accrued", paid)]
            log.append(booked(grant, "invoice.accrued", NOW_MS, postings))
            grant = with_burnt(grant, paid)
        if is_voided and grant.balance:
            grant, taken = voided(grant, NOW_MS)
            log.append(booked(grant, "credit.voided", NOW_MS, taken))
        grants.append(grant)
    assert balances_at(grants, log, NOW_MS) == balances(grants, NOW_MS)
    held = held_at(log, NOW_MS)
    assert all(held.get(one.id, 0) == one.balance >= 0 for one in grants)
