"""The commands about what is sold: features, plans and add-ons. They call the API.

Owns: the arguments and tables of features. Does not own: responses (api), show, create and archive (objects), plans and
add-ons (versions).
"""

from __future__ import annotations

import click

from pipeline.cli import objects, versions
from pipeline.cli.api import pages
from pipeline.cli.output import format_option, listed


@click.group()
def features() -> None:
    """List, show, create or archive features.

    \b
    Example:
      echo '{"key": "tokens", "name": "Tokens", "meterSlug": "tokens"}' | tallymark features create -
    """


@features.command("list")
@click.option("--archived", is_flag=True, help="Include archived ones.")
@format_option("table", "json")
def features_list(archived: bool, form: str) -> None:
    """List features by name.

    \b
    Example:
      tallymark features list --archived
    """
    rows = list(pages("/features", [("includeArchived", "true")] if archived else []))
    cells = (
        (row["id"], row["key"], row["name"], row.get("meterSlug", ""), row.get("archivedAt", ""))
        for row in rows
    )
    listed(rows, form, ("id", "key", "name", "meter", "archived"), cells)


objects.add_show(features, "/features")
objects.add_create(features, "/features")
objects.add_delete(features, "/features", "archive")

COMMANDS: list[click.Command] = [features, versions.plans, versions.addons]
