"""The command `tallymark`: every subcommand, its options and its exit codes.

Owns: arguments, and what an error looks like. Does not own: what a command does; the module that does it is
imported only when the command runs, so that `--help` is instant. The commands of users are in cli_user.

Exit codes: 0 done, 1 the answer is no (`topics check`, `reconcile`, `status`), 2 wrong input, 3 a neighbour
(Kafka, ClickHouse, Redis, the API) does not answer, 4 a fault of Tallymark's own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from pipeline.cli import customers, metering, notifications, quota, rebuild
from pipeline.cli.api import load_settings
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.stages import STAGES

EXIT_CODES = {Rejected: 2, Unavailable: 3, Broken: 4}
PROCESSES = ("dev", "demo", "api", "worker")  # their logs keep the whole traceback


class Tallymark(click.Group):
    """Turns every error into one sentence and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (Rejected, Unavailable, Broken) as error:
            _fail(ctx, str(error), EXIT_CODES[type(error)])
        except UnicodeEncodeError as error:
            if error.reason != "surrogates not allowed":
                raise
            _fail(ctx, "An argument is not UTF-8 text.", EXIT_CODES[Rejected])
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            if sys.flags.dev_mode or ctx.invoked_subcommand in PROCESSES:
                raise
            what = f"{type(error).__name__}: {str(error)[:200]}"
            _fail(
                ctx,
                f"The command failed ({what}). The answer of a service is not what it should be, or this is a fault of "
                "Tallymark's own; PYTHONDEVMODE=1 shows where.",
                EXIT_CODES[Broken],
            )


def _fail(ctx: click.Context, sentence: str, code: int) -> NoReturn:
    click.echo("error: " + sentence.encode("utf-8", "backslashreplace").decode(), err=True)
    ctx.exit(code)


_RECREATE = click.option(
    "--recreate-lost", "lost", multiple=True, metavar="NAME",
    help="Make this lost topic anew; `topics check` says what that costs. May be given several times.",
)  # fmt: skip


@click.group(
    cls=Tallymark, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="tallymark")
def main() -> None:
    """Usage metering that counts every CloudEvent exactly once.

    Settings come from tallymark.toml and TALLYMARK_* variables; `tallymark settings` shows them.

    \b
    Example:
      tallymark demo          see it work
      tallymark dev           the whole stack on this machine
      tallymark COMMAND -h    what a command does
    """


@main.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".tallymark"),
    show_default=True,
    help="Folder of all data; kept between runs.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Workers of each stage."
)
@_RECREATE
def dev(data: Path, workers: int, lost: tuple[str, ...]) -> None:
    """Run Kafka, ClickHouse, Redis, every stage and the API here.

    Everything is a process of its own; one that dies is started again. Ctrl-C stops all. The next run goes on
    with the same data. A default port that is taken is replaced by a free one.

    \b
    Example:
      tallymark dev --data /var/tmp/meters --workers 2
    """
    from pipeline.local import stack

    stack.run(stack.Stack(data, workers, recreate_lost=lost))


@main.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="An empty folder for the demo's data.  [default: .tallymark/demo, emptied first]",
)
@click.option(
    "--events",
    type=click.IntRange(1_000, 100_000_000),
    default=300_000,
    show_default=True,
    help="How many events to send.",
)
@click.option("--exit", "exit_after", is_flag=True, help="Stop when everything was shown.")
def demo(data: Path | None, events: int, exit_after: bool) -> None:
    """Show the whole flow: a fresh local stack, events, results.

    The events are realistic: repeats, late ones and broken ones are among them. Exit code 1 when the fates do
    not add up.

    \b
    Example:
      tallymark demo --events 1000000
    """
    from pipeline.cli.demo import run

    run(data, events, exit_after)


@main.command()
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that share the port; one that dies is started again.",
)
def api(processes: int) -> None:
    """Serve the HTTP API on api_host:api_port.

    \b
    Example:
      TALLYMARK_API_PORT=8080 tallymark api --processes 4
    """
    from pipeline.api.server import serve

    serve(load_settings(), processes)


_WORKER_HELP = f"""Run one worker of STAGE.

STAGE is {", ".join(STAGES[:-1])} or {STAGES[-1]}. Workers of a stage share its partitions: start as many as you need,
on as many machines as you like.

\b
Example:
  tallymark worker dedupe
"""


@main.command(help=_WORKER_HELP)
@click.argument("stage", type=click.Choice(STAGES), metavar="STAGE")
def worker(stage: str) -> None:
    from pipeline.worker.process import main as run

    run(stage, load_settings())


@main.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8890, show_default=True, help="Port; 0: a free one."
)
@click.option(
    "--secret", multiple=True, help="What is signed with; may be given twice.  [default: a new one]"
)
@click.option(
    "--status", type=click.IntRange(200, 599), default=200, show_default=True, help="What to answer with."
)
@click.option("--count", type=click.IntRange(1), help="End after so many different webhooks.")
def listen(port: int, secret: tuple[str, ...], status: int, count: int | None) -> None:
    """Receive webhooks on this machine and show them.

    Each one's signature is checked. Tallymark sends to this machine only where webhook_allow_http is true and
    webhook_allow_hosts names 127.0.0.1 with the port; `tallymark dev` allows 8890.

    \b
    Example:
      tallymark listen --secret whsec_...
    """
    from pipeline.local import webhook_receiver

    webhook_receiver.listen(port, secret, status, count, click.echo)


@main.group()
def topics() -> None:
    """Make or check the topics on the cluster.

    \b
    Example:
      tallymark topics check
    """


@topics.command()
@_RECREATE
def apply(lost: tuple[str, ...]) -> None:
    """Create missing topics and set configuration that differs.

    A partition count is never changed; one that differs is an error. A topic that state was made with and that is
    missing is an error too: made anew without a word it would make numbers wrong.

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
def check() -> None:
    """Say how the cluster's topics differ from the declared ones.

    Exit code 1 when they do.

    \b
    Example:
      tallymark topics check && tallymark worker ingest
    """
    from pipeline.stores.kafka import topics as declared

    settings = load_settings()
    sentences = declared.check(settings)
    for sentence in sentences:
        click.echo(sentence)
    if sentences:
        raise click.exceptions.Exit(1)
    click.echo(f"{len(declared.load(settings))} topics on {settings.kafka} are as declared.")


@main.command()
def settings() -> None:
    """Show every setting, its value and where it comes from.

    Secrets are hidden.

    \b
    Example:
      TALLYMARK_PARTITIONS=16 tallymark settings
    """
    import os

    from pipeline import settings as module

    rows = module.rows(load_settings())
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    click.echo(f"file: {module.config_path() or 'none'}")
    for name, value, origin, meaning in rows:
        click.echo(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin:<7}  {meaning}")
    for variable in module.unknown_variables(os.environ):
        click.echo(f"warning: {variable} is set and no setting has that name.", err=True)


for command in (
    *metering.COMMANDS,
    *customers.COMMANDS,
    *quota.COMMANDS,
    *notifications.COMMANDS,
    *rebuild.COMMANDS,
):
    main.add_command(command)
