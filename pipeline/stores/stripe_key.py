"""What a key of Stripe may do: each right that is used later is tried before the key is stored.

Owns: which rights are needed, how each is tried without effect, the sentence that names those that lack. Does not own:
the calls (stripe_api).

A right to write is tried by a call that can change nothing, since what it names does not exist or its parameters are
wrong. Assumed of Stripe, whose documentation does not say it: a key without the right is answered 403 before the object
and the parameters are read. Were it not so, such a key would be taken here, and the first call that needs the
right would be refused: `status` shows the app with Stripe's sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import stripe

from pipeline.errors import Rejected
from pipeline.stores.stripe_api import CHECK, AccountAtStripe, StripeApi

HOUR_S = 3_600


async def check_key(api: StripeApi) -> AccountAtStripe:
    """The account of a key that has every right which is needed.

    Args:
        api: with the key.

    Raises:
        Rejected: `stripe-key-refused`: it is no key of Stripe, or it lacks rights, which the sentence names.
        Unavailable: Stripe does not answer.
    """
    tries: dict[str, Awaitable[object]] = {
        "list meters": api.meters(),
        "read customers": api.customer_exists(f"cus_{CHECK}"),
        "read the summaries of meters": api.summaries(f"mtr_{CHECK}", f"cus_{CHECK}", 0, HOUR_S, "hour"),
        "send meter events": api.may_send(),
        "write customers": api.may_write_customers(),
        "read invoices": api.may_read_invoices(),
        "write invoices": api.may_write_invoices(),
    }
    account, others = await asyncio.gather(
        _account(api), asyncio.gather(*tries.values(), return_exceptions=True)
    )
    lacking = {
        right: str(outcome)
        for right, outcome in zip(("read the account", *tries), (account, *others), strict=True)
        if isinstance(outcome, Rejected) and isinstance(outcome.__cause__, stripe.PermissionError)
    }
    if lacking:
        raise Rejected(
            "stripe-key-refused",
            f"The Stripe key lacks the right to {_listed(list(lacking))}: give the restricted key these rights in "
            f"Stripe's dashboard, or use another key. {next(iter(lacking.values()))}",
        )
    if isinstance(account, Rejected):
        raise account
    for outcome in others:  # a refusal of what does not exist proves the right
        if isinstance(outcome, BaseException) and not _is_refused_as_missing(outcome):
            raise outcome
    return account


async def _account(api: StripeApi) -> AccountAtStripe | Rejected:
    try:
        return await api.account()
    except Rejected as refusal:
        return refusal


def _is_refused_as_missing(outcome: BaseException) -> bool:
    return isinstance(outcome, Rejected) and isinstance(outcome.__cause__, stripe.InvalidRequestError)


def _listed(rights: list[str]) -> str:
    """The rights as one phrase.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return rights[0] if len(rights) == 1 else f"{', '.join(rights[:-1])} and {rights[-1]}"
