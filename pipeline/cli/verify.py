"""`tallymark verify`: the check of a proof of an invoice. It asks no server.

Owns: the argument and the text. Does not own: the check (core.proof.proof_check), making the file (api.invoices.proof).
"""

from __future__ import annotations

from typing import IO

import click

from pipeline.cli.input_file import name_of
from pipeline.cli.tables import count
from pipeline.errors import Rejected


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--root", metavar="HEX", help="The root that the page of the invoice shows.")
@click.pass_context
def verify(ctx: click.Context, file: IO[bytes], root: str | None) -> None:
    """Check the proof of an invoice.

    FILE is that of `tallymark invoices proof`; no server is asked.

    Every byte is compared with the root, the events of each line are added up, and each line is rated by its price.
    The exit code is 1 if anything is wrong, and 2 if the file holds no invoice.

    \b
    Example:
      tallymark verify INV-ACME-2.jsonl --root 6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
    """
    from pipeline.core.proof.proof_check import check_proof

    try:
        report = check_proof(file)
    except OSError as error:
        raise Rejected("bad-file", f"{name_of(file)} cannot be read: {error.strerror}.") from error
    wrong = list(report.wrong)
    if root is not None and root.strip().lower() != report.root:
        wrong.append(
            f"The root is {report.root}, not {root.strip().lower()}: this is not the file of that page."
        )
    invoice = report.invoice
    if invoice is None:
        raise Rejected("bad-proof", f"{name_of(file)} is no proof of an invoice: {wrong[0]}")
    for sentence in wrong:
        click.echo(f"wrong: {sentence}")
    if wrong:
        ctx.exit(1)
    click.echo(f"{invoice.number} of {invoice.issued_at}: {invoice.total} {invoice.currency}")
    click.echo(
        f"{count(report.lines)} lines and {count(report.events)} events add up, and each line is rated right"
    )
    click.echo(f"root: {report.root}")


COMMANDS: list[click.Command] = [verify]
