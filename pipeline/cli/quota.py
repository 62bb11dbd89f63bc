"""The commands for quotas: entitlements and grants. They call the API.

Owns: their arguments and tables. Does not own: responses (api), exit codes of errors (main).
"""

from __future__ import annotations

from typing import IO

import click

from pipeline.cli.api import ask, ask_json, given, pages
from pipeline.cli.input_file import read_object
from pipeline.cli.metering import WINDOWS
from pipeline.cli.output import OutputRow, format_option, listed, print_value, text
from pipeline.cli.paths import segment
from pipeline.cli.tables import print_table
from pipeline.errors import Rejected

DURATIONS = ("HOUR", "DAY", "WEEK", "MONTH", "YEAR")


@click.group()
def entitlements() -> None:
    """Define what customers may use, and show their balances.

    \b
    Example:
      tallymark entitlements value acme tokens
    """


@entitlements.command("create")
@click.argument("customer")
@click.argument("file", type=click.File("rb"))
def entitlements_create(customer: str, file: IO[bytes]) -> None:
    """Entitle CUSTOMER, an id or key, to a feature.

    FILE is a JSON object (- for standard input): type (metered, static or boolean), featureKey, and for metered
    ones usagePeriod and usually issueAfterReset. Returns when every running worker has loaded it.

    \b
    Example:
      echo '{"type": "metered", "featureKey": "tokens", "usagePeriod": {"interval": "MONTH"},
             "issueAfterReset": 1000000}' | tallymark entitlements create acme -
    """
    print_value(ask_json("POST", _path(customer), json=read_object(file)))


@entitlements.command("list")
@click.option("--customer", help="Only those of this customer: an id or key.")
@click.option("--feature", help="Only those for this feature: an id or key.")
@click.option("--active", is_flag=True, help="Only current ones.")
@format_option("table", "json")
def entitlements_list(customer: str | None, feature: str | None, active: bool, form: str) -> None:
    """List entitlements, oldest first.

    \b
    Example:
      tallymark entitlements list --customer acme
    """
    params = [("excludeInactive", "true")] if active else []
    params += [("feature", feature)] if feature else []
    if customer:
        found = ask_json("GET", f"/customers/{segment(customer)}")
        params.append(("customerIds", found["id"]))
    rows = list(pages("/entitlements", params))
    cells = (
        (row["id"], row.get("customerKey", row["customerId"]), row["featureKey"], row["type"],
         _period(row.get("currentUsagePeriod")), text(row.get("issueAfterReset")), row.get("activeTo", ""))
        for row in rows
    )  # fmt: skip
    columns = ("id", "customer", "feature", "type", "usage period", "issued", "ends")
    listed(rows, form, columns, cells, right=("issued",))


@entitlements.command("show")
@click.argument("customer")
@click.argument("feature")
def entitlements_show(customer: str, feature: str) -> None:
    """Show CUSTOMER's entitlement to FEATURE as JSON.

    CUSTOMER is an id or key, FEATURE the key of the feature or the id of the entitlement.

    \b
    Example:
      tallymark entitlements show acme tokens
    """
    print_value(ask_json("GET", _path(customer, feature)))


@entitlements.command("delete")
@click.argument("customer")
@click.argument("feature")
def entitlements_delete(customer: str, feature: str) -> None:
    """End CUSTOMER's entitlement to FEATURE now.

    \b
    Example:
      tallymark entitlements delete acme tokens
    """
    ask("DELETE", _path(customer, feature))
    click.echo(f"{customer} is not entitled to {feature} any more.")


@entitlements.command("value")
@click.argument("customer")
@click.argument("feature", required=False)
@format_option("table", "json")
@click.pass_context
def entitlements_value(ctx: click.Context, customer: str, feature: str | None, form: str) -> None:
    """Show the current balance of CUSTOMER, for FEATURE or for all.

    Exit code 1 when FEATURE is given and there is no access.

    \b
    Example:
      tallymark entitlements value acme tokens && run-the-job
    """
    if feature is None:
        found = ask_json("GET", f"/customers/{segment(customer)}/access")["entitlements"]
    else:
        found = {feature: ask_json("GET", _path(customer, feature, "/value"))}
    columns = ("feature", "access", "balance", "usage", "overage", "of", "config")
    members = ("balance", "usage", "overage", "totalAvailableGrantAmount", "config")
    cells = (
        (name, "yes" if one["hasAccess"] else "no", *(text(one.get(member)) for member in members))
        for name, one in found.items()
    )
    listed(found if feature is None else found[feature], form, columns, cells, right=columns[2:6])
    ctx.exit(0 if feature is None or found[feature]["hasAccess"] else 1)


@entitlements.command("grant")
@click.argument("customer")
@click.argument("feature")
@click.argument("amount")
@click.option("--priority", type=click.IntRange(1, 255), default=1, show_default=True,
              help="Lower ones are used first.")  # fmt: skip
@click.option("--from", "effective_at", metavar="TIME", help="When it starts: RFC 3339.  [default: now]")
@click.option("--for", "expiration", metavar="N DURATION", nargs=2, type=str,
              help=f"When it expires: a number and one of {', '.join(DURATIONS)}.  [default: never]")  # fmt: skip
@click.option("--every", metavar="INTERVAL", help="Recurrence: DAY, WEEK, MONTH, YEAR or such as P3D.")
@click.option("--max-rollover", metavar="AMOUNT", help="Limit of the rollover at a reset.  [default: all]")
@click.option("--min-rollover", metavar="AMOUNT", help="Minimum after the rollover at a reset.  [default: 0]")
def entitlements_grant(
    customer: str,
    feature: str,
    amount: str,
    priority: int,
    effective_at: str | None,
    expiration: tuple[str, str] | None,
    every: str | None,
    max_rollover: str | None,
    min_rollover: str | None,
) -> None:
    """Grant CUSTOMER an AMOUNT of FEATURE.

    \b
    Example:
      tallymark entitlements grant acme tokens 100000 --for 3 MONTH --priority 2
    """
    body: OutputRow = {"amount": amount, "priority": priority}
    if expiration is not None:
        count, duration = expiration
        if not count.isascii() or not count.isdigit() or len(count) > 9:
            raise Rejected("bad-grant", f"--for {count} {duration} is not a number and a duration.")
        body["expiration"] = {"count": int(count), "duration": duration.upper()}
    more = {
        "effectiveAt": effective_at,
        "recurrence": {"interval": every} if every else None,
        "maxRolloverAmount": max_rollover,
        "minRolloverAmount": min_rollover,
    }
    body |= {name: value for name, value in more.items() if value is not None}
    made = ask_json("POST", _path(customer, feature, "/grants"), json=body)
    ends = f", until {made['expiresAt']}" if "expiresAt" in made else ""
    click.echo(f"{made['id']}: {text(made['amount'])} of {feature} from {made['effectiveAt']}{ends}")


@entitlements.command("reset")
@click.argument("customer")
@click.argument("feature")
@click.option("--at", metavar="TIME", help="When the new usage period starts: RFC 3339.  [default: now]")
@click.option("--keep-anchor", is_flag=True, help="Keep the anchor of the usage periods.")
@click.option("--keep-overage/--drop-overage", default=None,
              help="Whether overage reduces the new period.  [default: as the entitlement defines]")  # fmt: skip
def entitlements_reset(
    customer: str, feature: str, at: str | None, keep_anchor: bool, keep_overage: bool | None
) -> None:
    """Start a new usage period of CUSTOMER's FEATURE.

    \b
    Example:
      tallymark entitlements reset acme tokens --keep-anchor
    """
    body: OutputRow = {"retainAnchor": keep_anchor}
    body |= {} if at is None else {"effectiveAt": at}
    body |= {} if keep_overage is None else {"preserveOverage": keep_overage}
    ask("POST", _path(customer, feature, "/reset"), json=body)
    period = ask_json("GET", _path(customer, feature))["currentUsagePeriod"]
    click.echo(f"The usage period is {_period(period)}.")


@entitlements.command("history")
@click.argument("customer")
@click.argument("feature")
@click.option(
    "--from", "from_", metavar="TIME", help="Start: RFC 3339, or a date.  [default: the last reset]"
)
@click.option("--to", metavar="TIME", help="End, exclusive.  [default: now]")
@click.option("--window", type=click.Choice(WINDOWS, case_sensitive=False), default="DAY", show_default=True)
@click.option("--tz", default="UTC", show_default=True, metavar="ZONE", help="IANA zone of the windows.")
@click.option("--burndown", is_flag=True, help="Segments of the burn-down instead of windows.")
@format_option("table", "json")
def entitlements_history(
    customer: str,
    feature: str,
    *,
    from_: str | None,
    to: str | None,
    window: str,
    tz: str,
    burndown: bool,
    form: str,
) -> None:
    """Show the history of the balance of CUSTOMER's FEATURE.

    \b
    Example:
      tallymark entitlements history acme tokens --window HOUR
    """
    params = given({"from": from_, "to": to, "windowSize": window.upper(), "windowTimeZone": tz})
    found = ask_json("GET", _path(customer, feature, "/history"), params=params)
    if form == "json":
        print_value(found)
        return
    rows = found["burndownHistory" if burndown else "windowedHistory"]
    members = (
        ("usage", "overage", "balanceAtStart", "balanceAtEnd") if burndown else ("usage", "balanceAtStart")
    )
    names = {"balanceAtStart": "balance at start", "balanceAtEnd": "balance at end"}
    columns = ("from", "to", *(names.get(member, member) for member in members))
    cells = (
        (row["period"]["from"], row["period"]["to"], *(text(row[member]) for member in members))
        for row in rows
    )
    print_table(columns, cells, right=columns[2:])


@click.group()
def grants() -> None:
    """List or void grants.

    \b
    Example:
      tallymark grants list --feature tokens
    """


@grants.command("list")
@click.option("--customer", help="Only those of this customer: an id or key.")
@click.option("--feature", help="Only those for this feature: an id or key.")
@format_option("table", "json")
def grants_list(customer: str | None, feature: str | None, form: str) -> None:
    """List grants, oldest first, including voided ones.

    \b
    Example:
      tallymark grants list --customer acme
    """
    rows = list(pages("/grants", given({"customer": customer, "feature": feature}), version=2))
    cells = (
        (row["id"], row["entitlementId"], text(row["amount"]), str(row["priority"]), row["effectiveAt"],
         row.get("expiresAt", ""), (row.get("recurrence") or {}).get("interval", ""), row.get("voidedAt", ""))
        for row in rows
    )  # fmt: skip
    columns = ("id", "entitlement", "amount", "priority", "from", "until", "every", "voided")
    listed(rows, form, columns, cells, right=("amount", "priority"))


@grants.command("void")
@click.argument("id")
@click.option("--at", metavar="TIME", help="Effective time: RFC 3339, not in the future.  [default: now]")
def grants_void(id: str, at: str | None) -> None:
    """Void the grant ID. Usage that it has covered stays covered.

    \b
    Example:
      tallymark grants void 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("DELETE", f"/grants/{segment(id)}", params=[("at", at)] if at else [])
    click.echo(f"{id} is voided.")


COMMANDS: list[click.Command] = [entitlements, grants]


def _path(customer: str, feature: str | None = None, more: str = "") -> str:
    path = f"/customers/{segment(customer)}/entitlements"
    return path if feature is None else f"{path}/{segment(feature)}{more}"


def _period(period: OutputRow | None) -> str:
    return "" if period is None else f"{period['from']} to {period['to']}"
