"""What clients do with credits: each command `credit.*` and what it changes.

Owns: doing them. Does not own: their bodies (credits.grant_reading), booking (credits.grant_postings).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, get_args

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.grant_payment import add_grant, pay_grant
from pipeline.core.credits import grant_postings
from pipeline.core.credits.credit_grant import CreditGrant, PaymentOfGrant
from pipeline.core.credits.grant_reading import KIND, ReadAdjustment, read_adjustment, read_grant, read_rule
from pipeline.core.definitions.body import BodyReader
from pipeline.core.values import money, ulid
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected
from pipeline.records import Command

CreditReply = dict[str, object]
MOST_GRANTS: Final = 1000  # of a customer that have something left


def decide_credit(bills: CustomerBills, command: Command) -> CreditReply:
    """Do a command `credit.*`.

    Returns:
        Members of the reply.

    Raises:
        Rejected: `bad-command` for another kind; the reasons of the function that does it.
    """
    decider = DECIDERS.get(command.kind)
    if decider is None:
        raise Rejected("bad-command", f"There is no command {command.kind[:64]!r}.")
    return decider(bills, command)


def grant(bills: CustomerBills, command: Command) -> CreditReply:
    """A new grant. Raises Rejected `bad-credit-grant`, `credit_grant_key_exists`, `credit_too_many_grants`."""
    _check_customer(bills)
    read = read_grant(_sent(command), _id(bills, command), bills.moment.now_ms)
    account = bills.credits.account
    if read.grant.key is not None and read.grant.key in account.keys:
        raise Rejected("credit_grant_key_exists", f"There is a grant with the key {read.grant.key[:64]}.")
    if len(account.grants) >= MOST_GRANTS:
        raise Rejected("credit_too_many_grants", f"A customer can have {MOST_GRANTS} open grants.")
    made = add_grant(bills, read.grant, read.tax_config)
    if made.key is not None:
        bills.credits.change(keys=account.keys | {made.key: made.id})
    return {"grant": made.id}


def void(bills: CustomerBills, command: Command) -> CreditReply:
    """What is left of a grant is taken back. Raises Rejected `credit_grant_has_ended`."""
    found = bills.credits.grant(str(command.body.get("id")))
    BodyReader(KIND, _sent(command), ())
    changed, postings = grant_postings.voided(found, bills.moment.now_ms)
    bills.credits.put(changed)
    bills.credits.book("credit.voided", found.id, found.currency, postings, name=found.name)
    return {"grant": found.id}


def adjust(bills: CustomerBills, command: Command) -> CreditReply:
    """A balance is corrected by hand. Raises Rejected `bad-credit-adjustment`, `credit_balance_too_low`."""
    _check_customer(bills)
    asked, now_ms, id = read_adjustment(_sent(command)), bills.moment.now_ms, _id(bills, command)
    if asked.amount > 0:
        made = CreditGrant(
            id=id,
            name=asked.name,
            description=asked.description,
            currency=asked.currency,
            amount=asked.amount,
            balance=asked.amount,
            effective_ms=now_ms,
            created_ms=now_ms,
            source="adjustment",
        )
        add_grant(bills, made)
        return _adjusted(id, asked)
    changes = grant_postings.lowered(bills.credits.grants(asked.currency), -asked.amount, now_ms)
    for one in changes:
        bills.credits.put(one.grant)
    postings = [posting for one in changes for posting in one.postings]
    bills.credits.book("credit.adjusted", id, asked.currency, postings, name=asked.name)
    return _adjusted(id, asked)


def _adjusted(id: str, asked: ReadAdjustment) -> CreditReply:
    amount = money.text(asked.amount, digits_of(asked.currency))
    return {"id": id, "name": asked.name, "currency": asked.currency, "amount": amount}


def settle(bills: CustomerBills, command: Command) -> CreditReply:
    """The payment of a grant that is paid elsewhere has come so far.

    Raises:
        Rejected: `bad-credit-grant`, `credit_grant_is_invoiced`, as grant_postings.paid.
    """
    found = bills.credits.grant(str(command.body.get("id")))
    sent = BodyReader(KIND, _sent(command), ("status",))
    status: PaymentOfGrant | None = sent.one_of("status", get_args(PaymentOfGrant))
    if status is None:
        sent.refuse("credit-grant status is required")
    if found.funding == "invoice":
        raise Rejected("credit_grant_is_invoiced", "The grant is paid with the invoice that sells it.")
    pay_grant(bills, found, status)
    return {"grant": found.id}


def put_rule(bills: CustomerBills, command: Command) -> CreditReply:
    """The rule of top-ups of a currency. Raises Rejected `bad-credit-rule`."""
    _check_customer(bills)
    rule = read_rule(_sent(command))
    bills.credits.change(rules=bills.credits.account.rules | {rule.currency: rule})
    return {"rule": msgspec.to_builtins(rule)}


def delete_rule(bills: CustomerBills, command: Command) -> CreditReply:
    """A currency has no rule any more. Raises Rejected `not-found`."""
    currency = str(command.body.get("id"))
    rules = bills.credits.account.rules
    if currency not in rules:
        raise Rejected("not-found", f"There is no rule of top-ups in {currency[:8]}.")
    bills.credits.change(rules={name: rule for name, rule in rules.items() if name != currency})
    return {}


def _check_customer(bills: CustomerBills) -> None:
    customer = bills.definitions.customer(bills.namespace, bills.customer)
    if customer is None or customer.deleted_at is not None:
        raise Rejected("customer_deleted", "The customer is deleted.")


def _id(bills: CustomerBills, command: Command) -> str:
    return ulid.make(bills.moment.now_ms, f"{command.kind}/{bills.namespace}/{command.id}")


def _sent(command: Command) -> Mapping[str, object]:
    sent = command.body.get("sent")
    return sent if isinstance(sent, Mapping) else {}


DECIDERS: Final[Mapping[str, Callable[[CustomerBills, Command], CreditReply]]] = {
    "credit.grant": grant,
    "credit.void": void,
    "credit.adjust": adjust,
    "credit.settle": settle,
    "credit.rule": put_rule,
    "credit.rule-delete": delete_rule,
}
