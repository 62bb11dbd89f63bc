"""`tallymark stripe drift`, `status` and `retry`: whether Stripe has our usage, how far the sync is, sending it again.

Owns: arguments, tables, exit codes, the metrics file. Does not own: the comparison (api.billing.stripe_drift).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.cli.api import ask_json, given
from pipeline.cli.output import format_option, print_value
from pipeline.cli.tables import count, print_table

CUSTOMERS = 100  # of a page
_DRIFT_COLUMNS = (
    "customer",
    "meter",
    "start",
    "counted",
    "wanted",
    "confirmed",
    "stripe",
    "difference",
    "cause",
)
_RIGHT = ("counted", "wanted", "confirmed", "stripe", "difference")


@click.command()
@click.option("--customer", metavar="ID", help="Only this customer, by id or key.")
@click.option("--meter", metavar="SLUG", help="Only this meter.")
@click.option("--from", "from_", metavar="TIME", help="Start, inclusive.  [default: 7 days before --to]")
@click.option("--to", metavar="TIME", help="End, exclusive.  [default: now]")
@click.option(
    "--metrics", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Also write the result for the textfile collector of Prometheus' node exporter.",
)  # fmt: skip
@format_option("table", "json")
@click.pass_context
def drift(
    ctx: click.Context,
    *,
    customer: str | None,
    meter: str | None,
    from_: str | None,
    to: str | None,
    metrics: Path | None,
    form: str,
) -> None:
    """Compare our usage and our invoices with Stripe's, and name the cause of each difference.

    Each window of an hour or a day that has ended is compared three ways: usage by the stored events, what was sent,
    and Stripe's summaries. Exit code 1 when a difference has no known cause (`unexplained`), or an invoice is missing,
    doubled, foreign, has another total or was changed at Stripe; 3 when Stripe or its key does not allow to compare
    everything. Without --customer and --meter invoices are compared too.

    \b
    Example:
      tallymark stripe drift
      tallymark stripe drift --customer acme --meter tokens --from 2026-01-01 --to 2026-02-01
    """
    report = merged(_pages(given({"customer": customer, "meter": meter, "from": from_, "to": to})))
    if customer is None and meter is None:
        report["invoices"] = invoice_drift(given({"from": from_, "to": to}))
    if metrics is not None:
        write_metrics(report, metrics)
    if form == "json":
        print_value(report)
    else:
        print_drift(report)
    ctx.exit(exit_code(report))


def _pages(params: list[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    """The pages of customers, with one span of time for all of them."""
    number, seen = 1, 0
    while True:
        page = ask_json(
            "GET", "/billing/stripe/drift", params=[*params, ("page", number), ("pageSize", CUSTOMERS)]
        )
        if number == 1:
            asked = [(name, value) for name, value in params if name not in ("from", "to")]
            params = [*asked, ("from", page["from"]), ("to", page["to"])]
        yield page
        seen += page["pageSize"]
        number += 1
        if seen >= page["totalCount"]:
            return


def invoice_drift(params: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """The report of each Stripe app about its invoices."""
    apps = ask_json("GET", "/billing/stripe/status")["apps"]
    path = "/billing/stripe/drift/invoices"
    return [ask_json("GET", path, params=[*params, ("app", one["appId"])]) for one in apps]


def merged(pages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One report of all pages."""
    found = list(pages)
    causes: Counter[str] = Counter()
    for page in found:
        causes.update(page["causes"])
    return {
        "ok": all(page["ok"] for page in found),
        "from": found[0]["from"],
        "to": found[0]["to"],
        "customers": found[0]["totalCount"],
        "windows": sum(page["windows"] for page in found),
        "causes": dict(sorted(causes.items())),
        "items": [item for page in found for item in page["items"]],
        "unread": [item for page in found for item in page["unread"]],
    }


def exit_code(report: Mapping[str, Any]) -> int:
    """1 for a difference without a known cause, 3 where something could not be compared, else 0."""
    if "unexplained" in report["causes"] or not all(one["ok"] for one in report.get("invoices", ())):
        return 1
    return 3 if report["unread"] else 0


def print_drift(report: Mapping[str, Any]) -> None:
    """The table: one line for each cause, its sentence once below."""
    rows = [cells for item in report["items"] for cells in _drift_cells(item)]
    if rows:
        print_table(_DRIFT_COLUMNS, rows, _RIGHT)
    details = {(part["cause"], part["detail"]): None for item in report["items"] for part in item["causes"]}
    for cause, detail in sorted(details):
        click.echo(f"{cause}: {detail}")
    for one in report["unread"]:
        click.echo(f"not compared: customer {one['customerId']}, meter {one['meter']}: {one['detail']}")
    number, customers = count(report["windows"]), count(report["customers"])
    span = f"{number} windows of {customers} customers from {report['from']} to {report['to']}"
    differing = len(report["items"])
    if not differing:
        click.echo(f"Stripe has the same units in {span}.")
    else:
        named = ", ".join(f"{cause} {number}" for cause, number in report["causes"].items())
        click.echo(f"{count(differing)} of {span} differ: {named}.")
    for one in report.get("invoices", ()):
        print_invoices(one)


def print_invoices(report: Mapping[str, Any]) -> None:
    """The table of the invoices of one app that differ."""
    if report["items"]:
        rows = [
            (one["number"], one["stripeInvoiceId"] or "-", one["ours"], one["stripe"] or "-", one["cause"])
            for one in report["items"]
        ]
        print_table(("invoice", "at stripe", "ours", "stripe", "cause"), rows, ())
    named = ", ".join(f"{cause} {number}" for cause, number in report["causes"].items())
    result = f"differ: {named}" if named else "are the same at Stripe"
    click.echo(f"{count(report['invoices'])} invoices from {report['from']} to {report['to']} {result}.")


def _drift_cells(item: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for part in item["causes"]:
        yield (
            item["customerKey"] or item["customerId"],
            item["meter"],
            item["start"].replace(":00.000Z", "Z"),
            item["counted"],
            item["wanted"],
            item["confirmed"],
            "-" if item["stripe"] is None else item["stripe"],
            part["difference"],
            part["cause"],
        )


def write_metrics(report: Mapping[str, Any], path: Path) -> None:
    """Replace the file by the newest result, in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    from pipeline.core.billing.stripe_drift import CAUSES

    registry = CollectorRegistry()
    differing = Gauge(
        "tallymark_stripe_drift_windows",
        "windows that differ from Stripe, by cause",
        ["cause"],
        registry=registry,
    )
    for cause in (
        *CAUSES,
        *report["causes"],
    ):  # a cause without windows is 0, so that an alert can see it end
        differing.labels(cause).set(report["causes"].get(cause, 0))
    compared = Gauge(
        "tallymark_stripe_drift_compared_windows", "windows that were compared", registry=registry
    )
    compared.set(report["windows"])
    unread = Gauge(
        "tallymark_stripe_drift_unread", "customers and meters that could not be compared", registry=registry
    )
    unread.set(len(report["unread"]))
    at = Gauge("tallymark_stripe_drift_timestamp_seconds", "when they were compared", registry=registry)
    at.set_to_current_time()
    write_to_textfile(str(path), registry)


@click.command()
@format_option("table", "json")
@click.pass_context
def status(ctx: click.Context, form: str) -> None:
    """Show how far the sync with Stripe is: keys, waiting windows, refused units, calls by outcome.

    Exit code 1 when Stripe refused a key, so that nothing is sent to its account.

    \b
    Example:
      tallymark stripe status
    """
    found = ask_json("GET", "/billing/stripe/status")
    if form == "json":
        print_value(found)
    else:
        print_stripe_status(found)
    ctx.exit(0 if all(app["status"] == "ready" for app in found["apps"]) else 1)


def print_stripe_status(found: Mapping[str, Any]) -> None:
    """The table of apps, and what they have in common."""
    if not found["apps"]:
        click.echo("No Stripe account is connected: `tallymark stripe connect`.")
        return
    columns = ("account", "key", "status", "mappings", "waiting", "oldest", "pending", "not taken")
    rows = [
        (
            app["stripeAccountId"], app["maskedAPIKey"], app["status"], count(app["mappings"]),
            count(app["waitingWindows"]), app["oldestWaiting"] or "-", app["pendingUnits"],
            ", ".join(f"{cause} {units}" for cause, units in app["unsendableUnits"].items()) or "-",
        )
        for app in found["apps"]
    ]  # fmt: skip
    print_table(columns, rows, ("mappings", "waiting", "pending"))
    for app in found["apps"]:
        for message in (app["detail"], *app["messages"]):
            if message:
                click.echo(f"{app['stripeAccountId']}: {message}")
    outcomes = ", ".join(f"{outcome} {count(number)}" for outcome, number in found["requests"].items())
    lag = "unknown" if found["lag"] is None else f"{count(found['lag'])} records"
    click.echo(f"requests: {outcomes or 'none'}; behind: {lag}; error reports of Stripe: {found['reports']}")


@click.command()
@click.option("--customer", required=True, metavar="ID", help="Of this customer, by id or key.")
@click.option("--meter", metavar="SLUG", help="Only this meter.")
@click.option(
    "--accept", type=click.Choice(["stripe"]),
    help="Also blocked windows: what Stripe has counts as confirmed, and the difference is sent.",
)  # fmt: skip
@format_option("table", "json")
def retry(customer: str, meter: str | None, accept: str | None, form: str) -> None:
    """Send again what Stripe refused of a customer, after the cause was corrected.

    Blocked windows are left as they are without --accept. With it, Stripe's sum is read twice, after 10 and 20 minutes.

    \b
    Example:
      tallymark stripe retry --customer acme
      tallymark stripe retry --customer acme --meter tokens --accept stripe
    """
    body = dict(given({"customer": customer, "meter": meter, "accept": accept}))
    found = ask_json("POST", "/billing/stripe/retry", json=body)
    if form == "json":
        print_value(found)
    else:
        print_retry(found)


def print_retry(found: Mapping[str, Any]) -> None:
    """A sentence for each mapping."""
    for one in found["items"]:
        what = f"{one['meter']}: {count(one['refusedWindows'])} refused windows are sent again"
        blocked = f"{count(one['blockedWindows'])} blocked windows"
        if one["blockedWindows"] and found["accept"]:
            what += f"; {blocked} get the difference from what Stripe has in about 20 minutes"
        elif one["blockedWindows"]:
            what += f"; {blocked} stay as they are without `--accept stripe`"
        click.echo(f"{what}.")


REPORTS: list[click.Command] = [drift, status, retry]
