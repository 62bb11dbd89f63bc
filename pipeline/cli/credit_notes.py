"""The commands about credit notes. They call the API.

Owns: their arguments and tables. Does not own: responses and pages (api), when one is made (core.bills).
"""

from __future__ import annotations

import click

from pipeline.cli.api import ask, ask_json, given, pages
from pipeline.cli.credits import PAGED, VERSION
from pipeline.cli.output import format_option, listed, print_value
from pipeline.cli.paths import segment

NOTES = "/openmeter/credit-notes"


@click.group("credit-notes")
def credit_notes() -> None:
    """List and show credit notes.

    \b
    Example:
      tallymark credit-notes list
    """


@credit_notes.command("list")
@click.option("--customer", metavar="ID", help="Only those of this customer, by id or key.")
@click.option("--invoice", metavar="ID", help="Only those that correct this invoice.")
@format_option("table", "json")
def credit_notes_list(customer: str | None, invoice: str | None, form: str) -> None:
    """List credit notes, oldest first.

    \b
    Example:
      tallymark credit-notes list --customer acme
    """
    id = None if customer is None else str(ask_json("GET", f"/customers/{segment(customer)}")["id"])
    asked = given({"filter[customer_id]": id, "filter[invoice_id]": invoice})
    rows = list(pages(NOTES, asked, version=VERSION, members=PAGED))
    columns = ("number", "customer", "invoice", "issued", "total", "currency", "id")
    cells = (
        (row.get("number", ""), row["customer"]["name"], row["invoice"].get("number", ""), row.get("issued_at", ""),
         row["total"], row["currency"], row["id"])
        for row in rows
    )  # fmt: skip
    listed(rows, form, columns, cells, right=("total",))


@credit_notes.command("show")
@click.argument("id")
def credit_notes_show(id: str) -> None:
    """Show a credit note as JSON, with its lines and the credit that it gave.

    \b
    Example:
      tallymark credit-notes show 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    print_value(ask_json("GET", f"{NOTES}/{segment(id)}", version=VERSION))


@credit_notes.command("page")
@click.argument("id")
def credit_notes_page(id: str) -> None:
    """Print the page of a credit note: HTML that a browser shows and prints on A4.

    \b
    Example:
      tallymark credit-notes page 01J8Z3V9T2M4K6P8R0S2V4X6Z8 > note.html
    """
    page = ask("GET", f"{NOTES}/{segment(id)}.html", accept="text/html", version=VERSION)
    click.echo(page.text, nl=False)


COMMANDS: list[click.Command] = [credit_notes]
