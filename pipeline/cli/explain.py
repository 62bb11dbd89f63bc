"""`tallymark explain`: what a line of an invoice bills, and the events under it. It calls the API.

Owns: the argument and the text. Does not own: the explanation (api.invoices.explain).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from pipeline.cli.api import ask_json, given
from pipeline.cli.output import format_option, print_value
from pipeline.cli.paths import segment
from pipeline.cli.tables import count, print_table

PAGE = 1000
EVENTS = ("change", "time", "subject", "value", "source", "id")


@click.command()
@click.argument("line")
@click.option("--invoice", metavar="ID", help="The invoice that has the line: it is found faster.")
@click.option(
    "--limit", type=click.IntRange(min=0), metavar="N", help="Print at most N events.  [default: all]"
)
@format_option("table", "json")
def explain(line: str, invoice: str | None, limit: int | None, form: str) -> None:
    """Show what a line of an invoice bills.

    That is its quantity, tiers and price, and the events under it.

    LINE is the id of a line; `tallymark invoices lines ID --format json` lists them. The stored events of the line are
    counted again; it is an error if they are not what the line bills. A correction shows the events that were added
    and removed since the line before it.

    \b
    Example:
      tallymark explain 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    path = f"/billing/lines/{segment(line)}/explain"
    asked = [("limit", PAGE), *given({"invoiceId": invoice})]
    found = ask_json("GET", path, params=asked)
    events = _events(path, asked, found, limit)
    if form == "json":
        print_value(
            {name: value for name, value in found.items() if name != "nextCursor"} | {"items": list(events)}
        )
        return
    _print_summary(found)
    cells = [tuple(str(one[name]) for name in EVENTS) for one in events]
    print_table(EVENTS, cells, right=("value",))


def _events(
    path: str, asked: list[tuple[str, Any]], first: dict[str, Any], limit: int | None
) -> Iterator[dict[str, Any]]:
    """The events of all pages."""
    page, left = first, limit
    while True:
        items = page["items"] if left is None else page["items"][:left]
        yield from items
        left = None if left is None else left - len(items)
        if "nextCursor" not in page or left == 0:
            return
        page = ask_json("GET", path, params=[*asked, ("cursor", page["nextCursor"])])


def _print_summary(found: dict[str, Any]) -> None:
    meter, price = found["meter"], found["price"]
    click.echo(f"{found['name']} on {found['invoiceNumber']}: {found['total']} {found['currency']}")
    click.echo(f"period: {found['period']['from']} to {found['period']['to']}")
    click.echo(f"meter: {meter['slug']}, {meter['aggregation']} of {meter['eventType']}")
    if found["filters"]:
        click.echo(f"filters: {', '.join(f'{name} {value}' for name, value in found['filters'].items())}")
    if "planKey" in price:
        click.echo(f"price: of {price['planKey']} version {price['planVersion']}, item {price['itemId']}")
    click.echo(f"metered: {found['quantity']} from {found['from']} to {found['to']}")
    if found["beforeQuantity"] != "0":
        click.echo(f"of which before: {found['beforeQuantity']}")
    if "correctedQuantity" in found:
        click.echo(f"corrects: {found['correctsLineId']}, which counted {found['correctedQuantity']}")
    positions = ", ".join(_position(one) for one in found["positions"])
    click.echo(f"positions: {positions or 'none'}")
    for tier in found["tiers"]:
        click.echo(f"{tier['component']}: {tier['quantity']} x {tier['perUnitAmount']} = {tier['total']}")
    click.echo(f"{count(found['events'])} events, which add up:")


def _position(one: dict[str, Any]) -> str:
    name = "backfill" if one["partition"] < 0 else f"events-unique/{one['partition']}"
    return f"{name} up to {one['position']}"


COMMANDS: list[click.Command] = [explain]
