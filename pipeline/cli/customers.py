"""The commands about customers and their subjects. They call the API.

Owns: their arguments and tables. Does not own: responses (api), show, create and delete (objects).
"""

from __future__ import annotations

from typing import IO

import click

from pipeline.cli import objects
from pipeline.cli.api import ask_json, given, pages
from pipeline.cli.input_file import read_object
from pipeline.cli.output import format_option, listed, print_value
from pipeline.cli.paths import segment


@click.group()
def customers() -> None:
    """List, show, create, replace or delete customers.

    \b
    Example:
      echo '{"key": "acme", "name": "ACME"}' | tallymark customers create -
    """


@customers.command("list")
@click.option("--subject", help="Only those with a subject that contains this text.")
@click.option("--name", help="Only those whose name contains this text.")
@click.option("--deleted", is_flag=True, help="Include deleted ones.")
@format_option("table", "json")
def customers_list(subject: str | None, name: str | None, deleted: bool, form: str) -> None:
    """List customers by name.

    \b
    Example:
      tallymark customers list --subject acme
    """
    params = {"subject": subject, "name": name, "includeDeleted": "true" if deleted else None}
    rows = list(pages("/customers", given(params)))
    cells = (
        (row["id"], row.get("key", ""), row["name"], row.get("currency", ""),
         " ".join((row.get("usageAttribution") or {}).get("subjectKeys", [])))
        for row in rows
    )  # fmt: skip
    listed(rows, form, ("id", "key", "name", "currency", "subjects"), cells)


@customers.command("update")
@click.argument("id")
@click.argument("file", type=click.File("rb"))
def customers_update(id: str, file: IO[bytes]) -> None:
    """Replace the customer ID, an id or key, by FILE.

    FILE is a JSON object (- for standard input).

    \b
    Example:
      tallymark customers update acme acme.json
    """
    print_value(ask_json("PUT", f"/customers/{segment(id)}", json=read_object(file)))


@click.group()
def subjects() -> None:
    """List, show, create, change or delete subjects.

    \b
    Example:
      echo '{"key": "acme-prod", "displayName": "ACME"}' | tallymark subjects upsert -
    """


@subjects.command("list")
@format_option("table", "json")
def subjects_list(form: str) -> None:
    """List subjects by key.

    \b
    Example:
      tallymark subjects list
    """
    rows = ask_json("GET", "/subjects")
    cells = ((row["id"], row["key"], row.get("displayName") or "") for row in rows)
    listed(rows, form, ("id", "key", "name"), cells)


@subjects.command("upsert")
@click.argument("file", type=click.File("rb"))
def subjects_upsert(file: IO[bytes]) -> None:
    """Create or change a subject by its key.

    FILE is a JSON object (- for standard input); members that it lacks keep their values.

    \b
    Example:
      tallymark subjects upsert acme-prod.json
    """
    print_value(ask_json("POST", "/subjects", json=[read_object(file)])[0])


objects.add_show(customers, "/customers")
objects.add_create(customers, "/customers")
objects.add_delete(customers, "/customers")
objects.add_show(subjects, "/subjects")
objects.add_delete(subjects, "/subjects")

COMMANDS: list[click.Command] = [customers, subjects]
