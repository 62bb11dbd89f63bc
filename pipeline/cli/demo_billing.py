"""The part of the demo about money: usage, a plan, a change of the plan in the middle, and paid invoices.

Owns: this customer, its plans and usage, the check of what was billed. Does not own: the stack. It uses HTTP, as a
user's program would; the invoices are paid by the sandbox app, which needs no account.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from rich.console import Console

from pipeline.cli.demo_stripe import RunCommand
from pipeline.cli.http import ask, json_of
from pipeline.core.values import timestamp
from pipeline.errors import Unavailable
from pipeline.settings import Settings

CUSTOMER, SUBJECT, FEATURE = "wonka", "wonka-prod", "chat_tokens"
STARTED_S = 100  # before now; a subscription may begin up to two minutes in the past
WAIT_S = 60.0
REQUESTS, TOKENS = 6, 1_000
# 5,000 tokens at 0.002 and 1,000 at 0.001
USAGE_BILLED = Decimal("11.00")
SEAT, TEAM_SEAT = "29", "99"
PLANS = {
    "starter": (
        SEAT,
        {
            "type": "tiered",
            "mode": "graduated",
            "tiers": [
                {"upToAmount": "5000", "unitPrice": {"type": "unit", "amount": "0.002"}},
                {"unitPrice": {"type": "unit", "amount": "0.001"}},
            ],
        },
    ),
    "team": (TEAM_SEAT, {"type": "unit", "amount": "0.0005"}),
}

Tend = Callable[[], None]


def show(settings: Settings, console: Console, run: RunCommand, tend: Tend) -> bool:
    """Print what happens and the invoices. Returns whether they bill the usage exactly.

    Args:
        settings: of the stack.
        console: for the output.
        run: runs a command of `tallymark` and returns its exit code.
        tend: to be called often.

    Raises:
        Unavailable: an invoice was not paid within WAIT_S.
    """
    console.print("\n[bold]From events to a paid invoice[/bold]")
    _define(settings)
    begin_s = int(time.time()) - STARTED_S
    subscription = _ask(
        settings,
        "POST",
        "/subscriptions",
        {
            "customerKey": CUSTOMER,
            "plan": {"key": "starter"},
            "timing": timestamp.text_of(begin_s * 1_000),
        },
    )
    console.print(f"Wonka has the plan starter: {SEAT} a month in advance, tokens by tiers.")
    first = _paid(settings, 1, tend)
    console.print(_line(first[0]))
    for number in range(REQUESTS):
        _send(settings, f"starter-{number}", begin_s + 1)
    _until(lambda: _used(settings, begin_s) >= REQUESTS * TOKENS, "the usage", tend)
    _ask(
        settings,
        "POST",
        f"/subscriptions/{subscription['id']}/change",
        {"timing": "immediate", "plan": {"key": "team"}},
    )
    console.print(
        f"After {REQUESTS * TOKENS:,} tokens it changes to the plan team: what is left of the month is paid back, "
        f"{TEAM_SEAT} is due."
    )
    second = _paid(settings, 2, tend)[-1]
    console.print(_line(second))
    _send(settings, "team", int(time.time()))
    codes = [
        run(["invoices", "list", "--customer", CUSTOMER]),
        run(["invoices", "lines", second["id"]]),
    ]
    console.print(
        f"\nThe page of the invoice: {settings.api_url}/api/v1/billing/invoices/{second['id']}.html"
    )
    return not any(codes) and _adds_up(second)


def _define(settings: Settings) -> None:
    for profile in _ask(settings, "GET", "/billing/profiles")["items"]:
        workflow = profile["workflow"]
        workflow["collection"]["interval"] = "PT0S"  # the demo does not wait an hour for late usage
        kept = {name: profile[name] for name in ("name", "supplier", "default") if name in profile}
        _ask(settings, "PUT", f"/billing/profiles/{profile['id']}", {**kept, "workflow": workflow})
    customer = {"key": CUSTOMER, "name": "Wonka", "usageAttribution": {"subjectKeys": [SUBJECT]}}
    _ask(settings, "POST", "/customers", customer)
    _ask(settings, "POST", "/features", {"key": FEATURE, "name": "Tokens", "meterSlug": "llm_tokens"})
    for key, (seat, price) in PLANS.items():
        month = {"billingCadence": "P1M"}
        cards = [
            {
                **month,
                "type": "flat_fee",
                "key": "seat",
                "name": "Seat",
                "price": {"type": "flat", "amount": seat, "paymentTerm": "in_advance"},
            },
            {
                **month,
                "type": "usage_based",
                "key": FEATURE,
                "featureKey": FEATURE,
                "name": "Tokens",
                "price": price,
            },
        ]
        phase = {"key": "standard", "name": "Standard", "duration": None, "rateCards": cards}
        plan = {**month, "key": key, "name": key.title(), "currency": "USD", "phases": [phase]}
        made = _ask(settings, "POST", "/plans", plan)
        _ask(settings, "POST", f"/plans/{made['id']}/publish")


def _send(settings: Settings, id: str, at_s: int) -> None:
    event = {
        "specversion": "1.0",
        "id": f"billed-{id}",
        "source": "/demo/wonka",
        "type": "llm.completion",
        "subject": SUBJECT,
        "time": timestamp.text_of(at_s * 1_000),
        "data": {"model": "small", "kind": "output", "tokens": TOKENS},
    }
    ask(settings, "POST", "/events", json=event)


def _used(settings: Settings, since_s: int) -> Decimal:
    params = [("subject", SUBJECT), ("from", timestamp.text_of(since_s // 60 * 60_000))]
    data = json_of(ask(settings, "GET", "/meters/llm_tokens/query", params=params))["data"]
    return sum((Decimal(row["value"]) for row in data), Decimal(0))


def _paid(settings: Settings, count: int, tend: Tend) -> list[dict[str, Any]]:
    """The paid invoices of the customer, oldest first, once there are `count`."""
    customer = _ask(settings, "GET", f"/customers/{CUSTOMER}")["id"]
    params = [("customers", customer), ("statuses", "paid"), ("expand", "lines")]
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        answer = json_of(ask(settings, "GET", "/billing/invoices", params=params))
        found[:] = answer["items"]
        return len(found) >= count

    _until(are_there, "a paid invoice", tend)
    return found


def _adds_up(invoice: dict[str, Any]) -> bool:
    """Whether the usage is billed to the cent, and the lines sum to the total."""
    lines = invoice["lines"]
    usage = sum(
        (Decimal(line["totals"]["total"]) for line in lines if line.get("featureKey") == FEATURE), Decimal(0)
    )
    total = sum((Decimal(line["totals"]["total"]) for line in lines), Decimal(0))
    return usage == USAGE_BILLED and total == Decimal(invoice["totals"]["total"])


def _line(invoice: dict[str, Any]) -> str:
    return (
        f"  [green]{invoice['number']}[/green] of {invoice['totals']['total']} {invoice['currency']} is paid."
    )


def _ask(settings: Settings, method: str, path: str, body: object = None) -> dict[str, Any]:
    answer = ask(settings, method, path) if body is None else ask(settings, method, path, json=body)
    found: dict[str, Any] = json_of(answer)
    return found


def _until(true: Callable[[], bool], what: str, tend: Tend) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > deadline_s:
            raise Unavailable(f"{what} did not arrive within {WAIT_S:g} s.")
        tend()
        time.sleep(0.1)
