"""The commands about how customers are billed: profiles, overrides of customers, apps. They call the API.

Owns: their arguments and tables, the group `billing`. Does not own: responses (api), accounts of Stripe (billing).
"""

from __future__ import annotations

from typing import IO, Any

import click

from pipeline.cli.api import ask, ask_json, given, pages
from pipeline.cli.input_file import read_object
from pipeline.cli.objects import AN_ID, FILE_HELP
from pipeline.cli.output import format_option, listed, print_value
from pipeline.cli.paths import segment

PROFILES, OVERRIDES, APPS = "/billing/profiles", "/billing/customers", "/apps"
LISTINGS = "/marketplace/listings"


@click.group()
def billing() -> None:
    """Set how customers are billed, and by which apps.

    \b
    Example:
      tallymark billing profiles list
      tallymark billing overrides set acme --profile 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """


@billing.group()
def profiles() -> None:
    """List, show, create, change or delete billing profiles.

    \b
    Example:
      tallymark billing profiles show 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """


@profiles.command("list")
@click.option("--deleted", is_flag=True, help="Include deleted ones.")
@format_option("table", "json")
def profiles_list(deleted: bool, form: str) -> None:
    """List billing profiles, oldest first.

    \b
    Example:
      tallymark billing profiles list --deleted
    """
    parameters = given({"expand": "apps", "includeArchived": "true" if deleted else None})
    rows = list(pages(PROFILES, parameters))
    cells = (
        (row["id"], row["name"], "yes" if row["default"] else "", row["apps"]["invoicing"]["type"], row["timeZone"],
         row["numbering"]["prefix"], row.get("deletedAt", ""))
        for row in rows
    )  # fmt: skip
    listed(rows, form, ("id", "name", "default", "app", "time zone", "prefix", "deleted"), cells)


@profiles.command("show")
@click.argument("id")
def profiles_show(id: str) -> None:
    """Show the billing profile ID as JSON.

    \b
    Example:
      tallymark billing profiles show 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    print_value(ask_json("GET", f"{PROFILES}/{segment(id)}"))


@profiles.command(
    "create",
    help=f"Create a billing profile from FILE.\n\n{FILE_HELP}\n\n\b\nExample:\n"
    "  tallymark billing profiles create profile.json",
)
@click.argument("file", type=click.File("rb"))
def profiles_create(file: IO[bytes]) -> None:
    print_value(ask_json("POST", PROFILES, json=read_object(file)))


@profiles.command(
    "update",
    help=f"Replace the billing profile ID by FILE; its apps stay.\n\n{FILE_HELP}\n\n\b\nExample:\n"
    f"  tallymark billing profiles update {AN_ID} profile.json",
)
@click.argument("id")
@click.argument("file", type=click.File("rb"))
def profiles_update(id: str, file: IO[bytes]) -> None:
    print_value(ask_json("PUT", f"{PROFILES}/{segment(id)}", json=read_object(file)))


@profiles.command("delete")
@click.argument("id")
def profiles_delete(id: str) -> None:
    """Delete the billing profile ID; not the default one, and none that an override names.

    \b
    Example:
      tallymark billing profiles delete 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("DELETE", f"{PROFILES}/{segment(id)}")
    click.echo(f"{id} is deleted.")


@billing.group()
def overrides() -> None:
    """List, show, set or delete which billing profile a customer has.

    \b
    Example:
      tallymark billing overrides list
    """


@overrides.command("list")
@click.option("--profile", metavar="ID", help="Only customers who have this profile.")
@click.option("--all", "everyone", is_flag=True, help="Include customers without an override.")
@format_option("table", "json")
def overrides_list(profile: str | None, everyone: bool, form: str) -> None:
    """List customers with an override, and the profile of each.

    \b
    Example:
      tallymark billing overrides list --all
    """
    included = "true" if everyone else "false"
    asked = given({"expand": "customer", "includeAllCustomers": included, "billingProfile": profile})
    rows = list(pages(OVERRIDES, asked))
    cells = (
        (row["customer"]["id"], row["customer"].get("key", ""), row["customer"]["name"], row["baseBillingProfileId"],
         _kind(row))
        for row in rows
    )  # fmt: skip
    listed(rows, form, ("customer", "key", "name", "profile", "by"), cells)


@overrides.command("show")
@click.argument("customer")
def overrides_show(customer: str) -> None:
    """Show the override of CUSTOMER, an id or key, and the settings in force, as JSON.

    \b
    Example:
      tallymark billing overrides show acme
    """
    print_value(ask_json("GET", f"{OVERRIDES}/{segment(customer)}"))


@overrides.command("set")
@click.argument("customer")
@click.option("--profile", metavar="ID", help="Of the profile.  [default: the default one, whichever it is]")
def overrides_set(customer: str, profile: str | None) -> None:
    """Set the billing profile of CUSTOMER, an id or key.

    \b
    Example:
      tallymark billing overrides set acme --profile 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    body = dict(given({"billingProfileId": profile}))
    print_value(ask_json("PUT", f"{OVERRIDES}/{segment(customer)}", json=body))


@overrides.command("delete")
@click.argument("customer")
def overrides_delete(customer: str) -> None:
    """Delete the override of CUSTOMER, who then has the default profile.

    \b
    Example:
      tallymark billing overrides delete acme
    """
    ask("DELETE", f"{OVERRIDES}/{segment(customer)}")
    click.echo(f"{customer} has the default profile.")


@billing.group()
def apps() -> None:
    """List, install, change or uninstall the apps that send invoices.

    \b
    Example:
      tallymark billing apps install custom_invoicing
    """


@apps.command("list")
@format_option("table", "json")
def apps_list(form: str) -> None:
    """List what is installed, oldest first.

    \b
    Example:
      tallymark billing apps list
    """
    rows = list(pages(APPS, ()))
    cells = ((row["id"], row["type"], row["name"], row["status"], _hooks(row)) for row in rows)
    listed(rows, form, ("id", "type", "name", "status", "waits for calls"), cells)


@apps.command("install")
@click.argument("type", type=click.Choice(["sandbox", "custom_invoicing"]))
@click.option("--name", help="Of the app.  [default: that of its type]")
@click.option("--no-profile", is_flag=True, help="Make no billing profile with the app.")
def apps_install(type: str, name: str | None, no_profile: bool) -> None:
    """Install an app of a TYPE that needs no key.

    \b
    Example:
      tallymark billing apps install custom_invoicing --name "Our invoices"
    """
    body = {**dict(given({"name": name})), "createBillingProfile": not no_profile}
    answer = ask_json("POST", f"{LISTINGS}/{segment(type)}/install", json=body)
    is_default = (
        ", and customers without an override are billed by it" if answer["defaultForCapabilityTypes"] else ""
    )
    click.echo(f"{answer['app']['name']} ({answer['app']['id']}) is installed{is_default}.")


@apps.command("hooks")
@click.argument("id")
@click.option("--draft/--no-draft", default=None, help="Whether a draft waits for a call of your system.")
@click.option(
    "--issuing/--no-issuing", default=None, help="Whether an invoice waits for one before it is issued."
)
def apps_hooks(id: str, draft: bool | None, issuing: bool | None) -> None:
    """Set for which calls of your system the invoices of the custom invoicing app ID wait.

    \b
    Example:
      tallymark billing apps hooks 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --draft --no-issuing
    """
    path = f"{APPS}/{segment(id)}"
    stored: dict[str, Any] = ask_json("GET", path)
    changed = {name: value for name, value in
               (("enableDraftSyncHook", draft), ("enableIssuingSyncHook", issuing)) if value is not None}  # fmt: skip
    print_value(ask_json("PUT", path, json={**stored, **changed}))


@apps.command("uninstall")
@click.argument("id")
def apps_uninstall(id: str) -> None:
    """Uninstall the app ID, which no billing profile may have.

    \b
    Example:
      tallymark billing apps uninstall 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("DELETE", f"{APPS}/{segment(id)}")
    click.echo(f"{id} is uninstalled.")


COMMANDS: list[click.Command] = [billing]


def _kind(row: dict[str, Any]) -> str:
    """Why a customer has its profile."""
    override = row.get("customerOverride")
    return "" if override is None else "override" if "billingProfileId" in override else "override: default"


def _hooks(app: dict[str, Any]) -> str:
    names = {"enableDraftSyncHook": "draft", "enableIssuingSyncHook": "issuing"}
    return " ".join(word for name, word in names.items() if app.get(name))
