"""The commands about invoices. They call the API.

Owns: their arguments and tables, where a page is written. Does not own: responses and pages (api), what may be done
with an invoice (core.invoices).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import click

from pipeline.cli.api import ask, ask_json, given, pages
from pipeline.cli.input_file import read_object
from pipeline.cli.output import format_option, listed, print_value
from pipeline.cli.paths import segment
from pipeline.cli.tables import print_table

INVOICES, CUSTOMERS = "/billing/invoices", "/billing/customers"
COMPONENTS = ("line", "component", "from", "to", "quantity", "price", "total")
EXPECTED = ("line", "from", "to", "quantity", "total", "expected quantity", "expected total")
AN_ID = "01J8Z3V9T2M4K6P8R0S2V4X6Z8"


@click.group()
def invoices() -> None:
    """List, check, approve and print invoices.

    \b
    Example:
      tallymark invoices list --status draft
      tallymark invoices approve 01J8Z3V9T2M4K6P8R0S2V4X6Z8
      tallymark invoices page 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --output invoice.html
    """


@invoices.command("list")
@click.option("--customer", metavar="ID", help="Only those of this customer, by id or key.")
@click.option(
    "--status", "statuses", multiple=True, metavar="STATUS", help="Only with this status. Can be repeated."
)
@click.option("--since", metavar="TIME", help="Only those issued since this time or date.")
@click.option("--deleted", is_flag=True, help="Include deleted ones.")
@format_option("table", "json")
def invoices_list(
    customer: str | None, statuses: tuple[str, ...], since: str | None, deleted: bool, form: str
) -> None:
    """List invoices, oldest first; those that gather lines too.

    \b
    Example:
      tallymark invoices list --customer acme --status overdue
    """
    asked = [("statuses", one) for one in statuses] + given({"issuedAfter": since})
    if customer is not None:
        asked.append(("customers", _customer_id(customer)))
    if deleted:
        asked.append(("includeDeleted", "true"))
    rows = list(pages(INVOICES, asked))
    columns = ("number", "status", "customer", "issued", "due", "total", "currency", "id")
    cells = (
        (row["number"], row["statusDetails"]["extendedStatus"], row["customer"]["name"], row.get("issuedAt", ""),
         row.get("dueAt", ""), row["totals"]["total"], row["currency"], row["id"])
        for row in rows
    )  # fmt: skip
    listed(rows, form, columns, cells, right=("total",))


@invoices.command()
@click.argument("id")
def show(id: str) -> None:
    """Show an invoice as JSON, with its lines and what may be done with it.

    \b
    Example:
      tallymark invoices show 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    print_value(ask_json("GET", _path(id)))


@invoices.command()
@click.argument("id")
@format_option("table", "csv", "json")
def lines(id: str, form: str) -> None:
    """List the lines of an invoice: each component of a line, such as a tier, is a row.

    The totals of all rows add up to that of the invoice. CSV and JSON have more columns.

    \b
    Example:
      tallymark invoices lines 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --format csv > lines.csv
    """
    if form == "csv":
        click.echo(ask("GET", f"{_path(id)}/lines", accept="text/csv").text, nl=False)
        return
    rows = ask_json("GET", f"{_path(id)}/lines")
    cells = (
        (row["name"], row["component"] or "", row["from"], row["to"], row["quantity"] or "",
         row["perUnitAmount"] or "", row["total"])
        for row in rows
    )  # fmt: skip
    listed(rows, form, COMPONENTS, cells, right=COMPONENTS[4:])


@invoices.command()
@click.argument("customer")
@click.option(
    "--lines", "file", type=click.File("rb"),
    help="File with a currency and lines with quantities (- for standard input): what they would cost.",
)  # fmt: skip
@format_option("table", "json")
def preview(customer: str, file: IO[bytes] | None, form: str) -> None:
    """Show what a customer would be invoiced for: the lines that wait, or made-up lines of a file.

    CUSTOMER is an id or key. Nothing is changed or kept.

    \b
    Example:
      tallymark invoices preview acme
      tallymark invoices preview acme --lines what-if.json
    """
    if file is not None:
        path = f"{CUSTOMERS}/{segment(customer)}/invoices/simulate"
        found = [ask_json("POST", path, json=read_object(file))]
    else:
        asked = [("customers", _customer_id(customer)), ("statuses", "gathering"), ("expand", "lines")]
        found = list(pages(INVOICES, asked))
    if form == "json":
        print_value(found)
        return
    if not found:
        click.echo("No lines wait to be invoiced.")
    for invoice in found:
        print_table(COMPONENTS, _components(invoice.get("lines", ())), right=COMPONENTS[4:])
        _print_totals(invoice)


@invoices.command()
@click.argument("customer")
@format_option("table", "json")
def upcoming(customer: str, form: str) -> None:
    """Show the next invoices of a customer: the total until now, and what is expected if usage continues.

    CUSTOMER is an id or key. Usage that sums or counts is expected to grow until the end of its period as it did until
    now.

    \b
    Example:
      tallymark invoices upcoming acme
    """
    found = ask_json("GET", f"/customers/{segment(customer)}/billing/upcoming")
    if form == "json":
        print_value(found)
        return
    if not found["items"]:
        click.echo("No lines wait to be invoiced.")
    for invoice in found["items"]:
        cells = (
            (line["name"], line["period"]["from"], line["period"]["to"], line.get("quantity", ""),
             line["totals"]["total"], line["forecast"].get("quantity", ""), line["forecast"]["totals"]["total"])
            for line in invoice["lines"]
        )  # fmt: skip
        print_table(EXPECTED, cells, right=EXPECTED[3:])
        expected = f"{invoice['forecast']['totals']['total']} {invoice['currency']}"
        click.echo(f"on {invoice['collectionAt']}: {_total(invoice)} until now, {expected} expected")


@invoices.command()
@click.argument("customer")
@click.option("--as-of", metavar="TIME", help="Lines that are due by then.  [default: now]")
def now(customer: str, as_of: str | None) -> None:
    """Invoice the lines of a customer that are due, without waiting for the collection.

    CUSTOMER is an id or key. Lines by usage whose period runs are billed up to now, unless the profile forbids it.

    \b
    Example:
      tallymark invoices now acme
    """
    body = dict(given({"customerId": customer, "asOf": as_of}))
    for invoice in ask_json("POST", f"{INVOICES}/invoice", json=body):
        click.echo(f"{invoice['id']} is {_status(invoice)}: {_total(invoice)}.")


@invoices.command()
@click.argument("id")
@click.option("--reason", required=True, help="Why, for the customer.")
@click.option("--bill-again", is_flag=True, help="Its lines wait to be invoiced again.")
def void(id: str, reason: str, bill_again: bool) -> None:
    """Take an issued invoice back; its number stays used.

    \b
    Example:
      tallymark invoices void 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --reason "Wrong address" --bill-again
    """
    action = {"percentage": 100, "action": {"type": "pending" if bill_again else "discard"}}
    _print_changed(ask_json("POST", f"{_path(id)}/void", json={"reason": reason, "action": action}))


@invoices.command()
@click.argument("id")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: standard output]",
)
def page(id: str, output: Path | None) -> None:
    """Write an invoice as a page of HTML, which a browser shows and prints on A4.

    \b
    Example:
      tallymark invoices page 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --output invoice.html
    """
    html = ask("GET", f"{_path(id)}.html", accept="text/html").content
    _write(output, html, f"has the invoice {id}")


@invoices.command()
@click.argument("id")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: standard output]",
)
def proof(id: str, output: Path | None) -> None:
    """Write a file that proves an issued invoice: its lines, prices, events and their Merkle root.

    `tallymark verify` checks it without the server. The page of the invoice shows the root from then on.

    \b
    Example:
      tallymark invoices proof 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --output proof.jsonl
    """
    content = ask("GET", f"{_path(id)}/proof", accept="text/plain").content
    _write(output, content, f"proves the invoice {id}")


@invoices.command()
@click.argument("id")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write."
)
def pdf(id: str, output: Path) -> None:
    """Write an invoice as PDF. The API needs `pip install 'tallymark[pdf]'` for it.

    \b
    Example:
      tallymark invoices pdf 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --output invoice.pdf
    """
    content = ask("GET", f"{_path(id)}.pdf", accept="application/pdf").content
    _write(output, content, f"has the invoice {id}")


@invoices.command()
@click.argument("id")
def delete(id: str) -> None:
    """Delete a draft. An issued invoice can be voided instead.

    \b
    Example:
      tallymark invoices delete 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("DELETE", _path(id))
    click.echo(f"{id} is deleted.")


def _add_action(verb: str, path: str, text: str) -> None:
    help = f"{text}\n\n\b\nExample:\n  tallymark invoices {verb} {AN_ID}"

    @invoices.command(verb, help=help)
    @click.argument("id")
    def act(id: str) -> None:
        _print_changed(ask_json("POST", f"{_path(id)}/{path}"))


for _verb, _last, _text in (
    ("advance", "advance", "Advance an invoice as far as it can go now.\n\nIt does so by itself too."),
    ("approve", "approve", "Issue a draft now, without waiting for its draft period."),
    ("retry", "retry", "Retry the step that failed, of an invoice that failed or is invalid."),
    ("collect", "snapshot-quantities",
     "Take the usage of a draft as it is now.\n\nUsage that comes later is billed by a correction."),
):  # fmt: skip
    _add_action(_verb, _last, _text)


def _write(output: Path | None, content: bytes, what: str) -> None:
    """Write content to a file and say what it does, or to the standard output."""
    if output is None:
        click.get_binary_stream("stdout").write(content)
        return
    output.write_bytes(content)
    click.echo(f"{output} {what}.")


def _path(id: str) -> str:
    return f"{INVOICES}/{segment(id)}"


def _customer_id(id_or_key: str) -> str:
    """The id of a customer: lists are of ids."""
    return str(ask_json("GET", f"/customers/{segment(id_or_key)}")["id"])


def _components(lines: Iterable[Mapping[str, Any]]) -> list[Sequence[str]]:
    found: list[Sequence[str]] = []
    for line in lines:
        period = line["period"]
        components: Sequence[Mapping[str, Any]] = line.get("children") or ({},)
        for one in components:
            total = one["totals"] if one else line["totals"]
            found.append(
                (line["name"], one.get("childReference", ""), period["from"], period["to"],
                 one.get("quantity", line.get("quantity", "")), one.get("perUnitAmount", ""), total["total"])
            )  # fmt: skip
    return found


def _print_totals(invoice: Mapping[str, Any]) -> None:
    totals = invoice["totals"]
    for name, member in (
        ("discounts", "discountsTotal"),
        ("credits", "creditsTotal"),
        ("taxes", "taxesTotal"),
    ):
        if totals[member] != "0":
            click.echo(f"{name}: {totals[member]} {invoice['currency']}")
    click.echo(f"total: {_total(invoice)}")


def _print_changed(invoice: Mapping[str, Any]) -> None:
    click.echo(f"{invoice['number']} is {_status(invoice)}.")
    for issue in invoice.get("validationIssues", ()):
        click.echo(f"{issue['severity']}: {issue['message']}", err=True)


def _status(invoice: Mapping[str, Any]) -> str:
    return str(invoice["statusDetails"]["extendedStatus"])


def _total(invoice: Mapping[str, Any]) -> str:
    return f"{invoice['totals']['total']} {invoice['currency']}"


COMMANDS: list[click.Command] = [invoices]
