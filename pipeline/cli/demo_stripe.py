"""The last part of the demo: usage is sent to a sandbox of Stripe, and its totals are ours.

Owns: this account, its customers and meter, and the table. Does not own: the stack, the sandbox. The commands that a
user would run are shown and run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

from rich.console import Console

from pipeline.cli import stripe_sandbox
from pipeline.cli.http import ask, json_of
from pipeline.cli.tables import print_table
from pipeline.core.values import timestamp
from pipeline.errors import Broken, Unavailable
from pipeline.settings import Settings
from pipeline.stores.stripe_api import StripeApi

METER, EVENT_NAME = "llm_tokens", "ai_tokens"
CUSTOMERS = ("acme", "globex", "hooli")
HOUR_S = 3_600
HOURS = 6
SENT_AFTER_S = 120  # a window that ended so long ago has been sent
WAIT_S = 90.0
PAUSE_S = 0.5

RunCommand = Callable[[Sequence[str]], int]


def show(settings: Settings, console: Console, run: RunCommand, tend: Callable[[], None]) -> bool:
    """Print the commands and the table. Returns whether Stripe has our usage of each customer.

    Args:
        settings: of the stack, whose `stripe_address` is its sandbox.
        console: for the output.
        run: runs a command of `tallymark` and returns its exit code.
        tend: to be called often.

    Raises:
        Unavailable: the usage did not arrive within WAIT_S.
    """
    console.print("\n[bold]The same usage in Stripe[/bold] (a sandbox on this machine)")
    to_s = (int(time.time()) - SENT_AFTER_S) // HOUR_S * HOUR_S
    from_s = to_s - HOURS * HOUR_S
    meter = stripe_sandbox.create_meter(settings, EVENT_NAME)
    stripe_ids = {key: _customer(settings, key) for key in CUSTOMERS}
    since = timestamp.text_of(from_s * 1_000)
    key_file = str(Path(settings.api_key_file).with_name(stripe_sandbox.KEY_FILE))
    for words in (
        ["stripe", "connect", "--key-file", key_file],
        *(["stripe", "customer", key, id] for key, id in stripe_ids.items()),
        ["stripe", "map", METER, EVENT_NAME, "--from", since],
    ):
        if run(words) != 0:
            raise Broken(f"tallymark {' '.join(words)} failed.")
    _wait(settings, from_s, to_s, tend)
    until = timestamp.text_of(to_s * 1_000)
    console.print("\nInitech has no id at Stripe, so its usage waits, and drift names the cause:")
    drift = run(["stripe", "drift", "--from", since, "--to", until])
    ours = {key: _ours(settings, key, since, until) for key in CUSTOMERS}
    stripes = asyncio.run(_stripes(settings, meter, stripe_ids, from_s, to_s))
    rows = [
        (
            key,
            f"{ours[key].normalize():,f}",
            f"{stripes[key].normalize():,f}",
            "equal" if ours[key] == stripes[key] else "DIFFERENT",
        )
        for key in CUSTOMERS
    ]
    console.print(f"\nTokens from {since} to {until}:")
    print_table(("customer", "tallymark", "Stripe", ""), rows, ("tallymark", "Stripe"))
    return drift == 0 and ours == stripes


def _customer(settings: Settings, key: str) -> str:
    """A customer here, whose subject has the same name, and one in the sandbox: Stripe's id of it."""
    body = {"key": key, "name": key.title(), "usageAttribution": {"subjectKeys": [key]}}
    ask(settings, "POST", "/customers", json=body)
    return stripe_sandbox.create_customer(settings, key.title())


def _wait(settings: Settings, from_s: int, to_s: int, tend: Callable[[], None]) -> None:
    """Return when nothing of these windows is on its way but usage of customers without an id at Stripe."""
    params = [("from", timestamp.text_of(from_s * 1_000)), ("to", timestamp.text_of(to_s * 1_000))]
    deadline_s = time.monotonic() + WAIT_S
    while True:
        found = json_of(ask(settings, "GET", "/billing/stripe/drift", params=params))
        if found["ok"] and set(found["causes"]) <= {"unknown_customer"}:
            return
        if time.monotonic() > deadline_s:
            raise Unavailable(
                f"The usage did not arrive in the sandbox within {WAIT_S:g} s: {found['causes']}."
            )
        until_s = time.monotonic() + PAUSE_S
        while time.monotonic() < until_s:
            tend()
            time.sleep(0.02)


def _ours(settings: Settings, subject: str, since: str, until: str) -> Decimal:
    params = [("subject", subject), ("from", since), ("to", until)]
    data = json_of(ask(settings, "GET", f"/meters/{METER}/query", params=params))["data"]
    return sum((Decimal(row["value"]) for row in data), Decimal(0))


async def _stripes(
    settings: Settings, meter: str, stripe_ids: dict[str, str], from_s: int, to_s: int
) -> dict[str, Decimal]:
    api = StripeApi(stripe_sandbox.key_in(settings), settings.stripe_address)
    try:
        return {
            key: sum((row.value for row in await api.summaries(meter, id, from_s, to_s, "hour")), Decimal(0))
            for key, id in stripe_ids.items()
        }
    finally:
        await api.close()
