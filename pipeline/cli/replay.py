"""`tallymark replay`: what past usage would have cost by other prices. It calls the API.

Owns: arguments, the table, the totals. Does not own: the replay (api.invoices.replay).
"""

from __future__ import annotations

from decimal import Decimal
from typing import IO, Any

import click

from pipeline.cli.api import ask_json, given
from pipeline.cli.input_file import read_object
from pipeline.cli.output import format_option, print_value
from pipeline.cli.tables import print_table

COLUMNS = ("customer", "lines", "old", "new", "difference", "currency")
PAGE_SIZE = 100


@click.command()
@click.option(
    "--prices", required=True, type=click.File("rb"),
    help="File with `rateCards`: key, price, and optionally planKey, discounts, unitConfig (- for standard input).",
)  # fmt: skip
@click.option(
    "--from", "from_", required=True, metavar="TIME", help="Lines whose period begins at this time or later."
)
@click.option("--to", required=True, metavar="TIME", help="Lines whose period begins before this time.")
@click.option("--customer", metavar="ID", help="Only this customer, by id or key.  [default: all]")
@format_option("table", "json")
def replay(prices: IO[bytes], from_: str, to: str, customer: str | None, form: str) -> None:
    """Rate past usage by other prices.

    It shows what would have been invoiced, to the cent. Nothing is changed.

    The lines of all subscriptions are rated by the prices that they have (old) and by those of the file (new), without
    taxes and credits. Rate cards that the file does not name keep their price.

    \b
    Example:
      echo '{"rateCards": [{"key": "tokens", "price": {"type": "unit", "amount": "0.001"}}]}' |
        tallymark replay --prices - --from 2026-01-01 --to 2026-02-01
    """
    body = {**read_object(prices), "from": from_, "to": to, **dict(given({"customer": customer}))}
    rows: list[dict[str, Any]] = []
    page = 1
    while True:
        found = ask_json(
            "POST", "/billing/replay", json=body, params=[("page", page), ("pageSize", PAGE_SIZE)]
        )
        rows += found["items"]
        if page * PAGE_SIZE >= found["totalCount"]:
            break
        page += 1
    totals = _totals(rows)
    if form == "json":
        print_value({"from": found["from"], "to": found["to"], "items": rows, "totals": totals})
        return
    cells = [
        (str(row.get("customerKey", row["customerId"])), *(str(row[name]) for name in COLUMNS[1:]))
        for row in rows
    ]
    cells += [("total", *(str(total[name]) for name in COLUMNS[1:])) for total in totals]
    print_table(COLUMNS, cells, right=COLUMNS[1:5])


def _totals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sums of each currency."""
    found = []
    for currency in sorted({row["currency"] for row in rows}):
        own = [row for row in rows if row["currency"] == currency]
        sums = {name: f"{sum(Decimal(row[name]) for row in own):f}" for name in ("old", "new", "difference")}
        found.append({"currency": currency, "lines": sum(row["lines"] for row in own), **sums})
    return found


COMMANDS: list[click.Command] = [replay]
