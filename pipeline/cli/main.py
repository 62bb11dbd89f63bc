"""The command `tallymark`: every subcommand, its options and its exit codes.

Owns: arguments, and the output of errors. Does not own: the work of a command; its module is imported only when the
command runs, so that `--help` is fast. The commands of each subject are in the other modules of this package.

Exit codes: 0 success, 1 a negative result (`topics check`, `reconcile`, `status`), 2 invalid input, 3 a service (Kafka,
ClickHouse, Redis, the API) is unavailable, 4 an internal error of Tallymark.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from pipeline.cli import (
    access,
    billing,
    billing_profiles,
    catalog,
    credit_notes,
    credits,
    customers,
    explain,
    imports,
    invoices,
    metering,
    migrate,
    notifications,
    quota,
    rebuild,
    replay,
    subscriptions,
    topics,
    verify,
)
from pipeline.cli.api import load_settings
from pipeline.cli.output import format_option, listed
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.stages import STAGES

EXIT_CODES = {Rejected: 2, Unavailable: 3, Broken: 4}
PROCESSES = ("dev", "demo", "api", "worker")  # they log a whole traceback


class Tallymark(click.Group):
    """Prints every error as one sentence, and ends with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (Rejected, Unavailable, Broken) as error:
            _fail(ctx, str(error), next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
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
                f"The command failed ({what}). A service sent an unexpected response, or this is a bug of Tallymark; "
                "set PYTHONDEVMODE=1 to see the traceback.",
                EXIT_CODES[Broken],
            )


def _fail(ctx: click.Context, sentence: str, code: int) -> NoReturn:
    click.echo("error: " + sentence.encode("utf-8", "backslashreplace").decode(), err=True)
    ctx.exit(code)


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
      tallymark COMMAND -h    help for a command
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
@click.option(
    "--stripe-sandbox",
    is_flag=True,
    help="Also run a small Stripe for meter events; nothing is sent to Stripe itself, and live keys are refused.",
)
@topics.RECREATE
def dev(data: Path, workers: int, lost: tuple[str, ...], stripe_sandbox: bool) -> None:
    """Run Kafka, ClickHouse, Redis, all stages and the API here.

    Each of them is a process of its own, which is restarted when it exits. Ctrl-C stops all of them. The next run
    continues with the same data. A default port that is taken is replaced by a free one.

    \b
    Example:
      tallymark dev --data /var/tmp/meters --workers 2
      tallymark dev --stripe-sandbox
    """
    from pipeline.local import stack

    stack.run(stack.Stack(data, workers, recreate_lost=lost, stripe_sandbox=stripe_sandbox))


@main.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Empty folder for the demo's data.  [default: .tallymark/demo, emptied first]",
)
@click.option(
    "--events",
    type=click.IntRange(1_000, 100_000_000),
    default=300_000,
    show_default=True,
    help="Number of events to send.",
)
@click.option("--exit", "exit_after", is_flag=True, help="Stop after the last step.")
def demo(data: Path | None, events: int, exit_after: bool) -> None:
    """Show the whole flow: a fresh local stack, events, results.

    The events are realistic: repeats, late events and broken ones are among them. Exit code 1 when the fates do
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
    help="Processes that share the port; one that exits is restarted.",
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

STAGE is {", ".join(STAGES[:-1])} or {STAGES[-1]}. The workers of a stage share its partitions: start as many as you
need, on as many machines as you need.

\b
Example:
  tallymark worker dedupe
"""


@main.command(help=_WORKER_HELP)
@click.argument("stage", type=click.Choice(STAGES), metavar="STAGE")
def worker(stage: str) -> None:
    from pipeline.worker.folder import claim, end_predecessor

    settings = load_settings()
    folder = claim(settings.state_dir, stage)
    end_predecessor(settings, stage, folder)

    from pipeline.worker.process import main as run  # half a second, in which other workers take over

    run(stage, settings, folder)


@main.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8890, show_default=True, help="Port; 0: a free one."
)
@click.option(
    "--secret", multiple=True, help="Signing secret of the endpoint; may be repeated.  [default: a new one]"
)
@click.option(
    "--status", type=click.IntRange(200, 599), default=200, show_default=True, help="Status of the responses."
)
@click.option("--count", type=click.IntRange(1), help="Stop after so many different webhooks.")
def listen(port: int, secret: tuple[str, ...], status: int, count: int | None) -> None:
    """Receive webhooks on this machine and show them.

    Each signature is verified. Tallymark sends webhooks to this machine only if webhook_allow_http is true and
    webhook_allow_hosts has 127.0.0.1 with the port; `tallymark dev` allows 8890.

    \b
    Example:
      tallymark listen --secret whsec_...
    """
    from pipeline.local import webhook_receiver

    webhook_receiver.listen(port, secret, status, count, click.echo)


@main.command()
@format_option("table", "json")
def settings(form: str) -> None:
    """Show every setting, its value and where it comes from.

    Secrets are hidden.

    \b
    Example:
      TALLYMARK_PARTITIONS=16 tallymark settings
    """
    import os

    from pipeline import settings as module

    rows, columns = module.rows(load_settings()), ("setting", "value", "from", "meaning")
    if form != "json":
        click.echo(f"file: {module.config_path() or 'none'}")
    listed([dict(zip(columns, row, strict=True)) for row in rows], form, columns, rows)
    for variable in module.unknown_variables(os.environ):
        click.echo(f"warning: {variable} is set, but there is no such setting.", err=True)


for command in (
    *metering.COMMANDS,
    *access.COMMANDS,
    *customers.COMMANDS,
    *imports.COMMANDS,
    *catalog.COMMANDS,
    *subscriptions.COMMANDS,
    *quota.COMMANDS,
    *notifications.COMMANDS,
    *billing_profiles.COMMANDS,
    *billing.COMMANDS,
    *invoices.COMMANDS,
    *credits.COMMANDS,
    *credit_notes.COMMANDS,
    *explain.COMMANDS,
    *verify.COMMANDS,
    *replay.COMMANDS,
    *rebuild.COMMANDS,
    *migrate.COMMANDS,
    *topics.COMMANDS,
):
    main.add_command(command)
