"""The commands about subscriptions of customers and their add-ons. They call the API.

Owns: their arguments and tables. Does not own: responses (api), the rules of subscriptions (core.subscriptions).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, TypeVar

import click

from pipeline.cli.api import ask, ask_json, given, pages
from pipeline.cli.input_file import read_object
from pipeline.cli.output import format_option, listed, print_value
from pipeline.cli.paths import segment

PATH = "/subscriptions"
STATUSES = ("scheduled", "active", "canceled", "inactive")
F = TypeVar("F", bound=Callable[..., Any])
_TIMING = click.option(
    "--timing",
    metavar="WHEN",
    help="immediate, next_billing_cycle or an RFC 3339 timestamp.  [default: immediate]",
)
_ORDER: tuple[Callable[[F], F], ...] = (
    click.option("--version", type=int, help="Of the plan.  [default: the active one]"),
    click.option("--phase", metavar="KEY", help="Skip the phases before it."),
    click.option("--anchor", metavar="TIME", help="A boundary of the billing periods, RFC 3339."),
    click.option("--name", help="Of the subscription.  [default: the plan's]"),
    click.option("--order", type=click.File("rb"), help="Other members of the request, as a JSON object (- for "
                 "standard input), such as customPlan in place of PLAN."),
)  # fmt: skip


@click.group()
def subscriptions() -> None:
    """Give a customer a plan, change it, end it.

    \b
    Example:
      tallymark subscriptions create acme pro
      tallymark subscriptions list acme
    """


@subscriptions.command("list")
@click.argument("customer")
@click.option("--status", type=click.Choice(STATUSES), multiple=True, help="Only those; may be repeated.")
@format_option("table", "json")
def list_subscriptions(customer: str, status: tuple[str, ...], form: str) -> None:
    """List the subscriptions of CUSTOMER, an id or key, by their start.

    \b
    Example:
      tallymark subscriptions list acme --status active
    """
    rows = list(pages(f"/customers/{segment(customer)}/subscriptions", [("status", one) for one in status]))
    cells = (
        (row["id"], row["status"], _plan(row), row["activeFrom"], row.get("activeTo", ""), row["currency"], row["name"])
        for row in rows
    )  # fmt: skip
    listed(rows, form, ("id", "status", "plan", "from", "to", "currency", "name"), cells)


@subscriptions.command()
@click.argument("id")
@click.option("--at", metavar="TIME", help="Whose items are shown, RFC 3339.  [default: now]")
def show(id: str, at: str | None) -> None:
    """Show a subscription with its phases and items as JSON.

    \b
    Example:
      tallymark subscriptions show 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    print_value(ask_json("GET", f"{PATH}/{segment(id)}", params=given({"at": at})))


def _ordered(command: F) -> F:
    """With the options of an order."""
    for option in reversed(_ORDER):
        command = option(command)
    return command


def _order(plan: str | None, timing: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The body of an order: the members of its file, and over them what the options name."""
    file: IO[bytes] | None = options["order"]
    body = {} if file is None else dict(read_object(file))
    if plan is not None:
        body["plan"] = {
            "key": plan,
            **({} if options["version"] is None else {"version": options["version"]}),
        }
    named = {
        "timing": timing, "startingPhase": options["phase"], "billingAnchor": options["anchor"],
        "name": options["name"],
    }  # fmt: skip
    return body | dict(given(named))


@subscriptions.command()
@click.argument("customer")
@click.argument("plan", required=False)
@_TIMING
@_ordered
def create(customer: str, plan: str | None, timing: str | None, **options: Any) -> None:
    """Subscribe CUSTOMER, an id or key, to PLAN, the key of a plan.

    \b
    Example:
      tallymark subscriptions create acme pro --phase paid
    """
    order = _order(plan, timing, options)
    id = ask_json("GET", f"/customers/{segment(customer)}")["id"]
    _print(ask_json("POST", PATH, json={**order, "customerId": id}))


@subscriptions.command()
@click.argument("id")
@click.argument("file", type=click.File("rb"))
def edit(id: str, file: IO[bytes]) -> None:
    """Edit items and phases of a subscription by FILE.

    FILE is a JSON object (- for standard input) with customizations, and timing if need be.

    \b
    Example:
      tallymark subscriptions edit 01J8Z3V9T2M4K6P8R0S2V4X6Z8 edit.json
    """
    _print(ask_json("PATCH", f"{PATH}/{segment(id)}", json=read_object(file)))


@subscriptions.command()
@click.argument("id")
@_TIMING
def cancel(id: str, timing: str | None) -> None:
    """End a subscription.

    A timestamp must be a boundary of its billing periods.

    \b
    Example:
      tallymark subscriptions cancel 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --timing next_billing_cycle
    """
    _print(ask_json("POST", f"{PATH}/{segment(id)}/cancel", json=dict(given({"timing": timing}))))


@subscriptions.command()
@click.argument("id")
@click.argument("plan", required=False)
@_TIMING
@_ordered
def change(id: str, plan: str | None, timing: str | None, **options: Any) -> None:
    """End a subscription and begin another one of the customer, to PLAN, at the same instant.

    \b
    Example:
      tallymark subscriptions change 01J8Z3V9T2M4K6P8R0S2V4X6Z8 enterprise --timing next_billing_cycle
    """
    _print_both(id, "change", {"timing": "immediate", **_order(plan, timing, options)})


@subscriptions.command()
@click.argument("id")
@_TIMING
@click.option("--version", "targetVersion", type=int, help="Of its plan.  [default: the active one]")
@click.option("--phase", "startingPhase", metavar="KEY", help="Skip the phases before it.")
@click.option(
    "--anchor", "billingAnchor", metavar="TIME", help="A boundary of the billing periods, RFC 3339."
)
def migrate(id: str, **sent: Any) -> None:
    """Move a subscription to another version of its plan.

    \b
    Example:
      tallymark subscriptions migrate 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    _print_both(id, "migrate", dict(given(sent)))


@subscriptions.command("continue")
@click.argument("id")
def unschedule(id: str) -> None:
    """Take back a cancelation.

    \b
    Example:
      tallymark subscriptions continue 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    _print(ask_json("POST", f"{PATH}/{segment(id)}/unschedule-cancelation"))


@subscriptions.command()
@click.argument("id")
def restore(id: str) -> None:
    """Take back a cancelation, and delete what is scheduled after it.

    \b
    Example:
      tallymark subscriptions restore 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    _print(ask_json("POST", f"{PATH}/{segment(id)}/restore"))


@subscriptions.command()
@click.argument("id")
def delete(id: str) -> None:
    """Delete a subscription that has not begun.

    \b
    Example:
      tallymark subscriptions delete 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("DELETE", f"{PATH}/{segment(id)}")
    click.echo(f"{id} is deleted.")


@subscriptions.group()
def addons() -> None:
    """Buy add-ons for a subscription.

    \b
    Example:
      tallymark subscriptions addons buy 01J8Z3V9T2M4K6P8R0S2V4X6Z8 seats 3
    """


@addons.command("list")
@click.argument("id")
@format_option("table", "json")
def list_addons(id: str, form: str) -> None:
    """List the add-ons of a subscription.

    \b
    Example:
      tallymark subscriptions addons list 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    rows = ask_json("GET", f"{PATH}/{segment(id)}/addons")
    cells = (
        (row["addon"]["key"], str(row["quantity"]), row["activeFrom"], row.get("activeTo", ""), row["name"], row["id"])
        for row in rows
    )  # fmt: skip
    listed(rows, form, ("addon", "quantity", "from", "to", "name", "id"), cells, right=("quantity",))


@addons.command()
@click.argument("id")
@click.argument("addon")
@click.argument("quantity", type=int, default=1)
@_TIMING
def buy(id: str, addon: str, quantity: int, timing: str | None) -> None:
    """Buy ADDON, the id or key of an add-on, QUANTITY times.

    \b
    Example:
      tallymark subscriptions addons buy 01J8Z3V9T2M4K6P8R0S2V4X6Z8 seats 3
    """
    body = {"addon": {"id": addon}, "quantity": quantity, **dict(given({"timing": timing}))}
    _print_addon(ask_json("POST", f"{PATH}/{segment(id)}/addons", json=body))


@addons.command("set")
@click.argument("id")
@click.argument("addon")
@click.argument("quantity", type=int)
@_TIMING
def set_quantity(id: str, addon: str, quantity: int, timing: str | None) -> None:
    """Change how many of ADDON, the id of a purchase or of an add-on, are bought; 0 ends it.

    \b
    Example:
      tallymark subscriptions addons set 01J8Z3V9T2M4K6P8R0S2V4X6Z8 01J8Z3V9T2M4K6P8R0S2V4X6Z9 5
    """
    body = {"quantity": quantity, **dict(given({"timing": timing}))}
    _print_addon(ask_json("PATCH", f"{PATH}/{segment(id)}/addons/{segment(addon)}", json=body))


def _plan(row: dict[str, Any]) -> str:
    plan = row.get("plan")
    return "custom" if plan is None else f"{plan['key']} {plan['version']}"


def _print(row: dict[str, Any]) -> None:
    end = f" to {row['activeTo']}" if "activeTo" in row else ""
    click.echo(f"{row['id']} is {row['status']} from {row['activeFrom']}{end}: {_plan(row)}.")


def _print_both(id: str, action: str, body: dict[str, Any]) -> None:
    answer = ask_json("POST", f"{PATH}/{segment(id)}/{action}", json=body)
    _print(answer["current"])
    _print(answer["next"])


def _print_addon(row: dict[str, Any]) -> None:
    parts = ", ".join(f"{one['quantity']} from {one['activeFrom']}" for one in row["timeline"])
    click.echo(f"{row['id']}: {row['addon']['key']}, {parts or 'none'}.")


COMMANDS: list[click.Command] = [subscriptions]
