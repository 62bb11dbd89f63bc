"""The commands about credits and the ledger. They call the API.

Owns: their arguments and tables. Does not own: responses (api), what credits pay (core.credits).
"""

from __future__ import annotations

from typing import IO

import click

from pipeline.cli.api import PageMembers, ask, ask_json, given, pages
from pipeline.cli.input_file import read_object
from pipeline.cli.output import format_option, listed, print_value
from pipeline.cli.paths import segment
from pipeline.errors import Rejected

VERSION = 3
PAGED = PageMembers("page[number]", "page[size]", "data")


@click.group()
def credits() -> None:
    """Grant, void and list prepaid credits.

    \b
    Example:
      echo '{"name": "Pack", "currency": "EUR", "amount": "100"}' | tallymark credits create acme -
      tallymark credits balance acme
    """


@credits.command("list")
@click.argument("customer")
@format_option("table", "json")
def credits_list(customer: str, form: str) -> None:
    """List the grants of CUSTOMER, an id or key, oldest first, ended ones too.

    \b
    Example:
      tallymark credits list acme
    """
    rows = list(pages(f"{_path(customer)}/grants", version=VERSION, members=PAGED))
    columns = ("name", "status", "amount", "left", "currency", "priority", "expires", "id")
    cells = (
        (row["name"], row["status"], row["amount"], row["balance"], row["currency"], str(row["priority"]),
         row.get("expires_at", ""), row["id"])
        for row in rows
    )  # fmt: skip
    listed(rows, form, columns, cells, right=("amount", "left", "priority"))


@credits.command("create")
@click.argument("customer")
@click.argument("file", type=click.File("rb"))
def credits_create(customer: str, file: IO[bytes]) -> None:
    """Grant credits to CUSTOMER, an id or key, from FILE.

    FILE is a JSON object (- for standard input): name, currency, amount, and where needed funding_method (none,
    invoice, external), purchase {per_unit_cost_basis, availability_policy}, filters {features}, priority,
    effective_at, expires_after, key.

    \b
    Example:
      echo '{"name": "Pack of 100", "currency": "EUR", "amount": "100", "funding_method": "invoice",
             "purchase": {"per_unit_cost_basis": "0.8"}}' | tallymark credits create acme -
    """
    path = f"{_path(customer)}/grants"
    print_value(ask_json("POST", path, json=read_object(file), version=VERSION))


@credits.command("void")
@click.argument("customer")
@click.argument("id")
def credits_void(customer: str, id: str) -> None:
    """Take back what is left of the grant ID of CUSTOMER.

    \b
    Example:
      tallymark credits void acme 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    path = f"{_path(customer)}/grants/{segment(id)}/void"
    print_value(ask_json("POST", path, version=VERSION))


@credits.command("settle")
@click.argument("customer")
@click.argument("id")
@click.option(
    "--status",
    type=click.Choice(["authorized", "settled"]),
    default="settled",
    show_default=True,
    help="How far its payment is.",
)
def credits_settle(customer: str, id: str, status: str) -> None:
    """Report the payment of the grant ID of CUSTOMER that is paid elsewhere.

    \b
    Example:
      tallymark credits settle acme 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    path = f"{_path(customer)}/grants/{segment(id)}/settlement/external"
    print_value(ask_json("POST", path, json={"status": status}, version=VERSION))


@credits.command("adjust")
@click.argument("customer")
@click.argument("amount")
@click.argument("currency")
@click.option("--name", required=True, help="Why, as transactions show it.")
def credits_adjust(customer: str, amount: str, currency: str, name: str) -> None:
    """Add AMOUNT of CURRENCY to the credits of CUSTOMER, or take it off if it is below 0.

    \b
    Example:
      tallymark credits adjust acme --name Goodwill -- 5 EUR
      tallymark credits adjust acme --name Mistake -- -5 EUR
    """
    sent = {"name": name, "currency": currency, "amount": amount}
    print_value(ask_json("POST", f"{_path(customer)}/adjustments", json=sent, version=VERSION))


@credits.command("balance")
@click.argument("customer")
@click.option("--at", metavar="TIME", help="At this time or date; now by default.")
@click.option("--feature", metavar="KEY", help="Only credits that pay lines of this feature.")
@format_option("table", "json")
def credits_balance(customer: str, at: str | None, feature: str | None, form: str) -> None:
    """Show what CUSTOMER can use, by currency.

    \b
    Example:
      tallymark credits balance acme --at 2026-01-01
    """
    params = given({"at": at, "filter[feature_key]": feature})
    found = ask_json("GET", f"{_path(customer)}/balance", params=params, version=VERSION)
    columns = ("currency", "live", "settled", "pending")
    cells = (tuple(row[name] for name in columns) for row in found["balances"])
    listed(found["balances"], form, columns, cells, right=columns[1:])


@credits.command("transactions")
@click.argument("customer")
@format_option("table", "json")
def credits_transactions(customer: str, form: str) -> None:
    """List what changed the credits of CUSTOMER, newest first.

    \b
    Example:
      tallymark credits transactions acme
    """
    rows = list(pages(f"{_path(customer)}/transactions", version=VERSION, members=PAGED))
    columns = ("booked", "type", "name", "amount", "after", "currency", "cause")
    cells = (
        (row["booked_at"], row["type"], row["name"], row["amount"], row["available_balance"]["after"],
         row["currency"], row["cause"])
        for row in rows
    )  # fmt: skip
    listed(rows, form, columns, cells, right=("amount", "after"))


@credits.command("top-up")
@click.argument("customer")
@click.argument("currency")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--stop", is_flag=True, help="Remove the rule.")
def credits_top_up(customer: str, currency: str, file: IO[bytes] | None, stop: bool) -> None:
    """Add credits in CURRENCY to CUSTOMER whenever they run low, by the rule in FILE.

    FILE is a JSON object (- for standard input): threshold, amount, and where needed target, funding_method,
    per_unit_cost_basis, availability_policy, expires_after, priority, max_amount, period.

    There is one top-up at a time: none follows one that is not paid. A rule adds at most max_amount in a period, which
    is a month unless the rule has another.

    \b
    Example:
      echo '{"threshold": "10", "amount": "50"}' | tallymark credits top-up acme EUR -
      tallymark credits top-up acme EUR --stop
    """
    path = f"{_path(customer)}/top-ups/{segment(currency)}"
    if stop == (file is not None):
        raise Rejected("bad-request", "Give either a FILE or --stop.")
    if file is None:
        ask("DELETE", path, version=VERSION)
        return
    print_value(ask_json("PUT", path, json=read_object(file), version=VERSION))


@click.group()
def ledger() -> None:
    """Show the ledger: every transaction sums to zero.

    \b
    Example:
      tallymark ledger trial-balance
    """


@ledger.command("trial-balance")
@click.option("--customer", metavar="ID", help="Only this customer, by id or key.")
@click.option("--at", metavar="TIME", help="At this time or date; now by default.")
@format_option("table", "json")
def ledger_trial_balance(customer: str | None, at: str | None, form: str) -> None:
    """List what each account holds. The exit code is 1 if something does not add up.

    \b
    Example:
      tallymark ledger trial-balance --at 2026-02-01
    """
    found = ask_json("GET", "/ledger/trial-balance", params=given({"customer": customer, "at": at}))
    if form == "json":
        print_value(found)
    else:
        columns = ("account", "currency", "debit", "credit", "balance")
        cells = (tuple(row[name] for name in columns) for row in found["accounts"])
        listed(found["accounts"], form, columns, cells, right=columns[2:])
        for sentence in found["differences"]:
            click.echo(sentence)
    if not found["ok"]:
        raise SystemExit(1)


def _path(customer: str) -> str:
    return f"/openmeter/customers/{segment(customer)}/credits"


COMMANDS: list[click.Command] = [credits, ledger]
