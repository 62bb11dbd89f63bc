"""`tallymark topics`: creates and checks the topics, and prints the rights that users of Kafka need.

Owns: arguments and output. Does not own: the declarations, the cluster (stores.kafka).
"""

from __future__ import annotations

import click
import msgspec

from pipeline.cli.api import load_settings
from pipeline.cli.output import format_option, print_value

RECREATE = click.option(
    "--recreate-lost", "lost", multiple=True, metavar="NAME",
    help="Recreate this lost topic; `topics check` shows what that loses. May be repeated.",
)  # fmt: skip


@click.group()
def topics() -> None:
    """Create or check the topics on the cluster.

    \b
    Example:
      tallymark topics check
    """


@topics.command()
@RECREATE
def apply(lost: tuple[str, ...]) -> None:
    """Create missing topics and set configuration that differs.

    A partition count is never changed; one that differs is an error. So is a missing topic with which state was
    built: recreating it silently would make numbers wrong.

    \b
    Example:
      TALLYMARK_KAFKA=broker-1:9092 tallymark topics apply
    """
    from pipeline.stores.kafka import topics as declared

    settings = load_settings()
    if lost:
        from pipeline.agents.lost_topics import recreate

        for sentence in recreate(settings, lost):
            click.echo(sentence)
    for sentence in declared.apply(settings):
        click.echo(sentence)
    click.echo(f"{len(declared.load(settings))} topics are on {settings.kafka}.")


@topics.command()
@format_option("table", "json")
def check(form: str) -> None:
    """Show how the cluster's topics differ from the declared ones.

    Exit code 1 when they differ.

    \b
    Example:
      tallymark topics check && tallymark worker ingest
    """
    from pipeline.stores.kafka import topics as declared

    settings = load_settings()
    differences = declared.differences(settings)
    if form == "json":
        print_value(
            [{"topic": one.topic.name, "kind": one.kind, "detail": one.sentence} for one in differences]
        )
    else:
        for one in differences:
            click.echo(one.sentence)
    if differences:
        raise click.exceptions.Exit(1)
    if form != "json":
        click.echo(f"{len(declared.load(settings))} topics on {settings.kafka} are as declared.")


@topics.command()
@click.option(
    "--stage", "stages", multiple=True, metavar="USER",
    help="Only of this user: a stage, api, producer or operator. May be repeated.",
)  # fmt: skip
@click.option(
    "--principal", default="User:tallymark-{}", show_default=True,
    help="Name of a user in Kafka; {} is the stage. User:CN={} for certificates.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["kafka-acls", "json"]), default="kafka-acls", show_default=True
)
def acls(stages: tuple[str, ...], principal: str, form: str) -> None:
    """Print the rights that each user of Kafka needs, and no more.

    They are derived from the declared producers and consumers of each topic. kafka-acls prints commands, for an
    administrator to run with Kafka's own tool; Kafka is not changed or asked.

    \b
    Example:
      tallymark topics acls --stage ingest
      tallymark topics acls | sh
    """
    from pipeline.stores.kafka import acls as rights

    settings = load_settings()
    found = rights.rules(settings, stages or rights.USERS, principal)
    if form == "json":
        print_value([msgspec.to_builtins(rule) for rule in found])
    else:
        for rule in found:
            click.echo(rights.command(rule, settings.kafka))


@topics.command("raise")
@click.option("--partitions", "number", type=click.IntRange(1, 1024), required=True, metavar="N",
              help="The new number: a multiple of the number now.")  # fmt: skip
def raise_number(number: int) -> None:
    """Raise the number of partitions of the topics up to usage.

    More partitions let more workers count events: of dedupe, aggregate, attribute, sink and backfill. State is split,
    counts and usage stay the same, and nothing is counted twice. Topics by customer keep their number.

    Stop ingest, wait until dedupe, aggregate and attribute have a lag of 0, then stop every worker. The command refuses
    to run otherwise. The API may run: events wait in their topics. The command may be repeated, also after it was
    killed, and until it ends the old number is valid, and no worker starts; with the old number, it is given up. Then
    set `event_partitions = N` for every process, restart the API and start the workers.

    \b
    Example:
      tallymark topics raise --partitions 8
    """
    from pipeline.agents.raise_partitions import raise_partitions
    from pipeline.cli.progress import progress_bar
    from pipeline.cli.tables import count

    with progress_bar("copying state") as show:
        done = raise_partitions(load_settings(), number, show)
    if done.before == done.now:
        click.echo(f"{len(done.topics)} topics have {done.now} partitions already.")
    else:
        click.echo(
            f"{len(done.topics)} topics have {done.now} partitions now, instead of {done.before}; "
            f"{count(done.records)} records of state were copied."
        )
    click.echo(f"Set `event_partitions = {done.now}` for every process before it starts.")


COMMANDS = (topics,)
