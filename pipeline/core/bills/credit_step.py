"""What time does to the credits of a customer: grants end, cover what none covered, balances fall, rules top up.

Owns: these, within the step of a customer. Does not own: the decisions (credits.top_up), alerts (notifications).
"""

from __future__ import annotations

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.grant_payment import add_grant
from pipeline.core.credits import grant_postings
from pipeline.core.credits.burn_down import CreditBurn
from pipeline.core.credits.credit_grant import with_burnt
from pipeline.core.credits.grant_reading import later_ms, topped_up
from pipeline.core.credits.settlement import COVERED, UNCOVERED, Covered, cover
from pipeline.core.credits.top_up import allowed, counted, is_outstanding, top_up
from pipeline.core.ledger.transaction import Posting, merged
from pipeline.core.values import calendar, ulid
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


def _cover(bills: CustomerBills) -> None:
    """Grants that can be used cover what credits settle and nothing covered, the oldest charge first."""
    credits = bills.credits
    by_invoice: dict[str, list[Covered]] = {}
    for one in cover(credits.account.uncovered, credits.grants(), bills.moment.now_ms):
        by_invoice.setdefault(one.charge.invoice, []).append(one)
        credits.take_uncovered([msgspec.structs.replace(one.charge, amount=one.amount)])
        credits.put(with_burnt(credits.grant(one.grant), one.amount))
    for invoice, covered in by_invoice.items():
        row, burns = credits.booked(invoice), list(credits.booked(invoice).burns)
        postings: list[Posting] = []
        for one in covered:
            burns = _covered(burns, one)
            postings += [
                Posting("customer_fbo", -one.amount, one.grant),
                Posting("customer_fbo", one.amount, UNCOVERED),
            ]
        credits.book(
            COVERED, f"{invoice}/{bills.moment.offset}", covered[0].charge.currency, merged(postings)
        )
        kept = merged([*row.postings, *postings])
        credits.put_booked(invoice, msgspec.structs.replace(row, postings=kept, burns=tuple(burns)))


def _covered(burns: list[CreditBurn], covered: Covered) -> list[CreditBurn]:
    """The burns of an invoice with a grant in the place of none, and what is still not covered as the newest."""
    charge, found = covered.charge, list[CreditBurn]()
    for one in burns:
        is_it = (one.line, one.component, one.grant) == (charge.line, charge.component, UNCOVERED)
        if not is_it:
            found.append(one)
            continue
        found.append(msgspec.structs.replace(one, grant=covered.grant, amount=covered.amount))
        if one.amount > covered.amount:
            found.append(msgspec.structs.replace(one, amount=one.amount - covered.amount))
    return found


def follow_balances(bills: CustomerBills) -> None:
    """Top up what rules ask for, cover what can be covered, and keep the balances for the next record."""
    if not bills.credits.is_used:
        return
    _follow_rules(bills)
    _cover(bills)
    bills.credits.change(balances=bills.credits.live())


def _follow_rules(bills: CustomerBills) -> None:
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
        made = credits.account.top_ups.get(currency)
        if is_outstanding(None if made is None else credits.find(made.grant)):
            continue
        amount = allowed(rule, made, amount, now_ms)
        if not amount:
            continue
        cause = f"{bills.namespace}/{bills.customer}/{currency}/top-up/{bills.moment.offset}"
        grant = topped_up(rule, ulid.make(now_ms, cause), amount, now_ms)
        try:
            add_grant(bills, grant)
        except Rejected:
            continue  # without a profile nothing can be invoiced; the next record tries again
        made = counted(made, grant, later_ms(now_ms, calendar.parse(rule.period)))
        credits.change(top_ups=credits.account.top_ups | {currency: made})
