"""`tallymark stripe sandbox`: objects in the sandbox of `tallymark dev --stripe-sandbox`, by Stripe's own client.

Owns: arguments, the address and the key of the sandbox. Does not own: the sandbox (local.stripe_sandbox).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.api import load_settings
from pipeline.cli.output import format_option, print_value
from pipeline.cli.tables import count, print_table
from pipeline.errors import Rejected, Unavailable
from pipeline.settings import LOCAL_KEY_FILE, Settings

if TYPE_CHECKING:
    from stripe import StripeClient

KEY_FILE, SETTINGS_FILE = "stripe.key", "tallymark.toml"


@click.group()
def sandbox() -> None:
    """Make customers and meters in the sandbox, and show what it has counted.

    `tallymark dev --stripe-sandbox` starts it. Nothing here can reach Stripe itself.

    \b
    Example:
      tallymark stripe sandbox meter ai_tokens
      tallymark stripe sandbox customer ACME
      tallymark stripe sandbox show
    """


@sandbox.command()
@click.argument("event_name")
def meter(event_name: str) -> None:
    """Create the meter that sums the events EVENT_NAME, and print its id.

    \b
    Example:
      tallymark stripe sandbox meter ai_tokens
    """
    click.echo(create_meter(load_settings(), event_name))


@sandbox.command()
@click.argument("name")
def customer(name: str) -> None:
    """Create a customer, and print its id.

    \b
    Example:
      tallymark stripe customer acme $(tallymark stripe sandbox customer ACME)
    """
    click.echo(create_customer(load_settings(), name))


@sandbox.command()
@format_option("table", "json")
def show(form: str) -> None:
    """Show the units that the sandbox has counted by meter and customer, and how many calls it got.

    \b
    Example:
      tallymark stripe sandbox show
    """
    address = address_of(load_settings())
    try:
        with urllib.request.urlopen(f"{address}/sandbox", timeout=10) as answer:
            found = json.load(answer)
    except (urllib.error.URLError, OSError) as error:
        raise Unavailable(f"The sandbox at {address} does not answer: {error}.") from error
    if form == "json":
        print_value(found)
        return
    rows = [
        (name, customer, count(units))
        for name, of_customer in found["totals"].items()
        for customer, units in of_customer.items()
    ]
    print_table(("meter", "customer", "units"), rows, ("units",))
    click.echo(f"{count(found['requests'])} calls, {count(found['over_limits'])} over a limit")


def address_of(settings: Settings) -> str:
    """Where the sandbox is: by the settings, else by those that the stack wrote beside its admin key.

    Raises:
        Rejected: neither names a sandbox.
    """
    from pipeline.core.values import strict_toml

    if settings.stripe_address:
        return settings.stripe_address
    path = _of_stack(settings, SETTINGS_FILE)
    try:
        address = strict_toml.read(path.read_bytes()).get("stripe_address")
    except OSError:
        address = None
    if not isinstance(address, str) or not address:
        raise Rejected(
            "no-sandbox",
            f"Neither the settings nor {path} name a sandbox: `tallymark dev --stripe-sandbox` starts one.",
        )
    return address


def key_in(settings: Settings) -> str:
    """The test key of the sandbox, which is beside the admin key of the stack. Raises Rejected without one."""
    path = _of_stack(settings, KEY_FILE)
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise Rejected("no-sandbox", f"{path} holds no key of a sandbox: {error.strerror}.") from error


def _of_stack(settings: Settings, name: str) -> Path:
    """A file of the stack, which is beside its admin key."""
    return Path(settings.api_key_file or LOCAL_KEY_FILE).with_name(name)


def client(settings: Settings) -> StripeClient:
    """Stripe's client for the sandbox."""
    from stripe import RequestsClient, StripeClient

    address = address_of(settings)
    return StripeClient(
        key_in(settings), base_addresses={"api": address, "meter_events": address},
        http_client=RequestsClient(timeout=10),
    )  # fmt: skip


def create_meter(settings: Settings, event_name: str) -> str:
    """The id of a new meter, which sums events. Raises Rejected, Unavailable."""
    import stripe

    try:
        made = client(settings).v1.billing.meters.create(
            params={
                "display_name": event_name,
                "event_name": event_name,
                "default_aggregation": {"formula": "sum"},
                "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
                "value_settings": {"event_payload_key": "value"},
            }
        )
    except stripe.StripeError as error:
        raise _failure(error) from error
    return str(made.id)


def create_customer(settings: Settings, name: str) -> str:
    """The id of a new customer. Raises Rejected, Unavailable."""
    import stripe

    try:
        return str(client(settings).v1.customers.create(params={"name": name}).id)
    except stripe.StripeError as error:
        raise _failure(error) from error


def _failure(error: Exception) -> Rejected | Unavailable:
    import stripe

    if isinstance(error, stripe.APIConnectionError):
        return Unavailable(f"The sandbox does not answer: {error}.")
    return Rejected("sandbox-refused", f"The sandbox refused it: {error}")
