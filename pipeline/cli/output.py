"""Output of the API's responses: rows of usage, events page by page, tables.

Owns: rows with plain decimal text, columns, JSON on request. Does not own: arguments (metering, customers, quota,
notifications), tables on a terminal (tables).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click
import msgspec
from msgspec import Raw

from pipeline.cli.tables import count, print_table
from pipeline.core.values.json_value import reader_of
from pipeline.core.values.strict_json import parse
from pipeline.errors import Broken, Rejected

PAGE = 100
T = TypeVar("T")
FATES = ("counted", "duplicate", "conflict", "rejected", "unmetered", "invalid")
OutputRow = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])


class _Row(msgspec.Struct, rename="camel"):
    value: Raw  # the digits of a number
    count: int
    window_start: str | None
    window_end: str | None
    subject: str | None
    group_by: dict[str, str]


class _Answer(msgspec.Struct):
    data: list[_Row]


class _Page(msgspec.Struct, rename="camel"):
    items: list[Raw]
    next_cursor: str | None = None


def _strict(shape: type[T]) -> Callable[[bytes], T]:
    """The reader of a response. Raises Broken if it has another form."""
    read = reader_of(shape)

    def read_answer(content: bytes) -> T:
        try:
            parse(content)
            return read(content)
        except Rejected as error:
            raise Broken(f"The response is not that of Tallymark's API. {error.detail}") from error

    return read_answer


_answer, _page = _strict(_Answer), _strict(_Page)


def usage_rows(content: bytes, slug: str, window: str | None, tz: str) -> list[dict[str, Any]]:
    """The rows that `tallymark usage` prints, from the API's JSON; `value` is plain decimal text."""
    return [
        {
            "meter": slug,
            "subject": row.subject,
            "window": window,
            "tz": tz,
            "start": row.window_start,
            "end": row.window_end,
            "group": row.group_by,
            "value": bytes(row.value).decode(),
            "count": row.count,
        }
        for row in _answer(content).data
    ]


def event_filter(
    texts: dict[str, str | None],
    from_ns: int | None,
    to_ns: int | None,
    refused: bool = False,
    reason: str | None = None,
) -> str:
    """The filter of `/api/v2/events`: equal texts, a time in [from, to), refused by a meter (for a reason)."""
    from pipeline.core.metering.usage_query import instant_text

    members: dict[str, Any] = {name: {"$eq": text} for name, text in texts.items() if text is not None}
    sides = (("$gte", from_ns), ("$lt", to_ns))
    bounds = [{op: instant_text(at_ns)} for op, at_ns in sides if at_ns is not None]
    if bounds:
        members["time"] = {"$and": bounds}
    if refused:
        members["refused"] = {"$exists": True} if reason is None else {"$eq": reason}
    return json.dumps(members)


def event_rows(ask: Callable[[list[tuple[str, Any]]], bytes], filter_: str, limit: int) -> bytes:
    """At most `limit` events as one JSON array, from as many pages as needed. ask: returns a page by parameters."""
    rows: list[Raw] = []
    cursor: str | None = None
    while len(rows) < limit:
        size = min(PAGE, limit - len(rows))
        params: list[tuple[str, Any]] = [("filter", filter_), ("limit", size)]
        page = _page(ask([*params, ("cursor", cursor)] if cursor else params))
        rows += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    return msgspec.json.encode(rows)


def format_option(*choices: str) -> Callable[[F], F]:
    """The option `--format` of a command, passed as the argument `form`."""
    return click.option("--format", "form", type=click.Choice(choices), default="table", show_default=True)


def print_value(found: Any) -> None:
    """Print JSON; Decimals become numbers with all their digits."""
    encoded = msgspec.json.Encoder(decimal_format="number").encode(found)
    click.echo(msgspec.json.format(encoded, indent=2).decode())


def listed(
    rows: Any, form: str, columns: Sequence[str], cells: Iterable[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Print a list as JSON (`rows`) or as a table (`cells`)."""
    if form == "json":
        print_value(rows)
    else:
        print_table(columns, cells, right=right)


def text(value: Any) -> str:
    """A number or text for a table; empty for None."""
    if value is None:
        return ""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def print_usage(rows: list[OutputRow], form: str) -> None:
    if form == "json":
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif form == "jsonl":
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
    else:
        by_subject = any(row["subject"] is not None for row in rows)
        dimensions = list(rows[0]["group"]) if rows else []
        columns = ("start", "end", *(["subject"] if by_subject else []), *dimensions, "value", "count")
        cells: Iterable[tuple[str, ...]] = (
            (_local(row["start"], row["tz"]), _local(row["end"], row["tz"]), *([row["subject"]] if by_subject else []),
             *(row["group"][name] for name in dimensions), row["value"], str(row["count"]))
            for row in rows
        )  # fmt: skip
        print_table(columns, cells, right=("value", "count"))


def _local(at: str | None, zone: str) -> str:
    """An instant in the local time of the zone."""
    if at is None or zone == "UTC":
        return at or ""
    return datetime.fromisoformat(at).astimezone(ZoneInfo(zone)).isoformat()


def print_events(content: bytes, form: str) -> None:
    """Print events from a JSON array; numbers in their data keep their digits."""
    if form == "json":
        click.echo(msgspec.json.format(content, indent=2).decode())
    elif form == "jsonl":
        for raw in msgspec.json.decode(content, type=list[msgspec.Raw]):
            click.echo(bytes(raw).decode())
    else:
        columns = ("time", "subject", "type", "id", "source", "fate", "reason", "meters")
        rows = msgspec.json.Decoder(list[OutputRow], float_hook=Decimal).decode(content)
        print_table(columns, map(_event_cells, rows))


def _event_cells(row: OutputRow) -> tuple[str, ...]:
    event = row["event"]
    return (
        event["time"], event["subject"], event["type"], event["id"], event["source"], row["fate"],
        row["reason"], ", ".join([*row["meters"], *(f"{slug} (deleted)" for slug in row.get("deletedMeters", ()))]),
    )  # fmt: skip


def print_backfill(found: OutputRow) -> None:
    """Print each shard of a backfill, then the total."""
    columns = ("shard", "state", "events", "read", "counted")
    rows = [*found["shards"], {**found, "shard": "all"}]
    print_table(
        columns,
        ((str(row["shard"]), row["state"], *(count(row[name]) for name in columns[2:])) for row in rows),
        right=columns[2:],
    )


def print_reconcile(report: OutputRow) -> None:
    columns = ("namespace", "read", *FATES, "pending", "adds up")
    rows = (
        (n["namespace"], count(n["read"]), *(count(n["fates"][fate]) for fate in FATES), count(n["pending"]),
         "no" if n["differences"] else "yes")
        for n in report["namespaces"]
    )  # fmt: skip
    print_table(columns, rows, right=("read", *FATES, "pending"))
    for namespace in report["namespaces"]:
        for reason, events_ in namespace["reasons"].items():
            click.echo(f"{namespace['namespace']}: {count(events_)} rejected as {reason}.")
    _print_meters(report["namespaces"])
    for sentence in report["differences"]:
        click.echo(f"difference: {sentence}")
    if not report["settled"]:
        waiting = ", ".join(f"{stage} {'?' if n is None else n}" for stage, n in report["lag"].items())
        click.echo(
            f"Events are still in flight, so stored rows were not compared. Unread records: {waiting}."
        )
    elif report["ok"]:
        click.echo("Everything adds up, and the rows in ClickHouse agree.")
    else:
        click.echo("If rows are missing, `tallymark rebuild clickhouse` writes them again from the topics.")


def print_money(money: OutputRow) -> None:
    """Print a row per customer and feature that has usage or bills."""
    columns = (
        "customer",
        "meter",
        "feature",
        "usage",
        "billed",
        "pending",
        "free",
        "rated",
        "booked",
        "adds up",
    )
    rows = [
        (row["customer"], row["meter"], row["feature"],
         *(row[name] or "-" for name in ("usage", "billed", "pending", "free")),
         *(", ".join(f"{one[name]} {one['currency']}" for one in row["amounts"]) for name in ("rated", "booked")),
         "no" if row["differences"] else "yes")
        for row in money["items"]
    ]  # fmt: skip
    if rows:
        print_table(columns, rows, right=columns[3:9])
    if money["lateUnbilled"]:
        click.echo(
            f"{count(money['lateUnbilled'])} windows of usage came too late to be billed (late-unbilled)."
        )
    for sentence in money["differences"]:
        click.echo(f"difference: {sentence}")
    if not money["settled"]:
        click.echo("Usage is still in flight, so bills were not compared.")
    elif rows and money["ok"]:
        click.echo("All usage is billed, pending or free, and each line bills what its usage costs.")


def _print_meters(namespaces: list[OutputRow]) -> None:
    """Print a row per meter; refused events are usage that is not charged."""
    columns = ("namespace", "meter", "id", "counted", "refused", "reasons")
    rows = [
        (n["namespace"], m["meter"], str(m["meter_id"]), count(m["counted"]),
         count(sum(m["refused"].values())), _reasons(m["refused"]))
        for n in namespaces for m in n["meters"]
    ]  # fmt: skip
    if rows:
        print_table(columns, rows, right=("id", "counted", "refused"))


def _reasons(refused: dict[str, int]) -> str:
    return ", ".join(f"{count(events)} {reason}" for reason, events in refused.items())


def print_status(answer: OutputRow) -> None:
    columns = ("stage", "up", "workers", "lag", "events/s", "definitions")
    rows = map(_stage_cells, answer["stages"])
    print_table(columns, rows, right=("workers", "lag", "events/s"))
    for stage in answer["stages"]:
        if stage["failing"]:
            click.echo(f"{stage['stage']} is failing: {stage['failing']}")
    for name, service in answer["neighbours"].items():
        click.echo(f"{name}: {'answers' if service['ok'] else service['detail']}")
    for app in answer["apps"]:
        refused = f": {app['detail']}" if app["detail"] else ""
        click.echo(f"{app['type']} {app['account']} ({app['namespace']}) is {app['status']}{refused}")
    _print_bill_issues(answer["bills"])
    for one in answer["refused"]:
        click.echo(
            f"meter {one['meter']} ({one['namespace']}) refused {count(sum(one['refused'].values()))} events: "
            f"{_reasons(one['refused'])}. See: tallymark events --meter {one['meter']} --refused"
        )


def _print_bill_issues(bills: OutputRow | None) -> None:
    if bills is None:
        click.echo("The issues of invoices are not known: the invoices cannot be read now.")
        return
    for one in bills["items"]:
        click.echo(
            f"{one['status']} invoice {one['number']} ({one['namespace']}, customer {one['customerId']}) has the "
            f"{one['severity']} issue {one['code']} since {one['since']}: {one['message']}"
        )
    if (more := bills["totalCount"] - len(bills["items"])) > 0:
        click.echo(f"{count(more)} more issues of invoices are not shown.")


def _stage_cells(stage: OutputRow) -> tuple[str, ...]:
    revision = stage["controlRevision"]
    return (
        stage["stage"],
        "yes" if stage["up"] else "no",
        str(len(stage["workers"])),
        "?" if stage["lag"] is None else count(stage["lag"]),
        count(round(stage["rate"])),
        f"revision {revision}" if revision else "",  # only stages that use definitions report one
    )
