"""What grants book: every change sums to 0, and the account of held credits is what grants have left."""

from __future__ import annotations

import pytest

from pipeline.core.credits.credit_grant import PaymentOfGrant, with_burnt
from pipeline.core.credits.grant_postings import expired, forfeited, granted, lowered, paid, voided
from pipeline.core.ledger.transaction import Posting, Postings
from pipeline.errors import Rejected
from tests.core.credits.grants_made import NOW_MS, bought, made


def plain(postings: Postings) -> list[tuple[str, int]]:
    assert sum(one.amount for one in postings) == 0
    return [(f"{one.account}.{one.status}".rstrip("."), one.amount) for one in postings]


def test_a_grant_is_booked_by_its_source() -> None:
    assert plain(granted(made(amount=100))) == [("customer_fbo", 100), ("promotion", -100)]
    assert plain(granted(bought(amount=100))) == [("customer_fbo", 100), ("customer_receivable.open", -100)]
    adjusted = made(amount=100, source="adjustment")
    assert plain(granted(adjusted)) == [("customer_fbo", 100), ("adjustments", -100)]


@pytest.mark.parametrize(
    "steps", [("authorized", "settled"), ("settled",), ("authorized", "authorized", "settled")]
)
def test_a_payment_ends_as_money_from_outside(steps: tuple[PaymentOfGrant, ...]) -> None:
    grant = bought(amount=100)
    found: list[Posting] = [*granted(grant)]
    for step in steps:
        grant, postings = paid(grant, step, NOW_MS)
        assert sum(one.amount for one in postings) == 0
        found += postings
    sums = {
        name: sum(one.amount for one in found if one.account == name)
        for name in ("customer_receivable", "wash")
    }
    assert sums == {"customer_receivable": 0, "wash": -100}
    assert grant.purchase is not None
    assert grant.purchase.payment == "settled"


def test_a_payment_that_is_known_changes_nothing_and_none_goes_back() -> None:
    grant, _ = paid(bought(), "settled", NOW_MS)
    assert paid(grant, "settled", NOW_MS) == (grant, ())
    with pytest.raises(Rejected) as refusal:
        paid(grant, "authorized", NOW_MS)
    assert refusal.value.reason == "credit_payment_goes_back"
    with pytest.raises(Rejected) as refusal:
        paid(made(), "settled", NOW_MS)
    assert refusal.value.reason == "credit_grant_has_no_payment"


def test_a_void_takes_back_what_is_left() -> None:
    grant = with_burnt(made(amount=100), 30)
    after, postings = voided(grant, NOW_MS)
    assert plain(postings) == [("customer_fbo", -70), ("promotion", 70)]
    assert (after.balance, after.burnt, after.status(NOW_MS)) == (0, 30, "voided")
    assert plain(voided(bought(amount=100), NOW_MS).postings) == [("customer_fbo", -100), ("breakage", 100)]
    for ended in (after, made(expires_ms=NOW_MS)):
        with pytest.raises(Rejected) as refusal:
            voided(ended, NOW_MS)
        assert refusal.value.reason == "credit_grant_has_ended"


def test_what_expires_is_breakage() -> None:
    after, postings = expired(with_burnt(made(amount=100, expires_ms=NOW_MS), 30))
    assert plain(postings) == [("customer_fbo", -70), ("breakage", 70)]
    assert (after.balance, after.is_expired) == (0, True)
    assert plain(forfeited(after, 5)) == [("customer_fbo", -5), ("breakage", 5)]


def test_an_adjustment_takes_from_grants_in_the_order_of_burning() -> None:
    grants = [made("b", 100), made("a", 100, priority=1), made("later", 100, effective_ms=NOW_MS + 1)]
    found = lowered(grants, 150, NOW_MS)
    assert [(one.grant.id, one.grant.balance) for one in found] == [("a", 0), ("b", 50)]
    assert [plain(one.postings) for one in found] == [
        [("customer_fbo", -100), ("adjustments", 100)], [("customer_fbo", -50), ("adjustments", 50)],
    ]  # fmt: skip
    with pytest.raises(Rejected):
        lowered(grants, 201, NOW_MS)
