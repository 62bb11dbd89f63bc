"""`tallymark rebuild`: writes the contents of a store again from the topics.

Owns: its arguments and its output. Does not own: the work (agents.sink_rebuild, agents.live_rebuild).
"""

from __future__ import annotations

from datetime import UTC, datetime

import click


@click.group()
def rebuild() -> None:
    """Write a store's contents again from the topics.

    \b
    Example:
      tallymark rebuild clickhouse
      tallymark rebuild redis
    """


@rebuild.command("redis")
def rebuild_redis() -> None:
    """Write the copy of balances in Redis again from Kafka.

    Use it when values in Redis may be wrong, for example after someone changed them or an old backup of Redis was
    loaded; a Redis that was emptied is filled again by itself. All balances are removed first, and requests for them
    get 503 until they are written again. The stage live may run meanwhile, and the command may be repeated, also after
    it was killed.

    \b
    Example:
      tallymark rebuild redis
    """
    from pipeline.agents.live_rebuild import rebuild as run
    from pipeline.cli.progress import progress_bar
    from pipeline.cli.tables import count, print_table
    from pipeline.settings import load

    with progress_bar("rewriting balances") as show:
        done = run(load(), show)
    print_table(
        ("partitions", "removed customers", "records"),
        ((count(done.partitions), count(done.removed), count(done.records)),),
        right=("partitions", "removed customers", "records"),
    )


@rebuild.command("clickhouse")
@click.option(
    "--from",
    "from_",
    metavar="TIME",
    help="Only records that Kafka received since: RFC 3339, or a date in UTC.  [default: all in the topics]",
)
def rebuild_clickhouse(from_: str | None) -> None:
    """Write ClickHouse's rows again from Kafka.

    Use it when `tallymark reconcile` reports missing rows, or when a table was lost. Missing tables are created. The
    sink may run meanwhile, and the command may be repeated: rows replace themselves, and the newest revision wins.
    Records that retention has deleted cannot be written again; the command prints the time before which rows may be
    missing.

    \b
    Example:
      tallymark rebuild clickhouse --from 2026-01-31 && tallymark reconcile
    """
    from pipeline.agents.sink_rebuild import rebuild as run
    from pipeline.cli.progress import progress_bar
    from pipeline.cli.tables import count, print_table
    from pipeline.core.values.user_time import instant_ns
    from pipeline.settings import load
    from pipeline.stores.clickhouse.connect import connect

    settings = load()
    from_ns = instant_ns("from", from_)
    store = connect(settings.clickhouse, settings.clickhouse_password.get_secret_value())
    with progress_bar("rewriting rows") as show:
        done = run(settings, store, None if from_ns is None else from_ns // 1_000_000, show)
    print_table(
        ("topic", "records"),
        ((name, count(n)) for name, n in sorted(done.records.items())),
        right=("records",),
    )
    print_table(
        ("table", "rows"), ((name, count(n)) for name, n in sorted(done.rows.items())), right=("rows",)
    )
    for topic, before_ms in sorted(done.gone_before_ms.items()):
        at = (
            datetime.fromtimestamp(before_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        )
        click.echo(
            f"warning: the retention of {topic} has deleted records from before {at}; their rows were not written.",
            err=True,
        )


COMMANDS: list[click.Command] = [rebuild]
