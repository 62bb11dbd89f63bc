"""The commands for billing in Stripe: apps, customers' ids, mappings of meters. They call the API.

Owns: their arguments and tables, the group `stripe`. Does not own: responses (api), drift and status of what is sent
(stripe_reports).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pipeline.cli import stripe_reports, stripe_sandbox
from pipeline.cli.api import ask, ask_json, given, pages
from pipeline.cli.output import OutputRow, format_option, listed, print_value
from pipeline.cli.paths import segment
from pipeline.errors import Rejected

APPS, MAPPINGS = "/apps", "/billing/stripe/meters"
INSTALL = "/marketplace/listings/stripe/install/apikey"
MOST_KEY_BYTES = 4_096

APP_OPTION = click.option("--app", metavar="ID", help="Of several Stripe apps, this one.")


@click.group()
def stripe() -> None:
    """Send usage to meters of Stripe, and prove that it arrived.

    \b
    Example:
      tallymark stripe connect
      tallymark stripe customer acme cus_Q1w2e3r4
      tallymark stripe map tokens ai_tokens --multiplier 0.001
    """


@stripe.command()
@click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False), help="File that holds the key.")
@click.option("--name", help="Of the app.  [default: Stripe]")
@click.option("--app", metavar="ID", help="Replace the key of this app instead of connecting an account.")
@click.option(
    "--webhook-secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that holds the signing secret (whsec_...) of the endpoint at Stripe; with --app alone, only it is set.",
)
def connect(
    key_file: Path | None, name: str | None, app: str | None, webhook_secret_file: Path | None
) -> None:
    """Connect an account of Stripe by its secret or restricted key.

    The key is asked for, or read from standard input or a file: as an argument, other users of this machine could read
    it. Stripe is asked at once what the key may do. A restricted key needs the rights to read the account, customers,
    meters and their summaries, and to send meter events.

    \b
    Example:
      tallymark stripe connect
      tallymark stripe connect < stripe.key
      tallymark stripe connect --app 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --key-file new.key
      tallymark stripe connect --app 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --webhook-secret-file whsec.txt
    """
    secret = None if webhook_secret_file is None else _first_line(webhook_secret_file)
    if app is not None:
        _reconnect(app, key_file, name, secret)
        return
    body = given({"apiKey": _key(key_file), "name": name, "webhookSecret": secret})
    answer = ask_json("POST", INSTALL, json=dict(body))
    installed = answer["app"]
    click.echo(f"{installed['stripeAccountId']} is connected: {installed['name']} ({installed['id']}).")
    if not installed["hasWebhookSecret"]:
        webhook = answer["webhook"]
        click.echo(f"\nSo that Stripe reports usage which it did not count:\n{webhook['hint']}")
        click.echo(f"  URL     {webhook['url']}\n  events  {' '.join(webhook['events'])}")
        click.echo(f"  then    tallymark stripe connect --app {installed['id']} --webhook-secret-file FILE")


@stripe.command()
@format_option("table", "json")
def apps(form: str) -> None:
    """List the accounts that are connected.

    \b
    Example:
      tallymark stripe apps
    """
    rows = [row for row in pages(APPS, ()) if row["type"] == "stripe"]
    cells = (
        (row["id"], row["name"], row["stripeAccountId"], "live" if row["livemode"] else "test", row["maskedAPIKey"],
         row["status"], "yes" if row["hasWebhookSecret"] else "no")
        for row in rows
    )  # fmt: skip
    listed(rows, form, ("id", "name", "account", "mode", "key", "status", "webhook"), cells)


@stripe.command()
@click.argument("id")
def disconnect(id: str) -> None:
    """Uninstall the app ID: nothing more is sent, its mappings end, its key is dropped.

    \b
    Example:
      tallymark stripe disconnect 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("DELETE", f"{APPS}/{segment(id)}")
    click.echo(f"{id} is disconnected.")


@stripe.command()
@click.argument("customer")
@click.argument("stripe_id", metavar="[CUS_ID]", required=False)
@click.option(
    "--delete", is_flag=True, help="Delete the customer's id: its usage waits until another is set."
)
@APP_OPTION
def customer(customer: str, stripe_id: str | None, delete: bool, app: str | None) -> None:
    """Set, show or delete under which id Stripe has CUSTOMER, an id or key.

    \b
    Example:
      tallymark stripe customer acme cus_Q1w2e3r4
      tallymark stripe customer acme
    """
    path = f"/customers/{segment(customer)}"
    if delete:
        found = app or str(ask_json("GET", f"{path}/stripe")["id"])
        ask("DELETE", f"{path}/apps/{segment(found)}")
        click.echo(f"{customer} has no id at Stripe.")
    elif stripe_id is None:
        print_value(list(pages(f"{path}/apps", ())))
    elif app is None:
        print_value(ask_json("PUT", f"{path}/stripe", json={"stripeCustomerId": stripe_id}))
    else:
        data = [{"type": "stripe", "id": app, "stripeCustomerId": stripe_id}]
        print_value(ask_json("PUT", f"{path}/apps", json=data))


@stripe.command("map")
@click.argument("meter")
@click.argument("event_name")
@click.option("--window", type=click.Choice(["HOUR", "DAY"], case_sensitive=False), default="HOUR", show_default=True,
              help="Of UTC: the usage of a window is one sum at Stripe.")  # fmt: skip
@click.option(
    "--multiplier", metavar="NUMBER", help="Units of Stripe for one unit of usage, exact.  [default: 1]"
)
@click.option("--dimension", "dimensions", metavar="KEY=MEMBER", multiple=True,
              help="Send usage separately by this group-by key, as this member of the payload; may be repeated.",
              )  # fmt: skip
@click.option(
    "--from",
    "from_",
    metavar="TIME",
    help="Start of the first window, at most 35 days ago; a date is its midnight in UTC.  "
    "[default: the one in progress]",
)
@APP_OPTION
def map_meter(
    meter: str,
    event_name: str,
    window: str,
    multiplier: str | None,
    dimensions: tuple[str, ...],
    from_: str | None,
    app: str | None,
) -> None:
    """Send the usage of METER to the meter of Stripe for EVENT_NAME.

    Stripe's meter must be active and have the formula sum. Whole units are sent once a window has ended, and what is
    left is carried to the next.

    \b
    Example:
      tallymark stripe map tokens ai_tokens --multiplier 0.001 --dimension model=model
      tallymark stripe map calls api_calls --window DAY --from 2026-01-01T00:00:00Z
    """
    from pipeline.core.values import timestamp
    from pipeline.core.values.user_time import instant_ns

    from_ns = instant_ns("from", from_)
    start = None if from_ns is None else timestamp.text_of(from_ns // 1_000_000)
    body = given({"meterSlug": meter, "eventName": event_name, "window": window.upper(), "multiplier": multiplier,
                  "from": start, "appId": app})  # fmt: skip
    mapping: OutputRow = dict(body)
    if dimensions:
        mapping["dimensions"] = dict(map(_pair, dimensions))
    print_value(ask_json("POST", MAPPINGS, json=mapping))


@stripe.command()
@click.option("--deleted", is_flag=True, help="Include those that have ended.")
@format_option("table", "json")
def maps(deleted: bool, form: str) -> None:
    """List the mappings of meters to meters of Stripe.

    \b
    Example:
      tallymark stripe maps
    """
    rows = list(pages(MAPPINGS, given({"includeDeleted": "true" if deleted else None})))
    cells = (
        (row["id"], row["meterSlug"], row["eventName"], row["window"], row["multiplier"],
         " ".join(f"{key}={member}" for key, member in row.get("dimensions", {}).items()), row["from"],
         row.get("deletedAt", ""))
        for row in rows
    )  # fmt: skip
    columns = ("id", "meter", "event name", "window", "multiplier", "dimensions", "from", "ended")
    listed(rows, form, columns, cells)


@stripe.command()
@click.argument("id")
def unmap(id: str) -> None:
    """End the mapping ID: nothing more is sent by it, and what was sent stays at Stripe.

    \b
    Example:
      tallymark stripe unmap 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("DELETE", f"{MAPPINGS}/{segment(id)}")
    click.echo(f"The mapping {id} has ended.")


for command in (*stripe_reports.REPORTS, stripe_sandbox.sandbox):
    stripe.add_command(command)

COMMANDS: list[click.Command] = [stripe]


def _reconnect(app: str, key_file: Path | None, name: str | None, secret: str | None) -> None:
    """Replace the key of an app, or its name and the secret of its webhook."""
    path = f"{APPS}/{segment(app)}"
    key = _key(key_file) if key_file is not None or (secret is None and name is None) else None
    if secret is None and name is None:
        ask("PUT", f"{path}/stripe/api-key", json={"secretAPIKey": key})
    else:
        stored: dict[str, Any] = ask_json("GET", path)
        kept = {member: stored[member] for member in ("name", "description", "metadata") if member in stored}
        more = given({"name": name, "secretAPIKey": key, "webhookSecret": secret})
        ask("PUT", path, json={**kept, **dict(more)})
    click.echo(f"{app} is changed.")


def _key(file: Path | None) -> str:
    """The key from a file, from standard input that is no terminal, or as it is typed."""
    if file is not None:
        return _first_line(file)
    if sys.stdin.isatty():
        return str(click.prompt("Key of Stripe", hide_input=True)).strip()
    return sys.stdin.read(MOST_KEY_BYTES).strip()


def _first_line(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(MOST_KEY_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Rejected("bad-app", f"{file} cannot be read: {cause}.") from error


def _pair(text: str) -> tuple[str, str]:
    key, equals, member = text.partition("=")
    if not equals:
        raise Rejected("bad-stripe-meter", f"--dimension {text} does not have the form KEY=MEMBER.")
    return key, member
