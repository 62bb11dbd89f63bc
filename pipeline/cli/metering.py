"""The commands meters, send, usage, events, reconcile and status. They call the API; `send` uses Kafka.

Owns: their arguments. Does not own: responses (api), output (output), exit codes of errors (main).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

import click

from pipeline.cli import output
from pipeline.cli.api import ask, ask_json, given, load_settings
from pipeline.cli.input_file import read_meters
from pipeline.cli.output import (
    FATES,
    OutputRow,
    event_filter,
    event_rows,
    format_option,
    listed,
    print_value,
    usage_rows,
)
from pipeline.cli.paths import segment
from pipeline.cli.reconcile_metrics import write_reconcile_metrics
from pipeline.errors import Rejected

WINDOWS = ("MINUTE", "HOUR", "DAY", "MONTH")


@click.group()
def meters() -> None:
    """Define what is counted: apply, list or delete meters.

    \b
    Example:
      tallymark meters apply meters.json
    """


@meters.command("apply")
@click.argument("file", type=click.File("rb"))
@click.option("--wait", "wait_s", type=click.FloatRange(0, 600), default=30, show_default=True,
              help="Seconds to wait until every worker has loaded the meters.")  # fmt: skip
def meters_apply(file: IO[bytes], wait_s: float) -> None:
    """Create or change the meters of FILE, all or none.

    FILE is JSON or TOML (- for standard input): a list of meters, or {"meters": [...]}. Returns when every
    running worker has loaded them, so that events sent next are counted.

    \b
    Example:
      echo '[{"slug": "calls", "eventType": "request", "aggregation": "COUNT"}]' | tallymark meters apply -
    """
    wanted = read_meters(file)
    if not wanted:
        click.echo("The list is empty: nothing is changed.")
        return
    answer = ask_json("POST", "/meters/apply", params=[("wait_s", wait_s)], json=wanted)
    for meter in answer["meters"]:
        click.echo(
            f"{meter['slug']}: {meter['aggregation']} of {meter['eventType']}, revision {meter['revision']}"
        )


@meters.command("list")
@format_option("table", "json")
def meters_list(form: str) -> None:
    """List the current meters.

    \b
    Example:
      tallymark meters list --format json
    """
    found = ask_json("GET", "/meters", params=[("pageSize", 1000)])
    cells = (
        (m["slug"], m["aggregation"], m["eventType"], m.get("valueProperty", ""), ", ".join(m.get("groupBy", {})),
         str(m["revision"]))
        for m in found
    )  # fmt: skip
    listed(found, form, ("slug", "aggregation", "event type", "value", "group by", "revision"), cells)


@meters.command("delete")
@click.argument("slug")
def meters_delete(slug: str) -> None:
    """Delete the meter SLUG.

    Returns when no running worker counts events for it any more.

    \b
    Example:
      tallymark meters delete calls
    """
    ask("DELETE", f"/meters/{segment(slug)}")
    click.echo(f"{slug} is deleted.")


@meters.command("backfill")
@click.argument("slug")
@format_option("table", "json")
def meters_backfill(slug: str, form: str) -> None:
    """Show how far SLUG has counted older stored events.

    A new meter counts stored events by itself; its usage is complete once the state is `done`.

    \b
    Example:
      tallymark meters backfill tokens
    """
    found = ask_json("GET", f"/meters/{segment(slug)}/backfill")
    if form == "json":
        print_value(found)
    else:
        output.print_backfill(found)


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--topic", default="events", show_default=True, help="Input topic.")
@click.option("--compression", type=click.Choice(["none", "lz4", "zstd"]), default="none", show_default=True)
def send(file: IO[bytes], topic: str, compression: str) -> None:
    """Send every line of FILE to Kafka as one CloudEvent.

    FILE may be - for standard input. Each line is sent unchanged and is not validated: a broken line is sent too,
    and ingest rejects it. Exit code 3 unless the broker acknowledged every line; sending the file again is safe,
    since repeats are not counted.

    \b
    Example:
      tallymark send events.jsonl
    """
    from pipeline.cli import send as sending

    settings = load_settings()
    sent = sending.send(settings, file, topic=topic, compression=compression)
    click.echo(f"{sent.lines} events sent, {sent.acknowledged} acknowledged by the broker.")
    sending.check_complete(sent, settings)


@click.command()
@click.argument("slug")
@click.option("--from", "from_", metavar="TIME", help="Start, inclusive: RFC 3339, or a date in the zone.")
@click.option("--to", metavar="TIME", help="End, exclusive.")
@click.option(
    "--window", type=click.Choice(WINDOWS, case_sensitive=False), help="Default: one total per group."
)
@click.option("--tz", default="UTC", show_default=True, metavar="ZONE", help="IANA zone of the windows.")
@click.option("--subject", "subjects", multiple=True, help="Only this subject; may be repeated.")
@click.option("--group-by", "group_by", metavar="A,B", help="Dimensions of the meter, or subject.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="K=V",
    help="Only this value of a dimension; may be repeated.",
)
@click.option("--csv-safe", is_flag=True, help="With --format csv: safe to open in a spreadsheet.")
@format_option("table", "json", "jsonl", "csv")
def usage(
    slug: str,
    *,
    from_: str | None,
    to: str | None,
    window: str | None,
    tz: str,
    subjects: tuple[str, ...],
    group_by: str | None,
    filters: tuple[str, ...],
    csv_safe: bool,
    form: str,
) -> None:
    """Show the usage of the meter SLUG.

    Only windows with events have rows; values are exact. The table shows times in the zone; other formats in UTC.
    CSV holds texts unchanged; with --csv-safe, a text that a spreadsheet would read as a formula gets an apostrophe
    in front.

    \b
    Example:
      tallymark usage tokens --from 2026-01-01 --window DAY --tz Europe/Berlin --group-by model
      tallymark usage tokens --subject acme --filter model=small --format jsonl
    """
    if csv_safe and form != "csv":
        raise Rejected("bad-query", "--csv-safe requires --format csv.")
    params: list[tuple[str, str]] = [("windowTimeZone", tz)]
    if csv_safe:
        params.append(("csvSafe", "true"))
    params += [(name, text) for name, text in (("from", from_), ("to", to), ("windowSize", window)) if text]
    params += [("subject", subject) for subject in subjects]
    params += [("groupBy", name) for name in (group_by or "").split(",") if name]
    for filtered in filters:
        name, equals, value = filtered.partition("=")
        if not equals:
            raise Rejected("bad-query", f"--filter {filtered} does not have the form k=v.")
        params.append((f"filterGroupBy[{name}]", value))
    accept = "text/csv" if form == "csv" else "application/json"
    answer = ask("GET", f"/meters/{segment(slug)}/query", params=params, accept=accept)
    if form == "csv":
        click.echo(answer.text, nl=False)
        return
    output.print_usage(usage_rows(answer.content, slug, window, tz), form)


@click.command()
@click.option("--subject", help="Only events of this subject.")
@click.option("--id", help="Only events with this id.")
@click.option("--source", help="Only events of this source.")
@click.option("--type", help="Only events of this type.")
@click.option("--fate", type=click.Choice(FATES), help="Only events with this fate.")
@click.option(
    "--meter", metavar="SLUG", help="Only events that this meter counted, or with --refused that it refused."
)
@click.option(
    "--refused", is_flag=True, help="Only events that a meter refused, even if another counted them."
)
@click.option(
    "--reason", metavar="REASON", help="With --refused: only with this reason, such as value-missing."
)
@click.option("--from", "from_", metavar="TIME", help="Start of the event's time, inclusive.")
@click.option("--to", metavar="TIME", help="End of the event's time, exclusive.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@format_option("table", "json", "jsonl")
def events(
    form: str,
    from_: str | None,
    to: str | None,
    limit: int,
    refused: bool,
    reason: str | None,
    **texts: str | None,
) -> None:
    """List stored events, newest first, with fate and reason.

    \b
    Example:
      tallymark events --subject acme --fate duplicate
      tallymark events --meter tokens --refused
    """
    from pipeline.core.values.user_time import instant_ns

    if reason is not None and not refused:
        raise Rejected("bad-query", "--reason requires --refused.")
    span = (instant_ns("from", from_), instant_ns("to", to))
    filter_ = event_filter(texts, *span, refused, reason)
    content = event_rows(
        lambda params: ask("GET", "/events", params=params, version=2).content, filter_, limit
    )
    output.print_events(content, form)


@click.command()
@click.option("--wait", "wait_s", type=click.FloatRange(0, 600), default=30, show_default=True,
              help="Seconds to wait until no events are in flight.")  # fmt: skip
@click.option("--customer", help="Compare only the bills of this customer: an id or key.")
@click.option("--from", "from_", metavar="TIME",
              help="Start of the usage that bills are compared with, inclusive.  [default: 35 days ago]")  # fmt: skip
@click.option("--to", metavar="TIME", help="End of that usage, exclusive.  [default: now]")
@click.option("--metrics", "metrics_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Also write the result for the textfile collector of Prometheus' node exporter.")  # fmt: skip
@format_option("table", "json")
@click.pass_context
def reconcile(
    ctx: click.Context, /, wait_s: float, form: str, metrics_file: Path | None, **period: str | None
) -> None:
    """Check that every event has one fate, and all usage is billed.

    The counts of all stages are compared with each other and with the rows in ClickHouse. Then these rows are
    compared with bills: usage = billed + pending + free, for each customer and feature, and each line bills what
    its usage costs. Exit code 1 when they do not add up; each difference is one sentence.

    \b
    Example:
      tallymark reconcile --format json
      tallymark reconcile --customer acme --from 2026-01-01 --to 2026-02-01
      tallymark reconcile --metrics /var/lib/node_exporter/tallymark.prom
    """
    if metrics_file is not None and any(period.values()):
        raise Rejected(
            "bad-query", "--metrics is about all customers and the last 35 days, so give nothing else."
        )
    report = ask_json("GET", "/reconcile", params=[("wait_s", wait_s)])
    asked = given({"customer": period["customer"], "from": period["from_"], "to": period["to"]})
    asked.append(("wait_s", wait_s))
    money = whole_money(lambda page: ask_json("GET", "/reconcile/money", params=[*asked, ("page", page)]))
    if metrics_file is not None:
        write_reconcile_metrics(report, money, metrics_file)
    if form == "json":
        print_value(report | {"money": money})
    else:
        output.print_reconcile(report)
        output.print_money(money)
    ctx.exit(0 if report["ok"] and money["ok"] else 1)


def whole_money(page_of: Callable[[int], OutputRow]) -> OutputRow:
    """The comparison of all customers as one. page_of: asks for a page, from 1."""
    whole = page_of(1)
    size = whole.pop("pageSize")
    while whole["page"] * size < whole["totalCount"]:
        page = page_of(whole["page"] + 1)
        whole = {
            **whole,
            **{name: whole[name] and page[name] for name in ("ok", "settled")},
            **{name: [*whole[name], *page[name]] for name in ("items", "differences")},
            "page": page["page"],
        }
    whole.pop("page")
    return whole


@click.command()
@format_option("table", "json")
@click.pass_context
def status(ctx: click.Context, form: str) -> None:
    """Show workers, lag and rate of each stage.

    It also shows whether Kafka, ClickHouse and Redis are available. Exit code 0 only when every stage is up and
    every service is available; else 1.

    \b
    Example:
      tallymark status && tallymark send events.jsonl
    """
    answer = ask_json("GET", "/status")
    if form == "json":
        print_value(answer)
    else:
        output.print_status(answer)
    ctx.exit(0 if answer["ok"] else 1)


COMMANDS: list[click.Command] = [meters, send, usage, events, reconcile, status]
