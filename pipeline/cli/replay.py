"""`tallymark replay`: what past usage would have cost by other prices or under another plan. It calls the API.

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
from pipeline.errors import Rejected

COLUMNS = ("customer", "lines", "old", "new", "difference", "currency")
PAGE_SIZE = 100


@click.command()
@click.option(
    "--prices", type=click.File("rb"),
    help="File with `rateCards`: key, price, and optionally planKey, discounts, unitConfig (- for standard input).",
)  # fmt: skip
@click.option(
    "--plan", type=click.File("rb"),
    help="File with a whole plan: name, billingCadence, phases and so on; or with key and version of one in the "
    "catalog (- for standard input).",
)  # fmt: skip
@click.option(
    "--of-plan", metavar="KEY", help="With --plan: only subscriptions of this plan.  [default: all]"
)
@click.option(
    "--from", "from_", required=True, metavar="TIME", help="Lines whose period begins at this time or later."
)
@click.option("--to", required=True, metavar="TIME", help="Lines whose period begins before this time.")
@click.option("--customer", metavar="ID", help="Only this customer, by id or key.  [default: all]")
@format_option("table", "json")
def replay(
    prices: IO[bytes] | None,
    plan: IO[bytes] | None,
    of_plan: str | None,
    from_: str,
    to: str,
    customer: str | None,
    form: str,
) -> None:
    """Rate past usage by other prices, or under another plan.

    It shows what would have been invoiced, to the cent. Nothing is changed.

    The lines of all subscriptions are rated as they are (old) and as they would be (new), without taxes and credits.
    Rate cards that --prices does not name keep their price. With --plan each subscription has the phases, rate cards,
    discounts and periods of that plan from its start, and keeps its end and its add-ons.

    \b
    Example:
      echo '{"rateCards": [{"key": "tokens", "price": {"type": "unit", "amount": "0.001"}}]}' |
        tallymark replay --prices - --from 2026-01-01 --to 2026-02-01
      tallymark replay --plan new-plan.json --of-plan pro --from 2026-01-01 --to 2026-02-01
    """
    named = dict(given({"planKey": of_plan, "customer": customer}))
    body = {**_changed(prices, plan), "from": from_, "to": to, **named}
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


def _changed(prices: IO[bytes] | None, plan: IO[bytes] | None) -> dict[str, Any]:
    """What the files change, as the API has it."""
    if plan is not None and prices is None:
        found = read_object(plan)
        return {"customPlan" if "phases" in found else "plan": found}
    if prices is not None and plan is None:
        return read_object(prices)
    raise Rejected("bad-request", "Give either --prices or --plan.")


def _totals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sums of each currency."""
    found = []
    for currency in sorted({row["currency"] for row in rows}):
        own = [row for row in rows if row["currency"] == currency]
        sums = {name: f"{sum(Decimal(row[name]) for row in own):f}" for name in ("old", "new", "difference")}
        found.append({"currency": currency, "lines": sum(row["lines"] for row in own), **sums})
    return found


COMMANDS: list[click.Command] = [replay]
