"""What time does to the credits of a customer: grants end, balances fall, rules top up.

Owns: these, within the step of a customer. Does not own: the decisions (credits.top_up), alerts (notifications).
"""

from __future__ import annotations

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.grant_payment import add_grant
from pipeline.core.credits import grant_postings
from pipeline.core.credits.grant_reading import topped_up
from pipeline.core.credits.top_up import top_up
from pipeline.core.values import ulid
from pipeline.errors import Rejected


def end_grants(bills: CustomerBills) -> None:
    """Book the end of grants that have ended, for the instant at which each did."""
    if not bills.credits.is_used:
        return
    for grant in bills.credits.grants():
        if grant.has_ended(bills.moment.now_ms) and not grant.is_expired:
            changed, postings = grant_postings.expired(grant)
            bills.credits.put(changed)
            bills.credits.book(
                "credit.expired",
                grant.id,
                grant.currency,
                postings,
                at_ms=grant.expires_ms,
                name=grant.name,
            )


def follow_balances(bills: CustomerBills) -> None:
    """Top up what rules ask for, and keep the balances with which the next record compares."""
    if not bills.credits.is_used:
        return
    credits = bills.credits
    for currency, rule in sorted(credits.account.rules.items()):
        now_ms = bills.moment.now_ms
        waiting = [
            one.balance
            for one in credits.grants(currency)
            if one.status(now_ms) == "pending" and one.purchase
        ]
        amount = top_up(rule, credits.live().get(currency, 0), waiting)
        if not amount:
            continue
        cause = f"{bills.namespace}/{bills.customer}/{currency}/top-up/{bills.moment.offset}"
        grant = topped_up(rule, ulid.make(now_ms, cause), amount, now_ms)
        try:
            add_grant(bills, grant)
        except Rejected:
            continue  # without a profile nothing can be invoiced; the next record tries again
    credits.change(balances=credits.live())
