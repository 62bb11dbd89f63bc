"""The second part of the demo: a customer uses up its quota, and webhooks report it.

Owns: this customer, its usage and the output. Does not own: the stack. It uses HTTP, as a user's program would.
"""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal

from rich.console import Console

from pipeline.cli.http import ask, json_of
from pipeline.core.values import json_value
from pipeline.errors import Rejected, Unavailable
from pipeline.local.webhook_receiver import Message, Receiver
from pipeline.settings import Settings

QUOTA = 10_000
REQUESTS = 12
TOKENS = 1_000
THRESHOLDS = (50, 80, 100)
WAIT_S = 30.0


def show(settings: Settings, console: Console, tend: Callable[[], None], port: int) -> None:
    """Print how the balance falls and which webhooks arrive. Raises Unavailable if one does not within WAIT_S.

    port: for the receiver, one to which webhooks may be sent.
    """
    secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    console.print("\n[bold]A customer uses up its quota[/bold]")
    with Receiver(
        [secret], port, on_message=lambda message: console.print(_line(message), soft_wrap=True)
    ) as receiver:
        _define(settings, receiver.url, secret)
        console.print(f"Initech may use {QUOTA:,} tokens a month; webhooks are due at 50, 80 and 100 %.")
        for number in range(1, REQUESTS + 1):
            _send(settings, number)
            _until(lambda used=number * TOKENS: _used(settings) >= used, "the balance", tend)  # type: ignore[misc]
            value = _value(settings)
            console.print(
                f"  request {number:>2} of {TOKENS:,} tokens   balance {value['balance']:>6,}   "
                f"{'access' if value['hasAccess'] else '[bold red]no access[/bold red]'}"
            )
        _until(lambda: receiver.wait(len(THRESHOLDS), 0), "the webhooks", tend)


def _define(settings: Settings, url: str, secret: str) -> None:
    customer = {"key": "initech", "name": "Initech", "usageAttribution": {"subjectKeys": ["initech-prod"]}}
    ask(settings, "POST", "/customers", json=customer)
    feature = {
        "key": "input_tokens",
        "name": "Input tokens",
        "meterSlug": "llm_tokens",
        "meterGroupByFilters": {"kind": "input"},
    }
    ask(settings, "POST", "/features", json=feature)
    channel = {"type": "WEBHOOK", "name": "this terminal", "url": url, "signingSecret": secret}
    endpoint = json_of(ask(settings, "POST", "/notification/channels", json=channel))
    rule = {
        "type": "entitlements.balance.threshold",
        "name": "quota",
        "channels": [endpoint["id"]],
        "thresholds": [{"type": "usage_percentage", "value": value} for value in THRESHOLDS],
    }
    ask(settings, "POST", "/notification/rules", json=rule)
    entitlement = {
        "type": "metered",
        "featureKey": "input_tokens",
        "usagePeriod": {"interval": "MONTH"},
        "issueAfterReset": QUOTA,
    }
    ask(settings, "POST", "/customers/initech/entitlements", json=entitlement, version=2)


def _send(settings: Settings, number: int) -> None:
    event = {
        "specversion": "1.0",
        "id": f"quota-{number}",
        "source": "/demo/initech",
        "type": "llm.completion",
        "subject": "initech-prod",
        "data": {"model": "small", "kind": "input", "tokens": TOKENS},
    }
    ask(settings, "POST", "/events", json=event)


def _value(settings: Settings) -> dict[str, Decimal]:
    answer = ask(settings, "GET", "/customers/initech/entitlements/input_tokens/value")
    found: dict[str, Decimal] = json_of(answer)
    return found


def _used(settings: Settings) -> float:
    """Below zero while the balance of the new entitlement has not reached Redis."""
    try:
        return float(_value(settings)["usage"])
    except Rejected as refusal:
        if refusal.reason != "not-found":
            raise
        return -1.0


def _until(true: Callable[[], bool], what: str, tend: Callable[[], None]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > deadline_s:
            raise Unavailable(f"{what} did not arrive within {WAIT_S:g} s.")
        tend()
        time.sleep(0.02)


def _line(message: Message) -> str:
    if message.refused:
        return f"  [red]webhook refused: {message.refused}[/red]"
    data = json_value.read(message.body)["data"]
    threshold, event = data["threshold"], data["event"]
    return (
        f"  [green]webhook[/green] {message.type}: {round(threshold['value'])} % used, "
        f"met by event {event['id']}; signature verified"
    )
